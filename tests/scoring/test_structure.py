"""The structure space: known averages, exact features in any batch, and principal components."""

import pytest
import torch
from projects import draw_pictures

from facegan.scoring.structure import COMPONENTS, NAME, average_pixels, fit_components, project


def draw(count, pixels, seed=0):
    return torch.from_numpy(draw_pictures(count, pixels, seed=seed))


def test_averages_of_whole_blocks():
    images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    expected = torch.nn.functional.avg_pool2d(images.double(), 4) / 127.5 - 1
    torch.testing.assert_close(average_pixels(images).double(), expected.flatten(1), atol=2**-15, rtol=0)


def test_border_pixels_count_by_their_area():
    image = torch.zeros(1, 3, 24, 24, dtype=torch.uint8)
    image[..., 0:2] = 255  # the first of 16 averages covers 1.5 pixels, the second the other half of the second pixel and one more
    row = average_pixels(image).reshape(3, 16, 16)[0, 0]
    assert row[:3].tolist() == pytest.approx([1, 2 / 3 - 1, -1], abs=2**-14)


@pytest.mark.parametrize("size", [(8, 8), (16, 16), (28, 28), (225, 64)])
def test_a_constant_image_has_constant_averages(size):
    images = torch.full((1, 3, *size), 255, dtype=torch.uint8)
    assert torch.equal(average_pixels(images), torch.ones(1, 768))


def test_features_do_not_depend_on_the_batch():
    images = draw(60, 32)
    components = fit_components(average_pixels(images))
    features = project(average_pixels(images), components)
    for size in (1, 7, 16):
        batches = [project(average_pixels(batch), components) for batch in images.split(size)]
        assert torch.equal(torch.cat(batches), features)


def test_components_are_those_of_the_largest_variance():
    deviations = torch.tensor([1.0, 5.0, 0.1, 3.0])
    averages = torch.randn(2000, 4, generator=torch.Generator().manual_seed(0)) * deviations + 7
    components = fit_components(averages, count=2)
    assert components.abs().argmax(1).tolist() == [1, 3]
    torch.testing.assert_close(components @ components.T, torch.eye(2).double(), atol=1e-5, rtol=0)


def test_few_images_have_few_components():
    assert fit_components(average_pixels(draw(20, 32))).shape == (19, 768)
    assert COMPONENTS < 768 and NAME == "pixels16"
