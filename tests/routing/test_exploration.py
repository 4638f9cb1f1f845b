"""How often each candidate is tried."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from workbench.errors import ConfigError
from workbench.routing.draw import drawn
from workbench.routing.exploration import LinUCB, Thompson, chances_to_be_largest


@pytest.mark.parametrize(("gap", "sd"), [(0.0, 0.1), (0.1, 0.05), (-0.3, 0.2)])
def test_the_grid_agrees_with_the_closed_form_of_two(gap, sd):
    mean, deviation = np.array([0.5 + gap, 0.5]), np.array([sd, 3.0 * sd])
    assert Thompson().chances(mean, deviation) == pytest.approx(
        [norm.cdf(gap / (sd * 10**0.5)), norm.cdf(-gap / (sd * 10**0.5))], abs=1e-12
    )
    assert chances_to_be_largest(mean, deviation) == pytest.approx(
        Thompson().chances(mean, deviation), abs=1e-5
    )


def test_chances_of_five_unlike_beliefs_are_the_integrals():
    mean, sd = np.array([0.5, 0.55, 0.4, 0.1, 0.52]), np.array([0.1, 0.001, 0.3, 1.0, 0.05])

    def density(z: float, i: int) -> float:
        others = np.delete(norm.cdf((z - mean) / sd), i)
        return float(norm.pdf(z, mean[i], sd[i]) * others.prod())

    for i, chance in enumerate(Thompson().chances(mean, sd)):
        low, high = mean[i] - 9.0 * sd[i], mean[i] + 9.0 * sd[i]
        points = [0.54, 0.545, 0.5475, 0.55, 0.5525, 0.555, 0.56]
        inside = [point for point in points if low < point < high]
        exact, _ = quad(density, low, high, args=(i,), points=inside, limit=400)
        assert chance == pytest.approx(exact, abs=1e-3)


@pytest.mark.parametrize("n", [1, 2, 3, 40])
def test_equal_beliefs_are_tried_equally_often(n):
    chances = (
        Thompson().chances(np.full(n, 0.3), np.full(n, 0.1))
        if n > 1
        else chances_to_be_largest(np.array([0.3]), np.array([0.1]))
    )
    assert chances == pytest.approx(np.full(n, 1.0 / n), abs=1e-9)


def test_linucb_takes_the_highest_limit_and_the_first_of_equal_ones():
    mean, sd = np.array([0.5, 0.4, 0.4]), np.array([0.1, 0.3, 0.3])
    assert LinUCB(width=1.0).chances(mean, sd).tolist() == [0.0, 1.0, 0.0]
    assert LinUCB(width=0.0).chances(mean, sd).tolist() == [1.0, 0.0, 0.0]


def test_a_width_below_zero_is_refused():
    with pytest.raises(ConfigError, match="width of LinUCB is -1"):
        LinUCB(width=-1.0)


def test_draws_are_as_frequent_as_their_chances_and_never_impossible():
    chances = np.array([0.0, 0.7, 0.0, 0.3, 0.0])
    found = np.bincount([drawn(f"request {i}", chances) for i in range(4_000)], minlength=5) / 4_000
    assert found[[0, 2, 4]].tolist() == [0.0, 0.0, 0.0]
    assert found[1] == pytest.approx(0.7, abs=4.0 * (0.21 / 4_000) ** 0.5)
