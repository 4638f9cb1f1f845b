"""One of several workers: serves on a socket that its parent opened, and stops when the parent is gone.

    python -m workbench.server.worker DESCRIPTOR

reads one line of JSON (`Orders`) and writes one line, `ready`, when it serves.
"""

import os
import sys
import threading
from pathlib import Path
from socket import socket

from pydantic import BaseModel

from workbench.errors import WorkbenchError
from workbench.redaction import masked
from workbench.server.config import ServerConfig
from workbench.server.server import Server, serve_on

FAILED = 3
"""How a worker ends that cannot start."""


class Orders(BaseModel):
    """What a worker is to serve; `file` is read again at SIGHUP."""

    config: ServerConfig
    file: Path | None


def _work(descriptor: int) -> None:
    orders = Orders.model_validate_json(sys.stdin.readline())
    server = Server(orders.config, file=orders.file)
    server.on_ready = lambda _: _say_ready()
    parent_is_gone = threading.Event()

    def watch() -> None:
        sys.stdin.read()  # until the parent closes it, or dies
        parent_is_gone.set()

    threading.Thread(target=watch, daemon=True).start()
    with socket(fileno=descriptor) as bound:
        serve_on(server, orders.config, bound, is_over=parent_is_gone.is_set)


def _say_ready() -> None:
    sys.stdout.write("ready\n")
    sys.stdout.flush()


if __name__ == "__main__":
    try:
        _work(int(sys.argv[1]))
    except WorkbenchError as exc:
        sys.stderr.write(f"{masked(str(exc))}\n")
        sys.stderr.flush()
        os._exit(FAILED)  # the thread that waits for the parent would keep standard input locked
