"""What a request through the server costs, and how it stands load.

    python benchmarks/server.py [start cpu streams long faults] [--rounds N] [--requests N] [--json]

Ours authenticates, routes by a trained controller (no sentence embedding), keeps a ledger, counts for
Prometheus and writes an outcome for each request. Beside it a bare pass-through, and litellm's proxy where
`make peers` has installed it. Each server has one worker on one core; callers and upstream are on the other.
Servers take turns, so that all meet the same load of the machine: the ratios count, and each is a median.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from served import LITELLM, Served, bare, litellm, ours, train
from server_load import BROKEN_OFF

from client import Gate, Report, cores, load, machine, median, print_report, process, server

HERE = Path(__file__).parent
PARTS = ("start", "cpu", "streams", "long", "faults")
N_CALLS = {1: 300, 50: 1_500, 200: 2_000}
N_CALLS_OF_LITELLM = {1: 50, 50: 150, 200: 200}
N_STREAMS, N_CHUNKS, BREAKS_EVERY = 1_000, 20, 10
KEPT_S = 40.0
"""How long idle connections to providers may be kept."""
N_FAULTS = 3_000
RATIO_GATE, START_GATE_S, MEMORY_GATE_MIB, GROWTH_GATE_MIB = 3.0, 2.0, 110.0, 64.0


class Callers:
    """The process that asks."""

    def __init__(self, one: "subprocess.Popen[str]") -> None:
        self._process = one

    def ask(self, served: Served, *, n: int, concurrency: int, is_streamed: bool = False) -> dict[str, Any]:
        """What came of `n` requests, and the server's CPU seconds."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        command = {"port": served.port, "token": served.token, "model": served.model}
        command |= {"n": n, "concurrency": concurrency, "is_streamed": is_streamed}
        before_s = served.cpu_s
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        measured = dict(json.loads(self._process.stdout.readline()))
        return {**measured, "cpu_us": 1e6 * (served.cpu_s - before_s) / n}


@contextmanager
def callers() -> Iterator[Callers]:
    """Callers on the last core."""
    with process(sys.executable, HERE / "server_load.py", core=-1) as one:
        yield Callers(one)


class Bench:
    """What every part needs: where the servers are started, and what they are asked by."""

    def __init__(self, folder: Path, upstream: str, callers: Callers, report: Report) -> None:
        self.folder, self.upstream, self.callers, self.report = folder, upstream, callers, report
        self.core = cores()[0]
        self.checkpoint = train(folder)

    def ours(self, *paths: str, is_asked: bool = True) -> AbstractContextManager[Served]:
        """Our server before three providers, each at a path of the upstream."""
        urls = [f"{self.upstream}/{path}" for path in paths]
        return ours(self.folder / "ours", self.checkpoint, urls, core=self.core, is_asked=is_asked)


def measure_start(bench: Bench, *, n_rounds: int) -> None:
    """From nothing to the first routed answer; the first start makes the database, and does not count."""
    starts = []
    for _ in range(1 + n_rounds):
        with bench.ours("whole", "whole", "whole") as one:
            starts.append((one.start_s, one.start_cpu_s, one.rss_mib))
    wall_s, cpu_s, rss_mib = (min(column) for column in zip(*starts[1:], strict=True))
    bench.report.add("start, least", server="workbench", wall_s=wall_s, cpu_s=cpu_s, rss_mib=rss_mib)
    bench.report.gates.append(Gate("CPU seconds to the first answer", cpu_s, START_GATE_S))
    bench.report.gates.append(Gate("MiB after the first answer", rss_mib, MEMORY_GATE_MIB))


def measure_cpu(bench: Bench, *, n_rounds: int) -> None:
    """CPU, latency and throughput, server by server in turn."""
    with ExitStack() as stack:
        whole = f"{bench.upstream}/whole"
        servers = [stack.enter_context(bare(whole, core=bench.core))]
        servers.append(stack.enter_context(bench.ours("whole", "whole", "whole")))
        if LITELLM.exists():
            servers.append(stack.enter_context(litellm(bench.folder, whole, core=bench.core)))
        for concurrency in N_CALLS:
            # The first round warms connections and caches.
            rounds = [
                {one.name: asked(bench, one, concurrency, number == 0) for one in servers}
                for number in range(1 + n_rounds)
            ]
            tabulate(bench.report, concurrency, rounds[1:])
        for one in servers:
            bench.report.add("memory", server=one.name, rss_mib=one.rss_mib, start_s=one.start_s)


def asked(bench: Bench, one: Served, concurrency: int, is_warm_up: bool) -> dict[str, Any]:
    n = (N_CALLS_OF_LITELLM if one.name == "litellm" else N_CALLS)[concurrency]
    return bench.callers.ask(one, n=min(n, 200) if is_warm_up else n, concurrency=concurrency)


def tabulate(report: Report, concurrency: int, rounds: list[dict[str, dict[str, Any]]]) -> None:
    """Medians over the rounds."""
    for name in rounds[0]:
        mine = [one[name] for one in rounds]
        ratio = median(one[name]["cpu_us"] / one["bare"]["cpu_us"] for one in rounds)
        report.add(
            f"a request, {concurrency} at a time",
            server=name,
            cpu_us=median(one["cpu_us"] for one in mine),
            ratio_to_bare=ratio,
            per_s=median(one["n"] / one["wall_s"] for one in mine),
            p50_ms=median(one["p50_ms"] for one in mine),
            p95_ms=median(one["p95_ms"] for one in mine),
            n_errors=sum(one["n_errors"] for one in mine),
        )
        if name == "workbench":
            report.gates.append(Gate(f"CPU of a request, {concurrency} at a time / bare", ratio, RATIO_GATE))


def measure_streams(bench: Bench) -> None:
    """Streams that are all open before the first piece comes."""
    path = f"c{N_CHUNKS}g1b{N_STREAMS}"
    with bench.ours(path, path, path, is_asked=False) as one:
        found = bench.callers.ask(one, n=N_STREAMS, concurrency=N_STREAMS, is_streamed=True)
        shown = {name: found[name] for name in ("wall_s", "p95_ms", "n_errors")}
        bench.report.add(f"{N_STREAMS} streams at once", **shown, rss_mib=one.rss_mib)
    bench.report.gates.append(Gate(f"errors in {N_STREAMS} streams", found["n_errors"], 0))
    path += f"r{BREAKS_EVERY}"
    with bench.ours(path, path, path, is_asked=False) as one:
        n_before = 1 + one.n_descriptors  # the file of the journal comes with the first row
        found = bench.callers.ask(one, n=N_STREAMS, concurrency=N_STREAMS, is_streamed=True)
        limit_s = time.monotonic() + KEPT_S
        while one.n_descriptors > n_before and time.monotonic() < limit_s:
            time.sleep(0.1)
        n_more = max(0, one.n_descriptors - n_before)
    n_told = found["statuses"].get(str(BROKEN_OFF), 0)
    n_whole, n_broken = N_STREAMS - found["n_errors"], N_STREAMS // BREAKS_EVERY
    what = f"{N_STREAMS} streams at once, one in {BREAKS_EVERY} broken off upstream"
    bench.report.add(what, n_whole=n_whole, n_told=n_told, n_descriptors_more=n_more)
    n_wrong = abs(n_whole + n_broken - N_STREAMS) + abs(n_told - n_broken)
    bench.report.gates.append(Gate("streams neither whole nor told that they broke off", n_wrong, 0))
    bench.report.gates.append(Gate("descriptors more after them", n_more, 0))


def measure_long(bench: Bench, *, n_requests: int) -> None:
    """Memory and descriptors in ten parts of many requests, of which the first one warms up.

    Kept connections come and go: descriptors have grown where there are never as few again as there were.
    """
    n_errors, n_part = 0, n_requests // 10
    rss_mib, n_descriptors = list[float](), list[int]()
    with bench.ours("whole", "whole", "whole") as one:
        for number in range(10):
            found = bench.callers.ask(one, n=n_part, concurrency=50)
            n_errors += found["n_errors"]
            bench.report.add(
                f"{n_requests} requests",
                n_done=(1 + number) * n_part,
                rss_mib=one.rss_mib,
                n_descriptors=one.n_descriptors,
                per_s=n_part / found["wall_s"],
                n_errors=found["n_errors"],
            )
            rss_mib.append(one.rss_mib)
            n_descriptors.append(one.n_descriptors)
    grown = rss_mib[-1] - rss_mib[0]
    n_more = max(0, min(n_descriptors[5:]) - max(n_descriptors[:5]))
    bench.report.gates.append(Gate(f"MiB more after {n_requests} requests", grown, GROWTH_GATE_MIB))
    bench.report.gates.append(Gate(f"descriptors more after {n_requests} requests", n_more, 0))
    bench.report.gates.append(Gate(f"errors in {n_requests} requests", n_errors, 0))


def measure_faults(bench: Bench) -> None:
    """One provider is down, a tenth of another's calls fail: how many callers see an error."""
    with bench.ours("down", "f10", "whole") as one:
        found = bench.callers.ask(one, n=N_FAULTS, concurrency=20)
    share = 100.0 * found["n_errors"] / N_FAULTS
    bench.report.add("one of three providers down, another failing one in ten", percent_of_errors=share)
    bench.report.gates.append(Gate("% of callers that see an error", share, 1.0))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="part", default=[], help=f"some of {', '.join(PARTS)}")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=200_000, help="of the part `long`")
    parser.add_argument("--json", action="store_true", help="everything as one JSON object")
    arguments = parser.parse_args()
    parts = arguments.parts or PARTS
    if unknown := set(parts) - set(PARTS):
        parser.error(f"there is no part {', '.join(sorted(unknown))}")
    report = Report(machine())
    with tempfile.TemporaryDirectory() as folder, server() as upstream, callers() as asking:
        bench = Bench(Path(folder), upstream, asking, report)
        if "start" in parts:
            measure_start(bench, n_rounds=arguments.rounds)
        if "cpu" in parts:
            measure_cpu(bench, n_rounds=arguments.rounds)
        if "streams" in parts:
            measure_streams(bench)
        if "long" in parts:
            measure_long(bench, n_requests=arguments.requests)
        if "faults" in parts:
            measure_faults(bench)
    report.machine["load after"] = load()
    if arguments.json:
        print(json.dumps(asdict(report)))
    else:
        print_report(report)
    sys.exit(any(not gate.is_met for gate in report.gates))


if __name__ == "__main__":
    main()
