"""Closeness of texts as embeddings see it: of this machine's model, and of a provider's."""

from datetime import date
from pathlib import Path

import numpy as np
import pytest

from loopback import answering, serving
from workbench.catalog import Catalog, ModelSpec, Price
from workbench.client import Client
from workbench.errors import MissingExtraError
from workbench.experiment.grading import Grading
from workbench.providers.chat_completions import ChatCompletions
from workbench.scoring import local_scorer, read_options
from workbench.scoring.meaning import cosine
from workbench.types import Outcome, Prompt

PRICE = Price(2.0, 0.0, "made up for tests", date(2026, 11, 1))


def test_the_cosine_is_that_of_its_definition_and_never_below_zero() -> None:
    one, two = np.array([1.0, 2.0, 2.0]), np.array([2.0, 1.0, 2.0])
    assert cosine(one, two) == pytest.approx(8 / 9)
    assert cosine(one, -two) == 0.0
    assert cosine(one, np.zeros(3)) == 0.0


@pytest.mark.anyio
async def test_a_providers_vectors_are_compared_and_paid_for() -> None:
    vectors = [{"index": 0, "embedding": [3.0, 4.0]}, {"index": 1, "embedding": [1.0, 0.0]}]
    reply = {"data": vectors, "model": "embed", "usage": {"prompt_tokens": 10}}
    async with serving(("POST", "/v1/embeddings", answering(reply))) as url:
        catalog = Catalog([ModelSpec("one", "embed", PRICE)])
        async with Client([ChatCompletions("one", f"{url}/v1")], catalog=catalog) as client:
            options = read_options({"kind": "embedding", "model": "one/embed"})
            async with Grading(options, local=None, client=client) as grading:
                prompt, outcome = Prompt("p", "?", reference="b"), Outcome("p", "a", "m", "x", response="a")
                judged = await grading.grade(outcome, prompt)
    assert judged.score.quality == pytest.approx(0.6)
    assert judged.score.cost_usd == pytest.approx(10 * 2.0 / 1e6)


@pytest.mark.slow
def test_texts_of_one_meaning_are_closer_than_those_of_two() -> None:
    try:
        scorer = local_scorer(read_options("embedding"), folder=Path())
    except MissingExtraError as exc:
        pytest.skip(str(exc))
    assert scorer is not None
    same = scorer.score("A cat was sitting on a rug.", "The cat sat on the mat.")
    other = scorer.score("The court adjourned.", "The cat sat on the mat.")
    assert scorer.score("Paris", "Paris") == pytest.approx(1.0, abs=1e-5)
    assert same is not None
    assert other is not None
    assert same > 0.6 > other
    assert scorer.score(" ", "Paris") == 0.0
