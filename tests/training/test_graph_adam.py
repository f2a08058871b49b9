"""The optimizer for CUDA graphs: it equals PyTorch's Adam, and never reads a number from the device."""

import torch

from facegan.training.optimizers import GraphAdam

RATES = [(1e-2, 0.0, 0.9), (1e-2, 0.5, 0.9), (3e-3, 0.5, 0.99), (3e-3, 0.9, 0.999)]


def make_weights() -> list[torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=random).requires_grad_() for shape in ((4, 3), (5,), (2, 3, 4, 4))]


def set_gradients(weights: list[torch.Tensor], seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    for weight in weights:
        weight.grad = torch.randn(weight.shape, generator=random)


def test_steps_equal_those_of_adam_while_the_rates_change():
    graph_weights, adam_weights = make_weights(), make_weights()
    lr, beta1, beta2 = (torch.tensor(rate) for rate in RATES[0])
    adam = GraphAdam(graph_weights, lr, (beta1, beta2), 1e-8)
    reference = torch.optim.Adam(adam_weights, eps=1e-8)
    for step, rates in enumerate(RATES):
        for place, rate in zip((lr, beta1, beta2), rates, strict=True):
            place.fill_(rate)
        reference.param_groups[0].update(lr=rates[0], betas=rates[1:])
        for weights in (graph_weights, adam_weights):
            set_gradients(weights, step)
        adam.step()
        reference.step()
    for weight, expected in zip(graph_weights, adam_weights, strict=True):
        torch.testing.assert_close(weight, expected, rtol=1e-5, atol=1e-7)


def test_weights_that_are_added_later_have_their_own_bias_correction():
    graph_weights, adam_weights = make_weights(), make_weights()
    adam = GraphAdam(graph_weights, torch.tensor(1e-2), (torch.tensor(0.5), torch.tensor(0.9)), 1e-8, grows=True)
    reference = torch.optim.Adam(adam_weights, lr=1e-2, betas=(0.5, 0.9), eps=1e-8)
    for step in range(6):
        for optimizer, weights in ((adam, graph_weights), (reference, adam_weights)):
            set_gradients(weights, step)
            if step < 3:
                weights[0].grad = None
            optimizer.step()
    for weight, expected in zip(graph_weights, adam_weights, strict=True):
        torch.testing.assert_close(weight, expected, rtol=1e-5, atol=1e-7)
