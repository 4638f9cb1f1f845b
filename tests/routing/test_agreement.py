"""Weighing answers: against Bayes' rule done by hand, and against simulation of the same model."""

import numpy as np
import pytest

from workbench.routing.agreement import NODE_WEIGHTS, NODES, Concord, believe, expected_right
from workbench.routing.skill_fit import fit_skills

N_NODES = len(NODES)


def right(*probabilities: float) -> np.ndarray:
    """[1, K, D] models whose skill no difficulty changes."""
    return np.repeat(np.array([probabilities])[:, :, None], N_NODES, axis=2)


def test_two_who_agree_are_right_as_bayes_rule_says() -> None:
    concord = Concord(right_agree=0.9999999, dispersion=3.0)  # two wrong answers are the same 1 time in 4
    belief = believe(right(0.8, 0.6), np.array([[0, 0]]), concord)
    both_right, same_wrong = 0.8 * 0.6, 0.2 * 0.4 * 0.25
    assert belief.right[0, 0] == pytest.approx(both_right / (both_right + same_wrong), abs=1e-6)


def test_of_two_who_differ_at_most_one_is_right() -> None:
    concord = Concord(right_agree=0.9999999, dispersion=3.0)
    found = believe(right(0.8, 0.6), np.array([[0, 1]]), concord).right[0]
    first, second, neither = 0.8 * 0.4, 0.2 * 0.6, 0.2 * 0.4 * 0.75
    assert found == pytest.approx(np.array([first, second]) / (first + second + neither), abs=1e-6)


def test_right_answers_that_never_agree_leave_what_the_prompt_says() -> None:
    concord = Concord(right_agree=1e-9, dispersion=1e9)
    found = believe(right(0.8, 0.6), np.array([[0, 1]]), concord).right[0]
    assert found == pytest.approx([0.8, 0.6], abs=1e-6)


def test_one_who_was_not_asked_changes_nothing() -> None:
    concord = Concord(0.95, 4.0)
    two = believe(right(0.8, 0.6), np.array([[0, 1]]), concord).right[0]
    three = believe(right(0.8, 0.6, 0.9), np.array([[0, 1, -1]]), concord).right[0]
    assert three == pytest.approx([*two, 0.0])


def test_the_value_of_asking_is_the_mean_over_what_may_be_said() -> None:
    concord, skills = Concord(0.9, 2.0), right(0.7, 0.6, 0.8)
    for codes in ([0, 0], [0, 1]):
        belief = believe(skills[:, :2], np.array([codes]), concord)
        expected = expected_right(belief, skills[:, 2], concord)[0]
        after = [believe(skills, np.array([[*codes, said]]), concord) for said in (0, 1, 2)]
        evidence = _evidence(skills, codes, concord)
        values = [each.right.max() for each in after]
        assert expected == pytest.approx(np.dot(evidence, values), abs=0.02)


def _evidence(skills: np.ndarray, codes: list[int], concord: Concord) -> np.ndarray:
    """[3] how often a third model says 0, 1 or something else, by drawing 400,000 prompts."""
    rng, n = np.random.default_rng(0), 400_000
    said = np.full((n, 3), -1)
    is_right = rng.random((n, 3)) < skills[0, :, 0]
    is_common = is_right & (rng.random((n, 3)) < concord.right_agree)
    for k in range(3):
        wrong_before = (~is_right[:, :k]).sum(axis=1)
        joins = ~is_right[:, k] & (rng.random(n) < wrong_before / (wrong_before + concord.dispersion))
        said[:, k] = np.where(is_common[:, k], 100, 10 + k)
        pick = np.floor(rng.random(n) * np.maximum(wrong_before, 1)).astype(int)
        order = np.argsort(is_right[:, :k], axis=1, kind="stable") if k else np.zeros((n, 1), dtype=int)
        copied = said[np.arange(n), order[np.arange(n), np.minimum(pick, order.shape[1] - 1)]]
        said[:, k] = np.where(joins, copied, said[:, k])
    fits = (said[:, 0] == said[:, 1]) == (codes[0] == codes[1])
    third = said[fits]
    is_first = third[:, 2] == third[:, 0]
    is_second = ~is_first & (third[:, 2] == third[:, 1])
    return np.array([is_first.mean(), is_second.mean(), 1.0 - is_first.mean() - is_second.mean()])


def test_skills_are_found_again_in_answers_drawn_from_them() -> None:
    rng, n = np.random.default_rng(1), 4_000
    logits, difficulty = rng.normal(size=(n, 3)), rng.normal(size=(n, 1))
    intercept, slope, discrimination = [0.5, -0.5, 1.0], [1.0, 0.5, 1.5], [1.0, 2.0, 1.5]
    level = np.array(intercept) + np.array(slope) * logits + np.array(discrimination) * difficulty
    quality = (rng.random((n, 3)) < 1.0 / (1.0 + np.exp(-level))).astype(np.float64)
    quality[::7, 1] = np.nan
    skills = fit_skills(logits, quality)
    assert skills.intercept == pytest.approx(intercept, abs=0.25)
    assert skills.slope == pytest.approx(slope, abs=0.25)
    assert skills.discrimination == pytest.approx(discrimination, abs=0.45)


def test_the_difficulties_are_standard_normal() -> None:
    assert NODE_WEIGHTS.sum() == pytest.approx(1.0)
    assert pytest.approx(1.0) == NODE_WEIGHTS @ NODES**2
