"""Both networks, the generator's moving average (EMA) and the optimisers: everything that a step changes, as tensors with fixed places.

The places never move once made: a loaded checkpoint or a rewind is copied into them. A CUDA graph needs that, and it makes
saving, loading and going back one and the same thing.
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from facegan.models.layers import unshare_batch_norm
from facegan.models.parameters import ModelParameters
from facegan.models.registry import build_discriminator, build_generator
from facegan.training.graph_adam import GraphAdam

KERAS_RHO, KERAS_EPSILON = 0.9, 1e-7  # RMSprop's defaults where the Keras tutorial leaves them unsaid
ADAM_EPSILON = 1e-8


class Networks:
    """The two networks, the generator's moving average (EMA), and an optimiser for each network.

    Args:
        model: the architecture.
        resolution: the pictures' size in pixels.
        optimizer: "adam" (Kingma and Ba 2014) or "rmsprop", with Keras' conventions: ρ 0.9, and ε added to the root.
        betas: Adam's decay rates (β1, β2).
        clip_value: gradients are clipped to ±this before a step; None leaves them.
        device: where everything lives.
        capturable: keep every changing number on the device, so that a CUDA graph can hold a step.
    """

    def __init__(
        self,
        model: ModelParameters,
        resolution: int,
        optimizer: str,
        betas: tuple[float, float],
        clip_value: float | None,
        device: torch.device,
        capturable: bool,
    ):
        self.generator = build_generator(model, resolution).to(device, memory_format=torch.channels_last)
        self.discriminator = build_discriminator(model, resolution).to(device, memory_format=torch.channels_last)
        self.ema = copy.deepcopy(self.generator).requires_grad_(False)
        unshare_batch_norm(self.ema)  # the first process alone looks at it
        self.clip_value = clip_value
        self.capturable = capturable
        self.optimizers = {
            network: make_optimizer(network.parameters(), optimizer, betas, device, capturable)
            for network in (self.generator, self.discriminator)
        }

    def tensors(self) -> dict[str, Tensor]:
        """Returns every tensor that a step changes, by name; the same names and places for the networks' whole life."""
        networks = {"generator": self.generator, "discriminator": self.discriminator, "ema": self.ema}
        result = {f"{role}.{name}": value for role, network in networks.items() for name, value in network.state_dict().items()}
        for role in ("generator", "discriminator"):
            optimizer = self.optimizers[networks[role]]
            for number, parameter in enumerate(networks[role].parameters()):
                for name, value in optimizer.state[parameter].items():
                    result[f"{role}.optimizer.{number}.{name}"] = value
        return result

    def set_rates(self, generator_lr: float, discriminator_lr: float, betas: tuple[float, float]) -> None:
        """Sets the learning rates and Adam's betas from the next step on."""
        for network, lr in ((self.generator, generator_lr), (self.discriminator, discriminator_lr)):
            (group,) = self.optimizers[network].param_groups
            set_number(group, "lr", lr)
            if "betas" in group:
                pair = dict(enumerate(group["betas"]))
                for place, beta in enumerate(betas):
                    set_number(pair, place, beta)
                group["betas"] = tuple(pair.values())

    def clear_gradients(self) -> None:
        """Drops the gradients that a step which broke off has left."""
        for optimizer in self.optimizers.values():
            optimizer.zero_grad()

    def step(self, network: nn.Module) -> None:
        """Takes one optimiser step with the gradients that the network has, and drops them."""
        if self.clip_value is not None:
            gradients = [parameter.grad for parameter in network.parameters()]
            torch._foreach_clamp_min_(gradients, -self.clip_value)
            torch._foreach_clamp_max_(gradients, self.clip_value)
        self.optimizers[network].step()
        self.optimizers[network].zero_grad()


def make_optimizer(parameters: Any, name: str, betas: tuple[float, float], device: torch.device, capturable: bool) -> torch.optim.Optimizer:
    """Returns an optimiser whose state exists already, all zero, rather than after its first step."""
    parameters = list(parameters)
    lr: float | Tensor = torch.zeros((), device=device) if capturable else 0.0
    if name == "rmsprop":
        optimizer = torch.optim.RMSprop(parameters, lr=lr, alpha=KERAS_RHO, eps=KERAS_EPSILON, foreach=True, capturable=capturable)
    elif capturable:
        optimizer = GraphAdam(parameters, lr, tuple(torch.tensor(beta, device=device) for beta in betas), ADAM_EPSILON)
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


def set_number(places: dict, key: Any, value: float) -> None:
    """Sets ``places[key]``: in its place where it is a tensor, else by replacing it."""
    if isinstance(places[key], Tensor):
        places[key].fill_(value)
    else:
        places[key] = value
