"""Experiments on live traffic: what they are, and what was decided."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the table, and an index of the outcomes by experiment."""
    op.create_table(
        "experiments",
        sa.Column("name", sa.String(100), primary_key=True),
        sa.Column("spec", sa.JSON, nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("verdict", sa.JSON),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("ended_at", sa.Float),
    )
    op.create_index("outcomes_of_experiment", "outcomes", ["experiment", "at"])


def downgrade() -> None:
    """Drop them."""
    op.drop_index("outcomes_of_experiment", "outcomes")
    op.drop_table("experiments")
