"""A budget: reserved before, settled after, never exceeded by calls that keep to their bound."""

import asyncio
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.budget import Budget
from workbench.errors import BudgetError, ConfigError


def test_money_that_was_not_settled_comes_back() -> None:
    budget = Budget(1.0)
    with budget.reserve(0.4):
        assert budget.left_usd == 0.6
    assert (budget.spent_usd, budget.reserved_usd, budget.left_usd) == (0.0, 0.0, 1.0)


def test_the_error_says_what_is_left_and_what_the_call_could_cost() -> None:
    budget = Budget(1.0, spent_usd=0.9)
    with pytest.raises(BudgetError, match=r"could cost \$0\.200000, but \$0\.100000 .* is left"):
        budget.reserve(0.2)
    assert budget.reserved_usd == 0.0


def test_a_charge_above_the_reservation_is_recorded_as_it_is() -> None:
    budget = Budget(1.0)
    with budget.reserve(0.5) as reservation:
        reservation.settle(1.5)
    assert (budget.spent_usd, budget.left_usd) == (1.5, 0.0)


def test_ten_tenths_fit_into_one() -> None:
    budget = Budget(1.0)
    for _ in range(10):
        budget.reserve(0.1).settle(0.1)
    with pytest.raises(BudgetError):
        budget.reserve(0.1)


@pytest.mark.parametrize("amount", [math.inf, math.nan, -1.0])
def test_an_amount_that_is_none_is_refused(amount: float) -> None:
    with pytest.raises(ConfigError, match="finite number"):
        Budget(amount)
    with pytest.raises(ConfigError, match="finite number"):
        Budget(1.0, spent_usd=amount)
    with pytest.raises(ConfigError, match="finite number"):
        Budget(1.0).reserve(amount)


@given(st.lists(st.tuples(st.floats(0.0, 2.0), st.floats(0.0, 1.0), st.booleans()), max_size=30))
def test_the_sum_of_spent_and_reserved_stays_within_the_limit(calls: list[tuple[float, float, bool]]) -> None:
    budget = Budget(3.0)
    for bound_usd, used, is_settled in calls:
        try:
            reservation = budget.reserve(bound_usd)
        except BudgetError:
            continue
        if is_settled:
            reservation.settle(bound_usd * used)
        assert budget.spent_usd + budget.reserved_usd <= 3.0 + 1e-9
        assert budget.reserved_usd > -1e-9


@pytest.mark.anyio
async def test_fifty_tasks_with_money_for_ten_start_ten() -> None:
    budget = Budget(10 * 0.07)

    async def call() -> bool:
        try:
            reservation = budget.reserve(0.07)
        except BudgetError:
            return False
        with reservation:
            await asyncio.sleep(0.001)
            reservation.settle(0.07)
        return True

    assert sum(await asyncio.gather(*(call() for _ in range(50)))) == 10
    assert budget.spent_usd == pytest.approx(0.7)
