"""Starting, reading the file again, and stopping: what a server opens, in which order. Owns uvicorn."""

import asyncio
import gc
import logging
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path
from socket import socket
from typing import Any

import uvicorn
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # it has no types

from workbench.client.events import configure_events, configure_spans
from workbench.errors import ConfigError, WorkbenchError
from workbench.server.app import Parts, make_app
from workbench.server.config import ServerConfig, load_config
from workbench.server.connection import BoundedConnection
from workbench.server.database import DatabaseTrouble
from workbench.server.descriptors import raise_limit, share_of_descriptors
from workbench.server.foundation import Foundation, laid
from workbench.server.gateway import Gateway
from workbench.server.guard import App, Receive, Scope, Send
from workbench.server.registered import load as load_registered
from workbench.server.request_log import Noted
from workbench.server.router_shelf import RouterShelf
from workbench.server.targets import Load, Targets
from workbench.server.upstream import client_of
from workbench.server.usage import forget
from workbench.settings import Secret

log = logging.getLogger("workbench")

_BACKLOG = 2048
_DAY_S = 86_400.0
_FORGET_EVERY_S = 3_600.0
_COLLECT_AFTER = 10_000
"""Objects more than before until the garbage collector looks; Python's 700 are not ten requests."""
_FIXED = ("host", "workers", "database", "folder", "shared", "cache", "log", "tracing", "prompts_are_kept")
_FIXED_LIMITS = ("header_bytes", "upload_s", "drain_s")
"""What a running server cannot change."""


@asynccontextmanager
async def opened(
    config: ServerConfig, foundation: Foundation, *, load: Load, is_first: bool = True
) -> AsyncIterator[Parts]:
    """What the file says, open while the block runs.

    At the first reading a fallback stands in for a router that cannot be loaded; at a later one the routers
    of the former reading serve on.

    Raises:
        ConfigError, StorageError: what cannot work.
    """
    targets = Targets(
        config.models,
        auto=config.auto,
        routers=config.routers,
        load=load,
        folder=config.folder,
        fallbacks=config.fallbacks,
        shelf=RouterShelf(config.folder / "routers"),
    )
    await asyncio.to_thread(targets.load_or_stand_in if is_first else targets.load)
    if not targets.names:
        raise ConfigError("a server needs `models`, `auto` or `routers`: there is nothing to serve")
    kept = foundation
    async with AsyncExitStack() as stack:
        client = await client_of(
            config, targets.model_ids, budget=kept.budget(config.budget_usd), store=kept.store, stack=stack
        )
        targets.check = client.check
        for work in _works(config, targets, kept):
            stack.push_async_callback(_stopped, asyncio.create_task(work))
        kept.metrics.watch(client, kept.log)
        if kept.shared is not None:
            kept.shared.watch(client)
        gateway = Gateway(
            client,
            targets,
            kept.log,
            kept.experiments,
            records=[kept.metrics, Noted()],
            fallbacks=config.fallbacks,
        )
        stack.push_async_callback(gateway.shadows.aclose)
        yield Parts(config, gateway, kept)


class _Reading:
    """What one reading of the file serves, until the last of its requests is over."""

    def __init__(self, config: ServerConfig, app: App, stack: AsyncExitStack) -> None:
        self.config = config
        self._app = app
        self._stack = stack
        self._n_under_way = 0
        self._is_idle = asyncio.Event()
        self._is_idle.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._n_under_way += 1
        self._is_idle.clear()
        try:
            await self._app(scope, receive, send)
        finally:
            self._n_under_way -= 1
            if not self._n_under_way:
                self._is_idle.set()

    async def end(self) -> None:
        """Wait for the requests under way, and close what they used."""
        await self._is_idle.wait()
        await self._stack.aclose()


class Server:
    """The ASGI app as a process serves it: opens everything when it starts, closes it when it stops.

    Args:
        file: what `reload` reads; None: there is none.
        load: loads a registered router.
    """

    def __init__(
        self, config: ServerConfig, *, load: Load = load_registered, file: Path | None = None
    ) -> None:
        self._config = config
        self._load = load
        self._file = file
        self._foundation: Foundation | None = None
        self._reading: _Reading | None = None
        self._ending: set[asyncio.Task[None]] = set()
        self.on_ready: Callable[[Secret | None], None] = lambda token: None
        self.failure: WorkbenchError | None = None
        """Why it did not start; None: it did."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif self._reading is not None:
            await self._reading(scope, receive, send)

    async def reload(self) -> str | None:
        """Read the file again, and serve what it says now; requests under way end as they began.

        Returns:
            Why all stays as it was; None: the file holds.
        """
        former, foundation = self._reading, self._foundation
        if self._file is None or former is None or foundation is None:
            return "there is no file to read"
        try:
            config = load_config(self._file).model_copy(update={"port": former.config.port})
            _refuse_fixed(former.config, config)
            self._reading = await self._read(config, foundation)
        except WorkbenchError as exc:
            log.error("the file was not taken, and the former one holds: %s", exc)
            return str(exc)
        ending = asyncio.create_task(former.end(), name="former reading")
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)
        log.warning("the file was read again, and holds")
        return None

    def new_admin_token(self) -> Secret:
        """One more token of an administrator, for whoever has the process.

        Raises:
            ConfigError: it does not serve yet.
        """
        if self._foundation is None:
            raise ConfigError("the server does not serve yet")
        return self._foundation.admins.create().token

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        async with AsyncExitStack() as stack:
            try:
                foundation = await stack.enter_async_context(laid(self._config))
                _observe(self._config)
                self._reading = await self._read(self._config, foundation)
            except WorkbenchError as exc:
                self.failure = exc
                await send({"type": "lifespan.startup.failed", "message": ""})
                return
            self._foundation = foundation
            self.on_ready(foundation.admins.first())
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await asyncio.gather(self._reading.end(), *self._ending)
        await send({"type": "lifespan.shutdown.complete"})

    async def _read(self, config: ServerConfig, foundation: Foundation) -> _Reading:
        stack = AsyncExitStack()
        try:
            is_first = self._reading is None
            parts = await stack.enter_async_context(
                opened(config, foundation, load=self._load, is_first=is_first)
            )
            return _Reading(config, make_app(parts), stack)
        except BaseException:
            await stack.aclose()
            raise


class _Uvicorn(uvicorn.Server):
    """Ends with 0 after SIGTERM, where uvicorn would end by the signal; reads the file again at SIGHUP."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        if sys.platform == "win32" or threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        handled = {one: partial(self.handle_exit, one, None) for one in (signal.SIGTERM, signal.SIGINT)}
        for one, handler in handled.items():
            loop.add_signal_handler(one, handler)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        try:
            yield
        finally:
            for one in (*handled, signal.SIGHUP):
                loop.remove_signal_handler(one)

    def _reload(self) -> None:
        app: Any = self.config.app
        if isinstance(app, Server):
            self._reloading = asyncio.create_task(app.reload())


def uvicorn_server(app: App, config: ServerConfig) -> uvicorn.Server:
    """A uvicorn that serves `app`; it stops at SIGTERM, after the answers that are under way."""
    return _Uvicorn(
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
            http=partial(BoundedConnection, config.limits, share_of_descriptors()),  # type: ignore[arg-type]  # is only called
            ws="none",
        )
    )


def serve(server: Server, config: ServerConfig) -> None:
    """Serve on a port of its own until SIGTERM or Ctrl-C.

    Raises:
        WorkbenchError: it did not start.
    """
    raise_limit()
    with _own_process(server):
        uvicorn_server(server, config).run()


def serve_on(server: Server, config: ServerConfig, bound: socket, *, is_over: Callable[[], bool]) -> None:
    """The same on a socket that is bound; it also stops when `is_over`."""
    raise_limit()
    process = uvicorn_server(server, config)
    process.config.callback_notify = partial(_stop_if, is_over, process)
    process.config.timeout_notify = 1
    with _own_process(server):
        process.run([bound])


async def _stop_if(is_over: Callable[[], bool], process: uvicorn.Server) -> None:
    process.should_exit = process.should_exit or is_over()


@contextmanager
def _own_process(server: Server) -> Iterator[None]:
    """Serve nothing else in this process; what stops the server from starting is raised."""
    tell = server.on_ready

    def settle(token: Secret | None) -> None:
        gc.collect()
        gc.freeze()  # what is there now stays: nobody need look for garbage in it
        gc.set_threshold(_COLLECT_AFTER, *gc.get_threshold()[1:])
        threadpool_limits(1)  # threads would wait for each other longer than they multiply
        tell(token)

    server.on_ready = settle
    try:
        yield
    except SystemExit:
        if server.failure is not None:
            raise server.failure from None
        raise


def _observe(config: ServerConfig) -> None:
    if config.log == "json":
        configure_events()
    if config.tracing:
        configure_spans()


def _refuse_fixed(former: ServerConfig, new: ServerConfig) -> None:
    changed = [name for name in _FIXED if getattr(former, name) != getattr(new, name)]
    changed += [
        f"limits.{name}"
        for name in _FIXED_LIMITS
        if getattr(former.limits, name) != getattr(new.limits, name)
    ]
    if changed:
        raise ConfigError(f"{', '.join(changed)} cannot change while the server runs; start it again")


def _works(config: ServerConfig, targets: Targets, kept: Foundation) -> Iterator[Coroutine[None, None, None]]:
    """What goes on beside the requests."""

    async def take_over() -> None:
        """Keys and routers that were changed elsewhere."""
        await asyncio.to_thread(kept.keys.reload)
        await asyncio.to_thread(kept.admins.reload)
        await targets.reload()

    yield _every(config.reload_s, take_over)
    yield _every(config.judge_s, lambda: asyncio.to_thread(kept.experiments.judge, targets.is_moved))
    if (days := config.retention_days) is not None:

        async def forgotten() -> None:
            """Outcomes that are older than they may be."""
            await asyncio.to_thread(forget, kept.engine, before=time.time() - days * _DAY_S)

        yield _every(_FORGET_EVERY_S, forgotten, at_once=True)


async def _every(seconds: float, work: Callable[[], Awaitable[None]], *, at_once: bool = False) -> None:
    """Do the work for ever, and again after a time when the database was not there."""
    while True:
        if not at_once:
            await asyncio.sleep(seconds)
        at_once = False
        try:
            await work()
        except DatabaseTrouble as exc:
            log.warning("the database does not answer: %s", type(exc).__name__)


async def _stopped(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
