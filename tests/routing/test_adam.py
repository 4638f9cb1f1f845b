"""Adam with decoupled weight decay, held against torch's own."""

import pytest

torch = pytest.importorskip("torch")

from workbench.routing.adam import AdamW  # noqa: E402 - torch may be absent


def test_steps_are_those_of_torch() -> None:
    generator = torch.Generator().manual_seed(0)
    start, wanted = torch.randn(7, 3, generator=generator), torch.randn(7, 3, generator=generator)
    own, theirs = torch.nn.Parameter(start.clone()), torch.nn.Parameter(start.clone())
    steps = AdamW([own], learning_rate=0.05, weight_decay=0.1)
    reference = torch.optim.AdamW([theirs], lr=0.05, weight_decay=0.1)
    for _ in range(50):
        for parameter, optimizer in ((own, steps), (theirs, reference)):
            optimizer.zero_grad()
            ((parameter - wanted) ** 2).sum().backward()
            optimizer.step()
    assert not torch.equal(own, start)
    torch.testing.assert_close(own, theirs, rtol=1e-6, atol=1e-7)


def test_a_parameter_without_a_gradient_stays() -> None:
    still = torch.nn.Parameter(torch.ones(2))
    AdamW([still], learning_rate=0.1, weight_decay=0.1).step()
    assert torch.equal(still, torch.ones(2))
