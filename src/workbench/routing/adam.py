"""Adam with decoupled weight decay: what torch.optim.AdamW does on one tensor after the other.

The first optimizer of torch.optim imports torch's compiler, which takes longer than most fits here.
Source: Loshchilov & Hutter (2019), Decoupled weight decay regularization, arXiv 1711.05101.
"""

import math
from collections.abc import Iterable

import torch
from torch import nn

_DECAYS = (0.9, 0.999)
"""Of the running means of gradients and of their squares."""
_SMALLEST = 1e-8


class AdamW:
    """Steps against the gradients of some parameters."""

    def __init__(
        self, parameters: Iterable[nn.Parameter], *, learning_rate: float, weight_decay: float
    ) -> None:
        self._parameters = list(parameters)
        self._means = [torch.zeros_like(parameter) for parameter in self._parameters]
        self._squares = [torch.zeros_like(parameter) for parameter in self._parameters]
        self._learning_rate, self._weight_decay, self._n_steps = learning_rate, weight_decay, 0

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self._parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """One step; a parameter without a gradient stays where it is."""
        self._n_steps += 1
        first, second = _DECAYS
        size = self._learning_rate / (1.0 - first**self._n_steps)
        unbiased = math.sqrt(1.0 - second**self._n_steps)
        for parameter, mean, square in zip(self._parameters, self._means, self._squares, strict=True):
            if parameter.grad is None:
                continue
            parameter.mul_(1.0 - self._learning_rate * self._weight_decay)
            mean.lerp_(parameter.grad, 1.0 - first)
            square.mul_(second).addcmul_(parameter.grad, parameter.grad, value=1.0 - second)
            parameter.addcdiv_(mean, (square.sqrt() / unbiased).add_(_SMALLEST), value=-size)
