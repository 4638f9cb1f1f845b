"""What a caller may name: models of the catalog, `auto`, and routers, loaded by alias and loaded again."""

import asyncio
import logging
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from workbench.client.panel import Panel
from workbench.errors import ConfigError, RoutingError, WorkbenchError
from workbench.routing import checkpoint
from workbench.routing.base import Router
from workbench.routing.baselines import Fixed
from workbench.routing.cascade import Cascade
from workbench.routing.decide import Predictor
from workbench.routing.randomised import choice_probabilities
from workbench.server.exchange import Refusal
from workbench.types import Decision, Prompt

log = logging.getLogger("workbench")

AUTO = "auto"
_ROUTER = re.compile(r"router:(?P<name>[A-Za-z0-9][A-Za-z0-9._-]{0,99})(?:@(?P<alias>[A-Za-z0-9_-]{1,50}))?")
_CHECKPOINT = ".ckpt"


@dataclass(frozen=True, slots=True)
class Target:
    """A router ready to decide, what it chooses from, and which version of it this is.

    A cascade asks several of them, one after another: they are a `panel`. `static_rule` decides where the
    router cannot; None: nobody does.
    """

    router: Router
    candidates: tuple[str, ...]
    version: str = ""
    static_rule: "Target | None" = None

    @property
    def panel(self) -> Panel | None:
        """The models that answer together; None: one that is chosen does."""
        return Panel(self.router) if isinstance(self.router, Cascade) else None

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


Load = Callable[[str], Target]
"""Loads the router at an address; raises `WorkbenchError`."""


class Targets:
    """The names that callers may use, each with what it stands for.

    Args:
        models: what may be named directly, and what a router chooses from that knows no models.
        auto: address of the router behind `auto`; None: there is none.
        routers: addresses by name.
        load: loads a router that is registered; None: none can be.
        fallbacks: the first answers where a router cannot decide, the others where that fails.
    """

    def __init__(
        self,
        models: Sequence[str],
        *,
        auto: str | None,
        routers: Mapping[str, str],
        load: Load | None,
        folder: Path = Path(),
        fallbacks: Sequence[str] = (),
    ) -> None:
        self._models = {model_id: Target(Fixed(model_id), (model_id,)) for model_id in models}
        self._addresses = dict(routers) | ({} if auto is None else {AUTO: auto})
        self._load_registered = load
        self._folder = folder
        self._static_rule = Target(Fixed(fallbacks[0]), tuple(fallbacks)) if fallbacks else None
        self._loaded: dict[str, Target] = {}
        self.problems: dict[str, str] = {}
        """Routers that could not be loaded when this was last tried, and why; the former ones serve on."""
        self.reloaded_s = 0.0

    def load(self) -> None:
        """Load every router that is configured.

        Raises:
            WorkbenchError: one cannot be.
        """
        for name, address in self._addresses.items():
            self._loaded[name] = self._target(address)
        self.reloaded_s = time.monotonic()

    def load_or_stand_in(self) -> None:
        """The same, but that the first fallback answers in the place of a router until that can be loaded.

        Raises:
            WorkbenchError: one cannot be loaded, and there are no fallbacks.
        """
        for name, address in self._addresses.items():
            try:
                self._loaded[name] = self._target(address)
            except WorkbenchError as exc:
                if self._static_rule is None:
                    raise
                self._loaded[name] = self._static_rule
                self.problems[name] = str(exc)
                log.warning("%s answers in the place of %s: %s", self._static_rule.router.name, name, exc)
        self.reloaded_s = time.monotonic()

    async def reload(self) -> None:
        """Load all again, beside the calls that go on; one that cannot be loaded stays as it was."""
        for name, address in self._addresses.items():
            try:
                self._loaded[name] = await asyncio.to_thread(self._target, address)
                self.problems.pop(name, None)
            except WorkbenchError as exc:
                self.problems[name] = str(exc)
        self.reloaded_s = time.monotonic()

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

    def _target(self, address: str) -> Target:
        return replace(self._read(address), static_rule=self._static_rule)

    def _read(self, address: str) -> Target:
        if address.endswith(_CHECKPOINT):
            router = checkpoint.load(self._folder / address)
            known = router.models.model_ids if isinstance(router, Predictor | Cascade) else ()
            return Target(router, tuple(known) or tuple(self._models), version=address)
        if self._load_registered is None:
            raise ConfigError(f"{address!r}: registered routers need MLflow; name a .ckpt file, or set it up")
        return self._load_registered(address)
