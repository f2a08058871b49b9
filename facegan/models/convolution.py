"""Convolutions that are cheap to differentiate twice, as gradient penalties require (R1, R2, WGAN-GP).

Results and first derivatives are bit-identical to PyTorch's; the second derivatives are computed differently. PyTorch computes the
derivative of a convolution's weight gradient as a convolution whose filter is the full feature map, group by group; on a GPU that takes
longer than the rest of the step. Here it is an ordinary weight gradient.

A convolution y = C(x, w) is linear in x and in w. With X(g, w) and W(g, x) the gradients of its input and of its weight,
⟨g, C(x, w)⟩ = ⟨x, X(g, w)⟩ = ⟨w, W(g, x)⟩, so each of the three has the other two as its derivatives, to any order.
"""

from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from facegan.models.layers import full_precision, initialize_normal

DENSE_BY_PYTORCH = ("cpu",)  # devices on which PyTorch's second derivative is faster, except with groups

Pair = int | tuple[int, ...]


class Geometry(NamedTuple):
    """How the filter moves over the features: the arguments of ``aten.convolution`` after the bias, in its order."""

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    transposed: bool
    output_padding: tuple[int, ...]
    groups: int


class Convolve(torch.autograd.Function):
    """C(x, w) + bias."""

    @staticmethod
    def forward(context: Any, features: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
        context.save_for_backward(features, weight)
        context.geometry, context.bias_shape = geometry, None if bias is None else bias.shape
        return convolve(features, weight, bias, geometry)

    @staticmethod
    def backward(context: Any, gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Returns the derivatives of features, weight and bias."""
        features, weight = context.saved_tensors
        if not torch.is_grad_enabled():  # not differentiated again: PyTorch's own call, all gradients together
            return *differentiate(gradients, features, weight, context.bias_shape, context.geometry, context.needs_input_grad[:3]), None
        return (
            InputGradient.apply(gradients, weight, features.shape, context.geometry) if is_needed(context, 0) else None,
            WeightGradient.apply(gradients, features, weight.shape, context.geometry) if is_needed(context, 1) else None,
            gradients.sum((0, 2, 3)) if is_needed(context, 2) else None,
            None,
        )


class InputGradient(torch.autograd.Function):
    """X(g, w), of the input's shape."""

    @staticmethod
    def forward(context: Any, gradients: Tensor, weight: Tensor, shape: torch.Size, geometry: Geometry) -> Tensor:
        context.save_for_backward(gradients, weight)
        context.geometry = geometry
        return differentiate(gradients, make_placeholder(gradients, shape), weight, None, geometry, (True, False, False))[0]

    @staticmethod
    def backward(context: Any, direction: Tensor) -> tuple[Tensor | None, ...]:
        """Returns the derivatives of gradients and weight."""
        gradients, weight = context.saved_tensors
        return (
            Convolve.apply(direction, weight, None, context.geometry) if context.needs_input_grad[0] else None,
            WeightGradient.apply(gradients, direction, weight.shape, context.geometry) if context.needs_input_grad[1] else None,
            None,
            None,
        )


class WeightGradient(torch.autograd.Function):
    """W(g, x), of the weight's shape."""

    @staticmethod
    def forward(context: Any, gradients: Tensor, features: Tensor, shape: torch.Size, geometry: Geometry) -> Tensor:
        context.save_for_backward(gradients, features)
        context.geometry = geometry
        return differentiate(gradients, features, make_placeholder(features, shape), None, geometry, (False, True, False))[1]

    @staticmethod
    def backward(context: Any, direction: Tensor) -> tuple[Tensor | None, ...]:
        """Returns the derivatives of gradients and features."""
        gradients, features = context.saved_tensors
        return (
            Convolve.apply(features, direction, None, context.geometry) if context.needs_input_grad[0] else None,
            InputGradient.apply(gradients, direction, features.shape, context.geometry) if context.needs_input_grad[1] else None,
            None,
            None,
        )


def is_needed(context: Any, number: int) -> bool:
    """Returns whether the running backward pass uses the gradient of an input.

    ``needs_input_grad`` only says whether the input requires a gradient. A penalty calls ``torch.autograd.grad`` with respect to images,
    which needs no gradients of weights; computing them would double the time of a GPU's step.
    """
    return context.needs_input_grad[number] and torch._C._will_engine_execute_node(context.next_functions[number][0])


def convolve(features: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
    """Returns C(x, w) + bias in the tensors' own type, also where a derivative is computed under autocast."""
    with full_precision(features.device):
        return torch.ops.aten.convolution(features, weight, bias, *geometry)


def differentiate(
    gradients: Tensor, features: Tensor, weight: Tensor, bias_shape: torch.Size | None, geometry: Geometry, needed: tuple[bool, ...]
) -> tuple[Tensor, ...]:
    """Returns the gradients of input, weight and bias; None where they are not needed."""
    return torch.ops.aten.convolution_backward(gradients, features, weight, bias_shape, *geometry, needed)


def make_placeholder(like: Tensor, shape: torch.Size) -> Tensor:
    """Returns a tensor of that shape, with the other's type and device, whose values are not read; it takes one number's memory."""
    return like.new_empty(1).expand(shape)


def apply_convolution(features: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
    """Returns C(x, w) + bias, in autocast's type where autocast is on, as PyTorch's own convolutions do."""
    device = features.device.type
    is_autocast = device != "meta" and torch.is_autocast_enabled(device)  # the meta device has no autocast
    dtype = torch.get_autocast_dtype(device) if is_autocast else features.dtype
    # views, because PyTorch cannot say for leaf tensors whether their gradient is needed
    features, weight = features.to(dtype).view_as(features), weight.to(dtype).view_as(weight)
    return Convolve.apply(features, weight, None if bias is None else bias.to(dtype).view_as(bias), geometry)


def conv2d(
    features: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Pair = 1,
    padding: Pair = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> Tensor:
    """Returns ``torch.nn.functional.conv2d`` of the same arguments."""
    if groups == 1 and features.device.type in DENSE_BY_PYTORCH:
        return functional.conv2d(features, weight, bias, stride, padding, dilation, groups)
    geometry = Geometry(make_pair(stride), make_pair(padding), make_pair(dilation), False, (0, 0), groups)
    return apply_convolution(features, weight, bias, geometry)


def conv_transpose2d(
    features: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Pair = 1,
    padding: Pair = 0,
    output_padding: Pair = 0,
    groups: int = 1,
    dilation: Pair = 1,
) -> Tensor:
    """Returns ``torch.nn.functional.conv_transpose2d`` of the same arguments."""
    if groups == 1 and features.device.type in DENSE_BY_PYTORCH:
        return functional.conv_transpose2d(features, weight, bias, stride, padding, output_padding, groups, dilation)
    geometry = Geometry(make_pair(stride), make_pair(padding), make_pair(dilation), True, make_pair(output_padding), groups)
    return apply_convolution(features, weight, bias, geometry)


def make_pair(value: Pair) -> tuple[int, ...]:
    """Returns (height, width); a number stands for both."""
    return (value, value) if isinstance(value, int) else value


class Conv2d(nn.Conv2d):
    """``nn.Conv2d`` with zero padding, by ``conv2d``."""

    def forward(self, features: Tensor) -> Tensor:
        return conv2d(features, self.weight, self.bias, self.stride, cast(Pair, self.padding), self.dilation, self.groups)


class ConvTranspose2d(nn.ConvTranspose2d):
    """``nn.ConvTranspose2d``, by ``conv_transpose2d``."""

    def forward(self, features: Tensor, output_size: list[int] | None = None) -> Tensor:
        padding, output_padding = cast(Pair, self.padding), self.output_padding
        return conv_transpose2d(features, self.weight, self.bias, self.stride, padding, output_padding, self.groups, self.dilation)


def make_transition(in_channels: int, out_channels: int) -> nn.Module:
    """Returns the change of channels between two stages: the identity, or a 1×1 convolution."""
    if in_channels == out_channels:
        return nn.Identity()
    layer = Conv2d(in_channels, out_channels, 1, bias=False)
    initialize_normal(layer)
    return layer
