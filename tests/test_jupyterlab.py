"""The live panel as a person sees it: in JupyterLab, in a browser, while it runs and after it was saved."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

nbformat = pytest.importorskip("nbformat", reason="the extra 'notebooks' is not installed")
pytest.importorskip("jupyterlab", reason="the extra 'notebooks' is not installed")

pytestmark = [pytest.mark.browser, pytest.mark.slow]
CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
TOKEN = "only-for-this-test"
CELL = """
import asyncio
from workbench.experiment.progress import Progress, RunningComparison
from workbench.stats.estimate import Estimate
from workbench.widgets import ProgressPanel

with ProgressPanel("Is B worth $1 more, or $2?") as panel:
    for n in range(11):
        half = 0.4 / (n + 1)
        intervals = [Estimate(mean, mean - half, mean + half) for mean in (-0.1, 0.0, 0.1)]
        names = ["medium", "knn-router", "controller"]
        arms = [RunningComparison(name, "large", 10 * n, i) for name, i in zip(names, intervals)]
        panel(Progress(100 * n, 1000, 0, 0, 0.01 * n, 2.0, 0.3 * n, tuple(arms)))
        await asyncio.sleep(0.3)
"""
RUN_ALL = """async () => {
    const current = jupyterapp.shell.currentWidget;
    await current.sessionContext.ready;
    await current.sessionContext.session.kernel.info;
    jupyterapp.commands.execute('notebook:run-all-cells');
}"""
MOVED = """before => {
    const panel = document.querySelector('.jp-OutputArea-output .widget-html-content');
    return panel && panel.innerText !== before;
}"""


@pytest.fixture
def notebook(tmp_path: Path) -> Path:
    node = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL)])
    node.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    (tmp_path / "notebooks").mkdir()
    nbformat.write(node, tmp_path / "notebooks" / "panel.ipynb")
    return tmp_path / "notebooks" / "panel.ipynb"


@pytest.fixture
def lab(notebook: Path, tmp_path: Path) -> Iterator[str]:
    """The address of a JupyterLab that serves the notebook's folder and keeps its files to itself."""
    port = free_port()
    command = [
        sys.executable, "-m", "jupyter", "lab", "--no-browser", "--ip=127.0.0.1", f"--port={port}",
        "--ServerApp.port_retries=0", f"--IdentityProvider.token={TOKEN}", "--allow-root",
        f"--ServerApp.root_dir={notebook.parent}", "--LabApp.expose_app_in_browser=True",
    ]  # fmt: skip
    folders = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
    private = {name: str(tmp_path / name) for name in (*folders, "JUPYTERLAB_SETTINGS_DIR")}
    private["JUPYTERLAB_WORKSPACES_DIR"] = str(tmp_path / "workspaces")
    settings = tmp_path / "JUPYTERLAB_SETTINGS_DIR" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    (settings / "notification.jupyterlab-settings").write_text(
        '{"fetchNews": "false", "checkForUpdates": false}'
    )
    with (
        (tmp_path / "lab.log").open("wb") as log,
        subprocess.Popen(command, env=os.environ | private, stdout=log, stderr=log) as process,
    ):
        try:
            await_ready(f"http://127.0.0.1:{port}/api/status?token={TOKEN}")
            yield f"http://127.0.0.1:{port}/lab/tree/{notebook.name}?token={TOKEN}"
        finally:
            process.terminate()


@pytest.fixture
def page() -> Iterator[Any]:
    if not Path(CHROMIUM).exists():
        if os.environ.get("CI") == "true":
            pytest.fail("chromium is not installed; apt-get install chromium")
        pytest.skip("chromium is not installed")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 900, "height": 700})
        page.set_default_timeout(30_000)
        yield page
        browser.close()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def await_ready(url: str) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with suppress(OSError), urllib.request.urlopen(url, timeout=2):
            return
        time.sleep(0.1)
    pytest.fail(f"JupyterLab was not ready on {url}")


def n_lines(pre: Any) -> float:
    """How many lines high the element is drawn: more than its text has where they wrap."""
    height = "pre.getBoundingClientRect().height / parseFloat(getComputedStyle(pre).lineHeight)"
    return float(pre.evaluate(f"pre => {height}"))


def test_the_panel_moves_while_it_runs_and_is_there_in_the_saved_notebook(
    lab: str, page: Any, notebook: Path, tmp_path: Path
) -> None:
    page.goto(lab)
    page.wait_for_function("() => window.jupyterapp?.shell.currentWidget?.sessionContext")
    page.evaluate(RUN_ALL)
    panel = page.locator(".jp-OutputArea-output .widget-html-content")
    panel.get_by_text(re.compile("[1-9]00 of 1,000 calls")).wait_for()
    before = panel.inner_text()
    page.screenshot(path=tmp_path / "running.png")
    page.wait_for_function(MOVED, arg=before)
    assert "━●━" in before
    finished = page.locator(".jp-OutputArea-output.jp-RenderedHTMLCommon")
    finished.get_by_text(re.compile("1,000 of 1,000 calls .* took")).wait_for()
    page.screenshot(path=tmp_path / "end.png")
    assert "Is B worth $1 more, or $2?" in finished.inner_text()  # not taken for a formula
    assert n_lines(finished.locator("pre")) < 4.9  # a head and three arms, and none wraps
    page.evaluate("() => jupyterapp.commands.execute('docmanager:save')")
    saved = json.loads(notebook.read_text())["cells"][0]["outputs"]
    assert len(saved) == 1
    assert "1,000 of 1,000 calls" in "".join(saved[0]["data"]["text/html"])
    assert "widget" not in json.dumps(saved)
