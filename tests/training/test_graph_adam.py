"""The optimiser for CUDA graphs: it does what PyTorch's Adam does, and never asks the device for a number."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from facegan.training.optimizers import GraphAdam

RATES = [(1e-2, 0.0, 0.9), (1e-2, 0.5, 0.9), (3e-3, 0.5, 0.99), (3e-3, 0.9, 0.999)]


class NoReadingBack(TorchDispatchMode):
    """Fails on every operation that copies a number from the device to the host, which a graph's capture forbids."""

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        assert operation is not torch.ops.aten._local_scalar_dense.default
        return operation(*args, **(kwargs or {}))


def make_weights() -> list[torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=random).requires_grad_() for shape in ((4, 3), (5,), (2, 3, 4, 4))]


def set_gradients(weights: list[torch.Tensor], seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    for weight in weights:
        weight.grad = torch.randn(weight.shape, generator=random)


def test_the_same_steps_as_pytorchs_adam_while_the_rates_change():
    ours, theirs = make_weights(), make_weights()
    lr, beta1, beta2 = (torch.tensor(rate) for rate in RATES[0])
    adam = GraphAdam(ours, lr, (beta1, beta2), 1e-8)
    reference = torch.optim.Adam(theirs, eps=1e-8)
    for step, rates in enumerate(RATES):
        for place, rate in zip((lr, beta1, beta2), rates, strict=True):
            place.fill_(rate)
        reference.param_groups[0].update(lr=rates[0], betas=rates[1:])
        for weights in (ours, theirs):
            set_gradients(weights, step)
        adam.step()
        reference.step()
    for weight, expected in zip(ours, theirs, strict=True):
        torch.testing.assert_close(weight, expected, rtol=1e-5, atol=1e-7)


def test_a_step_reads_nothing_back_and_moves_nothing():
    weights = make_weights()
    adam = GraphAdam(weights, torch.tensor(1e-2), (torch.tensor(0.5), torch.tensor(0.9)), 1e-8)
    set_gradients(weights, 0)
    places = [value.data_ptr() for weight in weights for value in (weight, *adam.state[weight].values())]
    with NoReadingBack():
        adam.step()
    assert places == [value.data_ptr() for weight in weights for value in (weight, *adam.state[weight].values())]
