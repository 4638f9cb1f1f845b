"""What the Dockerfile does, without Docker: python benchmarks/deployment.py [USER]

Copies what it copies into an empty folder, runs its `pip install` in a new environment, and there starts the
server as USER (default: nobody; root only can), asks whether it lives, and stops it with SIGTERM.
"""

import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from urllib.error import URLError

ROOT = Path(__file__).resolve().parents[1]
_PATIENCE_S = 120.0


def main() -> None:
    user = sys.argv[1] if len(sys.argv) > 1 else "nobody"
    steps = (ROOT / "deploy/Dockerfile").read_text()
    with tempfile.TemporaryDirectory(prefix="workbench-image-") as folder:
        build, environment = Path(folder) / "build", Path(folder) / "environment"
        home = Path(folder) / "home"
        for made in (build, home):
            made.mkdir()
        Path(folder).chmod(0o755)
        copy(steps, build)
        python = install(steps, build, environment)
        shutil.rmtree(build)  # the second stage has the environment alone
        uid = pwd.getpwnam(user).pw_uid
        if os.getuid() == 0:
            os.chown(home, uid, -1)
        serve(python, home, user)


def copy(steps: str, build: Path) -> None:
    """The build stage's COPY lines."""
    stage = steps.split("\nFROM ")[1]
    for line in re.findall(r"^COPY (.+)$", stage, re.MULTILINE):
        *names, target = line.split()
        for name in names:
            place = build / target / (name if target in (".", "./") else "")
            if (ROOT / name).is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(ROOT / name, build / target, ignore=ignored, dirs_exist_ok=True)
            else:
                shutil.copy(ROOT / name, place)


def install(steps: str, build: Path, environment: Path) -> Path:
    """The build stage's `pip install`; the interpreter that it made."""
    command = re.search(r"bin/pip (install .+)$", steps, re.MULTILINE)
    assert command is not None
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    python = environment / "bin/python"
    arguments = [part.strip("'") for part in command[1].split()]
    started_s = time.monotonic()
    subprocess.run([python, "-m", "pip", "-q", *arguments], cwd=build, check=True)
    print(f"installed in {time.monotonic() - started_s:.0f} s")
    return python


def serve(python: Path, home: Path, user: str) -> None:
    """Start, ask, stop."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    workbench = [str(python.with_name("workbench")), "serve", "--port", str(port)]
    command = ["runuser", "-u", user, "--", *workbench] if os.getuid() == 0 else workbench
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1"}
    with subprocess.Popen(command, cwd=home, env=environment) as process:
        try:
            wait_until_it_lives(f"http://127.0.0.1:{port}/health/live", process)
            pid = pid_of(process.pid)
            owner = pwd.getpwuid(Path(f"/proc/{pid}").stat().st_uid).pw_name
            print(f"answers /health/live, as {owner}")
            os.kill(pid, signal.SIGTERM)
            code = process.wait(30)
        finally:
            process.kill()
    print(f"stopped on SIGTERM, exit status {code}")


def pid_of(pid: int) -> int:
    """The server's process: `runuser` waits for it."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(children[0]) if children else pid


def wait_until_it_lives(url: str, process: "subprocess.Popen[bytes]") -> None:
    limit_s = time.monotonic() + _PATIENCE_S
    while time.monotonic() < limit_s and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                assert answer.status == 200
                return
        except (URLError, OSError):
            time.sleep(0.1)
    raise SystemExit(f"{url} did not answer")


if __name__ == "__main__":
    main()
