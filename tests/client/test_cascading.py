"""A cascade over the client: what is asked, what is given, and what all of it costs."""

import numpy as np
import pandas as pd
import pytest

from calling import COST_USD, PROMPT, client_of, serving
from workbench.client.cascading import cascade
from workbench.errors import AllProvidersFailedError
from workbench.routing.cascade import Cascade
from workbench.routing.cascade_training import fit_cascade
from workbench.routing.training_table import from_table

pytestmark = pytest.mark.anyio

COSTS = {"one/small": 1e-5, "two/small": 2e-5, "three/large": 1e-3}


@pytest.fixture(scope="module")
def policy() -> Cascade:
    rng = np.random.default_rng(0)
    rows = []
    for number in range(120):
        for model_id, cost in COSTS.items():
            provider, model = model_id.split("/")
            is_right = rng.random() < (0.97 if model == "large" else 0.75)
            rows.append(
                {
                    "prompt_id": f"p{number}",
                    "prompt": f"{number} + {number}?",
                    "arm": model_id,
                    "provider": provider,
                    "model": model,
                    "response": str(2 * number if is_right else rng.integers(1_000, 9_000)),
                    "quality": float(is_right),
                    "cost_usd": cost,
                }
            )
    return fit_cascade(from_table(pd.DataFrame(rows)), cost_weight=100.0)


async def test_it_stops_at_two_that_agree_and_counts_both(policy: Cascade) -> None:
    async with serving("ok", "ok", "ok") as servers, client_of(*servers) as client:
        completion = await cascade(client, policy, PROMPT)
    asked = {attempt.model_id for attempt in completion.attempts}
    assert asked == {"one/small", "two/small"}
    assert completion.cost_usd == pytest.approx(2 * COST_USD)


async def test_a_model_that_fails_is_asked_no_more(policy: Cascade) -> None:
    async with serving("400", "ok", "ok") as servers, client_of(*servers) as client:
        completion = await cascade(client, policy, PROMPT)
    assert "one/small" not in {attempt.model_id for attempt in completion.attempts}
    assert completion.model_id in {"two/small", "three/large"}


async def test_where_everyone_fails_the_error_names_them_all(policy: Cascade) -> None:
    async with serving("400", "400", "400") as servers, client_of(*servers) as client:
        with pytest.raises(AllProvidersFailedError) as caught:
            await cascade(client, policy, PROMPT)
    assert len(caught.value.causes) == 3
