"""What Alembic runs for each change: on the connection that `schema` hands over, and on no other."""

from alembic import context

from workbench.server.database import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
