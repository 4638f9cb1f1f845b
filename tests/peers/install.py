"""Install the independent servers and clients of `tests/peers` into `.peers/`: `make peers`.

Each is pinned with its hashes, and lives apart: nothing of it enters the workbench's environment. Without
Node there are no aimock and no TypeScript, and their tests say that they were skipped; with `CI` set that is
an error.
"""

import hashlib
import os
import runpy
import shutil
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PEERS = ROOT / ".peers"
AIMOCK, LITELLM, TYPESCRIPT = PEERS / "aimock", PEERS / "litellm", PEERS / "typescript"
STAMP = PEERS / "installed.sha256"


def main() -> int:
    wanted = fingerprint()
    if STAMP.is_file() and STAMP.read_text() == wanted:
        return 0
    started_s = time.monotonic()
    PEERS.mkdir(exist_ok=True)
    install_litellm()
    has_npm = install_packages(HERE, AIMOCK) and install_packages(HERE / "typescript", TYPESCRIPT)
    STAMP.write_text(wanted)
    say(f"ready in {time.monotonic() - started_s:.0f} s")
    return 0 if has_npm or not os.environ.get("CI") else 1


def fingerprint() -> str:
    """What is installed: change any of it, or install Node, and all is installed anew."""
    digest = hashlib.sha256(f"{sys.version} {shutil.which('npm')}".encode())
    for name in ("package-lock.json", "typescript/package-lock.json", "litellm.txt", "install.py"):
        digest.update((HERE / name).read_bytes())
    return digest.hexdigest()


def install_litellm() -> None:
    settings = runpy.run_path(str(ROOT / "bootstrap.py"))["uv_settings"]()
    environment = {**os.environ, **settings}
    uv = [sys.executable, "-m", "uv", "--no-progress"]
    run([*uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(LITELLM)], environment)
    python = LITELLM / ("Scripts" if os.name == "nt" else "bin") / "python"
    install = [*uv, "pip", "install", "--quiet", "--require-hashes", "--python", str(python)]
    run([*install, "-r", str(HERE / "litellm.txt")], environment)


def install_packages(source: Path, folder: Path) -> bool:
    """What the lock file in `source` lists, into `folder`; False: there is no npm."""
    npm = shutil.which("npm")
    if npm is None:
        say(f"no npm here, so no {folder.name}: its tests will be skipped")
        return False
    folder.mkdir(exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copyfile(source / name, folder / name)
    options = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    run([npm, "ci", "--prefix", str(folder), *options], dict(os.environ))
    return True


def run(command: list[str], environment: dict[str, str]) -> None:
    if subprocess.run(command, env=environment, check=False).returncode:
        raise SystemExit(f"this failed, for the reason above: {' '.join(command)}")


def say(text: str) -> None:
    sys.stdout.write(f"[peers] {text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
