"""What a call costs, here and with other clients, and what the client does under load.

    python benchmarks/client.py [cpu import outage limits callbacks streams sequential] [--peer-python PATH]

Every client runs in a process of its own on one core, the server in another process on another core, and
clients take turns, so that all meet the same load of the machine: the ratios count, and each is a median
over the rounds. The figures of the server say that it was not what was waited for.

`openai` and `litellm` are no part of our environment: they are measured where `--peer-python` is the Python
of an environment that has them (`python -m venv /tmp/peers; /tmp/peers/bin/pip install openai litellm`).
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from load_server import TEXT

HERE = Path(__file__).parent
PARTS = ("cpu", "import", "outage", "limits", "callbacks", "streams", "sequential")
N_CALLS = {1: 200, 50: 500, 500: 1_000}
N_CHUNKS = 500
N_STREAMS, N_CHUNKS_OF_MANY = 1_000, 50
N_LIMITED, LIMIT, LATENCIES_MS, SLOTS = 400, 8, (20, 100), (16, 64)
N_STREAMS_WATCHED = 200
N_SEQUENTIAL, N_WARM = 20_000, 2_000
CPU_GATES = {1: 0.9, 50: 0.45, 500: 0.25}
CHUNK_GATE = 1.2
NO_SOCKETS = """
import sys
opened = []
sys.addaudithook(lambda event, _: opened.append(event) if event.startswith("socket.") else None)
import workbench.client
print(len(opened))
"""


@dataclass(frozen=True, slots=True)
class Gate:
    """A figure, and the most that it may be."""

    name: str
    value: float
    most: float

    @property
    def is_met(self) -> bool:
        return self.value <= self.most

    def __str__(self) -> str:
        return (
            f"{'met   ' if self.is_met else 'MISSED'}  {self.name:<52} {self.value:9.3f}  (<= {self.most:g})"
        )


@dataclass(slots=True)
class Report:
    """What one run found: `rows` of numbers by table, and the gates."""

    machine: dict[str, object] = field(default_factory=dict)
    rows: dict[str, list[dict[str, object]]] = field(default_factory=dict)
    gates: list[Gate] = field(default_factory=list)

    def add(self, table: str, **row: object) -> None:
        self.rows.setdefault(table, []).append(row)


class Worker:
    """A client in a process of its own."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def ask(self, **command: object) -> dict[str, Any]:
        """What it measured."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        return dict(json.loads(self._process.stdout.readline()))

    def whole(self, n: int, concurrency: int) -> dict[str, Any]:
        """`n` calls that are answered whole."""
        load = {"n": n, "concurrency": concurrency, "expected": len(TEXT)}
        return self.ask(do="whole", path="whole", load=load)

    def warm_whole(self, n: int, concurrency: int) -> dict[str, Any]:
        """The same, after calls that do not count: while others had their turn, connections were closed."""
        self.whole(concurrency, concurrency)
        return self.whole(n, concurrency)

    def streams(self, n: int, *, n_chunks: int, gap_ms: int = 0, n_held: int = 0) -> dict[str, Any]:
        """`n` streams at once, of `n_chunks` chunks each; none begins before `n_held` are open."""
        load = {"n": n, "concurrency": n, "expected": n_chunks}
        return self.ask(do="stream", path=f"c{n_chunks}g{gap_ms}b{n_held}", load=load)


@contextmanager
def process(*command: object, core: int) -> "Iterator[subprocess.Popen[str]]":
    """A process on a core of its own, ended at the end."""
    pipe = subprocess.PIPE
    one = subprocess.Popen([str(part) for part in command], stdin=pipe, stdout=pipe, text=True)
    try:
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(one.pid, {cores()[core]})
        yield one
    finally:
        one.kill()
        one.communicate()


def cores() -> list[int]:
    """Those that may be used; with one alone, client and server share it, and throughput means little."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0, 0]


@contextmanager
def worker(name: str, url: str, python: str = sys.executable) -> Iterator[Worker]:
    """The client `name`, warm."""
    with process(python, HERE / "load_worker.py", name, url, core=0) as one:
        yield Worker(one)


def median(values: Iterable[float]) -> float:
    """By numpy: `import statistics` would find the benchmark beside this file."""
    return float(np.median(list(values)))


@contextmanager
def server() -> Iterator[str]:
    """The URL of a server on the last core."""
    with process(sys.executable, HERE / "load_server.py", core=-1) as one:
        assert one.stdout is not None
        yield f"http://127.0.0.1:{int(one.stdout.readline())}"


def server_stats(url: str) -> tuple[float, int]:
    """CPU seconds of the server so far, and requests that it has answered."""
    with urllib.request.urlopen(f"{url}/stats") as response:
        stats = json.load(response)
    return stats["cpu_s"], stats["n_answered"]


def watched(url: str, ask: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `ask` measured, and the CPU seconds that it cost the server."""
    before_s, _ = server_stats(url)
    measured = ask()
    after_s, _ = server_stats(url)
    return {**measured, "server_cpu_s": after_s - before_s}


def measure_cpu(url: str, report: Report, *, peer_python: str | None, n_rounds: int) -> None:
    """CPU of a call at three concurrencies, and of a chunk of a stream, client by client in turn."""
    pythons = dict.fromkeys(("httpx", "aiohttp", "workbench"), sys.executable)
    if peer_python is not None:
        pythons |= {name: peer_python for name in ("openai", "litellm") if can_import(peer_python, name)}
    with ExitStack() as stack:
        workers = {name: stack.enter_context(worker(name, url, python)) for name, python in pythons.items()}
        for one in workers.values():
            one.whole(50, 10)
            one.streams(1, n_chunks=10)
        for concurrency, n in N_CALLS.items():
            rounds = in_turn(url, workers, n_rounds, partial(Worker.warm_whole, n=n, concurrency=concurrency))
            tabulate(report, f"a call, {concurrency} at a time", rounds, most=CPU_GATES[concurrency])
        rounds = in_turn(url, workers, n_rounds, partial(Worker.streams, n=1, n_chunks=N_CHUNKS, gap_ms=1))
        tabulate(report, "a chunk of a stream", rounds, most=CHUNK_GATE, n_parts=N_CHUNKS)


Rounds = list[dict[str, dict[str, Any]]]
"""What each client measured, round by round."""


def in_turn(
    url: str, workers: Mapping[str, Worker], n_rounds: int, ask: Callable[[Worker], dict[str, Any]]
) -> Rounds:
    """`ask` every worker, one after the other, `n_rounds` times."""
    return [{name: watched(url, partial(ask, one)) for name, one in workers.items()} for _ in range(n_rounds)]


def tabulate(report: Report, what: str, rounds: Rounds, *, most: float, n_parts: int = 1) -> None:
    """One row a client: medians over the rounds; the ratio is the median of the ratios of each round."""
    for name, first in rounds[0].items():
        n = first["n"] * n_parts
        mine = [one[name] for one in rounds]
        ratio = median(one[name]["cpu_s"] / one["httpx"]["cpu_s"] for one in rounds)
        report.add(
            what,
            client=name,
            cpu_us=1e6 * median(one["cpu_s"] for one in mine) / n,
            ratio_to_httpx=ratio,
            per_s=n / median(one["wall_s"] for one in mine),
            server_us=1e6 * median(one["server_cpu_s"] for one in mine) / n,
            server_busy=median(one["server_cpu_s"] / one["wall_s"] for one in mine),
            n_errors=sum(one["n_errors"] for one in mine),
        )
        if name == "workbench":
            report.gates.append(Gate(f"CPU of {what} / raw httpx", ratio, most))


def measure_import(report: Report, *, n_rounds: int) -> None:
    """Seconds that an import takes in a fresh process, beside httpx in turn."""
    modules = ("httpx", "workbench.client")
    rounds = [{name: import_s(name) for name in modules} for _ in range(1 + n_rounds)][1:]
    for name in modules:
        report.add("import", module=name, seconds=median(one[name] for one in rounds))
    ratio = median(one["workbench.client"] / one["httpx"] for one in rounds)
    report.gates.append(Gate("import workbench.client / import httpx", ratio, 1.6))
    report.gates.append(Gate("sockets opened by the import", float(python_says(NO_SOCKETS)), 0))


def measure_outage(url: str, report: Report) -> None:
    """Fifteen calls of a model whose provider answers 503, with a fallback (RELIABILITY.md, row 60)."""
    with worker("workbench", url) as one:
        measured = one.ask(do="outage", n=15)
    p50_s = median(measured["latencies_s"])
    report.add(
        "outage of the first provider",
        p50_s=p50_s,
        slowest_s=max(measured["latencies_s"]),
        n_calls_reached=measured["n_reached"],
        n_requests_reached=measured["n_requests"],
    )
    report.gates.append(Gate("p50 of a call during an outage, s", p50_s, 0.05))
    report.gates.append(Gate("calls of 15 that reach what is down", measured["n_reached"], 3))


def measure_limits(url: str, report: Report, *, n_rounds: int) -> None:
    """A server that takes 8 at once, and a client that is not told so (RELIABILITY.md, row 65)."""
    table = f"{N_LIMITED} calls at once, of which {LIMIT} are taken"
    with worker("workbench", url) as one:
        for latency_ms in LATENCIES_MS:
            for n_slots in SLOTS:
                rounds = [limited_round(url, one, latency_ms, n_slots) for _ in range(n_rounds)]
                row = {name: median(each[name] for each in rounds) for name in rounds[0]}
                row["worst_ratio"] = min(each["ratio"] for each in rounds)
                row["most_at_once"] = max(each["most_at_once"] for each in rounds)
                row["n_lost"] = sum(each["n_lost"] for each in rounds)
                report.add(table, latency_ms=latency_ms, n_slots=n_slots, **row)
    rows = [{name: float(str(value)) for name, value in row.items()} for row in report.rows[table]]
    report.gates += [
        Gate("calls lost at a limit that was not told", sum(row["n_lost"] for row in rows), 0),
        Gate("most at once in the second half, of 8 taken", max(row["most_at_once"] for row in rows), 10),
        Gate("time / that of 8 known slots, worst median", max(1.0 / row["ratio"] for row in rows), 1.25),
    ]


def limited_round(url: str, one: Worker, latency_ms: int, n_slots: int) -> dict[str, float]:
    """The limit known, and then not: ratio of throughputs, and what the server saw of the second."""
    known, unknown = (
        one.ask(do="limited", path=f"l{LIMIT}m{latency_ms}", n=N_LIMITED, concurrency=concurrency)
        for concurrency in (LIMIT, n_slots)
    )
    with urllib.request.urlopen(f"{url}/levels") as response:
        levels = json.load(response)[known["n_requests"] :]
    return {
        "ratio": known["wall_s"] / unknown["wall_s"],
        "most_at_once": max(levels[len(levels) // 2 :]),
        "requests_a_call": unknown["n_requests"] / N_LIMITED,
        "n_lost": unknown["n_lost"],
    }


def measure_callbacks(url: str, report: Report, *, n_rounds: int) -> None:
    """The longest callback of the event loop beside 200 streams (RELIABILITY.md, row 128).

    The gate is on CPU time, as a busy machine stops a process in the middle of any callback.
    """
    path = f"c{N_CHUNKS_OF_MANY}g0b{N_STREAMS_WATCHED}"
    load = {"n": N_STREAMS_WATCHED, "concurrency": N_STREAMS_WATCHED, "expected": N_CHUNKS_OF_MANY}
    with worker("workbench", url) as one:
        one.streams(10, n_chunks=N_CHUNKS_OF_MANY)
        rounds = [one.ask(do="callbacks", path=path, load=load) for _ in range(n_rounds)]
    report.add(
        f"the longest callback, {N_STREAMS_WATCHED} streams",
        cpu_ms=1e3 * max(each["callback_cpu_s"] for each in rounds),
        median_cpu_ms=1e3 * median(each["callback_cpu_s"] for each in rounds),
        wall_ms=1e3 * max(each["callback_s"] for each in rounds),
        median_wall_ms=1e3 * median(each["callback_s"] for each in rounds),
        n_errors=sum(each["n_errors"] for each in rounds),
    )
    longest_ms = 1e3 * max(each["callback_cpu_s"] for each in rounds)
    report.gates.append(Gate("longest callback, 200 streams, CPU ms", longest_ms, 100))


def measure_streams(url: str, report: Report, *, n_rounds: int) -> None:
    """A thousand streams that begin together; fresh processes, so that memory is theirs."""
    rounds = [
        {name: thousand_streams(url, name) for name in ("aiohttp", "httpx", "workbench")}
        for _ in range(n_rounds)
    ]
    for name in rounds[0]:
        mine = [one[name] for one in rounds]
        report.add(
            f"{N_STREAMS} streams at once, {N_CHUNKS_OF_MANY} chunks each",
            client=name,
            wall_s=median(one["wall_s"] for one in mine),
            wall_to_aiohttp=median(one[name]["wall_s"] / one["aiohttp"]["wall_s"] for one in rounds),
            cpu_s=median(one["cpu_s"] for one in mine),
            server_cpu_s=median(one["server_cpu_s"] for one in mine),
            kib_a_stream=median(kib_a_stream(one) for one in mine),
            n_errors=sum(one["n_errors"] for one in mine),
        )
    ours = report.rows[f"{N_STREAMS} streams at once, {N_CHUNKS_OF_MANY} chunks each"][-1]
    report.gates += [
        Gate(f"errors in {N_STREAMS} streams", float(str(ours["n_errors"])), 0),
        Gate(f"wall of {N_STREAMS} streams / raw aiohttp", float(str(ours["wall_to_aiohttp"])), 2.5),
        Gate("KiB a stream", float(str(ours["kib_a_stream"])), 45),
    ]


def thousand_streams(url: str, name: str) -> dict[str, Any]:
    """One round of a client in a process of its own; raw httpx has room for 100 connections at once."""
    n_held = 100 if name == "httpx" else N_STREAMS
    with worker(name, url) as one:
        one.streams(10, n_chunks=N_CHUNKS_OF_MANY)
        return watched(url, lambda: one.streams(N_STREAMS, n_chunks=N_CHUNKS_OF_MANY, n_held=n_held))


def kib_a_stream(measured: Mapping[str, Any]) -> float:
    """The most memory that there was beyond what there was before, shared out."""
    return (float(measured["peak_kib"]) - float(measured["before_kib"])) / N_STREAMS


def measure_sequential(url: str, report: Report) -> None:
    """Calls one after another: nothing may grow once the client is warm."""
    with worker("workbench", url) as one:
        warm = one.whole(N_WARM, 1)
        measured = watched(url, lambda: one.whole(N_SEQUENTIAL, 1))
    grown_mb = (measured["after_kib"] - warm["after_kib"]) * 1024 / 1e6
    n_opened = measured["n_descriptors"] - warm["n_descriptors"]
    cpu_ms = 1e3 * measured["cpu_s"] / N_SEQUENTIAL
    report.add(
        f"{N_SEQUENTIAL} sequential calls",
        grown_mb=grown_mb,
        n_descriptors_more=n_opened,
        cpu_ms=cpu_ms,
        per_s=N_SEQUENTIAL / measured["wall_s"],
        server_busy=measured["server_cpu_s"] / measured["wall_s"],
        n_errors=measured["n_errors"],
    )
    report.gates += [
        Gate("memory after warm-up, MB more", grown_mb, 1.5),
        Gate("descriptors after warm-up, more", n_opened, 0),
        Gate("CPU of a sequential call, ms", cpu_ms, 1.0),
    ]


def can_import(python: str, module: str) -> bool:
    return (
        subprocess.run([python, "-c", f"import {module}"], capture_output=True, check=False).returncode == 0
    )


def import_s(module: str) -> float:
    clock = "time.perf_counter()"
    return float(python_says(f"import time; s = {clock}; import {module}; print({clock} - s)"))


def python_says(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


def print_report(report: Report) -> None:
    """Tables for people."""
    print(", ".join(f"{name} {value}" for name, value in report.machine.items()))
    for table, rows in report.rows.items():
        print(f"\n{table}\n" + "".join(f"{name:>19}" for name in rows[0]))
        for row in rows:
            print("".join(f"{shown(value):>19}" for value in row.values()))
    print()
    for gate in report.gates:
        print(gate)


def shown(value: object) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:.3f}" if value < 10 else f"{value:.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="part", default=[], help=f"some of {', '.join(PARTS)}")
    parser.add_argument("--peer-python", help="Python of an environment with openai and litellm")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="everything as one JSON object")
    arguments = parser.parse_args()
    parts = arguments.parts or PARTS
    if unknown := set(parts) - set(PARTS):
        parser.error(f"there is no part {', '.join(sorted(unknown))}")
    report = Report(machine())
    with server() as url:
        if "cpu" in parts:
            measure_cpu(url, report, peer_python=arguments.peer_python, n_rounds=arguments.rounds)
        if "import" in parts:
            measure_import(report, n_rounds=arguments.rounds)
        if "outage" in parts:
            measure_outage(url, report)
        if "limits" in parts:
            measure_limits(url, report, n_rounds=arguments.rounds)
        if "callbacks" in parts:
            measure_callbacks(url, report, n_rounds=arguments.rounds)
        if "streams" in parts:
            measure_streams(url, report, n_rounds=3)
        if "sequential" in parts:
            measure_sequential(url, report)
    report.machine["load after"] = load()
    if arguments.json:
        print(json.dumps(asdict(report)))
    else:
        print_report(report)
    sys.exit(any(not gate.is_met for gate in report.gates))


def machine() -> dict[str, object]:
    return {"Python": platform.python_version(), "cores": len(cores()), "load before": load()}


def load() -> str:
    return " ".join(f"{one:.2f}" for one in os.getloadavg())


if __name__ == "__main__":
    main()
