"""Adam whose every number lies on the device, so that a CUDA graph can hold its step while the rates go on changing.

Kingma and Ba 2014, "Adam: a method for stochastic optimization", algorithm 1. PyTorch's own can be captured with constant
betas alone: its fused form takes them as numbers, which a graph freezes, and its foreach form (2.15) reads a betas' tensor
back to the host, which a capture forbids.
"""

import torch
from torch import Tensor


class GraphAdam(torch.optim.Optimizer):
    """Adam with one learning rate and one pair of betas for all parameters.

    Args:
        parameters: what to optimise; each must have a gradient at every step.
        lr, betas: 0-dim tensors on the parameters' device, read anew at each step.
        epsilon: added to the root of the second moment.
    """

    def __init__(self, parameters: list[Tensor], lr: Tensor, betas: tuple[Tensor, Tensor], epsilon: float):
        super().__init__(parameters, {"lr": lr, "betas": betas})
        self.epsilon = epsilon
        for parameter in parameters:
            moments = {name: torch.zeros_like(parameter, memory_format=torch.preserve_format) for name in ("exp_avg", "exp_avg_sq")}
            self.state[parameter] = {"step": torch.zeros((), device=parameter.device), **moments}

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """Takes one step: w ← w - lr · m̂ / (√v̂ + ε), with m̂ = m / (1 - β1ᵗ) and v̂ = v / (1 - β2ᵗ)."""
        (group,) = self.param_groups
        weights, lr, (beta1, beta2) = group["params"], group["lr"], group["betas"]
        gradients = [weight.grad for weight in weights]
        steps, means, squares = ([self.state[weight][name] for weight in weights] for name in ("step", "exp_avg", "exp_avg_sq"))
        torch._foreach_add_(steps, 1)
        torch._foreach_mul_(means, beta1)
        torch._foreach_add_(means, torch._foreach_mul(gradients, 1 - beta1))
        torch._foreach_mul_(squares, beta2)
        torch._foreach_add_(squares, torch._foreach_mul(torch._foreach_mul(gradients, gradients), 1 - beta2))

        roots = torch._foreach_sqrt(squares)
        torch._foreach_div_(roots, (1 - beta2 ** steps[0]).sqrt())  # all parameters have taken equally many steps
        torch._foreach_add_(roots, self.epsilon)
        changes = torch._foreach_div(means, roots)
        torch._foreach_mul_(changes, lr / (1 - beta1 ** steps[0]))
        torch._foreach_sub_(weights, changes)
