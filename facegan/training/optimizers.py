"""What changes weights: Adam, RMSprop as Keras defines it, an Adam that a CUDA graph can hold, and the moving average (EMA)."""

from collections.abc import Iterable
from typing import Any, cast

import torch
from torch import Tensor, nn

KERAS_RHO, KERAS_EPSILON = 0.9, 1e-7  # RMSprop's defaults in Keras, which the Keras tutorial uses
ADAM_EPSILON = 1e-8


class GraphAdam(torch.optim.Optimizer):
    """Adam (Kingma and Ba 2014, algorithm 1) with every number on the device, so that a CUDA graph can hold its step while rates change.

    PyTorch's Adam can be captured only with constant betas: its fused form takes them as numbers, which a graph freezes, and its
    foreach form (2.15) reads a betas tensor back to the host, which a capture forbids.

    Args:
        parameters: what to optimize; those without a gradient do not change.
        lr, betas: 0-dim tensors on the parameters' device, read at each step.
        epsilon: added to the root of the second moment.
        grows: whether some parameters have no gradient in the first steps. Each parameter then has its own bias correction.
    """

    def __init__(self, parameters: list[nn.Parameter], lr: Tensor, betas: tuple[Tensor, Tensor], epsilon: float, grows: bool = False):
        super().__init__(parameters, {"lr": lr, "betas": betas})
        self.epsilon, self.grows = epsilon, grows
        for parameter in parameters:
            moments = {name: torch.zeros_like(parameter, memory_format=torch.preserve_format) for name in ("exp_avg", "exp_avg_sq")}
            self.state[parameter] = {"step": torch.zeros((), device=parameter.device), **moments}

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Updates the weights: w ← w - lr · m̂ / (√v̂ + ε), with m̂ = m / (1 - β1ᵗ) and v̂ = v / (1 - β2ᵗ)."""
        (group,) = self.param_groups
        weights, lr, (beta1, beta2) = [weight for weight in group["params"] if weight.grad is not None], group["lr"], group["betas"]
        gradients = [weight.grad for weight in weights]
        steps, means, squares = ([self.state[weight][name] for weight in weights] for name in ("step", "exp_avg", "exp_avg_sq"))
        torch._foreach_add_(steps, 1)
        torch._foreach_mul_(means, beta1)
        torch._foreach_add_(means, torch._foreach_mul(gradients, 1 - beta1))
        torch._foreach_mul_(squares, beta2)
        torch._foreach_add_(squares, torch._foreach_mul(torch._foreach_mul(gradients, gradients), 1 - beta2))

        count = torch.stack(steps) if self.grows else steps[0]  # otherwise all parameters have taken the same number of steps
        root, rate = (1 - beta2**count).sqrt(), lr / (1 - beta1**count)
        roots = torch._foreach_sqrt(squares)
        torch._foreach_div_(roots, cast(Any, root.unbind() if self.grows else root))
        torch._foreach_add_(roots, self.epsilon)
        changes = torch._foreach_div(means, roots)
        torch._foreach_mul_(changes, cast(Any, rate.unbind() if self.grows else rate))
        torch._foreach_sub_(weights, changes)


def make_optimizer(
    parameters: Iterable[nn.Parameter], name: str, betas: tuple[float, float], device: torch.device, capturable: bool, grows: bool = False
) -> torch.optim.Optimizer:
    """Returns an optimizer whose state tensors already exist, all zero; PyTorch's would create them in the first step.

    Args:
        name: "adam" or "rmsprop" (with Keras's conventions: ρ 0.9, and ε added to the root).
        capturable: keep every changing number on the device.
        grows: see ``GraphAdam``.
    """
    parameters = list(parameters)
    lr: float | Tensor = torch.zeros((), device=device) if capturable else 0.0  # set before every step, by ``set_rates``
    optimizer: torch.optim.Optimizer
    if name == "rmsprop":
        optimizer = torch.optim.RMSprop(
            parameters,
            lr=lr,
            alpha=KERAS_RHO,
            eps=KERAS_EPSILON,
            foreach=True,
            capturable=capturable,
        )
    elif capturable:
        beta1, beta2 = (torch.tensor(beta, device=device) for beta in betas)
        optimizer = GraphAdam(parameters, torch.zeros((), device=device), (beta1, beta2), ADAM_EPSILON, grows)
    else:
        optimizer = torch.optim.Adam(parameters, lr=lr, betas=betas, eps=ADAM_EPSILON, fused=True)
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    optimizer.zero_grad()
    for state in optimizer.state.values():
        for value in state.values():
            value.zero_()
    return optimizer


def set_rates(optimizer: torch.optim.Optimizer, lr: float, betas: tuple[float, float]) -> None:
    """Sets the learning rate and Adam's betas; tensors are filled in place, as a CUDA graph requires."""
    (group,) = optimizer.param_groups
    if isinstance(group["lr"], Tensor):
        group["lr"].fill_(lr)
    else:
        group["lr"] = lr
    if "betas" in group:
        if isinstance(group["betas"][0], Tensor):
            for place, beta in zip(group["betas"], betas, strict=True):
                place.fill_(beta)
        else:
            group["betas"] = betas


def apply_gradients(optimizer: torch.optim.Optimizer, clip_value: float | None) -> None:
    """Takes one optimizer step and clears the gradients. ``clip_value``: gradients are first clipped to ±clip_value (None: not clipped)."""
    if clip_value is not None:
        gradients = [parameter.grad for parameter in optimizer.param_groups[0]["params"] if parameter.grad is not None]
        torch._foreach_clamp_min_(gradients, -clip_value)
        torch._foreach_clamp_max_(gradients, clip_value)
    optimizer.step()
    optimizer.zero_grad()


def update_ema(ema: nn.Module, generator: nn.Module, decay: Tensor) -> None:
    """Moves the average towards the generator: ema ← decay · ema + (1 - decay) · generator; buffers are copied.

    Args:
        decay: a 0-dim tensor on the training device.
    """
    with torch.no_grad():
        averages: list[Tensor] = list(ema.parameters())
        weights: list[Tensor] = list(generator.parameters())
        if decay.device.type == "cpu":
            torch._foreach_lerp_(averages, weights, cast(Any, [1 - decay] * len(weights)))  # one rounding fewer than below
        else:
            move_together(averages, weights, 1 - decay)
        buffers = list(ema.buffers())
        if buffers:
            torch._foreach_copy_(buffers, list(generator.buffers()))


def move_together(averages: list[Tensor], weights: list[Tensor], share: Tensor) -> None:
    """Moves the averages by ``share`` (a 0-dim tensor) towards the weights: three kernels in all, where ``lerp`` needs one per tensor."""
    changes = torch._foreach_sub(weights, averages)
    torch._foreach_mul_(changes, share)
    torch._foreach_add_(averages, changes)
