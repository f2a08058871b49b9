"""The section ``model`` of the parameters: one class per architecture, chosen by ``name``."""

from collections.abc import Iterator
from typing import Annotated, Literal

from annotated_types import Ge, Le
from pydantic import Field, Strict

from facegan.common.config import Number, Section, WholeNumber

Width = Annotated[WholeNumber, Ge(1), Le(16_384)]
LatentSize = Annotated[WholeNumber, Ge(1), Le(16_384)]
Dropout = Annotated[Number, Ge(0), Le(0.9)]


class DCGANParameters(Section):
    """What a DCGAN is built from.

    Attributes:
        width: channels of the stage next to the picture, 64 in the paper; up to eight times as many at 4 px.
        latent_size: size of the latent vector z, from which one face is generated.
        discriminator_norm: "batch" as the paper has it, or "spectral" (Miyato et al. 2018), which keeps the discriminator's
            slope in bounds and with it the early epochs from saturating.
    """

    name: Literal["dcgan"] = "dcgan"
    width: Width
    latent_size: LatentSize
    discriminator_norm: Literal["batch", "spectral"]


class Tutorial28Parameters(Section):
    """What the TensorFlow tutorial's networks are built from.

    Attributes:
        width: the generator's deepest layer, 1024 in the tutorial.
        latent_size: size of the latent vector z, from which one face is generated.
        dropout: the share of values dropped after each layer of the generator but the last, while it trains.
        discriminator_norm: "batch" as the text has it, or "spectral" (Miyato et al. 2018).
    """

    name: Literal["tutorial28"] = "tutorial28"
    width: Annotated[Width, Ge(16)]
    latent_size: LatentSize
    dropout: Dropout
    discriminator_norm: Literal["batch", "spectral"]

    def problems(self) -> Iterator[str]:
        """Yields a width that cannot be halved so often."""
        if self.width % 16:
            yield f"width: expected a multiple of 16; found {self.width}"


class Keras128Parameters(Section):
    """What the Keras tutorial's networks are built from.

    Attributes:
        width: channels of the middle layers, 256 in the tutorial; the generator's first depth is half of it, its last two twice.
        latent_size: size of the latent vector z, from which one face is generated.
        dropout: the share of the discriminator's features that is dropped before its last layer, 0.4 in the tutorial.
    """

    name: Literal["keras128"] = "keras128"
    width: Annotated[Width, Ge(2)]
    latent_size: LatentSize
    dropout: Dropout

    def problems(self) -> Iterator[str]:
        """Yields a width that cannot be halved."""
        if self.width % 2:
            yield f"width: expected an even number; found {self.width}"


class R3GANParameters(Section):
    """What an R3GAN is built from.

    Attributes:
        width: the channels from 4 to 32 px; half as many at 64 px, and so on.
        latent_size: size of the latent vector z, from which one face is generated.
    """

    name: Literal["r3gan"] = "r3gan"
    width: Annotated[Width, Ge(8)]
    latent_size: LatentSize


class StyleGAN2Parameters(Section):
    """What a StyleGAN2 is built from.

    Attributes:
        width: the channels from 4 to 32 px; half as many at 64 px, and so on.
        latent_size: size of the latent vector z and of a style.
    """

    name: Literal["stylegan2"] = "stylegan2"
    width: Width
    latent_size: LatentSize


class ResNetParameters(Section):
    """What a plain residual GAN is built from.

    Attributes:
        width: the channels at 4 and 8 px; half as many at 16 px, and so on, but 16 at least.
        latent_size: size of the latent vector z, from which one face is generated.
        grow_images: the networks grow: training starts with smaller images, and their size doubles after each of these numbers of images
            (empty: full size from the start).
    """

    name: Literal["resnet"]
    width: Width
    latent_size: LatentSize
    # left out where empty, so that files of networks that do not grow stay the same
    grow_images: Annotated[tuple[Annotated[WholeNumber, Ge(0), Le(10**12)], ...], Strict(False)] = Field(
        (), exclude_if=lambda images: not images
    )

    def problems(self) -> Iterator[str]:
        """Yields numbers of images that decrease."""
        if list(self.grow_images) != sorted(self.grow_images):
            yield f"grow_images: expected numbers that do not decrease; found {list(self.grow_images)}"


WITHOUT_LABELS = ("tutorial28", "keras128")  # unchanged from the published tutorials
ModelParameters = Annotated[
    DCGANParameters | Tutorial28Parameters | Keras128Parameters | R3GANParameters | StyleGAN2Parameters | ResNetParameters,
    Field(discriminator="name"),
]


def find_conflicts(model: ModelParameters, resolution: int, penalty_stride: int) -> Iterator[str]:
    """Yields why the networks cannot be built or trained, as «parameter: expected …; found …»; without PyTorch, for every stage."""
    step, least, most = {"tutorial28": (4, 16, 64), "keras128": (8, 48, 256)}.get(model.name, (1, 32, 256))
    if resolution % step or not least <= resolution <= most:
        yield f"preprocess.resolution: expected a multiple of {step} from {least} to {most} for {model.name}; found {resolution}"
    elif step == 1 and resolution.bit_count() > 1:
        yield f"preprocess.resolution: expected 32, 64, 128 or 256 for {model.name}; found {resolution}"
    elif model.name in ("r3gan", "stylegan2"):
        divisor = max(1, resolution // 32)
        channels = [model.width >> halvings for halvings in range(divisor.bit_length())]
        if model.name == "r3gan" and any(count > 8 and count % 8 for count in channels):  # its convolutions have groups
            divisor *= 8
        if model.width % divisor:
            yield f"model.width: expected a multiple of {divisor} for {model.name} at {resolution} px; found {model.width}"
    elif model.name == "resnet" and resolution >> len(model.grow_images) < 8:
        most = resolution.bit_length() - 4
        yield f"model.grow_images: expected at most {most} numbers at {resolution} px; found {len(model.grow_images)}"
    if penalty_stride > 1 and (model.name == "stylegan2" or getattr(model, "discriminator_norm", None) == "batch"):
        yield f"train.penalty_stride: expected 1 for a discriminator that compares a batch's images; found {penalty_stride}"
