"""An experiment before it is run, in words: the same for the terminal and for notebooks."""

from collections.abc import Iterator

from workbench.experiment.detectable import Detectable
from workbench.experiment.outlook import Outlook
from workbench.experiment.wording import count, printable, usd

HEADER = ("arm", "calls", "expected cost", "at most")


def rows(seen: Outlook) -> list[tuple[str, ...]]:
    """One row an arm, and one for all, under `HEADER`."""
    lines = [
        (printable(arm.arm), f"{arm.n_calls:,}", usd(arm.expected_usd), usd(arm.most_usd))
        for arm in seen.arms
    ]
    return [*lines, ("all arms", f"{seen.n_calls:,}", usd(seen.expected_usd), usd(seen.most_usd))]


def sentences(seen: Outlook) -> Iterator[str]:
    """Time, budget, what the size can find, and what all this assumes."""
    yield f"It takes about {_duration(seen.duration_s)}."
    yield from _of_budget(seen)
    for one in seen.detectable:
        yield from _of_size(one)
    yield f"Assumed: {'; '.join(seen.assumptions)}."


def _of_budget(seen: Outlook) -> Iterator[str]:
    budget_usd, expected_usd, most_usd = seen.budget_usd, seen.expected_usd, seen.most_usd
    if budget_usd is None or expected_usd is None or most_usd is None:
        return
    if seen.exceeds_budget:
        share = 100 * budget_usd / expected_usd
        yield (
            f"The budget of {usd(budget_usd)} is expected to end the run after about {share:.0f} % of its "
            f"calls: raise it to {usd(expected_usd)}, or ask fewer prompts."
        )
    elif most_usd > budget_usd:
        yield f"The budget of {usd(budget_usd)} is expected to do, and is never exceeded."
    else:
        yield f"The budget of {usd(budget_usd)} pays for every call."


def _of_size(one: Detectable) -> Iterator[str]:
    arm, n = printable(one.arm), count(one.n_planned, "prompt")
    if one.least_effect is None:
        yield f"{n} are too few to find any difference of {arm} with {100 * one.power:g} % power."
    else:
        yield (
            f"{n} find a difference of {arm} from the control of {100 * one.least_effect:.1f} points "
            f"with {100 * one.power:g} % power."
        )
    if one.effect is not None and one.n_needed is not None and one.power_at_planned is not None:
        yield (
            f"A difference of {100 * one.effect:g} points needs {count(one.n_needed, 'prompt')}; "
            f"with {n} it is found with {100 * one.power_at_planned:.0f} % power."
        )
    if one.early is not None and one.early_null is not None:
        effect = one.effect or one.least_effect or 0.0
        low, _, high = one.early.n_quantiles
        yield (
            f"Looked at as it goes on, a run with a difference of {100 * effect:.1f} points ends after "
            f"{one.early.mean_n:,.0f} prompts on average (four of five between {low:,.0f} and {high:,.0f}), "
            f"and is decided with {100 * one.early.power:.0f} % power; without a difference it goes to "
            f"{one.early_null.mean_n:,.0f}."
        )


def _duration(seconds: float) -> str:
    """
    >>> _duration(4.2), _duration(75), _duration(7300)
    ('4 s', '1 min 15 s', '2 h 2 min')
    """
    whole = max(1, round(seconds))
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(round(whole / 60), 60)
    return f"{hours} h {minutes} min"
