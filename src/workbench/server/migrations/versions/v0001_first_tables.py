"""The first tables: tokens of administrators, keys of callers, and what was served."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make them."""
    op.create_table(
        "admin_tokens",
        sa.Column("token_id", sa.String(12), primary_key=True),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("revoked_at", sa.Float),
    )
    op.create_table(
        "virtual_keys",
        sa.Column("key_id", sa.String(12), primary_key=True),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("tenant", sa.String(100), nullable=False),
        sa.Column("budget_usd", sa.Float),
        sa.Column("requests_per_minute", sa.Float),
        sa.Column("models", sa.JSON, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("expires_at", sa.Float),
        sa.Column("revoked_at", sa.Float),
    )
    op.create_table(
        "outcomes",
        sa.Column("request_id", sa.String(64), primary_key=True),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("key_id", sa.String(12), nullable=False),
        sa.Column("tenant", sa.String(100), nullable=False),
        sa.Column("experiment", sa.String(100)),
        sa.Column("arm", sa.String(300), nullable=False),
        sa.Column("router", sa.String(300), nullable=False),
        sa.Column("asked_model", sa.String(300), nullable=False),
        sa.Column("model", sa.String(300), nullable=False),
        sa.Column("provider", sa.String(100), nullable=False),
        sa.Column("served_model", sa.String(300)),
        sa.Column("propensity", sa.Float),
        sa.Column("predicted_quality", sa.Float),
        sa.Column("predicted_cost_usd", sa.Float),
        sa.Column("cost_usd", sa.Float),
        sa.Column("latency_s", sa.Float),
        sa.Column("first_token_s", sa.Float),
        sa.Column("input_tokens", sa.Integer),
        sa.Column("output_tokens", sa.Integer),
        sa.Column("error", sa.String(100)),
        sa.Column("cluster", sa.String(64)),
        sa.Column("prompt", sa.Text),
        sa.Column("response", sa.Text),
        sa.Column("quality", sa.Float),
        sa.Column("quality_at", sa.Float),
    )
    op.create_index("ix_outcomes_at", "outcomes", ["at"])
    op.create_index("outcomes_of_key", "outcomes", ["key_id", "at"])


def downgrade() -> None:
    """Drop them, with all that is in them."""
    for table in ("outcomes", "virtual_keys", "admin_tokens"):
        op.drop_table(table)
