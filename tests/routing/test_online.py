"""A bandit starts as its router, learns from feedback however it comes, and logs how it chose."""

from dataclasses import replace

import numpy as np
import pytest

from routing.online_world import KNOWN, MODELS, PLAIN, A, B, C, Flat, prompt_at, true_quality
from workbench.errors import ConfigError, DataError, RoutingError
from workbench.routing.exploration import Exploration, LinUCB, Thompson
from workbench.routing.feedback import Feedback, SeenRequests
from workbench.routing.online import Bandit, Learning
from workbench.routing.randomised import Randomised
from workbench.types import Prompt

P = Prompt("0.5", "What is asked?")
BOTH = pytest.mark.parametrize("exploration", [Thompson(), LinUCB()], ids=["thompson", "linucb"])


def feedback_on(number: int, model_id: str, quality: float, place: float = 0.5) -> Feedback:
    return Feedback(f"r{number}", prompt_at(place), model_id, quality, at=number)


def simulate(
    exploration: Exploration, n: int, *, seed: int = 0, epsilon: float = 0.01
) -> tuple[Bandit, np.ndarray]:
    """A bandit after n requests whose answers are right or wrong by chance, and [n] its regret in each."""
    rng = np.random.default_rng(seed)
    bandit = Bandit(Flat(), exploration, learning=Learning(epsilon, prior_sd=0.3, seed=seed))
    regret = np.zeros(n)
    for i in range(n):
        prompt = prompt_at(float(rng.uniform(-1.0, 1.0)))
        truth = true_quality(prompt)
        chosen = MODELS.index(bandit.route(prompt, MODELS).model_id)
        regret[i] = truth.max() - truth[chosen]
        bandit.learn([Feedback(f"r{i}", prompt, MODELS[chosen], float(rng.random() < truth[chosen]))])
    return bandit, regret


@BOTH
@pytest.mark.parametrize("cost_weight", [0.0, 30.0], ids=["quality alone", "quality and cost"])
def test_without_feedback_the_likeliest_choice_is_that_of_the_router(exploration, cost_weight):
    router = Flat(cost_weight=cost_weight)
    chances = Bandit(router, exploration).probabilities(P, MODELS)
    assert MODELS[int(np.argmax(chances))] == router.route(P, MODELS).model_id


@BOTH
def test_every_candidate_has_its_share_of_the_exploration(exploration):
    bandit = Bandit(PLAIN, exploration, learning=Learning(0.06))
    bandit.learn([feedback_on(i, A, 0.0) for i in range(500)])
    chances = bandit.probabilities(P, MODELS)
    assert chances.sum() == pytest.approx(1.0)
    assert chances.min() >= 0.02 - 1e-12
    assert 1.0 / chances.min() <= bandit.max_weight(3) + 1e-9


@BOTH
def test_the_propensity_is_the_probability_of_the_choice(exploration):
    bandit = Bandit(PLAIN, exploration)
    chances = dict(zip(MODELS, bandit.probabilities(P, MODELS), strict=True))
    decision = bandit.route(P, MODELS)
    assert isinstance(bandit, Randomised)
    assert decision.propensity == pytest.approx(chances[decision.model_id])
    assert {decision.model_id, *decision.fallbacks} == set(MODELS)


@BOTH
def test_choices_are_as_frequent_as_their_propensities_say(exploration):
    bandit = Bandit(PLAIN, exploration, learning=Learning(0.3))
    chances, n = bandit.probabilities(P, MODELS), 800
    counts = np.array([0, 0, 0])
    for _ in range(n):
        counts[MODELS.index(bandit.route(P, MODELS).model_id)] += 1
    deviations = (counts - n * chances) / np.sqrt(n * chances * (1.0 - chances))
    assert np.abs(deviations).max() < 4.0


@BOTH
def test_regret_grows_ever_more_slowly_in_a_linear_world(exploration):
    _, regret = simulate(exploration, 800)
    always_b = 0.4  # on average, as b is 0.8 behind a over half of the range and best over the other half
    assert regret[:200].mean() > 2.0 * regret[600:].mean()
    assert regret[600:].mean() < 0.1 * always_b


def test_feedback_in_any_order_leads_to_the_same_choices():
    rows = [feedback_on(i, MODELS[i % 3], float(i % 2), place=i / 40.0) for i in range(40)]
    learning = Learning(half_life=20.0)
    orders = [rows, rows[::-1], [rows[i] for i in np.random.default_rng(1).permutation(40)]]
    found = []
    for order in orders:
        bandit = Bandit(Flat(), learning=learning)
        bandit.learn(order[:15])
        bandit.learn(order[15:])
        found.append(bandit.probabilities(P, MODELS))
    assert found[0] == pytest.approx(found[1], abs=1e-9)
    assert found[0] == pytest.approx(found[2], abs=1e-9)


def test_feedback_on_a_request_counts_once():
    bandit = Bandit(PLAIN)
    row = feedback_on(1, C, 1.0)
    assert bandit.learn([row, row]) == 1
    after_one = bandit.probabilities(P, MODELS)
    assert bandit.learn([row, replace(row, quality=0.0)]) == 0
    assert bandit.probabilities(P, MODELS).tolist() == after_one.tolist()


def test_an_empty_batch_of_feedback_teaches_nothing():
    bandit = Bandit(PLAIN)
    before = bandit.probabilities(P, MODELS)
    assert bandit.learn([]) == 0
    assert bandit.probabilities(P, MODELS).tolist() == before.tolist()


def test_no_more_requests_are_remembered_than_was_said():
    seen = SeenRequests(remembered=2)
    for name in ("first", "second", "third"):
        seen.add(name)
    assert [name in seen for name in ("first", "second", "third")] == [False, True, True]


def test_feedback_on_an_unknown_model_is_refused_and_nothing_of_it_is_learned():
    bandit = Bandit(PLAIN)
    before = bandit.probabilities(P, MODELS)
    with pytest.raises(DataError, match="'r2' is of 'acme/new', which router thompson"):
        bandit.learn([feedback_on(1, A, 1.0), feedback_on(2, "acme/new", 1.0)])
    assert bandit.probabilities(P, MODELS).tolist() == before.tolist()
    assert bandit.learn([feedback_on(1, A, 1.0)]) == 1


def test_an_unknown_candidate_is_the_last_fallback_and_is_not_drawn():
    bandit = Bandit(PLAIN)
    assert bandit.probabilities(P, ["acme/new", A])[0] == 0.0
    assert bandit.route(P, ["acme/new", A]).fallbacks == ("acme/new",)
    with pytest.raises(RoutingError, match=r"knows none of \['acme/new'\]; it knows acme/a"):
        bandit.route(P, ["acme/new"])
    with pytest.raises(RoutingError, match="no candidates"):
        bandit.probabilities(P, [])


@pytest.mark.parametrize("name", ["quality", "cost_usd", "latency_s"])
def test_feedback_that_is_not_a_number_is_refused(name):
    with pytest.raises(DataError, match=f"{name} in the feedback on request 'r1' is NaN"):
        replace(feedback_on(1, A, 1.0), **{name: float("nan")})


def test_the_reward_weighs_cost_and_latency_as_the_router_does():
    router = Flat(cost_weight=10.0, latency_weight=0.1)
    as_expected = Bandit(router)
    as_expected.learn([feedback_on(1, B, 0.6)])
    told = Bandit(router)
    told.learn([replace(feedback_on(1, B, 0.6), cost_usd=0.01, latency_s=2.0)])
    dear, slow, worse = Bandit(router), Bandit(router), Bandit(router)
    dear.learn([replace(feedback_on(1, B, 0.6), cost_usd=0.03)])
    slow.learn([replace(feedback_on(1, B, 0.6), latency_s=4.0)])
    worse.learn([feedback_on(1, B, 0.4)])
    chances = [bandit.probabilities(P, MODELS) for bandit in (as_expected, told, dear, slow, worse)]
    assert chances[1] == pytest.approx(chances[0])
    assert chances[2] == pytest.approx(chances[4])
    assert chances[3] == pytest.approx(chances[4])
    assert chances[4][1] < chances[0][1]


def test_a_cost_that_counts_and_is_neither_told_nor_expected_is_asked_for():
    unpriced = replace(KNOWN, cost_usd=np.array([np.nan, 0.01, 0.002]))
    bandit = Bandit(Flat(unpriced, cost_weight=1.0))
    with pytest.raises(DataError, match="'r1' needs a cost and latency"):
        bandit.learn([feedback_on(1, A, 1.0)])
    assert bandit.learn([replace(feedback_on(1, A, 1.0), cost_usd=0.1)]) == 1


def test_a_model_that_was_never_seen_is_tried_as_an_average_one_and_can_become_the_best():
    unseen = replace(KNOWN, quality=np.array([0.5, 0.6, np.nan]))
    bandit = Bandit(Flat(unseen))
    chances = bandit.probabilities(P, MODELS)
    assert chances[0] < chances[2] < chances[1]
    bandit.learn([feedback_on(i, C, 1.0) for i in range(100)])
    assert bandit.probabilities(P, MODELS)[2] > 0.9


@pytest.mark.parametrize("poison", [1e9, -1e9, float("inf")], ids=str)
def test_poisoned_feedback_counts_no_more_than_the_best_or_worst_answer(poison):
    poisoned, honest = Bandit(PLAIN), Bandit(PLAIN)
    poisoned.learn([feedback_on(1, A, poison)])
    honest.learn([feedback_on(1, A, float(poison > 0.0))])
    assert poisoned.probabilities(P, MODELS).tolist() == honest.probabilities(P, MODELS).tolist()


def test_a_cost_of_minus_a_billion_counts_no_more_than_the_largest_surprise():
    poisoned, largest = (Bandit(Flat(cost_weight=1.0)) for _ in range(2))
    poisoned.learn([replace(feedback_on(1, A, 1.0), cost_usd=-1e9)])
    largest.learn([replace(feedback_on(1, A, 0.5), cost_usd=0.001 - 1.0)])
    assert poisoned.probabilities(P, MODELS) == pytest.approx(largest.probabilities(P, MODELS))


@pytest.mark.parametrize(
    ("is_aimed", "limit"), [(False, 0.02), (True, 0.15)], ids=["anywhere", "all on the model least asked"]
)
def test_one_percent_of_poison_moves_few_routes(is_aimed, limit):
    """Of 2,000 rows 20 say that a model was worth a billion; the least asked one has 100 rows in all."""
    rng = np.random.default_rng(5)
    rows = []
    for i in range(2_000):
        model = C if i % 20 == 0 else MODELS[i % 2]
        prompt = prompt_at(float(rng.uniform(-1.0, 1.0)))
        quality = float(rng.random() < true_quality(prompt)[MODELS.index(model)])
        rows.append(Feedback(f"r{i}", prompt, model, quality))
    is_poisoned = [i % 100 == 0 if is_aimed else i % 100 == i // 100 for i in range(2_000)]
    poisoned = [
        replace(row, quality=1e9) if is_bad else row for row, is_bad in zip(rows, is_poisoned, strict=True)
    ]
    assert sum(is_poisoned) == 20
    shares = []
    for feedback in (rows, poisoned):
        bandit = Bandit(Flat(), learning=Learning(prior_sd=0.3))
        bandit.learn(feedback)
        asked = [prompt_at(place) for place in np.linspace(-1.0, 1.0, 100)]
        shares.append(np.mean([bandit.probabilities(prompt, MODELS) for prompt in asked], axis=0))
    assert 0.5 * np.abs(shares[0] - shares[1]).sum() <= limit


def test_the_same_seed_and_requests_lead_to_the_same_decisions():
    asked = [prompt_at(i / 50.0) for i in range(50)]
    runs = []
    for seed in (1, 1, 2):
        bandit = Bandit(PLAIN, learning=Learning(0.5, seed=seed))
        runs.append([bandit.route(prompt, MODELS) for prompt in asked])
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


def test_the_order_of_the_candidates_does_not_matter():
    one, other = Bandit(PLAIN), Bandit(PLAIN)
    for _ in range(20):
        assert one.route(P, MODELS).model_id == other.route(P, MODELS[::-1]).model_id


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epsilon": 0.0}, "epsilon is 0.0"),
        ({"epsilon": float("nan")}, "epsilon is nan"),
        ({"prior_sd": 0.0}, "prior_sd is 0.0"),
        ({"noise_sd": float("inf")}, "noise_sd is inf"),
        ({"half_life": -1.0}, "half_life is -1.0"),
    ],
    ids=["no exploration", "nan", "no prior", "infinite noise", "negative half-life"],
)
def test_settings_that_cannot_work_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        Learning(**settings)
