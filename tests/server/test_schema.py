"""The server keeps to its own OpenAPI document, whatever is sent."""

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "server_schema.py"


def test_a_hundred_requests_made_from_the_document_are_answered_as_it_says() -> None:
    command = [sys.executable, "-P", SCRIPT, "100"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no failure" in done.stdout
