"""Steps of the Keras tutorial's recipe against a reference in float64, written from Keras' definitions.

The reference's discriminator returns the probability of a fake, its cross-entropy clips probabilities, and its RMSprop is below. Networks
are tiny and have no dropout, whose mask depends on the order of other draws.
"""

import pytest
import torch
from torch.nn.functional import conv2d, conv_transpose2d, leaky_relu

from facegan.training.data import derive_seed
from facegan.training.hardware import Hardware
from facegan.training.schedules import KERAS_LR_DECAY
from presets import make_trainer

BATCH, STEPS, RESOLUTION, WIDTH, LATENT_SIZE = 4, 6, 48, 4, 3
LR = 1e-4


class KerasRMSprop:
    """average ← ρ average + (1 − ρ) g²;  weight ← weight − lr / (1 + decay · step) · g / (√average + ε), with g clipped."""

    def __init__(self, weights):
        self.weights = weights
        self.averages = [torch.zeros_like(weight) for weight in weights]
        self.steps = 0

    def step(self, loss, clip):
        lr = LR / (1 + KERAS_LR_DECAY * self.steps)
        self.steps += 1
        gradients = torch.autograd.grad(loss, self.weights)
        with torch.no_grad():
            for weight, average, gradient in zip(self.weights, self.averages, gradients, strict=True):
                gradient = gradient.clip(-clip, clip)
                average.copy_(0.9 * average + 0.1 * gradient**2)
                weight -= lr * gradient / (average.sqrt() + 1e-7)
        return max(gradient.abs().max().item() for gradient in gradients)


def read_weights(network):
    """Returns copies of a network's weights in float64, in the order of its layers: weight, bias, weight, …"""
    return [parameter.detach().double().clone().requires_grad_() for parameter in network.parameters()]


def generate(weights, latents):
    """Returns images (B, 3, 48, 48) from latents (B, LATENT_SIZE), as the tutorial's Keras lines do."""
    pairs = list(zip(weights[::2], weights[1::2], strict=True))
    images = leaky_relu(latents @ pairs[0][0].T + pairs[0][1], 0.3).reshape(-1, WIDTH // 2, 6, 6)
    images = leaky_relu(conv2d(images, *pairs[1], padding=2), 0.3)
    for pair in pairs[2:5]:
        images = leaky_relu(conv_transpose2d(images, *pair, stride=2, padding=1), 0.3)
    for pair in pairs[5:7]:
        images = leaky_relu(conv2d(images, *pair, padding=2), 0.3)
    return conv2d(images, *pairs[7], padding=3).tanh()


def chance_of_fake(weights, images):
    """Returns P(fake) for each image: the tutorial's sigmoid output. Facegan's logits are of the opposite sign."""
    pairs = list(zip(weights[::2], weights[1::2], strict=True))
    features = leaky_relu(conv2d(images, *pairs[0]), 0.3)
    for pair in pairs[1:5]:
        features = leaky_relu(conv2d(features, *pair, stride=2), 0.3)
    return torch.sigmoid(-(features.flatten(1) @ pairs[5][0].T + pairs[5][1])).flatten()


def cross_entropy(labels, chances):
    chances = chances.clip(1e-7, 1 - 1e-7)
    return -(labels * chances.log() + (1 - labels) * (1 - chances).log()).mean()


def make(images, clip):
    train = {"clip_value": clip, "batch": BATCH, "images": BATCH * STEPS, "seed": 5}
    model = {"width": WIDTH, "latent_size": LATENT_SIZE, "dropout": 0.0}
    trainer = make_trainer("celeba128_keras_taught", Hardware(torch.device("cpu"), torch.float32), images, model=model, train=train)
    with torch.no_grad():
        for network, gain in ((trainer.generator, 1.5), (trainer.discriminator, 2.5)):
            for parameter in network.parameters():
                parameter.mul_(gain)  # the gradients of Glorot's weights are too small to be clipped
    return trainer


@pytest.mark.parametrize("clip", [1.0, 0.01])
def test_steps_are_keras_steps(clip):
    random = torch.Generator().manual_seed(0)
    images = torch.randint(256, (10, 3, RESOLUTION, RESOLUTION), generator=random, dtype=torch.uint8)  # two and a half batches
    trainer = make(images, clip)
    generator, discriminator = read_weights(trainer.generator), read_weights(trainer.discriminator)
    first = [weight.detach().clone() for weight in generator + discriminator]
    for_generator, for_discriminator = KerasRMSprop(generator), KerasRMSprop(discriminator)
    steepest = 0.0
    for step in range(STEPS):
        seed = derive_seed(5, step * BATCH, 0)
        latents = torch.Generator().manual_seed(seed)
        torch.manual_seed(derive_seed(seed, 0))
        noise = 0.05 * torch.rand(2 * BATCH).double()

        real = images[torch.arange(step * BATCH, (step + 1) * BATCH) % len(images)].double() / 127.5 - 1  # in order
        fake = generate(generator, torch.randn(BATCH, LATENT_SIZE, generator=latents).double()).detach()
        labels = torch.cat([torch.ones(BATCH), torch.zeros(BATCH)]).double() + noise  # fake 1, real 0, mixed in one batch
        chances = chance_of_fake(discriminator, torch.cat([fake, real]))
        slope = for_discriminator.step(cross_entropy(labels, chances), clip)

        fake = generate(generator, torch.randn(BATCH, LATENT_SIZE, generator=latents).double())
        misleading = torch.zeros(BATCH).double()
        steepest = max(steepest, slope, for_generator.step(cross_entropy(misleading, chance_of_fake(discriminator, fake)), clip))

        trainer.train_step()
        taken = [*trainer.generator.parameters(), *trainer.discriminator.parameters()]
        for own, reference in zip(taken, generator + discriminator, strict=True):
            torch.testing.assert_close(own.detach().double(), reference.detach(), rtol=0, atol=1e-5)
    moved = [(weight.detach() - before).abs().max().item() for weight, before in zip(generator + discriminator, first, strict=True)]
    assert min(moved) > 5e-4  # fifty times the tolerance
    assert steepest > 0.01  # the smaller clip did cut gradients
