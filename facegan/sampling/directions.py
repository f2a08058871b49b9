"""Directions: the changes of a face to which a generator is most sensitive, computed from its weights.

Shen and Zhou 2021, "Closed-form factorization of latent semantics in GANs" (SeFa): if A is the matrix of the first layer that reads a
latent or a style, then the unit vectors n with the largest |A·n| are the eigenvectors of AᵀA with the largest eigenvalues. This needs no
images and no labels. Users look at a direction's effect and name it. The names are stored in ``data/directions/``, by the hash of the
generator's file: next to the weights, DVC would regard them as a change of its output.
"""

from pathlib import Path
from typing import cast

import pydantic
import torch
from torch import Tensor, nn
from torch.nn import functional

from facegan.common.errors import FaceganError
from facegan.common.files import read_json, write_json
from facegan.models import dcgan, keras128, r3gan, resnet, stylegan2, tutorial28
from facegan.models.latents import seeded_latents
from facegan.models.network import GeneratorNetwork
from facegan.sampling.codes import device_of, encode

COUNT = 6
REACH = 3  # standard deviations of the codes, in both directions
SPREAD_LATENTS = 1000
LONGEST_NAME = 30


def first_matrix(generator: GeneratorNetwork) -> Tensor:
    """Returns A (D, L): the linear map with which the first layers read a latent or, in StyleGAN2, all layers read their styles."""
    match generator:
        case dcgan.Generator():
            return cast(nn.ConvTranspose2d, generator.layers[0]).weight.flatten(1).T  # (C · 4 · 4, L)
        case tutorial28.Generator() | keras128.Generator():
            return cast(nn.Linear, generator.layers[0]).weight
        case resnet.Generator():
            return generator.start.weight
        case r3gan.Generator():  # each weight scales one basis image, so it counts in proportion to that image's norm
            return generator.weigh.weight * generator.basis.flatten(1).norm(dim=1)[:, None]
        case stylegan2.Generator():
            layers = (*generator.layers, *generator.to_rgb)
            affine = [cast(stylegan2.StyledLayer | stylegan2.ToRGB, layer).convolution.affine for layer in layers]
            return torch.cat([layer.weight * layer.gain for layer in affine])
    found = type(generator).__name__
    raise FaceganError(f"expected a generator whose first layer is known; found {found}; add its layer to facegan/sampling/directions.py")


@torch.no_grad()
def find_directions(generator: GeneratorNetwork, count: int = COUNT) -> Tensor:
    """Returns directions (count, L), the strongest first. Each has the length of the codes' standard deviation along it.

    A direction's largest component is positive, so that its sign does not depend on the machine.
    """
    matrix = first_matrix(generator).double()
    vectors = torch.linalg.eigh(matrix.T @ matrix).eigenvectors.T.flip(0)[: min(count, matrix.shape[1])]  # (count, L)
    largest = vectors.gather(1, vectors.abs().argmax(1, keepdim=True))
    vectors = vectors * largest.sign()
    codes = encode(generator, seeded_latents(generator, SPREAD_LATENTS, 0).to(device_of(generator)), 1.0)[:, 0].double()  # (N, L)
    codes = codes[:, : generator.latent_size]
    return (vectors * (codes @ vectors.T).std(0)[:, None]).float()


def move(codes: Tensor, directions: Tensor, amounts: Tensor) -> Tensor:
    """Returns codes (M, S, L): all rows of one code (1, S, L) moved along directions (D, L) by amounts (M, D); labels stay."""
    change = amounts @ directions
    return codes + functional.pad(change, (0, codes.shape[2] - change.shape[1]))[:, None]


class Names(pydantic.BaseModel):
    """The users' names for a generator's directions, by number."""

    model_config = pydantic.ConfigDict(extra="forbid")
    names: dict[int, str]


def read_names(project: Path, fingerprint: str) -> dict[int, str]:
    """Returns the names of a generator's directions, by number; unnamed directions are missing."""
    path = names_file(project, fingerprint)
    return read_json(path, Names, "remove it, and name the directions again").names if path.is_file() else {}


def name_direction(project: Path, fingerprint: str, number: int, name: str) -> None:
    """Stores a direction's name, or removes it if ``name`` is empty. Raises FaceganError for an invalid number or name."""
    name = name.strip()
    if not 0 <= number < COUNT:
        raise FaceganError(f"expected a direction from 0 to {COUNT - 1}; found {number}; choose one of those")
    if len(name) > LONGEST_NAME or not name.isprintable():
        raise FaceganError(f"expected a name of at most {LONGEST_NAME} printable characters; found {len(name)}; choose another")
    names = read_names(project, fingerprint)
    names.pop(number, None)
    write_json(names_file(project, fingerprint), {"names": {**names, number: name} if name else names})


def names_file(project: Path, fingerprint: str) -> Path:
    """Returns the path of the file with a generator's names."""
    return project / "data" / "directions" / f"{fingerprint[:16]}.json"
