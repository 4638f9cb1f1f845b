"""Starting and stopping: what a server opens, in which order, and what it tells the person who started it."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial

import uvicorn

from workbench.budget import Budget
from workbench.catalog import default_catalog, read_catalog
from workbench.client import Account, Client, Limits, accounts_of, connect
from workbench.client.accounts import keys_of
from workbench.errors import ConfigError
from workbench.providers.registry import ENDPOINTS, SIMULATOR, provider
from workbench.providers.simulator import Simulator
from workbench.server.admin_tokens import AdminTokens
from workbench.server.app import Parts, make_app
from workbench.server.config import ProviderConfig, ServerConfig
from workbench.server.connection import BoundedConnection
from workbench.server.database import Engine, open_database
from workbench.server.gateway import Gateway
from workbench.server.guard import App, Receive, Scope, Send
from workbench.server.live_experiments import LiveExperiments
from workbench.server.metrics import Metrics
from workbench.server.outcome_log import OutcomeLog
from workbench.server.targets import Load, Targets
from workbench.server.usage import forget
from workbench.server.virtual_keys import VirtualKeys
from workbench.settings import Secret

_BACKLOG = 2048
_DAY_S = 86_400.0
_FORGET_EVERY_S = 3_600.0


@asynccontextmanager
async def opened(config: ServerConfig, *, load: Load | None = None) -> AsyncIterator[Parts]:
    """Everything that a server needs, open while the block runs.

    Raises:
        ConfigError, StorageError: what cannot work, before the port is opened.
    """
    targets = Targets(
        config.models, auto=config.auto, routers=config.routers, load=load, folder=config.folder
    )
    targets.load()
    if not targets.names:
        raise ConfigError("a server needs `models`, `auto` or `routers`: there is nothing to serve")
    engine = open_database(config.database, config.folder)
    log = OutcomeLog(engine, config.folder, with_content=config.prompts_are_kept)
    keys = VirtualKeys(engine, spent_usd=log.spent_usd)
    async with AsyncExitStack() as stack:
        stack.callback(engine.dispose)
        client = await stack.enter_async_context(await _client(config, targets, stack))
        await stack.enter_async_context(log)
        experiments = LiveExperiments(engine)
        for work in (
            _kept_fresh(config, targets, keys),
            _judged(config, experiments),
            _forgotten(config, engine),
        ):
            stack.push_async_callback(_stopped, asyncio.create_task(work))
        metrics = Metrics()
        metrics.watch(client, log)
        gateway = Gateway(client, targets, log, experiments, records=[metrics], fallbacks=config.fallbacks)
        stack.push_async_callback(gateway.shadows.aclose)
        yield Parts(config, gateway, keys, AdminTokens(engine), metrics, experiments)


class Server:
    """The ASGI app as a process serves it: opens everything when it starts, closes it when it stops."""

    def __init__(self, config: ServerConfig, *, load: Load | None = None) -> None:
        self._config = config
        self._load = load
        self._app: App | None = None
        self.on_ready: Callable[[Secret | None], None] = lambda token: None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif self._app is not None:
            await self._app(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        async with opened(self._config, load=self._load) as parts:
            self._app = make_app(parts)
            self.on_ready(parts.admins.first())
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})


def uvicorn_server(app: App, config: ServerConfig) -> uvicorn.Server:
    """A uvicorn that serves `app`; it stops at SIGTERM, after the answers that are under way."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            host=config.host,
            port=config.port,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            lifespan="on",
            backlog=_BACKLOG,
            timeout_graceful_shutdown=round(config.limits.drain_s),
            http=partial(BoundedConnection, config.limits),  # type: ignore[arg-type]  # is only called
            ws="none",
        )
    )


async def _client(config: ServerConfig, targets: Targets, stack: AsyncExitStack) -> Client:
    """A client of every model that may be asked, with a simulator where one is."""
    model_ids = tuple(dict.fromkeys((*targets.model_ids, *config.fallbacks)))
    url = None
    if any(model_id.startswith(f"{SIMULATOR}/") for model_id in model_ids):
        from workbench.settings import Settings

        url = Settings().simulator_url or (await stack.enter_async_context(Simulator())).base_url
    limits = Limits(concurrency=config.limits.concurrency, deadline_s=config.limits.deadline_s)
    budget = None if config.budget_usd is None else Budget(config.budget_usd)
    providers = [
        account for name, written in config.providers.items() for account in _accounts(name, written)
    ]
    catalog = default_catalog()
    if config.models_file is not None:
        catalog = catalog | read_catalog(config.models_file)
    return connect(
        model_ids, providers=providers, catalog=catalog, limits=limits, budget=budget, simulator_url=url
    )


def _accounts(name: str, written: ProviderConfig) -> list[Account]:
    """An account for each key of a provider at the address that the file gives it."""
    is_known = any(row.name == name for row in ENDPOINTS)
    if written.key_var is None and is_known:
        return accounts_of(name, base_url=written.base_url)
    keys = {} if written.key_var is None else keys_of(written.key_var)
    if not keys:
        return [Account(provider(name, base_url=written.base_url))]
    return [Account(provider(name, base_url=written.base_url, key=key), alias) for alias, key in keys.items()]


async def _kept_fresh(config: ServerConfig, targets: Targets, keys: VirtualKeys) -> None:
    """Take over, from time to time, keys and routers that were changed elsewhere."""
    while True:
        await asyncio.sleep(config.reload_s)
        await asyncio.to_thread(keys.reload)
        await targets.reload()


async def _judged(config: ServerConfig, experiments: LiveExperiments) -> None:
    """Look, as feedback comes, whether an experiment is decided."""
    while True:
        await asyncio.sleep(config.judge_s)
        await asyncio.to_thread(experiments.judge)


async def _forgotten(config: ServerConfig, engine: Engine) -> None:
    """Delete, now and then, what is older than it may be."""
    while config.retention_days is not None:
        before = time.time() - config.retention_days * _DAY_S
        await asyncio.to_thread(forget, engine, before=before)
        await asyncio.sleep(_FORGET_EVERY_S)


async def _stopped(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
