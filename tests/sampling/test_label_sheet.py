"""Faces on request: labels in the library, in the stage and on labels.png."""

import numpy as np
import pytest
import torch
from PIL import Image
from projects import ROOT, run_script
from small_generators import choose, make_card, make_generator

import facegan
from facegan.common.errors import FaceganError
from facegan.common.labels import summarize
from facegan.common.marks import read_mark
from facegan.models.generator_file import save_generator
from facegan.sampling import codes
from facegan.sampling.faces import generate_numbered
from facegan.sampling.label_sheet import draw_label_sheet, label
from presets import COLUMNS

LABELS = summarize(COLUMNS, torch.tensor([[0, 0]] * 6 + [[1, 2]] * 3 + [[0, 1]], dtype=torch.uint8))


def make_labelled():
    generator = make_generator()
    generator.add_labels(LABELS)
    with torch.no_grad():
        generator.label_layer.weight.normal_(std=4, generator=torch.Generator().manual_seed(0))
    return generator.eval().requires_grad_(False)


def save(path):
    save_generator(path, make_labelled(), make_card().model_copy(update={"labels": LABELS}))
    return path


def draw(generator, given, numbers=range(4)):
    return torch.stack([face for _, face in generate_numbered(generator, choose(seed=3), numbers, given, quiet=True)])


def test_the_library_takes_labels(tmp_path):
    faces = facegan.load(save(tmp_path / "generator.safetensors"))
    assert faces.labels == {"glasses": ("no", "yes"), "hair": ("black", "brown", "grey")}
    (with_label,), (drawn,) = faces.faces(3, labels={"glasses": "yes"}), faces.faces(3)
    assert np.array_equal(np.asarray(with_label).transpose(2, 0, 1), draw(make_labelled(), {"glasses": 1}, [0])[0])
    assert np.asarray(with_label).tobytes() != np.asarray(drawn).tobytes()
    with pytest.raises(FaceganError, match="did you mean glasses"):
        faces.faces(labels={"glases": "yes"})


def test_a_face_with_all_labels_given_is_the_drawn_one():
    generator = make_labelled()
    drawn = draw(generator, {})
    latents = codes.seeded_latents(generator, 16, 3)[:4, generator.latent_size :]
    for number, row in enumerate(latents):
        given = {"glasses": int(row[:2].argmax()), "hair": int(row[2:].argmax())}
        assert torch.equal(draw(generator, given)[number], drawn[number])


def test_the_sheet_changes_one_label_from_row_to_row():
    generator = make_labelled()
    sheet = draw_label_sheet(generator, choose(seed=3))
    latents = codes.seeded_latents(generator, 8, 3)
    for row, given in enumerate([{"glasses": 0}, {"glasses": 1}, {"hair": 0}, {"hair": 1}, {"hair": 2}]):
        expected = codes.render(generator, codes.encode(generator, label(generator, latents, given), 1.0))  # (8, 3, 32, 32)
        found = sheet[64 * row : 64 * (row + 1) : 2, -8 * 64 :: 2]
        assert np.array_equal(found, expected.permute(2, 0, 3, 1).reshape(32, 8 * 32, 3)), given


def test_a_blend_ends_at_both_labels_and_text_keeps_them():
    generator = make_labelled()
    latents = codes.seeded_latents(generator, 16, 3)[:1]
    ends = torch.cat([codes.encode(generator, label(generator, latents, {"glasses": value}), 0.8) for value in (0, 1)])
    blended = codes.blend(generator, ends, torch.tensor([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]]))
    torch.testing.assert_close(blended[[0, 2]], ends)
    assert blended[1, 0, generator.latent_size :][:2].tolist() == [0.5, 0.5]
    read = codes.read_faces(generator, [codes.write_code(ends[0])])
    assert torch.equal(read[0, 0, generator.latent_size :], ends[0, 0, generator.latent_size :])


def test_truncation_keeps_labels():
    generator = make_labelled()
    latents = codes.seeded_latents(generator, 4, 0)
    assert torch.equal(codes.truncate(generator, latents, 0.5)[:, generator.latent_size :], latents[:, generator.latent_size :])


def test_the_stage_draws_faces_and_blends_with_labels(tmp_path):
    model = save(tmp_path / "generator.safetensors")
    script = [ROOT / "stages/sample.py", "--model", model, "--seed", "3", "--native", "--out", tmp_path / "out"]
    result = run_script(*script, "--face", "0", "--label", "glasses=yes", "--label", "hair=grey")
    assert result.returncode == 0, result.stderr
    (path,) = (tmp_path / "out").glob("*.png")
    expected = draw(make_labelled(), {"glasses": 1, "hair": 2}, [0])[0]
    assert np.array_equal(np.asarray(Image.open(path)).transpose(2, 0, 1), expected)

    result = run_script(*script, "--between", "0", "0", "--label", "glasses=no", "--to-label", "glasses=yes")
    assert result.returncode == 0, result.stderr
    (path,) = (tmp_path / "out").glob("*.webp")
    assert read_mark(path).faces == ("3-0-1+glasses=no", "3-0-1+glasses=yes")
    for wrong, message in ((["--label", "glasses"], "COLUMN=VALUE"), (["--label", "glasses=maybe"], "expected no, yes")):
        result = run_script(*script, "--face", "0", *wrong)
        assert result.returncode == 1
        assert message in result.stderr
