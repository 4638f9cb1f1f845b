"""What MLflow's pages show first of an experiment: its arms as a table with their numbers, the best on top.

MLflow 3 opens every experiment on its pages for traces of agents, and its runs table without a metric. No
tag of an experiment changes that; an address with `workflowType` does, and a saved view names the columns.
A saved view is an experiment tag whose content is that of MLflow 3.17, and is offered under "Views" there.
"""

import json
import time

from mlflow import MlflowClient

_KEY = "workbench-arms"
_TAG = f"mlflow.sharedViewState.{_KEY}"
_WIDTHS_PX = {
    "tags.`finding`": 95,
    "metrics.`quality`": 95,
    "metrics.`difference_points`": 130,
    "metrics.`difference_points_low`": 145,
    "metrics.`difference_points_high`": 150,
    "metrics.`usd_per_1k_prompts`": 150,
    "metrics.`latency_p50_s`": 115,
    "metrics.`n_errors`": 90,
}
_STATE = {  # every field is needed: the page breaks without one
    "searchFilter": "tags.arm LIKE '%'",
    "orderByKey": "metrics.`quality`",
    "orderByAsc": False,
    "startTime": "ALL",
    "lifecycleFilter": "Active",
    "datasetsFilter": [],
    "modelVersionFilter": "All Runs",
    "selectedColumns": list(_WIDTHS_PX),
    "columnOrder": list(_WIDTHS_PX),
    "columnWidths": _WIDTHS_PX,
    "runsHiddenMode": "FIRST_10_RUNS",
    "viewMaximized": False,
    "runListHidden": False,
    "isAccordionReordered": False,
    "useGroupedValuesInCharts": True,
    "hideEmptyCharts": True,
    "groupBy": None,
    "groupsExpanded": {},
    "globalLineChartConfig": {"xAxisKey": "step", "lineSmoothness": 0, "selectedXAxisMetricKey": ""},
}


def save_view(client: MlflowClient, experiment_id: str) -> None:
    """Keep the view "Arms" with the experiment, unless it has it."""
    if _TAG in client.get_experiment(experiment_id).tags:
        return
    now_ms = int(time.time() * 1000)
    view = {"name": "Arms", "createdAt": now_ms, "updatedAt": now_ms, "state": json.dumps(_STATE)}
    client.set_experiment_tag(experiment_id, _TAG, json.dumps(view))


def arms_page(url: str, experiment_id: str) -> str:
    """The address of the view "Arms" on the server at `url`."""
    page = f"{url.rstrip('/')}/#/experiments/{experiment_id}/runs"
    return f"{page}?workflowType=machine_learning&viewStateShareKey={_KEY}"


def run_page(url: str, experiment_id: str, run_id: str) -> str:
    """The address of a run on the server at `url`."""
    return f"{url.rstrip('/')}/#/experiments/{experiment_id}/runs/{run_id}?workflowType=machine_learning"


def arms_pages(client: MlflowClient, url: str) -> dict[str, str]:
    """The addresses of the experiments that have the view, by name, the newest first."""
    return {
        str(experiment.name): arms_page(url, str(experiment.experiment_id))
        for experiment in client.search_experiments(order_by=["last_update_time DESC"])
        if _TAG in experiment.tags
    }
