"""The stage sample, run as a process."""

import base64
import os
import re
import shutil

import numpy as np
import pytest
from marked_pictures import read_source_type, read_xmp
from PIL import Image
from projects import ROOT, copy_project, run_script
from small_generators import choose, make_card, make_generator, read_all, save_small_generator

from facegan.common.files import write_sealed_json
from facegan.common.pictures import save_png
from facegan.models.checkpoint_file import write_checkpoint
from facegan.models.generator_file import load_generator, write_card
from facegan.sampling.faces import draw_chosen, draw_faces

FACES = [f"faces/seed0_face{number:04d}.png" for number in range(10)]
LOSSES = "images_seen,loss_generator,loss_discriminator,real_logit,fake_logit,diversity\n0,1,1,0,0,1\n1000,2,0.5,1,-1,0.9\n"


def run_stage(project, *arguments, script="stages/sample.py"):
    return run_script(project / script, *arguments, cwd=project.parent)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A copy of the project with the outputs of training and of this stage; and what the stage printed."""
    project = copy_project(tmp_path_factory.mktemp("drawn"))
    shutil.copytree(ROOT / "pretrained", project / "pretrained")
    save_small_generator(project / "data/model/generator.safetensors")
    for number in range(3):
        save_png(project / f"data/model/progress/{number:010d}.png", np.full((32, 32, 3), 80 * number, np.uint8))
    training = {"device": "cpu", "precision": "float32", "parameters": {"train": {"lr": 0.1}}}
    write_sealed_json(project / "data/model/training.json", training)
    (project / "metrics").mkdir()
    (project / "metrics/losses.csv").write_text(LOSSES)
    (project / "metrics/quick_scores.csv").write_text("images_seen,score\n")
    result = run_stage(project)
    assert result.returncode == 0, result.stderr
    return project, result.stdout


def test_stage_draws_everything_in_the_pipeline(drawn):
    project, output = drawn
    made = sorted(read_all(project / "data/samples"))
    assert made == [*FACES, "grid.png", "losses.png", "progress.gif", "report.html", "vega.js", "walk.webp"]
    assert "10 faces" in output and "after 1,000 training images" in output
    assert "How the training went" in (project / "data/samples/report.html").read_text()


def test_every_picture_is_marked_and_the_chart_is_not(drawn):
    made = read_all(drawn[0] / "data/samples")
    generator = load_generator(drawn[0] / "data/model/generator.safetensors")[1].sha256
    for name in (*FACES, "grid.png", "progress.gif", "walk.webp"):
        assert read_source_type(made[name]) == "trainedAlgorithmicMedia" and read_xmp(made[name])["generator"] == generator
    assert read_xmp(made["grid.png"])["faces"].split() == [f"0-{number}-1" for number in range(64)]
    assert read_xmp(made["losses.png"]) == {}
    embedded = re.findall(r'src="data:image/(?!svg)[a-z]+;base64,([^"]+)"', made["report.html"].decode())
    assert [read_source_type(base64.b64decode(picture)) for picture in embedded] == 3 * ["trainedAlgorithmicMedia"]


def test_stage_verifies_its_own_pictures(drawn, tmp_path):
    project, _ = drawn
    shutil.copy(project / "data/samples/faces/seed0_face0003.png", tmp_path / "renamed.png")
    result = run_stage(project, "--verify", tmp_path / "renamed.png")
    assert result.returncode == 0 and "0-3-1" in result.stdout and "identical" in result.stdout, result.stdout + result.stderr
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(tmp_path / "photo.png")
    result = run_stage(project, "--verify", tmp_path / "photo.png", "--model", project / "data/model", "--count", 20)
    assert result.returncode == 1 and "no mark" in result.stdout and "not recognised" in result.stdout and not result.stderr


def test_chart_library_is_what_the_page_of_dvc_loads(drawn):
    library = (drawn[0] / "data/samples/vega.js").read_text()
    assert "window.vegaEmbed=" in library and len(library) < 2_000_000
    page = (ROOT / ".dvc/plots.html").read_text()
    assert re.search(r'<script src="\.\./data/samples/vega\.js">', page) and "vegaEmbed" in page
    assert page.index("vega.js") < page.index("{scripts}") < page.index("{plot_divs}")
    assert all(placeholder not in library for placeholder in ("{scripts}", "{plot_divs}", "{refresh_tag}"))


def test_stage_needs_only_a_model_and_removes_outputs_of_another(drawn, tmp_path):
    shutil.copytree(drawn[0] / "data/samples", tmp_path / "faces")
    save_small_generator(tmp_path / "other.safetensors")
    result = run_stage(drawn[0], "--model", tmp_path / "other.safetensors", "--seed", 7, "--count", 4, "--out", tmp_path / "faces")
    assert result.returncode == 0, result.stderr
    made = [f"faces/seed7_face{number:04d}.png" for number in range(4)]
    assert sorted(read_all(tmp_path / "faces")) == [*made, "grid.png", "report.html", "walk.webp"]
    draw_faces(make_generator(), choose(seed=7, count=4), tmp_path / "here", mark=load_generator(tmp_path / "other.safetensors")[1].mark)
    assert (tmp_path / "here/grid.png").read_bytes() == (tmp_path / "faces/grid.png").read_bytes()


def test_chosen_faces_are_those_of_the_pipeline_in_another_folder(drawn):
    project, _ = drawn
    before = read_all(project / "data")
    result = run_stage(project, "--face", 9, 1, "--between", 9, 1)
    assert result.returncode == 0, result.stderr
    chosen = read_all(project / "faces")
    assert sorted(chosen) == ["seed0_face0001.png", "seed0_face0009.png", "seed0_face0009_to_0001.webp"]
    assert all(chosen[name] == before[f"samples/faces/{name}"] for name in chosen if name.endswith(".png"))
    assert all(str(project / "faces" / name) in result.stdout for name in chosen)
    assert read_all(project / "data") == before


def test_native_face_of_a_checkpoint_has_the_network_resolution(drawn, tmp_path):
    generator = make_generator()
    tensors = {f"ema.{name}": value for name, value in generator.state_dict().items()}
    write_checkpoint(tmp_path / "state.ckpt", {"card": write_card(make_card()), "tensors": tensors})
    result = run_stage(drawn[0], "--model", tmp_path / "state.ckpt", "--native", "--face", 3, "--out", tmp_path)
    assert result.returncode == 0, result.stderr
    draw_chosen(generator, choose(), [3], tmp_path / "here", pixels=1)
    face, expected = (np.asarray(Image.open(folder / "seed0_face0003.png")) for folder in (tmp_path, tmp_path / "here"))
    assert face.shape == (32, 32, 3) and np.array_equal(face, expected)


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["--face", "-1"], "found -1"),
        (["--pixels", "0"], "expected --pixels from 1 to 4,096; found 0"),
        (["--seed", "-1", "--face", "3"], "found -1"),
        (["--model", "missing.safetensors"], "found no such file"),
    ],
)
def test_invalid_arguments_are_reported(drawn, tmp_path, arguments, found):
    result = run_stage(drawn[0], *arguments, "--out", tmp_path / "out")
    assert result.returncode == 1 and found in result.stderr and "Traceback" not in result.stderr and not (tmp_path / "out").exists()


def test_outputs_replace_files_and_never_write_through_a_hard_link(drawn, tmp_path):
    """DVC checks out outputs as read-only hard links into its cache."""
    project = copy_project(tmp_path)
    shutil.copytree(drawn[0] / "data", project / "data")
    shutil.copytree(drawn[0] / "metrics", project / "metrics")
    samples, cache = project / "data/samples", tmp_path / "cache"
    shutil.copytree(samples, cache, copy_function=os.link)
    for path in cache.rglob("*.*"):
        path.chmod(0o444)
    before = read_all(cache)
    (project / "metrics/losses.csv").write_text(LOSSES.replace("0.5", "0.7"))
    save_png(project / "data/model/progress/0000000009.png", np.full((32, 32, 3), 99, np.uint8))
    shutil.copy(ROOT / "pretrained/avatars.safetensors", project / "data/model/generator.safetensors")
    result = run_stage(project, "--count", 9)
    assert result.returncode == 0, result.stderr
    assert read_all(cache) == before
    after = read_all(samples)
    assert all(after[name] != before.get(name) for name in after if name != "vega.js")


def test_unwritable_folder_is_reported(drawn, tmp_path):
    (tmp_path / "file").touch()
    result = run_stage(drawn[0], "--face", 1, "--out", tmp_path / "file")
    assert result.returncode == 1 and "Traceback" not in result.stderr and result.stderr.startswith("error: expected to ")


def test_published_copy_has_half_the_size_and_draws_the_same_faces(drawn, tmp_path):
    full, half = tmp_path / "full.safetensors", tmp_path / "shared/half.safetensors"
    save_small_generator(full, gain=5.0)
    result = run_stage(drawn[0], "--model", full, "--out", half, script="pretrained/publish.py")
    assert result.returncode == 0, result.stderr
    assert half.stat().st_size < 0.6 * full.stat().st_size
    for path in (full, half):
        generator, card = load_generator(path)
        assert card.images_seen == 1000
        draw_faces(generator, choose(), tmp_path / path.stem)
    pictures = [np.asarray(Image.open(tmp_path / name / "grid.png"), dtype=int) for name in ("full", "half")]
    assert 0 < np.abs(pictures[0] - pictures[1]).max() <= 8
