"""Operating points and policies: the point that is known to be best is found, and promises hold."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import binomtest, ttest_1samp

from workbench.catalog import Catalog, ModelSpec
from workbench.errors import ConfigError, DataError, InsufficientDataError, RoutingError
from workbench.routing.aim import Aim, parse_aim
from workbench.routing.baselines import BestSingle
from workbench.routing.constraints import Constraints, Now
from workbench.routing.decide import Predictor, by_score
from workbench.routing.forecast import Floats, Forecast, KnownModels
from workbench.routing.limits import LIMITS, Happened, certified, p_at_most, stakes
from workbench.routing.operating_point import chosen, operating_point
from workbench.routing.policy import Policy
from workbench.routing.policy_choice import policy_for
from workbench.routing.promise import OperatingPoint
from workbench.types import Prompt

IDS = ("acme/cheap", "acme/middle", "acme/dear")
USD = np.array([0.0001, 0.001, 0.01])
SECONDS = np.array([0.5, 1.0, 5.0])


def forecast_of(quality: Floats) -> Forecast:
    shape = quality.shape
    return Forecast(
        quality=quality,
        cost_usd=np.broadcast_to(USD[: shape[1]], shape),
        latency_s=np.broadcast_to(SECONDS[: shape[1]], shape),
        spread=np.zeros(shape),
        familiarity=np.full(shape[0], np.nan),
    )


def happened_of(quality: Floats, **changes: Any) -> Happened:
    shape = quality.shape
    fields: dict[str, Any] = {
        "model_ids": IDS[: shape[1]],
        "quality": quality,
        "cost_usd": np.broadcast_to(USD[: shape[1]], shape).copy(),
        "latency_s": np.broadcast_to(SECONDS[: shape[1]], shape).copy(),
        "groups": np.arange(shape[0]),
    }
    return Happened(**fields | changes)


def graded(n: int = 2000) -> Floats:
    """[n, 2] the dear model is right on all, the cheap one on the first half."""
    return np.stack([np.arange(n) < n / 2, np.ones(n)], axis=1).astype(float)


def shares(point: OperatingPoint, forecast: Forecast) -> list[float]:
    weights = {"cost_weight": point.cost_weight, "latency_weight": point.latency_weight}
    choice = chosen(forecast, **weights)
    return [float((choice == column).mean()) for column in range(forecast.quality.shape[1])]


def found(aim: str, quality: Floats | None = None) -> OperatingPoint:
    quality = graded() if quality is None else quality
    return operating_point(forecast_of(quality), happened_of(quality), parse_aim(aim))


def test_the_cheapest_without_loss_sends_each_prompt_to_the_cheapest_model_that_can() -> None:
    point = found("no worse than the best single model by more than 1 points")
    assert shares(point, forecast_of(graded())) == [0.5, 0.5]
    assert point.promised.best_single == "acme/middle"
    assert point.promised.quality_change_points.value == 0.0
    assert point.promised.usd_per_1000 is not None
    assert point.promised.usd_per_1000.value == pytest.approx(1000 * USD[:2].mean())


def test_as_cheap_as_possible_asks_the_cheapest_model_alone() -> None:
    assert shares(found("as cheap as possible"), forecast_of(graded())) == [1.0, 0.0]


def test_of_equal_quality_the_cheaper_point_is_taken() -> None:
    point = found("as good as possible")
    assert point.promised.quality.value == 1.0
    assert shares(point, forecast_of(graded())) == [0.5, 0.5]


def test_a_limit_on_money_buys_as_much_quality_as_it_allows() -> None:
    """A quarter of the prompts gains 0.9 from the dear model and a quarter 0.3: money is for the first."""
    n = 2000
    gain = np.repeat([0.9, 0.3, 0.0, 0.0], n // 4)
    quality = np.stack([0.1 + np.zeros(n), 0.1 + gain], axis=1)
    point = found("at most 0.4 USD per 1,000 prompts", quality)
    assert shares(point, forecast_of(quality)) == [0.75, 0.25]


def test_a_limit_on_latency_is_met_by_weighing_seconds() -> None:
    quality = np.stack([np.full(2000, 0.5), np.full(2000, 0.6), np.full(2000, 0.9)], axis=1)
    point = found("p95 under 2 s", quality)
    assert shares(point, forecast_of(quality)) == [0.0, 1.0, 0.0]
    assert point.promised.p95_s is not None
    assert (point.promised.p95_s.low, point.promised.p95_s.high) == (1.0, 1.0)


def test_what_cannot_be_kept_names_the_nearest_point_and_an_aim_that_can_be_kept() -> None:
    aim = "at most 0.01 USD per 1,000 prompts; p95 under 0.1 s"
    with pytest.raises(RoutingError, match=r"known to keep 'at most 0\.01 USD") as caught:
        found(aim)
    told = str(caught.value)
    assert "-50 [-51.8, -48.2] points against acme/middle" in told
    relaxed = told.partition("allow to promise is '")[2].partition("'")[0]
    assert shares(found(relaxed), forecast_of(graded())) == [1.0, 0.0]


@pytest.mark.parametrize("n", [60, 400])
@pytest.mark.parametrize("points", [0.0, 0.3])
def test_an_aim_that_is_offered_instead_can_be_kept(n: int, points: float) -> None:
    rng = np.random.default_rng(n)
    quality = (rng.random((n, 3)) < [0.5, 0.6, 0.7]).astype(float)
    forecast = forecast_of(np.clip(quality + rng.normal(0, 2, (n, 3)), 0, 1))
    happened = happened_of(quality)
    with pytest.raises(RoutingError) as caught:
        operating_point(forecast, happened, Aim(max_quality_loss_points=points))
    relaxed = parse_aim(str(caught.value).partition("promise is '")[2].partition("'")[0])
    kept = operating_point(forecast, happened, relaxed).promised
    assert relaxed.max_quality_loss_points is not None
    assert -kept.quality_change_points.low <= relaxed.max_quality_loss_points


def test_three_prompts_can_promise_nothing() -> None:
    with pytest.raises(RoutingError, match="What 3 prompts allow to promise is nothing yet"):
        found("p95 under 1 s", graded(3))


@pytest.mark.parametrize(
    ("aim", "column"),
    [
        ("at most 1 USD per prompt", "cost_usd"),
        ("as cheap as possible", "cost_usd"),
        ("no worse than the best single model", "cost_usd"),
        ("p95 under 3 s", "latency_s"),
    ],
)
def test_an_aim_about_what_was_not_recorded_is_refused(aim: str, column: str) -> None:
    quality = graded(10)
    values = getattr(happened_of(quality), column)
    values[3, 1] = np.nan
    with pytest.raises(ConfigError, match=f"needs {column} of every answer, and 1 of 20"):
        operating_point(forecast_of(quality), happened_of(quality, **{column: values}), parse_aim(aim))


def test_without_recorded_costs_the_best_can_still_be_found() -> None:
    quality = graded(10)
    nothing = np.full(quality.shape, np.nan)
    happened = happened_of(quality, cost_usd=nothing, latency_s=nothing)
    promised = operating_point(forecast_of(quality), happened, Aim(prefer="quality")).promised
    assert promised.quality.value == 1.0
    assert (promised.usd_per_1000, promised.best_single_usd_per_1000, promised.p95_s) == (None, None, None)


def test_what_cannot_be_measured_is_refused() -> None:
    quality = graded(10)
    with pytest.raises(InsufficientDataError, match="two groups"):
        happened_of(quality, groups=np.zeros(10, dtype=np.int64))
    with pytest.raises(DataError, match="every model's quality"):
        happened_of(np.where(quality == 0, np.nan, quality))
    with pytest.raises(DataError, match="not of"):
        operating_point(forecast_of(graded(8)), happened_of(quality), Aim(prefer="cost"))


@given(
    arrays(np.float64, (6, 3), elements=st.sampled_from([0.0, 0.25, 0.5, np.nan])),
    arrays(np.float64, (6, 3), elements=st.sampled_from([0.0, 0.01, 0.02, np.nan])),
    st.sampled_from([0.0, 1.0, 25.0]),
)
def test_the_sweep_chooses_as_a_decision_does(quality: Floats, cost: Floats, weight: float) -> None:
    forecast = Forecast(quality, cost, cost, np.zeros((6, 3)), np.zeros(6))
    first = by_score(forecast, cost_weight=weight, latency_weight=weight)[:, 0]
    assert list(chosen(forecast, cost_weight=weight, latency_weight=weight)) == list(first)


def test_a_p_value_is_that_of_the_t_test_with_the_worst_row_added() -> None:
    values = np.random.default_rng(0).normal(0.4, 0.2, 50)
    expected = ttest_1samp(np.append(values, 1.0), 0.5, alternative="less").pvalue
    assert p_at_most(values, 0.5, worst=1.0, groups=np.arange(50)) == pytest.approx(expected)


def test_repeated_prompts_count_once() -> None:
    values = np.random.default_rng(0).normal(0.4, 0.2, 50)
    once = p_at_most(values, 0.5, worst=1.0, groups=np.arange(50))
    thrice = p_at_most(np.repeat(values, 3), 0.5, worst=1.0, groups=np.repeat(np.arange(50), 3))
    assert thrice == pytest.approx(once, rel=1e-9)


@pytest.mark.parametrize("n_slow", [0, 1, 5, 20])
@pytest.mark.parametrize("n", [80, 500])
def test_the_test_of_a_percentile_is_no_bolder_than_the_binomial(n: int, n_slow: int) -> None:
    happened = happened_of(np.zeros((n, 2)), latency_s=np.repeat(np.arange(n)[:, None] < n_slow, 2, axis=1))
    exact = binomtest(n_slow, n, 0.05, alternative="less").pvalue
    tested = LIMITS["max_p95_s"].p_value(happened, np.zeros(n, dtype=np.int64), 0.5)
    assert tested >= exact or tested > 0.5


def test_stakes_add_up_and_a_pass_hands_its_stake_on() -> None:
    points = np.array([(cost, 0.0) for cost in (0.0, 1.0, 2.0, 3.0)])
    assert stakes(points, (1, 1)).tolist() == pytest.approx([1 / 2, 1 / 6, 1 / 6, 1 / 6])
    p_values = np.array([0.02, 0.03, 0.05, 0.02])
    assert certified(p_values, points, (1, 1), alpha=0.05).tolist() == [True, True, False, False]
    assert certified(p_values, points, (-1, 1), alpha=0.05).tolist() == [False, False, False, True]


def drawn(seed: int, n: int) -> tuple[Forecast, Happened, Floats]:
    """Harder prompts are worse for the cheap models; a router sees the difficulty with noise."""
    rng = np.random.default_rng(seed)
    hard, slope = rng.random((n, 1)), np.array([0.9, 0.6, 0.45])
    chance = 1.0 - slope * hard
    seen = np.clip(1.0 - slope * (hard + rng.normal(0, 0.3, (n, 1))), 0.0, 1.0)
    length = rng.lognormal(0.0, 1.0, (n, 1))
    happened = happened_of(
        (rng.random((n, 3)) < chance).astype(float),
        cost_usd=length * USD,
        latency_s=SECONDS * rng.lognormal(0.0, 0.5, (n, 3)),
    )
    return forecast_of(seen), happened, chance


@pytest.mark.parametrize(
    "aim",
    [
        Aim(max_quality_loss_points=3.0),
        Aim(max_usd_per_1000=5.0),
        Aim(max_usd_per_1000=5.0, max_p95_s=8.0),
    ],
    ids=str,
)
def test_a_promise_holds_on_fresh_prompts_nineteen_times_in_twenty(aim: Aim) -> None:
    forecast, happened, chance = drawn(0, 10_000)
    kept = []
    for seed in range(1, 51):
        seen = drawn(seed, 400)
        try:
            point = operating_point(seen[0], seen[1], aim)
        except RoutingError:
            continue
        choice = chosen(forecast, cost_weight=point.cost_weight, latency_weight=point.latency_weight)
        rows = np.arange(len(choice))
        single = happened.model_ids.index(point.promised.best_single)
        loss = 100.0 * float((chance[:, single] - chance[rows, choice]).mean())
        usd = 1000.0 * float(happened.cost_usd[rows, choice].mean())
        p95 = float(np.quantile(happened.latency_s[rows, choice], 0.95))
        limits = (aim.max_quality_loss_points, aim.max_usd_per_1000, aim.max_p95_s)
        kept.append(
            all(limit is None or was <= limit for was, limit in zip((loss, usd, p95), limits, strict=True))
        )
    assert len(kept) >= 20
    assert np.mean(kept) >= 0.95


def best_single() -> BestSingle:
    return BestSingle(KnownModels(IDS, np.array([0.5, 0.6, 0.9]), USD, SECONDS))


def test_a_policy_is_a_router_and_a_predictor_and_says_what_was_promised() -> None:
    quality = np.stack([np.full(900, 0.5), np.full(900, 0.6), np.full(900, 0.9)], axis=1)
    policy = policy_for(
        best_single(),
        Aim(max_usd_per_1000=2.0),
        forecast=forecast_of(quality),
        happened=happened_of(quality),
    )
    assert isinstance(policy, Predictor)
    decision = policy.route(Prompt("p", "Hi"), IDS)
    assert (decision.model_id, decision.router) == ("acme/middle", "best_single")
    assert policy.promised is not None
    assert str(policy.promised).startswith("quality 0.6 [")


def test_only_what_is_possible_now_is_chosen_or_a_fallback() -> None:
    policy = Policy(best_single())
    assert policy.route(Prompt("p", "Hi"), IDS).model_id == "acme/dear"
    limited = policy.route(Prompt("p", "Hi"), IDS, now=Now(available=frozenset(IDS[:2])))
    assert (limited.model_id, limited.fallbacks) == ("acme/middle", ("acme/cheap",))
    with pytest.raises(RoutingError, match="acme/dear is not available now"):
        policy.route(Prompt("p", "Hi"), IDS, now=Now(available=frozenset()))
    with pytest.raises(RoutingError, match="no candidates"):
        policy.route(Prompt("p", "Hi"), ())


def test_models_that_are_ruled_out_are_left_out_of_the_promise() -> None:
    quality = np.stack([np.full(900, 0.5), np.full(900, 0.6), np.full(900, 0.9)], axis=1)
    given: dict[str, Any] = {"forecast": forecast_of(quality), "happened": happened_of(quality)}
    catalog = Catalog(
        [ModelSpec("acme", name, capabilities=frozenset({"tools"})) for name in ("cheap", "middle")]
    )
    constraints = Constraints(catalog, needs=frozenset({"tools"}))
    policy = policy_for(best_single(), Aim(prefer="quality"), constraints=constraints, **given)
    assert policy.promised is not None
    assert policy.promised.best_single == "acme/middle"
    assert policy.route(Prompt("p", "Hi"), IDS).fallbacks == ("acme/cheap",)
    nobody = Constraints(allowed=frozenset({"other/model"}))
    with pytest.raises(ConfigError, match="let none of the models through"):
        policy_for(best_single(), Aim(prefer="quality"), constraints=nobody, **given)


def test_the_columns_must_be_the_routers_models() -> None:
    quality = graded(10)
    with pytest.raises(ConfigError, match="what happened is of"):
        policy_for(
            best_single(), Aim(prefer="cost"), forecast=forecast_of(quality), happened=happened_of(quality)
        )


def test_percentile_without_upper_end_is_infinite() -> None:
    promised = operating_point(
        forecast_of(graded(10)), happened_of(graded(10)), Aim(prefer="quality")
    ).promised
    assert promised.p95_s is not None
    assert math.isinf(promised.p95_s.high)
