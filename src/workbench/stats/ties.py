"""How a tie enters a model of pairwise judgements: as half a win, after Davidson, or after Rao and Kupper.

Of a pair, d is the difference of strengths, first minus second, and outcomes are in the order first won, tie,
second won. P pairs.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

import numpy as np
from scipy.special import expit, log_expit, log_softmax

Ties = Literal["half", "davidson", "rao_kupper"]


class TieModel(Protocol):
    """Probabilities of the three outcomes, and how they move with d and with the model's own parameter."""

    has_parameter: ClassVar[bool]

    def start(self, share: float) -> float:
        """The parameter for which equals tie with probability `share`."""

    def natural(self, parameter: float) -> float:
        """The parameter as its authors write it: nu or theta."""

    def log_chance(self, difference: np.ndarray, parameter: float) -> np.ndarray:
        """[P] -> [P, 3] log-likelihood of one judgement of each outcome."""

    def chance(self, difference: np.ndarray, parameter: float) -> np.ndarray:
        """[P] -> [P, 3] probability of each outcome."""

    def score(self, difference: np.ndarray, parameter: float) -> np.ndarray:
        """[P] -> [P, 3, 2] derivative of `log_chance` by d and by the parameter."""


@dataclass(frozen=True, slots=True)
class HalfWin:
    """A tie is half a win of each; its own probability is not modelled. Without ties, plain Bradley-Terry."""

    has_parameter: ClassVar[bool] = False

    def start(self, share: float) -> float:
        return 0.0

    def natural(self, parameter: float) -> float:
        return math.nan

    def log_chance(self, difference: np.ndarray, parameter: float) -> np.ndarray:
        won, lost = log_expit(difference), log_expit(-difference)
        return np.stack([won, (won + lost) / 2.0, lost], axis=1)

    def chance(self, difference: np.ndarray, parameter: float) -> np.ndarray:
        return np.stack([expit(difference), np.zeros(len(difference)), expit(-difference)], axis=1)

    def score(self, difference: np.ndarray, parameter: float) -> np.ndarray:
        won = expit(difference)
        by_difference = np.stack([1.0 - won, 0.5 - won, -won], axis=1)
        return np.stack([by_difference, np.zeros_like(by_difference)], axis=2)


@dataclass(frozen=True, slots=True)
class Davidson:
    """A tie has the weight nu sqrt(pi_i pi_j) beside pi_i and pi_j; the parameter is log nu.

    Source: Davidson (1970), On extending the Bradley-Terry model to accommodate ties, JASA 65, 317-328.
    """

    has_parameter: ClassVar[bool] = True

    def start(self, share: float) -> float:
        return math.log(2.0 * share / (1.0 - share))

    def natural(self, parameter: float) -> float:
        return math.exp(parameter)

    def log_chance(self, difference: np.ndarray, parameter: float) -> np.ndarray:
        weights = [difference / 2.0, np.full(len(difference), parameter), -difference / 2.0]
        return np.asarray(log_softmax(np.stack(weights, axis=1), axis=1))

    def chance(self, difference: np.ndarray, parameter: float) -> np.ndarray:
        return np.asarray(np.exp(self.log_chance(difference, parameter)))

    def score(self, difference: np.ndarray, parameter: float) -> np.ndarray:
        features = np.array([[0.5, 0.0], [0.0, 1.0], [-0.5, 0.0]])
        return np.asarray(features - (self.chance(difference, parameter) @ features)[:, None, :])


@dataclass(frozen=True, slots=True)
class RaoKupper:
    """The stronger must exceed the other by a threshold: won with probability pi_i / (pi_i + theta pi_j).

    The parameter is log log theta, so that theta stays above 1.
    Source: Rao & Kupper (1967), Ties in paired-comparison experiments, JASA 62, 194-204.
    """

    has_parameter: ClassVar[bool] = True

    def start(self, share: float) -> float:
        return math.log(math.log((1.0 + share) / (1.0 - share)))

    def natural(self, parameter: float) -> float:
        return math.exp(math.exp(parameter))

    def log_chance(self, difference: np.ndarray, parameter: float) -> np.ndarray:
        threshold = math.exp(parameter)
        won, lost = log_expit(difference - threshold), log_expit(-difference - threshold)
        return np.stack([won, won + lost + math.log(math.expm1(2.0 * threshold)), lost], axis=1)

    def chance(self, difference: np.ndarray, parameter: float) -> np.ndarray:
        return np.asarray(np.exp(self.log_chance(difference, parameter)))

    def score(self, difference: np.ndarray, parameter: float) -> np.ndarray:
        threshold = math.exp(parameter)
        not_won = expit(threshold - difference)
        not_lost = expit(threshold + difference)
        growth = 2.0 / -math.expm1(-2.0 * threshold)
        by_difference = np.stack([not_won, not_won - not_lost, -not_lost], axis=1)
        by_threshold = np.stack([-not_won, growth - not_won - not_lost, -not_lost], axis=1)
        return np.stack([by_difference, threshold * by_threshold], axis=2)


TIE_MODELS: dict[Ties, TieModel] = {"half": HalfWin(), "davidson": Davidson(), "rao_kupper": RaoKupper()}
