"""What a person at a terminal gets of registered routers: listed, given aliases, and promoted by a test."""

from pathlib import Path

from workbench import outcomes, publication, terminal, tracking
from workbench.experiment.wording import ABSENT
from workbench.routing.contest import contest
from workbench.routing.training_table import from_table
from workbench.settings import Settings
from workbench.stats.promotion import Promotion

_FEW = 32
"""Outcomes from which a model that is added does nearly as well as one that was fitted: see docs/research."""


def list_routers(name: str | None = None) -> None:
    """Print a line a version, the newest of each router first."""
    found = tracking.versions(name, uri=_uri())
    console = terminal.console()
    if not found:
        console.print("no router is registered; workbench train registers one")
        return
    header = ("router", "version", "alias", "kind", "promotion")
    console.print(terminal.cells(header, (_line(version) for version in found)))


def set_alias(address: str, alias: str) -> None:
    """Give a version an alias, and say so.

    Raises:
        ConfigError: there is no such version, or the alias cannot be one.
    """
    version = tracking.set_alias(address, alias, uri=_uri())
    terminal.console().print(f"{version.address} is now @{alias}")


def add_model(address: str, table: Path, model_id: str) -> None:
    """Teach a router one more model from its outcomes in `table`, and say which version that is.

    Raises:
        ConfigError, DataError, StorageError: what is wrong with the router, the table or the model.
    """
    console = terminal.console()
    added = publication.add_model(address, outcomes.read(table), model_id)
    console.print(f"{added.address} is the router with {model_id}", soft_wrap=True)
    if added.n_prompts < _FEW:
        told = f"{added.n_prompts} outcomes place it roughly; {_FEW} do nearly as well as fitting again"
        console.print(told, style="yellow", soft_wrap=True)


def promote(name: str, *, table: Path | None, min_gain_points: float) -> bool:
    """Make the challenger the champion where the outcomes in `table` say so; None: untested.

    Whether it is the champion now; the verdict is printed.

    Raises:
        ConfigError: there is no such router, or no champion or challenger.
        DataError, StorageError: the table cannot be used.
    """
    console, uri = terminal.console(), _uri()
    verdict = None if table is None else _verdict(name, table, min_gain_points, uri)
    if verdict is not None:
        console.print(f"{name}: {tracking.told(verdict)}", soft_wrap=True)
        if verdict.warning is not None:
            console.print(f"warning: {verdict.warning}", style="yellow", soft_wrap=True)
        if verdict.verdict != "promote":
            console.print("the champion stays")
            return False
    version = tracking.promote(name, verdict, uri=uri)
    console.print(f"{version.address} is now @{tracking.CHAMPION}")
    return True


def _verdict(name: str, table: Path, min_gain_points: float, uri: str) -> Promotion:
    challenger = tracking.load_router(f"{name}@{tracking.CHALLENGER}", uri=uri)
    champion = tracking.load_router(f"{name}@{tracking.CHAMPION}", uri=uri)
    return contest(
        challenger.router,
        champion.router,
        from_table(outcomes.read(table)),
        candidates=(challenger.candidates, champion.candidates),
        min_gain=min_gain_points / 100.0,
    )


def _line(version: tracking.RouterVersion) -> tuple[str, ...]:
    aliases = " ".join(f"@{alias}" for alias in version.aliases)
    promotion = version.promotion or ABSENT
    return (version.name, str(version.version), aliases or ABSENT, version.router or ABSENT, promotion)


def _uri() -> str:
    return tracking.store_uri(Settings())
