"""A generator's file: what it says is not believed before it is checked, and takes no memory before that."""

import json
import random as random_numbers
import subprocess
import sys

import pytest
import torch
from projects import ROOT
from small_generators import PARAMETERS, make_card, make_generator, save_small_generator

from facegan.common.devices import measure_peak_memory_mb
from facegan.common.errors import FaceganError
from facegan.models.checkpoint_file import write_checkpoint
from facegan.models.generator_file import load_generator, read_card, save_generator, write_card

SPARSE = torch.eye(3).to_sparse()


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "generator.safetensors"
    save_small_generator(path)
    return path


def change_metadata(path, change):
    """Replaces a file's metadata."""
    content = path.read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    text = json.dumps(header | {"__metadata__": change(header["__metadata__"])}).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + content[end:])


def change_card(path, **changes):
    """Writes other values into a file's card; those of ``arguments`` next to the others there."""

    def change(metadata):
        card = json.loads(metadata["card"])
        return {"card": json.dumps(card | changes | {"arguments": card["arguments"] | changes.get("arguments", {})})}

    change_metadata(path, change)


def remove_hash(path):
    """Makes a file like those of facegan 0.1."""
    change_metadata(path, lambda metadata: {"card": write_card(make_card())})


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"latent_size": 3_000_000}, r"latent_size"),
        ({"arguments": {"latent_size": 3_000_000}}, r"latent_size: expected "),
        ({"arguments": {"width": 16_384, "latent_size": 16_384}}, r"expected the weights of a dcgan"),
        ({"arguments": {"width": -1}}, r"width: expected "),
        ({"resolution": 64}, r"expected the weights of a dcgan"),
        ({"resolution": 31}, r"31"),
        ({"resolution": 10**9}, r"resolution: expected "),
        ({"model": "stylegan9"}, r"expected a model among dcgan"),
        ({"model": "r3gan", "arguments": {}}, r"expected a card that facegan wrote"),
        ({"images_seen": -1}, r"images_seen: expected "),
        ({"images_seen": "many"}, r"images_seen: expected "),
        ({"format": "facegan-generator-9"}, r"expected a generator of format facegan-generator-1"),
    ],
)
def test_a_card_with_false_values_is_rejected_without_allocating_memory(path, changes, told):
    change_card(path, **changes)
    before = measure_peak_memory_mb(torch.device("cpu"))
    with pytest.raises(FaceganError, match=told):
        load_generator(path)
    assert measure_peak_memory_mb(torch.device("cpu")) - before < 200  # of PyTorch's own modules; the networks would be gigabytes


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_infinite_or_nan_weights_are_rejected(tmp_path, value):
    generator = make_generator()
    with torch.no_grad():
        next(generator.parameters()).fill_(value)
    save_generator(tmp_path / "generator.safetensors", generator, make_card())
    with pytest.raises(FaceganError, match=r"expected finite weights in .*; found NaN or infinity: its training exploded"):
        load_generator(tmp_path / "generator.safetensors")


def test_a_generator_is_read_as_it_was_written(path):
    network, card = load_generator(path)
    assert card.model_copy(update={"sha256": None}) == make_card() and card.parameters == PARAMETERS
    assert all(torch.equal(value, make_generator().state_dict()[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_any_flipped_bit_is_rejected_or_has_no_effect(path, dtype):
    save_generator(path, make_generator(), make_card(), dtype)
    expected, card = load_generator(path)
    content, random = path.read_bytes(), random_numbers.Random(0)
    header = 8 + int.from_bytes(content[:8], "little")
    places = [random.randrange(8, header) for _ in range(100)] + [random.randrange(header, len(content)) for _ in range(100)]
    rejected = 0
    for place in places:
        path.write_bytes(content[:place] + bytes([content[place] ^ 1 << random.randrange(8)]) + content[place + 1 :])
        try:
            network, found = load_generator(path)
        except FaceganError as error:
            assert str(error).isprintable()
            rejected += 1
        else:
            assert found == card and all(map(torch.equal, network.state_dict().values(), expected.state_dict().values()))
    assert rejected >= 190  # the rest are spaces after the header


@pytest.mark.parametrize("is_old", [False, True])
def test_zero_weights_are_rejected(path, is_old):
    content = path.read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    path.write_bytes(content[:end] + bytes(len(content) - end))
    if is_old:
        remove_hash(path)
    with pytest.raises(FaceganError, match="found only zeros" if is_old else "found other bytes"):
        load_generator(path)


def test_a_file_without_a_hash_is_read_with_a_note(path, capsys):
    card = load_generator(path)[1]
    assert capsys.readouterr().err == ""
    remove_hash(path)
    assert load_generator(path)[1] == card and "without a hash" in capsys.readouterr().err


@pytest.mark.parametrize("field", ["data_fingerprint", "parameters_fingerprint", "model"])
def test_escape_codes_in_a_card_are_rejected(path, field):
    change_card(path, **{field: "\x1b[2J\x1b[31mHA"})
    with pytest.raises(FaceganError) as caught:
        load_generator(path)
    assert str(caught.value).isprintable()


def wrap(tensors, **state):
    return {"card": write_card(make_card()), "tensors": {f"ema.{name}": value for name, value in tensors.items()}, **state}


@pytest.mark.parametrize(
    "spoil",
    [
        lambda tensors: wrap(tensors) | {"tensors": dict(enumerate(tensors.values()))},
        lambda tensors: wrap({name: value.to_sparse() if value.dim() else value for name, value in tensors.items()}),
        lambda tensors: wrap({name: value.to("meta") for name, value in tensors.items()}),
        lambda tensors: wrap({name: value.to(torch.complex64) for name, value in tensors.items()}),
        lambda tensors: wrap({name: value.tolist() for name, value in tensors.items()}),
        lambda tensors: wrap({name: torch.zeros_like(value) for name, value in tensors.items()}),
        lambda tensors: wrap(tensors) | {"card": ["card"]},
        lambda tensors: wrap(tensors) | {7: 8},
        lambda tensors: wrap(tensors) | {"tensors": [SPARSE]},
    ],
)
def test_odd_contents_of_a_checkpoint_with_the_right_hash_are_rejected(tmp_path, spoil):
    write_checkpoint(tmp_path / "state.ckpt", spoil(make_generator().state_dict()))
    with pytest.raises(FaceganError):
        load_generator(tmp_path / "state.ckpt")


@pytest.mark.parametrize("text", [None, "", "[]", "7", "{", "[" * 100_000, {"format": "facegan-generator-1"}])
def test_invalid_cards_are_rejected(tmp_path, text):
    with pytest.raises(FaceganError, match="expected a generator of format facegan-generator-1"):
        read_card(tmp_path, text)


def test_opening_a_generator_does_not_import_pytorchs_compiler():
    """Its import takes longer than everything else."""
    code = f"import sys, facegan; facegan.load({str(ROOT / 'pretrained/avatars.safetensors')!r}); print('torch._dynamo' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True, timeout=120).strip() == "False"
