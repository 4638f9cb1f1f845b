"""Several processes on one port: the parent opens it, starts them, replaces those that die, and stops all."""

import asyncio
import logging
import shutil
import signal
import socket
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable
from pathlib import Path

from workbench.errors import ConfigError, StorageError, WorkbenchError
from workbench.server.admin_tokens import AdminTokens
from workbench.server.config import ServerConfig, load_config
from workbench.server.database import open_database
from workbench.server.foundation import redis_of
from workbench.server.worker import Orders
from workbench.settings import Secret

log = logging.getLogger("workbench")

_BACKLOG = 2048
_GRACE_S = 5.0
"""How much longer than `drain_s` a worker may take to end."""
_PAUSE_S = 1.0
"""Before a worker is replaced that did not live long."""
_MOST_FAILURES = 3


class Workers:
    """`config.workers` processes that serve as one.

    `on_ready` is told when the first of them serves, with the first admin token if there was none before.

    Args:
        file: what is read again at SIGHUP; None: there is none.
    """

    def __init__(
        self, config: ServerConfig, *, file: Path | None, on_ready: Callable[[Secret | None], None]
    ) -> None:
        self._config = config
        self._orders = Orders(config=config, file=None if file is None else file.resolve())
        self._on_ready = on_ready
        self._living: set[Process] = set()
        self._is_ready = asyncio.Event()
        self._stop = asyncio.Event()
        self._n_failures = 0

    def run(self) -> None:
        """Serve until SIGTERM or Ctrl-C.

        Raises:
            ConfigError, StorageError: what cannot work.
        """
        redis_of(self._config)
        engine = open_database(self._config.database, self._config.folder)
        token = AdminTokens(engine).first()
        engine.dispose()
        shutil.rmtree(self._config.folder / "metrics", ignore_errors=True)  # of an earlier start
        with _bound(self._config) as port:
            asyncio.run(self._serve(port, token))

    async def _serve(self, port: socket.socket, token: Secret | None) -> None:
        loop = asyncio.get_running_loop()
        for one in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(one, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._read_again)
        keeping = [asyncio.create_task(self._kept_up(port)) for _ in range(self._config.workers)]
        telling = asyncio.create_task(self._tell(token))
        await self._stop.wait()
        telling.cancel()
        port.close()
        for worker in list(self._living):
            worker.send_signal(signal.SIGTERM)
        _, late = await asyncio.wait(keeping, timeout=self._config.limits.drain_s + _GRACE_S)
        for worker in list(self._living):
            worker.kill()
        if late:
            await asyncio.wait(late)
        if self._n_failures >= _MOST_FAILURES:
            raise StorageError("the workers do not start; what each said is above")

    async def _tell(self, token: Secret | None) -> None:
        await self._is_ready.wait()
        self._on_ready(token)

    async def _kept_up(self, port: socket.socket) -> None:
        """One worker after another, until all are to stop."""
        while not self._stop.is_set():
            started_s = time.monotonic()
            code, was_ready = await self._lived(port)
            if self._stop.is_set():
                return
            self._n_failures = 0 if was_ready else self._n_failures + 1
            if self._n_failures >= _MOST_FAILURES:
                self._stop.set()
                return
            log.error("a worker ended with %s; another takes its place", code)
            if time.monotonic() - started_s < _PAUSE_S:
                await asyncio.sleep(_PAUSE_S)

    async def _lived(self, port: socket.socket) -> tuple[int, bool]:
        """Start a worker and wait for its end: how it ended, and whether it served."""
        descriptor = port.fileno()
        worker = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "workbench.server.worker",
            str(descriptor),
            stdin=PIPE,
            stdout=PIPE,
            pass_fds=[descriptor],
        )
        self._living.add(worker)
        try:
            if worker.stdin is None or worker.stdout is None:
                raise AssertionError("a pipe was asked for")
            if self._stop.is_set():
                worker.terminate()
            worker.stdin.write(self._orders.model_dump_json().encode() + b"\n")
            was_ready = await worker.stdout.readline() == b"ready\n"
            if was_ready:
                self._is_ready.set()
            return await worker.wait(), was_ready
        finally:
            self._living.discard(worker)

    def _read_again(self) -> None:
        """Let all workers read the file again, if it can be read."""
        if self._orders.file is None:
            return
        try:
            load_config(self._orders.file)
        except WorkbenchError as exc:
            log.error("the file was not taken, and the former one holds: %s", exc)
            return
        for worker in list(self._living):
            worker.send_signal(signal.SIGHUP)


def _bound(config: ServerConfig) -> socket.socket:
    """The port, open for all workers.

    Raises:
        ConfigError: it cannot be had.
    """
    try:
        family, *_, address = socket.getaddrinfo(config.host, config.port, type=socket.SOCK_STREAM)[0]
        port = socket.socket(family, socket.SOCK_STREAM)
        port.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        port.bind(address)
        port.listen(_BACKLOG)
    except OSError as exc:
        raise ConfigError(
            f"host {config.host!r}, port {config.port}: {exc.strerror}; is another server there?"
        ) from exc
    return port
