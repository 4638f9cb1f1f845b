"""What is learned from feedback is the Bayesian regression of the textbooks, in any order of the rows."""

import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import DotProduct

from workbench.errors import ConfigError
from workbench.routing.posterior import Evidence, Posterior

PRIOR_SD, NOISE_SD = 0.3, 0.5


def make_rows(n: int, size: int = 4) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    contexts = rng.normal(size=(n, size))
    return contexts, contexts @ rng.normal(size=size) + NOISE_SD * rng.normal(size=n)


def make_posterior(n_models: int = 1, half_life: float | None = None) -> Posterior:
    evidence = Evidence.none([f"acme/{i}" for i in range(n_models)], 4)
    return Posterior(evidence, prior_sd=PRIOR_SD, noise_sd=NOISE_SD, half_life=half_life)


def test_the_prior_is_what_was_expected_and_as_unsure_as_the_context_is_long():
    mean, sd = make_posterior(2).predicted(np.array([3.0, 0.0, 4.0, 0.0]), np.array([0, 1]))
    assert mean.tolist() == [0.0, 0.0]
    assert sd == pytest.approx([5.0 * PRIOR_SD] * 2)


def test_mean_and_deviation_are_those_of_a_gaussian_process_with_a_linear_kernel():
    contexts, surprises = make_rows(60)
    posterior = make_posterior()
    for context, surprise in zip(contexts, surprises, strict=True):
        posterior.observe(0, context, float(surprise), at=1)
    kernel = PRIOR_SD**2 * DotProduct(0.0, "fixed")
    process = GaussianProcessRegressor(kernel, alpha=NOISE_SD**2, optimizer=None).fit(contexts, surprises)
    asked = np.array([0.5, -1.0, 2.0, 0.1])
    expected, deviation = process.predict(asked[None], return_std=True)
    mean, sd = posterior.predicted(asked, np.array([0]))
    assert mean == pytest.approx(expected, rel=1e-9)
    assert sd == pytest.approx(deviation, rel=1e-6)


@pytest.mark.parametrize("half_life", [None, 7.0], ids=["all counts", "half of it is forgotten"])
def test_rows_in_any_order_teach_the_same(half_life):
    contexts, surprises = make_rows(50)
    found = []
    for order in (np.arange(50), np.random.default_rng(0).permutation(50)):
        posterior = make_posterior(2, half_life)
        for i in order:
            posterior.observe(int(i % 2), contexts[i], float(surprises[i]), at=int(i))
            posterior.predicted(contexts[0], np.array([0, 1]))
        found.append(np.concatenate(posterior.predicted(contexts[0], np.array([0, 1]))))
    assert found[0] == pytest.approx(found[1], rel=1e-9)


def test_a_row_counts_half_after_a_half_life_for_every_model():
    context = np.array([1.0, 0.0, 0.0, 0.0])
    posterior = make_posterior(2, half_life=10.0)
    posterior.observe(0, context, 1.0, at=0)
    posterior.observe(1, context, 1.0, at=10)
    precision = (NOISE_SD / PRIOR_SD) ** 2
    mean, _ = posterior.predicted(context, np.array([0, 1]))
    assert mean == pytest.approx([0.5 / (precision + 0.5), 1.0 / (precision + 1.0)])


def test_a_million_rows_in_one_direction_leave_the_other_directions_exact():
    size = 20
    evidence = Evidence.none(["acme/0"], size)
    evidence.gram[0][:2, :2] = 1e6 * np.ones((2, 2))  # two columns that were always the same
    evidence.moment[0][:2] = 2e5
    mean, sd = Posterior(evidence, prior_sd=PRIOR_SD, noise_sd=NOISE_SD).predicted(
        np.eye(size)[5] + np.eye(size)[0], np.array([0])
    )
    assert mean == pytest.approx([0.1], abs=1e-5)
    assert sd == pytest.approx([PRIOR_SD * np.sqrt(1.5)], rel=1e-6)


def test_a_model_that_is_new_starts_from_the_prior_and_the_others_keep_what_they_know():
    posterior = make_posterior()
    posterior.observe(0, np.ones(4), 1.0, at=5)
    wider = posterior.evidence().of_models(["acme/new", "acme/0"], 4)
    mean, _ = Posterior(wider, prior_sd=PRIOR_SD, noise_sd=NOISE_SD).predicted(np.ones(4), np.array([0, 1]))
    assert mean[0] == 0.0
    assert mean[1] == pytest.approx(posterior.predicted(np.ones(4), np.array([0]))[0][0])
    with pytest.raises(ConfigError, match="4 dimensions, the router's have 3"):
        wider.of_models(["acme/0"], 3)
