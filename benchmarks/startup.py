"""How long the package, its client and its help take to start, beside httpx: `python benchmarks/startup.py`.

Each command runs in a process of its own, one after another in turn, so that all meet the same load. CPU time
(user and system) is the least of all rounds: a busy machine only adds to it.
"""

import platform
import resource
import subprocess
import sys
import time

N_ROUNDS = 10
CLIENT_GATE = 1.6
NOTHING, HTTPX, CLIENT = "python, nothing", "import httpx", "import workbench.client"
COMMANDS = {
    NOTHING: ["-c", "pass"],
    "import workbench": ["-c", "import workbench"],
    HTTPX: ["-c", "import httpx"],
    CLIENT: ["-c", "import workbench.client"],
    "workbench --help": ["-m", "workbench", "--help"],
}


def main() -> None:
    rounds = [{name: run(arguments) for name, arguments in COMMANDS.items()} for _ in range(1 + N_ROUNDS)]
    warm = rounds[1:]  # the first round compiles what is not compiled yet
    print(f"Python {platform.python_version()}, {platform.machine()}, {N_ROUNDS} rounds")
    print(f"{'':<23} {'wall, median':>13} {'CPU, least':>13}")
    least_s = {name: min(one[name][1] for one in warm) for name in COMMANDS}
    for name in COMMANDS:
        wall_s = sorted(one[name][0] for one in warm)[N_ROUNDS // 2]
        print(f"{name:<23} {wall_s:>11.3f} s {least_s[name]:>11.3f} s")
    ratio = (least_s[CLIENT] - least_s[NOTHING]) / (least_s[HTTPX] - least_s[NOTHING])
    print(f"CPU of {CLIENT} / {HTTPX}, without the interpreter's: {ratio:.2f} (<= {CLIENT_GATE})")


def run(arguments: list[str]) -> tuple[float, float]:
    """Seconds of wall and of CPU that the command took."""
    started_s, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - started_s, cpu_s


if __name__ == "__main__":
    main()
