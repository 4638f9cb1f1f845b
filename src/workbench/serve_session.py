"""What a person at a terminal gets of the server: its address, the first token, and a call to try."""

from pathlib import Path

from rich.console import Console

from workbench.errors import ConfigError, MissingExtraError
from workbench.settings import Secret

try:
    from workbench.server.admin_tokens import AdminTokens
    from workbench.server.config import ServerConfig, load_config
    from workbench.server.database import open_database
    from workbench.server.server import Server
    from workbench.server.server import serve as serve_alone
    from workbench.server.workers import Workers
except ModuleNotFoundError as exc:
    raise MissingExtraError("server", "serving") from exc

_SIMULATED = ("simulator/sim-nano", "simulator/sim-small", "simulator/sim-medium", "simulator/sim-large")


def serve(path: Path | None, *, port: int | None) -> None:
    """Serve until SIGTERM or Ctrl-C, and finish the answers that are under way then.

    Args:
        path: a server's YAML; None: the simulated models.
        port: instead of the file's.

    Raises:
        ConfigError, StorageError: what cannot work, before the port is opened.
    """
    config = ServerConfig(models=_SIMULATED) if path is None else load_config(path)
    if port is not None:
        config = config.model_copy(update={"port": port})
    console = Console(markup=False, emoji=False)
    if config.workers > 1:
        Workers(config, file=path, on_ready=lambda token: _tell(console, config, token)).run()
        return
    server = Server(config, file=path)
    server.on_ready = lambda token: _tell(console, config, token)
    serve_alone(server, config)


def admin_token(path: Path | None, *, revoked: str | None) -> str | None:
    """A new admin token of a server, which need not run; one that runs takes it within its `reload_s`.

    Args:
        path: the server's YAML, as of `serve`.
        revoked: the id of a token that is to work no more, instead of a new one; then there is none to show.

    Raises:
        ConfigError: there is no such token, or it is the last one. StorageError: the database fails.
    """
    config = ServerConfig(models=_SIMULATED) if path is None else load_config(path)
    engine = open_database(config.database, config.folder)
    try:
        tokens = AdminTokens(engine)
        if revoked is None:
            return tokens.create().token.get_secret_value()
        if not tokens.revoke(revoked):
            shown = ", ".join(one.token_id for one in tokens.listed())
            raise ConfigError(f"no admin token has this id; there are {shown or 'none'}")
    finally:
        engine.dispose()
    return None


def _tell(console: Console, config: ServerConfig, token: Secret | None) -> None:
    address = f"http://{config.host}:{config.port}"
    console.print(f"serving {', '.join(config.models) or config.auto} at {address}/v1", soft_wrap=True)
    if token is None:
        return
    made = '{"name": "me", "budget_usd": 1.0}'
    console.print(
        f"""
The first admin token, shown this once: {token.get_secret_value()}
Keep it, and make a key for a caller with it:

  curl {address}/admin/keys -H 'Authorization: Bearer TOKEN' -H 'content-type: application/json' -d '{made}'
""",
        soft_wrap=True,
        highlight=False,
    )
