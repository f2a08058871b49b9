"""StyleGAN2: unit variance, one face at ψ = 0, chance in training only."""

import copy

import pytest
import torch

from facegan.models.latents import seeded_latents, truncate
from facegan.models.stylegan2 import Generator, Linear, Mapping, ModulatedConvolution, StyleGAN2Parameters, append_deviation
from presets import apply


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def make_generator(resolution=32, width=32):
    return Generator(StyleGAN2Parameters(width=width, latent_size=32), resolution)


def make_settled_generator():
    """Returns a generator whose average style stands where training would bring it, and whose noise is heard."""
    generator = make_generator()
    with torch.no_grad():
        generator.average_style.copy_(generator.mapping(torch.randn(1000, 32)).mean(0))
        for layer in generator.layers:
            layer.noise_strength.fill_(0.5)
    return generator.eval()


@pytest.mark.parametrize("kernel", [1, 3])
def test_demodulation_gives_unit_variance(kernel):
    """Whatever the styles, white features stay of variance 1: images that styles make 100 times as loud, too."""
    convolution = ModulatedConvolution(64, 64, kernel, style_size=16)
    styles = torch.randn(8, 16) * torch.logspace(-1, 2, 8)[:, None]
    result = convolution(torch.randn(8, 64, 24, 24), styles)[:, :, 1:-1, 1:-1]
    torch.testing.assert_close(result.var((1, 2, 3)), torch.ones(8), atol=0.15, rtol=0)


def test_modulation_is_that_of_each_images_weights():
    """The paper's equations 1 to 3, image by image, against scaling before and after one convolution."""
    convolution = ModulatedConvolution(6, 5, 3, style_size=4)
    features, styles = torch.randn(3, 6, 7, 7), torch.randn(3, 4)
    scales = convolution.affine(styles)
    expected = []
    for image, scale in zip(features, scales, strict=True):
        weight = convolution.weight * convolution.gain * scale[:, None, None]
        weight = weight / (weight.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
        expected.append(torch.nn.functional.conv2d(image[None], weight, padding=1))
    torch.testing.assert_close(convolution(features, styles), torch.cat(expected), rtol=1e-4, atol=1e-5)


def test_a_doubling_convolution_keeps_a_constant_and_shifts_nothing():
    convolution = ModulatedConvolution(1, 1, 3, style_size=4, doubled_size=22, demodulate=False)
    with torch.no_grad():
        convolution.weight.fill_(1 / 9 / convolution.gain)
        convolution.affine.weight.zero_()
    result = convolution(torch.ones(1, 1, 11, 11), torch.zeros(1, 4))
    assert result.shape == (1, 1, 22, 22)
    torch.testing.assert_close(result[:, :, 5:-5, 5:-5], torch.ones(1, 1, 12, 12))
    spot = torch.zeros(1, 1, 11, 11)
    spot[0, 0, 5, 5] = 1
    result = convolution(spot, torch.zeros(1, 4))[0, 0]
    torch.testing.assert_close(result, result.flip(0))
    torch.testing.assert_close(result, result.flip(1))


@pytest.mark.parametrize("rate", [1.0, 0.01])
def test_an_equalised_layer_keeps_variance_and_learns_at_its_rate(rate):
    layer = Linear(256, 256, rate)
    values = torch.randn(64, 256)
    assert layer(values).var().item() == pytest.approx(1, abs=0.05)
    layer(values).sum().backward()
    before = layer(values)
    with torch.no_grad():
        layer.weight -= 1e-3 * layer.weight.grad.sign()  # what a step of Adam comes to
    expected = rate * 1e-3 / 16 * values @ values.sum(0).sign()  # fan-in 256
    torch.testing.assert_close(before - layer(values), expected[:, None].expand(64, 256), rtol=0.05, atol=1e-5)


def test_the_mapping_ignores_a_latents_length():
    mapping, latents = Mapping(32), torch.randn(4, 32)
    torch.testing.assert_close(mapping(latents), mapping(7 * latents))


def test_truncation_to_nothing_gives_one_face():
    generator, latents = make_settled_generator(), torch.randn(8, 32)
    with torch.no_grad():
        varied = generator(latents)
        generator.truncation = 0.5
        closer = generator(latents)
        generator.truncation = 0.0
        same = generator(latents)
    assert torch.equal(same, same[:1].expand_as(same))
    assert 0 < closer.std(0).mean() < varied.std(0).mean()


def test_sampling_truncates_styles_rather_than_latents():
    generator, latents = make_settled_generator(), torch.randn(8, 32)
    assert truncate(generator, latents, 0.5) is latents
    assert generator.truncation == 0.5


def test_the_average_style_follows_training():
    generator = make_generator().train()
    latents = torch.randn(4, 32)
    for _ in range(2000):
        generator.update_statistics(latents)
    torch.testing.assert_close(generator.average_style, generator.mapping(latents).mean(0), rtol=0.05, atol=1e-3)


def test_a_latent_gives_the_same_image_outside_training_and_others_in_it():
    generator = make_settled_generator()
    latents = seeded_latents(generator, 4, 0)
    with torch.no_grad():
        assert torch.equal(generator(latents), generator(latents))
        assert torch.equal(generator(latents), copy.deepcopy(generator)(latents))
        torch.testing.assert_close(generator(latents)[:2], generator(latents[:2]))
        generator.train()
        assert torch.equal(apply(generator, latents, 1), apply(generator, latents, 1))
        assert not torch.equal(apply(generator, latents, 1), apply(generator, latents, 2))


def test_styles_mix_in_nine_tenths_of_training_images():
    generator = make_generator().train()
    styles = generator.choose_styles(
        torch.randn(1000, 32), generator.draw_noise(1000, torch.Generator(), torch.float32)[:3]
    )  # (layers + 1, B, latent_size)
    changes = (styles[1:] != styles[:-1]).any(2).sum(0)  # how often each image's style changes on the way up
    assert changes.max() == 1
    assert changes.float().mean().item() == pytest.approx(0.9, abs=0.03)


def test_the_deviation_is_that_of_four_neighbours():
    features = torch.randn(8, 3, 4, 4)
    features[:4] = features[:1]  # four alike
    result = append_deviation(features, 4)
    assert result.shape == (8, 4, 4, 4)
    expected = features[4:].var(0, correction=0).sqrt().mean()
    torch.testing.assert_close(result[4:, 3], expected.expand(4, 4, 4))
    assert result[:4, 3].max() < 1e-3
    assert append_deviation(torch.randn(6, 3, 4, 4), 2).shape == (6, 4, 4, 4)
