"""Effects of factors, against a regression by statsmodels with the prompts as blocks."""

import itertools

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf

from workbench.experiment.analyse import analyse

LEVELS = (("small", "large"), ("plain", "steps", "brief"))


def table(right: np.ndarray) -> pd.DataFrame:
    """Outcomes of two models with three templates; `right` is [prompts, 2, 3]."""
    rows = [
        {
            "prompt_id": f"p{n}",
            "arm": f"{model}/{template}",
            "quality": float(right[n, i, j]),
            "factor.model": model,
            "factor.template": template,
        }
        for n in range(len(right))
        for (i, model), (j, template) in itertools.product(*map(enumerate, LEVELS))
    ]
    return pd.DataFrame(rows)


def test_a_main_effect_and_an_interaction_are_those_of_a_regression() -> None:
    random = np.random.default_rng(3)
    ease = random.random((200, 1, 1)) * 0.3
    share = 0.3 + ease + np.array([[0.0, 0.1, -0.1], [0.1, 0.4, 0.0]])
    outcomes = table(random.random((200, 2, 3)) < share)
    found = {
        effect.name: effect for effect in analyse(outcomes, question="Which?", control="small/plain").factors
    }
    two = outcomes[outcomes["factor.template"] != "brief"].assign(
        model=lambda rows: np.where(rows["factor.model"] == "large", 0.5, -0.5),
        template=lambda rows: np.where(rows["factor.template"] == "steps", 0.5, -0.5),
    )
    fitted = smf.ols("quality ~ model * template + C(prompt_id)", two).fit()
    steps, both = found["template: steps - plain"], found["model large x template steps"]
    assert steps.difference.value == pytest.approx(fitted.params["template"])
    assert both.difference.value == pytest.approx(fitted.params["model:template"])
    assert steps.difference.low < 0.2 < steps.difference.high
    assert steps.p_adjusted >= steps.p_value


def test_a_difference_of_all_is_within_its_bounds_though_a_third_is_rounded() -> None:
    right = np.zeros((30, 2, 3))
    right[:, 1, :] = 1.0
    right[0, 1, 0] = 0.0
    model = analyse(table(right), question="Which?", control="small/plain").factors[0]
    assert model.name == "model: large - small"
    assert model.difference.value == pytest.approx(1.0 - 1 / 90)
