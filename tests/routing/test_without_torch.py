"""Without torch everything routes but the controller, which says which extra it needs."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from workbench.routing import checkpoint
from workbench.routing.network import NetworkConfig
from workbench.routing.registry import fit
from workbench.routing.train import TrainConfig
from workbench.routing.training_data import TrainingData

WITHOUT_TORCH = """
import sys
from pathlib import Path

class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, NoTorch())
import pandas as pd
from workbench.errors import MissingExtraError
from workbench.routing import checkpoint, evaluate
from workbench.routing.registry import ROUTERS, fit
from workbench.routing.training_table import from_table
from workbench.types import Prompt

folder = Path(sys.argv[1])
data = from_table(pd.read_parquet(folder / "table.parquet"))
for kind in ROUTERS:
    try:
        router = fit(kind, data, **({"model_id": "acme/weak"} if kind == "fixed" else {}))
        checkpoint.save(router, folder / kind)
        chosen = checkpoint.load(folder / kind).route(Prompt("q", "solve this algebra"), data.model_ids)
        print(kind, chosen.model_id in data.model_ids)
    except MissingExtraError as exc:
        print(kind, exc.extra, exc)
saved = checkpoint.load(folder / "saved-controller")
print(saved.name, saved.route(Prompt("q", "solve this algebra"), data.model_ids).model_id in data.model_ids)
print("torch" in sys.modules)
"""


@pytest.mark.slow
def test_without_torch_what_is_fitted_routes_and_fitting_a_network_names_its_extra(
    table: pd.DataFrame, data: TrainingData, tmp_path: Path
) -> None:
    table.to_parquet(tmp_path / "table.parquet")
    quick = TrainConfig(n_parts=2, networks=NetworkConfig(max_epochs=1))
    checkpoint.save(fit("controller", data, config=quick), tmp_path / "saved-controller")
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    *lines, loaded, imported = done.stdout.splitlines()
    routed = [line for line in lines if line.endswith(" True")]
    refused = {line.split()[0]: line for line in lines if line not in routed}
    without = ("fixed", "random", "cheapest", "best_single", "no_information", "label_oracle", "knn")
    assert routed == [f"{kind} True" for kind in (*without, "clusters", "tfidf_lr")]
    assert list(refused) == ["mlp", "matrix_factorisation", "controller"]
    assert refused["mlp"].startswith("mlp torch fitting the perceptron needs the extra 'torch'")
    assert refused["controller"].startswith("controller torch the learned controller needs the extra 'torch'")
    assert loaded == "controller True"
    assert imported == "False"
