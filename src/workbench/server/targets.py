"""What a caller may name: models of the catalog, `auto`, and routers, loaded by alias and loaded again."""

import asyncio
import hashlib
import logging
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from workbench.client.panel import Panel, models_of, panel_of
from workbench.errors import RoutingError, WorkbenchError
from workbench.routing import checkpoint
from workbench.routing.base import Router
from workbench.routing.baselines import Fixed
from workbench.routing.randomised import choice_probabilities
from workbench.server.exchange import Refusal
from workbench.storage import read_bytes
from workbench.types import Decision, Prompt

log = logging.getLogger("workbench")

AUTO = "auto"
_ROUTER = re.compile(r"router:(?P<name>[A-Za-z0-9][A-Za-z0-9._-]{0,99})(?:@(?P<alias>[A-Za-z0-9_-]{1,50}))?")
_PREFIX = "router:"
_CHECKPOINT = ".ckpt"


@dataclass(frozen=True, slots=True)
class Target:
    """A router ready to decide, what it chooses from, and which version of it this is.

    A cascade or an ensemble asks several of them: they are a `panel`. `static_rule` decides where the
    router cannot; None: nobody does.
    """

    router: Router
    candidates: tuple[str, ...]
    version: str = ""
    static_rule: "Target | None" = None

    @property
    def panel(self) -> Panel | None:
        """The models that answer together; None: one that is chosen does."""
        return panel_of(self.router)

    def decide(self, prompt: Prompt) -> Decision:
        """Which model answers `prompt`."""
        return self.router.route(prompt, self.candidates)

    def chance(self, prompt: Prompt, model_id: str) -> float:
        """The probability with which it has a model answer `prompt` alone: 0 or 1 where it does not draw."""
        if self.panel is not None:
            return 0.0
        try:
            chances = choice_probabilities(self.router, prompt, self.candidates)
        except RoutingError:
            return 0.0 if self.static_rule is None else self.static_rule.chance(prompt, model_id)
        return float(chances[self.candidates.index(model_id)]) if model_id in self.candidates else 0.0


def not_found(name: str) -> Refusal:
    """What is said of a name that nothing here has."""
    message = f"there is no model {name[:100]!r} here; GET /v1/models lists them"
    return Refusal(404, "model_not_found", message)


Load = Callable[[str, Target | None], Target]
"""Loads the router at an address, or returns the one that was there before when it still is; raises
`WorkbenchError`."""


class Shelf(Protocol):
    """Where routers are kept for a start without the store that they come from."""

    def keep(self, name: str, address: str, target: Target) -> None:
        """Remember what was loaded last."""
        ...

    def kept(self, name: str, address: str) -> Target | None:
        """What was loaded last from `address`; None: it is not here, or is damaged."""
        ...


class Targets:
    """The names that callers may use, each with what it stands for.

    Args:
        models: what may be named directly, and what a router chooses from that knows no models.
        auto: address of the router behind `auto`; None: there is none.
        routers: addresses by name.
        load: loads a router that is registered.
        folder: where `.ckpt` files are.
        shelf: where the last routers of each name are, should they not be loaded at the next start.
        fallbacks: the first answers where a router cannot decide, the others where that fails.
    """

    def __init__(
        self,
        models: Sequence[str],
        *,
        auto: str | None,
        routers: Mapping[str, str],
        load: Load,
        folder: Path,
        shelf: Shelf,
        fallbacks: Sequence[str] = (),
    ) -> None:
        self._models = {model_id: Target(Fixed(model_id), (model_id,)) for model_id in models}
        self._addresses = dict(routers) | ({} if auto is None else {AUTO: auto})
        self._load_registered = load
        self._folder = folder
        self._shelf = shelf
        self._static_rule = Target(Fixed(fallbacks[0]), tuple(fallbacks)) if fallbacks else None
        self._loaded: dict[str, Target] = {}
        self.problems: dict[str, str] = {}
        """Routers that could not be loaded when this was last tried, and why; the former ones serve on."""
        self.check: Callable[[Iterable[str]], None] = lambda model_ids: None
        """Raises `ConfigError` for models that cannot be asked; a router that would ask them is not taken."""
        self._seen_at: dict[str, float] = {}

    def load(self) -> None:
        """Load every router that is configured; one that cannot be is as it was before the last stop.

        Raises:
            WorkbenchError: one cannot be loaded, and never was.
        """
        for name, address in self._addresses.items():
            self._loaded[name] = self._newest_or_kept(name, address)

    def load_or_stand_in(self) -> None:
        """The same, but that the first fallback answers in the place of a router until that can be loaded.

        Raises:
            WorkbenchError: one cannot be loaded, and never was, and there are no fallbacks.
        """
        for name, address in self._addresses.items():
            try:
                self._loaded[name] = self._newest_or_kept(name, address)
            except WorkbenchError as exc:
                if self._static_rule is None:
                    raise
                self._loaded[name] = self._static_rule
                self.problems[name] = str(exc)
                log.warning("%s answers in the place of %s: %s", self._static_rule.router.name, name, exc)

    async def reload(self) -> None:
        """Load all again, beside the calls that go on; one that cannot be loaded stays as it was."""
        for name, address in self._addresses.items():
            try:
                former, begun_at = self._loaded.get(name), time.time()
                self._loaded[name] = await asyncio.to_thread(self._newest, name, address, former)
                self._seen_at[name] = begun_at  # now that what was seen is what a name stands for
                self.problems.pop(name, None)
            except WorkbenchError as exc:
                self._notice(name, exc)

    def find(self, name: str) -> Target:
        """What a caller means by `name`.

        Raises:
            Refusal: nothing here is called so.
        """
        if (found := self._models.get(name)) is not None:
            return found
        if (found := self._loaded.get(name)) is not None and name == AUTO:
            return found
        if (said := _ROUTER.fullmatch(name)) is not None:
            alias = said["alias"]
            known = self._loaded.get(said["name"] if alias is None else f"{said['name']}@{alias}")
            if known is not None:
                return known
        raise not_found(name)

    def version(self, name: str) -> str | None:
        """Which version of it a caller means by `name`: "" of a model; None: nothing here is called so."""
        try:
            return self.find(name).version
        except Refusal:
            return None

    def is_moved(self, versions: Mapping[str, str], since: float) -> bool:
        """Whether a name stands for another than its one of `versions`, seen after the Unix time `since`.

        Another process may have seen a new version first: what was not looked at since then tells nothing.
        """
        return any(
            self._seen_at.get(name := target.removeprefix(_PREFIX), 0.0) > since
            and self._loaded[name].version != version
            for target, version in versions.items()
        )

    def items(self) -> list[tuple[str, Target]]:
        """Every name with what it stands for now."""
        return [(name, self.find(name)) for name in self.names]

    @property
    def names(self) -> tuple[str, ...]:
        """All that a caller may name."""
        routers = (name if name == AUTO else f"router:{name}" for name in self._loaded)
        return (*routers, *self._models)

    @property
    def model_ids(self) -> tuple[str, ...]:
        """Every model that can be asked, named directly or chosen by a router."""
        chosen = (model_id for target in self._loaded.values() for model_id in target.candidates)
        return tuple(dict.fromkeys((*self._models, *chosen)))

    def _newest(self, name: str, address: str, former: Target | None) -> Target:
        """What is at `address` now: the same object where it is `former` still."""
        is_file = address.endswith(_CHECKPOINT)
        target = self._read(address, former) if is_file else self._load_registered(address, former)
        if target is former:
            return target
        self.check(target.candidates)
        if not is_file:
            self._shelf.keep(name, address, target)
        if former is not None:
            log.warning("%s is %s now, and was %s", name, target.version, former.version)
        return replace(target, static_rule=self._static_rule)

    def _newest_or_kept(self, name: str, address: str) -> Target:
        kept, begun_at = self._shelf.kept(name, address), time.time()
        try:
            target = self._newest(name, address, kept)
            self._seen_at[name] = begun_at
        except WorkbenchError as exc:
            if kept is None:
                raise
            self._notice(name, exc)
            target = kept
        return replace(target, static_rule=self._static_rule)

    def _read(self, address: str, former: Target | None) -> Target:
        path = self._folder / address
        digest = hashlib.sha256(read_bytes(path, purpose="saved router")).hexdigest()
        version = f"{address} {digest[:12]}"
        if former is not None and former.version == version:
            return former
        router = checkpoint.load(path)
        return Target(router, models_of(router) or tuple(self._models), version=version)

    def _notice(self, name: str, problem: WorkbenchError) -> None:
        if self.problems.get(name) != str(problem):
            log.warning("%s was not loaded, and the former one serves on: %s", name, problem)
        self.problems[name] = str(problem)
