"""Which version of a router decided, and which ones an experiment compares."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add a column to each; of what was served before, it is not known."""
    op.add_column("outcomes", sa.Column("router_version", sa.String(300)))
    op.add_column("experiments", sa.Column("versions", sa.JSON))


def downgrade() -> None:
    """Drop them."""
    op.drop_column("experiments", "versions")
    op.drop_column("outcomes", "router_version")
