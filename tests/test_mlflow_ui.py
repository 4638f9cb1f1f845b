"""The real MLflow server on a store that has an experiment: over HTTP, and as a reader sees it."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from workbench import outcomes
from workbench.errors import ConfigError
from workbench.experiment.analysis import Analysis, ArmSummary, Comparison
from workbench.routing.baselines import Fixed
from workbench.server.alias import version_at
from workbench.server.registered import load_here
from workbench.server.targets import Target
from workbench.settings import Settings
from workbench.stats.estimate import Estimate

tracking = pytest.importorskip("workbench.tracking", reason="the extra 'tracking' is not installed")
psutil = pytest.importorskip("psutil", reason="the extra 'notebooks' is not installed")
from workbench.tracking.store import connected  # noqa: E402
from workbench.tracking.views import arms_page, arms_pages  # noqa: E402

pytestmark = [pytest.mark.browser, pytest.mark.slow]
CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
QUESTION = "Is large better than small on arithmetic?"
ANALYSIS = Analysis(
    question=QUESTION,
    metric="quality",
    alpha=0.05,
    control="small",
    arms=(
        ArmSummary("small", 120, 120, 1, Estimate(0.512, 0.423, 0.6), 0.12, 0.014, 0.31, 0.84),
        ArmSummary("large", 120, 120, 0, Estimate(0.637, 0.55, 0.72), 1.2, 0.144, 0.52, 0.93),
    ),
    comparisons=(
        Comparison(
            "large", "small", 120, Estimate(0.125, 0.031, 0.187), 0.01, 0.02, 0.012, Estimate(10, 9.1, 11),
            "better", "large is better than small by 12.5 points (3.1 to 18.7), and costs 10.0 times as much",
        ),
    ),
)  # fmt: skip


def run_folder(path: Path) -> Path:
    path.mkdir(parents=True)
    (path / "report.html").write_text(f"<h1>{QUESTION}</h1>")
    outcomes.write(table(), path / "outcomes.parquet")
    return path


def table() -> pd.DataFrame:
    rows = [
        {"prompt_id": f"p{i}", "arm": arm, "quality": 0.5} for i in range(120) for arm in ("small", "large")
    ]
    return outcomes.validate(pd.DataFrame(rows))


def log(folder: Path, uri: str) -> Any:
    return tracking.log_experiment(
        folder, name="sizes", question=QUESTION, params={"seed": 1}, analysis=ANALYSIS, table=table(), uri=uri
    )


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    uri = tracking.store_uri(Settings(tracking_uri=f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db"))
    log(run_folder(tmp_path_factory.mktemp("runs") / "sizes"), uri)
    return str(uri)


@pytest.fixture(scope="module")
def url(store: str) -> Iterator[str]:
    with tracking.open_ui(store, port=free_port()) as ui:
        yield ui.url
    with socket.socket() as probe:  # the server and its workers are gone
        assert probe.connect_ex(("127.0.0.1", int(ui.url.rpartition(":")[2]))) != 0


@pytest.fixture(scope="module")
def page(url: str) -> Iterator[Any]:
    if not Path(CHROMIUM).exists():
        if os.environ.get("CI") == "true":
            pytest.fail("chromium is not installed; apt-get install chromium")
        pytest.skip("chromium is not installed")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1600, "height": 1000})
        page.set_default_timeout(30_000)
        yield page
        browser.close()


def descendants(process: "subprocess.Popen[bytes]", *, at_least: int) -> list[Any]:
    """The processes below `process`, as soon as there are so many."""
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        found = psutil.Process(process.pid).children(recursive=True)
        if len(found) >= at_least:
            return list(found)
        time.sleep(0.1)
    return pytest.fail(f"there were not {at_least} processes within three minutes")


def open_run(page: Any, url: str) -> None:
    """The page of the run, by way of the table of runs."""
    page.goto(f"{url}/#/experiments/1/runs")
    page.get_by_role("link", name=re.compile(r"^\d{4}-\d\d-\d\d")).first.click()
    page.get_by_text("Child runs").first.wait_for()


def test_a_run_can_be_logged_through_a_server_with_its_artifacts(url: str, tmp_path: Path) -> None:
    run = log(run_folder(tmp_path / "runs" / "remote"), url)
    with connected(url) as client:
        assert {a.path for a in client.list_artifacts(run.run_id)} == {"report.html", "outcomes.parquet"}
    assert (
        run.url_hint
        == f"{url}/#/experiments/{run.experiment_id}/runs/{run.run_id}?workflowType=machine_learning"
    )


def test_the_arms_are_listed_below_their_run(page: Any, url: str, tmp_path: Path) -> None:
    page.goto(f"{url}/#/experiments/1/runs")
    page.locator("[data-component-id*=runnamecellrenderer]").first.click()
    for arm in ("small", "large"):
        page.get_by_role("link", name=arm, exact=True).first.wait_for()
    page.screenshot(path=tmp_path / "runs.png")


def test_the_page_of_a_run_tells_the_verdict_and_links_its_arms(page: Any, url: str, tmp_path: Path) -> None:
    open_run(page, url)
    page.get_by_text("large is better than small by 12.5 points").first.wait_for()
    for arm in ("small", "large"):
        page.get_by_role("link", name=arm, exact=True).first.wait_for()
    page.screenshot(path=tmp_path / "run.png")


def test_the_page_of_an_arm_shows_its_interval(page: Any, url: str, tmp_path: Path) -> None:
    open_run(page, url)
    page.get_by_role("link", name="large", exact=True).first.click()
    for metric in ("quality_low", "quality_high", "difference_points"):
        page.get_by_role("link", name=metric, exact=True).first.wait_for()
    page.screenshot(path=tmp_path / "arm.png")


def test_the_report_is_among_the_artifacts(page: Any, url: str, tmp_path: Path) -> None:
    open_run(page, url)
    page.get_by_text("Artifacts").first.click()
    page.get_by_text("report.html").first.click()
    page.frame_locator("iframe").get_by_role("heading", name=QUESTION).wait_for()
    page.screenshot(path=tmp_path / "artifacts.png")


def test_the_server_ends_with_the_command_that_started_it(store: str) -> None:
    command = [sys.executable, "-m", "workbench", "ui", "--port", str(free_port())]
    with subprocess.Popen(
        command, env=os.environ | {"WORKBENCH_TRACKING_URI": store}, stdout=subprocess.DEVNULL
    ) as process:
        try:
            children = descendants(process, at_least=3)  # a shell, the server and its worker
            process.send_signal(signal.SIGTERM)
            process.wait(10)
        finally:
            process.kill()
    _, alive = psutil.wait_procs(children, timeout=10)
    assert not alive


def test_the_arms_view_is_a_table_with_numbers_the_best_first(page: Any, url: str, tmp_path: Path) -> None:
    with connected(url) as client:
        experiment_id = client.get_experiment_by_name("sizes").experiment_id
    page.goto(arms_page(url, experiment_id))
    page.get_by_role("link", name="large", exact=True).first.wait_for()
    shown = page.inner_text("body")
    assert shown.index("large") < shown.index("small")
    for text in ("difference_points_low", "usd_per_1k_prompts", "12.5", "0.637"):
        assert text in shown
    page.screenshot(path=tmp_path / "arms.png")


def test_the_command_that_opens_the_pages_knows_the_experiments(store: str) -> None:
    with connected(store) as client:
        pages = arms_pages(client, "http://127.0.0.1:1")
    assert list(pages) == ["sizes"]
    assert pages["sizes"].startswith("http://127.0.0.1:1/#/experiments/1/runs?workflowType=machine_learning&")


def test_a_router_is_registered_through_the_server_and_found_by_its_alias(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKBENCH_TRACKING_URI", url)
    for number, model_id in enumerate(("sim/a", "sim/b"), start=1):
        card = tracking.ModelCard("routers", {}, {}, ["2 + 2?"], candidates=("sim/a", "sim/b"))
        made = tracking.register(tracking.log_router(Fixed(model_id), card, uri=url), "fleet", uri=url)
        assert made.version == number
    target = load_here("router:fleet@champion")
    assert target == Target(Fixed("sim/a"), ("sim/a", "sim/b"), "router:fleet/1")
    tracking.promote("fleet", uri=url)
    assert version_at("router:fleet", url) == load_here("router:fleet", target).version == "router:fleet/2"
    with pytest.raises(ConfigError, match="no version of router 'fleet' has the alias 'challenger' now"):
        version_at("router:fleet@challenger", url)
