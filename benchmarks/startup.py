"""How long the package and its help take to start, beside httpx: `python benchmarks/startup.py`.

Each command runs in a process of its own, one after another in turn, so that all meet the same load.
"""

import platform
import statistics
import subprocess
import sys
import time

N_ROUNDS = 10
COMMANDS = {
    "python, nothing": ["-c", "pass"],
    "import workbench": ["-c", "import workbench"],
    "import httpx": ["-c", "import httpx"],
    "workbench --help": ["-m", "workbench", "--help"],
}


def main() -> None:
    walls_s: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(1 + N_ROUNDS):
        for name, arguments in COMMANDS.items():
            walls_s[name].append(seconds_of([sys.executable, *arguments]))
    print(
        f"Python {platform.python_version()}, {platform.machine()}, median of {N_ROUNDS} (fastest to slowest)"
    )
    for name, measured_s in walls_s.items():
        warm_s = sorted(measured_s[1:])  # the first round compiles what is not compiled yet
        print(f"{name:<18} {statistics.median(warm_s):.3f} s ({warm_s[0]:.3f} to {warm_s[-1]:.3f})")


def seconds_of(command: list[str]) -> float:
    started_s = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started_s


if __name__ == "__main__":
    main()
