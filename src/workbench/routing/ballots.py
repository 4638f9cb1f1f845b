"""Ballots: what several models answered to the same prompts, as numbers that can be counted.

Two answers agree where their final answers are the same text; the caller says what the final answer of a
text is, such as the last number in it.

Dimensions: N prompts, K members.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workbench.answers import is_refusal
from workbench.errors import DataError
from workbench.routing.forecast import Floats
from workbench.routing.training_data import TrainingData

FinalAnswer = Callable[[str], str | None]
"""From the text of an answer to what is compared; empty or None: the text settles on nothing."""

NO_ANSWER = -1


@dataclass(frozen=True, slots=True)
class Ballots:
    """Who gave which final answer. Columns are those of `model_ids` [K].

    `final` [N, K] has equal numbers for equal final answers to one prompt, and -1 where a member gave none,
    which is so of a refusal. `n_chars` [N, K] is the length of the answer; NaN: the member did not answer.
    """

    model_ids: tuple[str, ...]
    final: NDArray[np.int64]
    n_chars: Floats
    is_refusal: NDArray[np.bool_]

    @property
    def is_answered(self) -> NDArray[np.bool_]:
        """[N, K] whether there is any answer of the member."""
        answered: NDArray[np.bool_] = np.isfinite(self.n_chars)
        return answered

    def agrees_with(self, column: int) -> NDArray[np.bool_]:
        """[N, K] whether a member gave the final answer of the one in `column`; the member itself did."""
        wanted = self.final[:, [column]]
        same: NDArray[np.bool_] = (self.final == wanted) & (wanted != NO_ANSWER)
        return same

    def of(self, model_ids: Sequence[str]) -> "Ballots":
        """The columns of some of the members, in this order.

        Raises:
            DataError: one of them is not a member.
        """
        if tuple(model_ids) == self.model_ids:
            return self
        columns = columns_of(model_ids, self.model_ids)
        return Ballots(
            tuple(model_ids), self.final[:, columns], self.n_chars[:, columns], self.is_refusal[:, columns]
        )

    def rows(self, index: NDArray[np.int64]) -> "Ballots":
        """The same members on some of the prompts, by position."""
        return Ballots(self.model_ids, self.final[index], self.n_chars[index], self.is_refusal[index])


def count(
    answers: Sequence[Sequence[str | None]] | NDArray[np.object_],
    model_ids: Sequence[str],
    *,
    final_answer: FinalAnswer,
) -> Ballots:
    """The ballots of `answers`, a row of K texts for each prompt; None: the member did not answer.

    >>> count([["It is 4.", "4", "5"]], ["a", "b", "c"], final_answer=lambda text: text.strip("It is.")).final
    array([[0, 0, 1]])
    """
    shape = (len(answers), len(model_ids))
    final = np.full(shape, NO_ANSWER, dtype=np.int64)
    n_chars, refused = np.full(shape, np.nan), np.zeros(shape, dtype=np.bool_)
    for row, texts in enumerate(answers):
        number_of: dict[str, int] = {}
        for column, text in enumerate(texts):
            if text is None:
                continue
            n_chars[row, column] = len(text)
            refused[row, column] = is_refusal(text)
            given = None if refused[row, column] else final_answer(text)
            if given:
                final[row, column] = number_of.setdefault(given, len(number_of))
    return Ballots(tuple(model_ids), final, n_chars, refused)


def ballots_of(data: TrainingData, *, final_answer: FinalAnswer) -> Ballots:
    """The ballots of every model of an outcome table.

    Raises:
        DataError: the table has no responses.
    """
    if data.answers is None:
        raise DataError(
            "an ensemble is learned from what models answered; this table has no column 'response'"
        )
    return count(data.answers, data.model_ids, final_answer=final_answer)


def columns_of(wanted: Sequence[str], model_ids: Sequence[str]) -> list[int]:
    """Where each of `wanted` is among `model_ids`.

    Raises:
        DataError: one of them is not there.
    """
    position = {model_id: column for column, model_id in enumerate(model_ids)}
    for model_id in wanted:
        if model_id not in position:
            raise DataError(f"{model_id} is not among the models of these rows: {', '.join(model_ids)}")
    return [position[model_id] for model_id in wanted]
