"""Convolutions that are cheap to differentiate twice, as gradient penalties do (R1, R2, WGAN-GP).

In and out: the same as PyTorch's layers, to the bit, and so are their first derivatives. The difference is in the second ones.
PyTorch writes the derivative of a convolution's weight gradient as a convolution whose filter is the whole feature map, group
by group; on a GPU that takes longer than all the rest of a step. Here it is a weight gradient like any other.

A convolution y = C(x, w) is linear in x and in w. With X(g, w) and W(g, x) the gradients of its input and of its weight,
⟨g, C(x, w)⟩ = ⟨x, X(g, w)⟩ = ⟨w, W(g, x)⟩, so each of the three has the other two as its derivatives, to any order.
"""

import contextlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from facegan.models.layers import full_precision

DENSE_BY_PYTORCH = ("cpu",)  # where PyTorch's own second derivative is the faster one, unless there are groups


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
    def backward(context: Any, slopes: Tensor) -> tuple[Tensor | None, ...]:
        features, weight = context.saved_tensors
        wanted = context.needs_input_grad[:3]
        if not torch.is_grad_enabled():  # nobody differentiates this again: PyTorch's own call, all gradients at once
            return *differentiate(slopes, features, weight, context.bias_shape, context.geometry, wanted), None
        return (
            InputGradient.apply(slopes, weight, features.shape, context.geometry) if wanted[0] else None,
            WeightGradient.apply(slopes, features, weight.shape, context.geometry) if wanted[1] and not _only_inputs else None,
            slopes.sum((0, 2, 3)) if wanted[2] and not _only_inputs else None,
            None,
        )


class InputGradient(torch.autograd.Function):
    """X(g, w), of the input's shape."""

    @staticmethod
    def forward(context: Any, slopes: Tensor, weight: Tensor, shape: torch.Size, geometry: Geometry) -> Tensor:
        context.save_for_backward(slopes, weight)
        context.geometry = geometry
        return differentiate(slopes, stand_in(slopes, shape), weight, None, geometry, (True, False, False))[0]

    @staticmethod
    def backward(context: Any, direction: Tensor) -> tuple[Tensor | None, ...]:
        slopes, weight = context.saved_tensors
        return (
            Convolve.apply(direction, weight, None, context.geometry) if context.needs_input_grad[0] else None,
            WeightGradient.apply(slopes, direction, weight.shape, context.geometry) if context.needs_input_grad[1] else None,
            None,
            None,
        )


class WeightGradient(torch.autograd.Function):
    """W(g, x), of the weight's shape."""

    @staticmethod
    def forward(context: Any, slopes: Tensor, features: Tensor, shape: torch.Size, geometry: Geometry) -> Tensor:
        context.save_for_backward(slopes, features)
        context.geometry = geometry
        return differentiate(slopes, features, stand_in(features, shape), None, geometry, (False, True, False))[1]

    @staticmethod
    def backward(context: Any, direction: Tensor) -> tuple[Tensor | None, ...]:
        slopes, features = context.saved_tensors
        return (
            Convolve.apply(features, direction, None, context.geometry) if context.needs_input_grad[0] else None,
            InputGradient.apply(slopes, direction, features.shape, context.geometry) if context.needs_input_grad[1] else None,
            None,
            None,
        )


_only_inputs = False


@contextlib.contextmanager
def differentiate_inputs_alone() -> Iterator[None]:
    """Within this context a derivative that will be differentiated again is taken without those of weights and biases.

    ``torch.autograd.grad`` with respect to images wants none of them, but does not tell a Function so.
    """
    global _only_inputs
    _only_inputs = True
    try:
        yield
    finally:
        _only_inputs = False


def convolve(features: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
    """Returns C(x, w) + bias in the tensors' own type, also where a derivative is taken under autocast."""
    with full_precision(features.device):
        return torch.ops.aten.convolution(features, weight, bias, *geometry)


def differentiate(
    slopes: Tensor, features: Tensor, weight: Tensor, bias_shape: torch.Size | None, geometry: Geometry, wanted: tuple[bool, ...]
) -> tuple[Tensor | None, ...]:
    """Returns the gradients of input, weight and bias, None where they are not wanted."""
    return torch.ops.aten.convolution_backward(slopes, features, weight, bias_shape, *geometry, wanted)


def stand_in(like: Tensor, shape: torch.Size) -> Tensor:
    """Returns a tensor of that shape, with the other's type and device, whose values nobody reads: of one number's size."""
    return like.new_empty(1).expand(shape)


_shared: dict[tuple[int, bool], tuple[Tensor, Tensor]] | None = None  # a parameter's place and whether it learns: itself, cast


@contextlib.contextmanager
def share_casts() -> Iterator[None]:
    """Within this context each parameter is cast to autocast's type once, as PyTorch's own convolutions share casts."""
    global _shared
    _shared = {}
    try:
        yield
    finally:
        _shared = None


def to_autocast(*tensors: Tensor | None) -> tuple[Tensor | None, ...]:
    """Returns the tensors in autocast's type where it is on, as PyTorch's own convolutions take them."""
    device = tensors[0].device.type
    if device == "meta" or not torch.is_autocast_enabled(device):
        return tensors
    dtype = torch.get_autocast_dtype(device)
    return tuple(tensor if tensor is None else cast(tensor, dtype) for tensor in tensors)


def cast(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """Returns the tensor in that type; a parameter that learns is cast once within ``share_casts``."""
    if _shared is None or not (tensor.is_leaf and tensor.requires_grad):
        return tensor.to(dtype)
    key = id(tensor), torch.is_grad_enabled()
    if key not in _shared:
        _shared[key] = tensor, tensor.to(dtype)  # itself too, so that its place stays taken
    return _shared[key][1]


def conv2d(
    features: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] = 0,
    dilation: int | tuple[int, int] = 1,
    groups: int = 1,
) -> Tensor:
    """Returns ``torch.nn.functional.conv2d`` of the same arguments."""
    if groups == 1 and features.device.type in DENSE_BY_PYTORCH:
        return functional.conv2d(features, weight, bias, stride, padding, dilation, groups)
    geometry = Geometry(make_pair(stride), make_pair(padding), make_pair(dilation), False, (0, 0), groups)
    return Convolve.apply(*to_autocast(features, weight, bias), geometry)


def conv_transpose2d(
    features: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] = 0,
    output_padding: int | tuple[int, int] = 0,
    groups: int = 1,
    dilation: int | tuple[int, int] = 1,
) -> Tensor:
    """Returns ``torch.nn.functional.conv_transpose2d`` of the same arguments."""
    if groups == 1 and features.device.type in DENSE_BY_PYTORCH:
        return functional.conv_transpose2d(features, weight, bias, stride, padding, output_padding, groups, dilation)
    geometry = Geometry(make_pair(stride), make_pair(padding), make_pair(dilation), True, make_pair(output_padding), groups)
    return Convolve.apply(*to_autocast(features, weight, bias), geometry)


def make_pair(value: int | tuple[int, int]) -> tuple[int, int]:
    """Returns (height, width) of a number for both."""
    return (value, value) if isinstance(value, int) else tuple(value)


class Conv2d(nn.Conv2d):
    """``nn.Conv2d`` with zeros as padding, by ``conv2d``."""

    def forward(self, features: Tensor) -> Tensor:
        return conv2d(features, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


class ConvTranspose2d(nn.ConvTranspose2d):
    """``nn.ConvTranspose2d``, by ``conv_transpose2d``."""

    def forward(self, features: Tensor) -> Tensor:
        return conv_transpose2d(
            features, self.weight, self.bias, self.stride, self.padding, self.output_padding, self.groups, self.dilation
        )
