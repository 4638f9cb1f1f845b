"""The servers that `server.py` compares, each a process on one core: ours, a bare one, and litellm's."""

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from urllib.error import URLError

import psutil
import yaml

HERE = Path(__file__).parent
LITELLM = HERE.parent / ".peers/litellm/bin/litellm"
PROVIDERS = ("first", "second", "third")
_TOKEN = re.compile(rb"wb-[a-z0-9]{12}-[A-Za-z0-9_-]{43}")
_CATALOG = "provider,model,input_usd_per_mtok,output_usd_per_mtok,context_tokens,source,date\n"
_PATIENCE_S = 120.0


@dataclass(frozen=True, slots=True)
class Served:
    """A server that answers: `start_s` and `start_cpu_s` are what its first answer took from nothing."""

    name: str
    port: int
    token: str
    model: str
    process: psutil.Process
    start_s: float
    start_cpu_s: float

    @property
    def cpu_s(self) -> float:
        """User and system time so far."""
        times = self.process.cpu_times()
        return times.user + times.system

    @property
    def rss_mib(self) -> float:
        """Resident memory."""
        return self.process.memory_info().rss / 2**20

    @property
    def n_descriptors(self) -> int:
        """Open files and sockets, but those of callers: each has one."""
        return self.process.num_fds()


def train(folder: Path) -> Path:
    """A controller for one model of each provider, fitted without a sentence embedding, as a checkpoint."""
    import numpy as np
    import pandas as pd

    from workbench.datasets import tasks
    from workbench.routing import checkpoint
    from workbench.routing.registry import fit
    from workbench.routing.training_table import from_table

    rng = np.random.default_rng(0)
    rows = [
        {
            "prompt_id": task.prompt.prompt_id,
            "prompt": task.prompt.text,
            "task": task.prompt.task,
            "arm": provider,
            "provider": provider,
            "model": "small",
            "quality": float(rng.random() < 0.5 + 0.1 * number),
            "cost_usd": 1e-4 * (1 + number),
        }
        for task, (number, provider) in product(tasks(), enumerate(PROVIDERS))
    ]
    path = folder / "controller.ckpt"
    checkpoint.save(fit("controller", from_table(pd.DataFrame(rows)), cost_weight=100.0), path)
    return path


@contextmanager
def ours(
    folder: Path, checkpoint: Path, urls: Sequence[str], *, core: int, is_asked: bool = True
) -> Iterator[Served]:
    """Our server with one provider at each of `urls`; the controller is `auto`, the others come after it.

    `is_asked`: once, before the block begins; an upstream that only streams cannot answer that.
    """
    folder.mkdir(exist_ok=True)
    models = [f"{name}/small" for name in PROVIDERS]
    (folder / "models.csv").write_text(
        _CATALOG + "".join(f"{name},small,1.0,2.0,8000,made up,2026-11-01\n" for name in PROVIDERS)
    )
    port, config = free_port(), folder / "server.yaml"
    written = {
        "models": models,
        "auto": str(checkpoint),
        "fallbacks": list(models),
        "models_file": "models.csv",
        "folder": "state",
        "providers": {name: {"base_url": url} for name, url in zip(PROVIDERS, urls, strict=True)},
        "limits": {"concurrency": 1024},
    }
    config.write_text(yaml.safe_dump(written))
    command = [sys.executable, "-m", "workbench", "serve", str(config), "--port", str(port)]
    token_file = folder / "token"

    def authorise(output: bytes) -> str:
        if (found := _TOKEN.search(output)) is not None:
            made = post(port, "/admin/keys", found[0].decode(), {"name": "load"})
            token_file.write_text(made["token"])
        return token_file.read_text()

    with started(
        "workbench", command, port, core=core, model="auto", authorise=authorise, is_asked=is_asked
    ) as one:
        yield one


@contextmanager
def bare(upstream: str, *, core: int) -> Iterator[Served]:
    """A pass-through."""
    port = free_port()
    command = [sys.executable, str(HERE / "bare_server.py"), upstream, str(port)]
    with started("bare", command, port, core=core, model="small") as one:
        yield one


@contextmanager
def litellm(folder: Path, upstream: str, *, core: int) -> Iterator[Served]:
    """litellm's proxy with one model, with what it does by default."""
    port, key, config = free_port(), "sk-benchmark", folder / "litellm.yaml"
    parameters = {"model": "custom_openai/small", "api_base": upstream, "api_key": "none"}
    written = {
        "model_list": [{"model_name": "small", "litellm_params": parameters}],
        "general_settings": {"master_key": key},
        "litellm_settings": {"telemetry": False},
    }
    config.write_text(yaml.safe_dump(written))
    command = [str(LITELLM), "--config", str(config), "--port", str(port), "--host", "127.0.0.1"]
    environment = {"LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    with started(
        "litellm", command, port, core=core, model="small", authorise=lambda _: key, environment=environment
    ) as one:
        yield one


@contextmanager
def started(
    name: str,
    command: Sequence[str],
    port: int,
    *,
    core: int,
    model: str,
    authorise: Callable[[bytes], str] = lambda output: "none",
    environment: Mapping[str, str] = {},
    is_asked: bool = True,
) -> Iterator[Served]:
    """A server, from its first answer until the block ends."""
    before_s = time.perf_counter()
    log = Path(f"/tmp/{name}-{port}.log")
    with log.open("wb") as output:
        one = subprocess.Popen(command, stdout=output, stderr=output, env={**os.environ, **environment})
    process = psutil.Process(one.pid)
    process.cpu_affinity([core])
    try:
        _wait_until_it_listens(port, one, log)
        token = authorise(log.read_bytes())
        message = {"role": "user", "content": "What is 2 + 2?"}
        body = {"model": model, "messages": [message], "max_tokens": 64}
        if is_asked:
            post(port, "/v1/chat/completions", token, body)
        times = process.cpu_times()
        start_s = time.perf_counter() - before_s
        yield Served(name, port, token, model, process, start_s, times.user + times.system)
    finally:
        one.terminate()
        try:
            one.wait(20)
        except subprocess.TimeoutExpired:
            one.kill()
            one.wait()
        log.unlink()


def post(port: int, path: str, token: str, body: object) -> dict[str, str]:
    """The answer to a request."""
    headers = {"content-type": "application/json", "authorization": f"Bearer {token}"}
    url = f"http://127.0.0.1:{port}{path}"
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return dict(json.load(answer))


def free_port() -> int:
    """A port that nothing listens on now."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def _wait_until_it_listens(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    limit_s = time.monotonic() + _PATIENCE_S
    while time.monotonic() < limit_s and process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/live", timeout=5):
                return
        except URLError as exc:
            if hasattr(exc, "code"):  # it answers, if only that there is no such page
                return
        except OSError:
            pass
        time.sleep(0.02)
    raise SystemExit(f"{process.args!r} does not answer: {log.read_text()[-2000:]}")
