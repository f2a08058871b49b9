"""Convolutions for penalties: bit-identical to PyTorch's, correct to the third derivative, and without filters as large as the image."""

import pytest
import torch
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from facegan.models import convolution
from facegan.models.convolution import Conv2d, ConvTranspose2d, conv2d, conv_transpose2d
from facegan.training.losses import squared_gradient_norms

# stride, padding, dilation, groups, kernel: of the models, and others
GEOMETRIES = [(1, 1, 1, 1, 3), (2, 1, 1, 1, 4), (1, 0, 1, 1, 1), (1, 1, 1, 2, 3), (1, 0, 1, 4, 4), (2, 0, 1, 1, 3), (1, 2, 2, 2, 3)]
GEOMETRIES += [(2, (0, 1), 1, 1, 3)]


@pytest.fixture(autouse=True)
def everywhere(monkeypatch):
    """Lets ours do all convolutions, also those that PyTorch is faster at on a CPU."""
    monkeypatch.setattr(convolution, "DENSE_BY_PYTORCH", ())


def make_pair(transposed, geometry):
    """Returns (ours, PyTorch's) as functions of features, weight and bias."""
    stride, padding, dilation, groups, _ = geometry
    pair = (conv_transpose2d, functional.conv_transpose2d) if transposed else (conv2d, functional.conv2d)
    arguments = (stride, padding, 0, groups, dilation) if transposed else (stride, padding, dilation, groups)
    return [lambda *tensors, convolve=convolve: convolve(*tensors, *arguments) for convolve in pair]


def make_tensors(geometry, dtype=torch.float64):
    *_, groups, kernel = geometry
    random = torch.Generator().manual_seed(0)
    shapes = (2, 4, 5, 6), (4, 4 // groups, kernel, kernel), (4,)
    return tuple(torch.randn(shape, dtype=dtype, generator=random).requires_grad_() for shape in shapes)


@pytest.mark.parametrize("transposed", [False, True], ids=["convolution", "transposed"])
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_derivatives_to_the_third_order(transposed, geometry):
    ours, theirs = make_pair(transposed, geometry)
    tensors = make_tensors(geometry)

    def differentiate(convolve):
        results = [convolve(*tensors)]
        for power in (2, 3, 2):  # a derivative of a power of the last one's
            total = sum((result**power).sum() for result in results[-3:])
            results += torch.autograd.grad(total, tensors, create_graph=True)
        return results

    for our, their in zip(differentiate(ours), differentiate(theirs), strict=True):
        torch.testing.assert_close(our, their)
    assert torch.autograd.gradgradcheck(ours, tensors, fast_mode=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("transposed", [False, True], ids=["convolution", "transposed"])
def test_without_a_penalty_it_is_pytorchs_to_the_bit(transposed, dtype):
    """The same type, values and first derivatives."""
    theirs = torch.nn.ConvTranspose2d(8, 8, 4, 2, 1) if transposed else torch.nn.Conv2d(8, 8, 4, 2, 1)
    ours = ConvTranspose2d(8, 8, 4, 2, 1) if transposed else Conv2d(8, 8, 4, 2, 1)
    ours.load_state_dict(theirs.state_dict())
    images = torch.randn(16, 8, 16, 16)
    outcomes = []
    for layer in (ours, theirs):
        inputs = images.clone().requires_grad_()
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            result = layer(inputs)
        result.float().square().sum().backward()
        outcomes.append([result, inputs.grad, layer.weight.grad, layer.bias.grad])
    assert outcomes[0][0].dtype == dtype
    for our, their in zip(*outcomes, strict=True):
        assert torch.equal(our, their)


class FilterLog(TorchDispatchMode):
    """Notes the height of every convolution's filter."""

    def __init__(self):
        super().__init__()
        self.heights, self.backwards = [], 0

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        if operation is torch.ops.aten.convolution.default:
            self.heights.append(args[1].shape[2])
        self.backwards += operation is torch.ops.aten.convolution_backward.default
        return operation(*args, **(kwargs or {}))


@pytest.mark.parametrize(("layer", "large"), [(Conv2d, False), (torch.nn.Conv2d, True)], ids=["ours", "PyTorch's"])
def test_a_penalty_asks_for_no_filter_as_large_as_the_picture(layer, large):
    network = torch.nn.Sequential(layer(3, 8, 3, padding=1), torch.nn.LeakyReLU(0.2), layer(8, 8, 3, padding=1, groups=4))
    images = torch.randn(2, 3, 16, 16).requires_grad_()
    with FilterLog() as log:
        squared_gradient_norms(network(images).square().sum((1, 2, 3)), images).sum().backward()
    assert (max(log.heights) >= 16) == large
    if not large:  # two layers: forward, the input gradients, their derivatives with respect to both factors, and the outputs' gradients
        assert len(log.heights) + log.backwards == 2 + 2 + 4 + 2
