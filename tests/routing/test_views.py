"""How familiar a prompt is: what it says and what it looks like, and the least of the two counts."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.features import STRUCTURE_NAMES
from workbench.routing.views import Views, fit_views

RNG = np.random.default_rng(0)
NEARNESS = RNG.uniform(0.4, 0.6, size=1000)
WORDS, OPTIONS = STRUCTURE_NAMES.index("log_words"), STRUCTURE_NAMES.index("log_options")
STRUCTURE = np.zeros((1000, len(STRUCTURE_NAMES)), dtype=np.float32)  # in standard deviations
STRUCTURE[:, WORDS] = RNG.normal(size=1000)
SCALE = np.ones(len(STRUCTURE_NAMES), dtype=np.float32)
VIEWS = fit_views(NEARNESS, STRUCTURE, SCALE)


def seen(nearness: float, *, words: float = 0.0, options: float = 0.0, views: Views = VIEWS) -> float:
    structure = np.zeros((1, len(STRUCTURE_NAMES)), dtype=np.float32)
    structure[0, WORDS], structure[0, OPTIONS] = words, options
    return float(views.familiarity(np.array([nearness]), structure)[0])


def test_of_a_hundred_training_prompts_one_is_not_ordinary_in_a_view() -> None:
    inside = np.zeros_like(STRUCTURE)
    assert (VIEWS.familiarity(NEARNESS, inside) == 1.0).mean() == pytest.approx(0.99, abs=0.001)
    assert (VIEWS.familiarity(np.full(1000, 0.5), STRUCTURE) == 1.0).mean() >= 0.989


def test_half_as_far_below_the_edge_as_the_median_is_above_is_strange() -> None:
    edge, median = np.quantile(NEARNESS, [0.01, 0.5])
    for part, familiarity in ((0.0, 1.0), (0.25, 0.5), (0.5, 0.0)):
        assert seen(edge - part * (median - edge)) == pytest.approx(familiarity)


def test_what_no_training_prompt_looked_like_is_strange_whatever_it_says() -> None:
    assert seen(0.6) == 1.0
    assert seen(0.6, options=3.0) == 0.0  # no training prompt had any
    assert seen(0.6, words=-6.0) == 0.0


def test_where_training_prompts_hardly_differ_a_like_one_is_not_strange() -> None:
    alike = fit_views(NEARNESS, STRUCTURE, np.full_like(SCALE, 0.1))  # within a tenth of each other in length
    assert seen(0.6, words=-5.0, views=alike) > 0.8  # six tenths as long
    assert seen(0.6, words=-30.0, views=alike) < 0.2  # a twentieth


@given(st.floats(-1.0, 1.0), st.floats(-9.0, 9.0))
def test_the_least_of_the_views_counts(nearness: float, words: float) -> None:
    both = seen(nearness, words=words)
    assert both == min(seen(nearness), seen(0.6, words=words))
    assert 0.0 <= both <= 1.0


def test_prompts_that_are_all_alike_leave_room_for_others() -> None:
    views = fit_views(np.full(5, 0.7), STRUCTURE[:5] * 0.0, SCALE)
    assert (seen(0.7, views=views), seen(0.1, views=views)) == (1.0, 0.0)


def test_views_that_do_not_fit_together_are_refused() -> None:
    with pytest.raises(ValueError, match="structure"):
        replace(VIEWS, low=np.zeros(3))
    with pytest.raises(ValueError, match="views"):
        Views(VIEWS.low, VIEWS.high, VIEWS.weight, ordinary=VIEWS.strange, strange=VIEWS.ordinary)
