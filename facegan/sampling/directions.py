"""Directions: what a generator changes most, found in its weights alone.

Shen and Zhou 2021, "Closed-form factorization of latent semantics in GANs" (SeFa): if A is the matrix by which a generator first
reads a latent or a style, the unit vectors n that move A·n furthest are the eigenvectors of AᵀA with the largest eigenvalues. No
image is drawn and no label is needed for that. What a direction means, people see and name; the names are kept in
``data/directions/``, by the hash of the generator's file, since DVC would take a file beside the weights for a changed output.
"""

from pathlib import Path

import pydantic
import torch
from torch import Tensor, nn

from facegan.common.errors import FaceganError
from facegan.common.files import read_json, write_json
from facegan.models import dcgan, keras128, r3gan, resnet, stylegan2, tutorial28
from facegan.models.latents import seeded_latents
from facegan.sampling.codes import device_of, encode

COUNT = 6
REACH = 3  # standard deviations of the codes, both ways
SPREAD_LATENTS = 1000
LONGEST_NAME = 30


def first_matrix(generator: nn.Module) -> Tensor:
    """Returns A (D, L): the linear map by which the generator's first layers read a latent or, in StyleGAN2, every layer its style."""
    match generator:
        case dcgan.Generator():
            return generator.layers[0].weight.flatten(1).T  # (C · 4 · 4, L)
        case tutorial28.Generator() | keras128.Generator():
            return generator.layers[0].weight
        case resnet.Generator():
            return generator.start.weight
        case r3gan.Generator():  # each weight scales one picture of the basis, so its change counts as much as that picture is bright
            return generator.weigh.weight * generator.basis.flatten(1).norm(dim=1)[:, None]
        case stylegan2.Generator():
            affine = [layer.convolution.affine for layer in (*generator.layers, *generator.to_rgb)]
            return torch.cat([layer.weight * layer.gain for layer in affine])
    raise FaceganError(
        f"expected a generator whose first layer is known; found {type(generator).__name__}; name its layer in facegan/sampling/directions.py"
    )


@torch.no_grad()
def find_directions(generator: nn.Module, count: int = COUNT) -> Tensor:
    """Returns directions (count, L), the strongest first, each as long as the codes' standard deviation along it.

    A direction's largest component is positive, so that the same weights give the same sign everywhere.
    """
    matrix = first_matrix(generator).double()
    vectors = torch.linalg.eigh(matrix.T @ matrix).eigenvectors.T.flip(0)[: min(count, matrix.shape[1])]  # (count, L)
    largest = vectors.gather(1, vectors.abs().argmax(1, keepdim=True))
    vectors = vectors * largest.sign()
    codes = encode(generator, seeded_latents(generator, SPREAD_LATENTS, 0).to(device_of(generator)), 1.0)[:, 0].double()  # (N, L)
    return (vectors * (codes @ vectors.T).std(0)[:, None]).float()


def move(codes: Tensor, directions: Tensor, amounts: Tensor) -> Tensor:
    """Returns codes (M, S, L): one code (1, S, L) moved along directions (D, L) by amounts (M, D), alike in all its rows."""
    return codes + (amounts @ directions)[:, None]


class Names(pydantic.BaseModel):
    """The names that people gave to a generator's directions, by number."""

    model_config = pydantic.ConfigDict(extra="forbid")
    names: dict[int, str]


def read_names(project: Path, fingerprint: str) -> dict[int, str]:
    """Returns the names given so far."""
    path = names_file(project, fingerprint)
    if not path.is_file():
        return {}
    return read_json(path, Names, "remove it, and name the directions again").names


def name_direction(project: Path, fingerprint: str, number: int, name: str) -> None:
    """Keeps a name, or forgets it when it is empty.

    Raises:
        FaceganError: a number that is no direction's, or a name that is too long or cannot be shown.
    """
    name = name.strip()
    if not 0 <= number < COUNT:
        raise FaceganError(f"expected a direction from 0 to {COUNT - 1}; found {number}; choose one of those")
    if len(name) > LONGEST_NAME or not name.isprintable():
        raise FaceganError(f"expected a name of at most {LONGEST_NAME} printable characters; found {len(name)}; choose another")
    names = read_names(project, fingerprint)
    names.pop(number, None)
    write_json(names_file(project, fingerprint), {"names": {**names, number: name} if name else names})


def names_file(project: Path, fingerprint: str) -> Path:
    """Returns where a generator's names are kept."""
    return project / "data" / "directions" / f"{fingerprint[:16]}.json"
