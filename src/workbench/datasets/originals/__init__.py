"""From the files of a source's repository to an outcome table: one converter a source."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd

from workbench.datasets.originals import omnisbench, routellm, routerbench, zeroeval
from workbench.datasets.recorded import Benchmark

Converter = Callable[[Benchmark, Path], pd.DataFrame]
"""(benchmark, folder with its original files) -> an outcome table with `arm` = `model`."""

CONVERTERS: Mapping[str, Converter] = {
    "routellm_pair": routellm.convert,
    "routerbench365": routerbench.convert,
    "zeroeval19": zeroeval.convert,
    "omnisbench_latency": omnisbench.convert,
}
"""Benchmark name -> its converter."""

__all__ = ["CONVERTERS", "Converter"]
