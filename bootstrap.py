"""Make `.venv` and install the workbench in it, exactly as pinned: `python3 bootstrap.py`.

With `--core` it makes `.venv-core`, which has no extra: `make core` tests there what works without them.

Standard library only, so that it runs on a bare Python. A second run sees that nothing changed and ends
at once. Every package but torch (whose CPU and CUDA builds differ) must have a hash that
`constraints.hashed.txt` lists. How pip is configured on this machine (an index, a folder of wheels, a
certificate) holds for uv too.
"""

import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent
IS_CORE = "--core" in sys.argv[1:]
VENV = ROOT / (".venv-core" if IS_CORE else ".venv")
PROJECT = str(ROOT) if IS_CORE else f"{ROOT}[all,dev]"
SCRIPTS = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = SCRIPTS / ("python.exe" if os.name == "nt" else "python")
STAMP = VENV / "workbench-installed.sha256"
CONSTRAINTS = ROOT / "constraints.hashed.txt"
TORCH = "torch==2.13.0"
OLDEST, NEWEST = (3, 11), (3, 13)


def main() -> int:
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        return rerun_with_another_python()
    wanted = fingerprint()
    if STAMP.is_file() and STAMP.read_text() == wanted and PYTHON.exists():
        return 0
    started_s = time.monotonic()
    say(f"making {VENV.name} with Python {sys.version.split()[0]}")
    run([sys.executable, "-m", "venv", "--clear", str(VENV)])
    say("installing uv, the installer")
    install_uv()
    environment = {**os.environ, **uv_settings(), "VIRTUAL_ENV": str(VENV)}
    backend = [] if IS_CORE else torch_backend(environment)
    build = "without extras" if IS_CORE else " ".join(backend) or "torch as your index has it"
    say(f"installing pinned packages, about {50 if IS_CORE else 200}, each checked by its hash ({build})")
    install(environment, backend)
    run([*uv(), "pip", "check", "--quiet"], environment)
    STAMP.write_text(wanted)
    say(f"ready in {time.monotonic() - started_s:.0f} s")
    return 0


def fingerprint() -> str:
    """What the environment depends on: change any of it and it is made anew."""
    digest = hashlib.sha256(sys.version.encode() + str(ROOT).encode())
    for path in (ROOT / "pyproject.toml", CONSTRAINTS, Path(__file__)):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def rerun_with_another_python() -> int:
    for minor in range(NEWEST[1], OLDEST[1] - 1, -1):
        python = shutil.which(f"python3.{minor}")
        if python and subprocess.run([python, "-c", ""], check=False, capture_output=True).returncode == 0:
            say(f"Python {sys.version.split()[0]} does not fit; using {python}")
            return subprocess.run([python, __file__, *sys.argv[1:]], check=False).returncode
    print(f"The workbench needs Python 3.{OLDEST[1]} to 3.{NEWEST[1]}; this is {sys.version.split()[0]}. "
          "Install one of them, or: make PYTHON=/path/to/python3.12 demo", file=sys.stderr)  # fmt: skip
    return 1


def install_uv() -> None:
    """Install the one uv that the constraints name, its hash checked by pip."""
    block = re.search(r"^uv==.*(\n    --hash.*)*", CONSTRAINTS.read_text(), re.MULTILINE)
    if block is None:
        raise SystemExit(f"{CONSTRAINTS.name} does not pin uv; write it again with: make lock")
    with tempfile.TemporaryDirectory() as folder:
        requirements = Path(folder) / "uv.txt"
        requirements.write_text(block.group())
        run([str(PYTHON), "-m", "pip", "install", "-qq", "--disable-pip-version-check", "--no-deps",
             "--require-hashes", "-r", str(requirements)])  # fmt: skip


def uv_settings() -> "dict[str, str]":
    """pip's own configuration, in uv's words; what is already set for uv stands."""
    listed = subprocess.run(
        [str(PYTHON), "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    )
    pip = {}
    for line in listed.stdout.splitlines():
        key, _, value = line.partition("=")
        pip[key.rpartition(".")[2]] = " ".join(shlex.split(value)).split()
    settings = {}
    for option, variable in (
        ("find-links", "UV_FIND_LINKS"),
        ("index-url", "UV_DEFAULT_INDEX"),
        ("cert", "SSL_CERT_FILE"),
    ):
        if pip.get(option):
            settings[variable] = " ".join(pip[option])
    extra = [index for index in pip.get("extra-index-url", []) if reachable(index)]
    if extra:
        settings["UV_INDEX"] = " ".join(extra)
        settings["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    return {variable: value for variable, value in settings.items() if variable not in os.environ}


def reachable(index: str) -> bool:
    """Whether an index on this disk exists; one on the network is taken at its word."""
    return not index.startswith("file://") or Path(index[len("file://") :]).is_dir()


def torch_backend(environment: "dict[str, str]") -> "list[str]":
    """Which build of torch to ask for: none where the configured index has a small one already."""
    if shutil.which("nvidia-smi"):
        return ["--torch-backend", "auto"]
    dry_run = [*uv(), "pip", "install", "--dry-run", TORCH]
    plan = subprocess.run(dry_run, env=environment, capture_output=True, text=True, check=False)
    return ["--torch-backend", "cpu"] if "nvidia-" in plan.stderr or plan.returncode else []


def install(environment: "dict[str, str]", backend: "list[str]") -> None:
    command = [*uv(), "pip", "install", "--quiet", "-c", str(CONSTRAINTS), "-e", PROJECT]
    if subprocess.run([*command, *backend], env=environment, check=False).returncode:
        if not backend:
            raise SystemExit("the installation failed; what uv said is above")
        say("that build of torch was not to be had; taking the one of the default index")
        run(command, environment)


def uv() -> "list[str]":
    return [str(PYTHON), "-m", "uv", "--no-progress"]


def run(command: "list[str]", environment: "dict[str, str] | None" = None) -> None:
    if subprocess.run(command, env=environment, check=False).returncode:
        raise SystemExit(f"this failed, for the reason above: {' '.join(command)}")


def say(text: str) -> None:
    print(f"[set-up] {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
