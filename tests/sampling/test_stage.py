"""The stage sample as a process."""

import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from projects import ROOT
from small_generators import choose, make_generator, read_all, save_small_generator

from facegan.common.pictures import save_png
from facegan.models.generator_file import load_generator
from facegan.sampling.faces import draw_faces

FACES = [f"faces/seed0_face{number:04d}.png" for number in range(10)]
LOSSES = "images_seen,loss_generator,loss_discriminator,real_logit,fake_logit,diversity\n0,1,1,0,0,1\n1000,2,0.5,1,-1,0.9\n"


@pytest.fixture
def project(tmp_path):
    """A copy of the project."""
    for name in ("facegan", "stages", "pretrained"):
        shutil.copytree(ROOT / name, tmp_path / "project" / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "params.yaml", tmp_path / "project")
    return tmp_path / "project"


@pytest.fixture
def trained(project):
    """The copy with what training and evaluation leave."""
    save_small_generator(project / "data/model/generator.safetensors")
    for number in range(3):
        save_png(project / f"data/model/progress/{number:010d}.png", np.full((32, 32, 3), 80 * number, np.uint8))
    (project / "data/model/training.json").write_text(json.dumps({"device": "cpu", "precision": "float32", "parameters": {"train": {"lr": 0.1}}}))
    (project / "metrics").mkdir()
    (project / "metrics/losses.csv").write_text(LOSSES)
    (project / "metrics/quick_scores.csv").write_text("images_seen,score\n")
    return project


def run_stage(project, *arguments, script="stages/sample.py"):
    command = [sys.executable, str(project / script), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=project.parent, timeout=300)


def test_stage_draws_everything_in_the_pipeline(trained):
    result = run_stage(trained)
    assert result.returncode == 0, result.stderr
    made = sorted(read_all(trained / "data/samples"))
    assert made == [*FACES, "grid.png", "losses.png", "progress.gif", "report.html", "vega.js", "walk.webp"]
    assert "10 faces in faces/" in result.stdout and "trained on 1,000 images" in result.stdout
    page = (trained / "data/samples/report.html").read_text()
    assert "How the training went" in page and "for want of its files: scores." in page


def test_the_chart_library_is_a_script_that_defines_what_the_page_of_dvc_calls(trained):
    assert run_stage(trained).returncode == 0
    library = (trained / "data/samples/vega.js").read_text()
    assert "window.vegaEmbed=" in library and len(library) < 2_000_000
    page = (ROOT / ".dvc/plots.html").read_text()
    assert re.search(r'<script src="\.\./data/samples/vega\.js">', page) and "vegaEmbed" in page
    assert page.index("vega.js") < page.index("{scripts}") < page.index("{plot_divs}")
    assert all(placeholder not in library for placeholder in ("{scripts}", "{plot_divs}", "{refresh_tag}"))


def test_stage_needs_nothing_but_a_model(project, tmp_path):
    save_small_generator(tmp_path / "elsewhere.safetensors")
    result = run_stage(project, "--model", tmp_path / "elsewhere.safetensors", "--seed", 7, "--count", 4, "--out", tmp_path / "faces")
    assert result.returncode == 0, result.stderr
    assert sorted(read_all(tmp_path / "faces")) == [*(name.replace("seed0", "seed7") for name in FACES[:4]), "grid.png", "report.html", "walk.webp"]
    draw_faces(make_generator(), choose(seed=7, count=4), tmp_path / "here")
    assert (tmp_path / "here/grid.png").read_bytes() == (tmp_path / "faces/grid.png").read_bytes()


def test_chosen_faces_come_again_beside_the_pipelines_output(trained):
    assert run_stage(trained, "--seed", 3, "--count", 20).returncode == 0
    before = read_all(trained / "data")
    result = run_stage(trained, "--seed", 3, "--face", 12, 1, "--between", 12, 1)
    assert result.returncode == 0, result.stderr
    chosen = read_all(trained / "faces")
    assert sorted(chosen) == ["seed3_face0001.png", "seed3_face0012.png", "seed3_face0012_to_0001.webp"]
    assert all(chosen[name] == before[f"samples/faces/{name}"] for name in chosen if name.endswith(".png"))
    assert all(str(trained / "faces" / name) in result.stdout for name in chosen)
    assert read_all(trained / "data") == before


def test_native_faces_are_as_large_as_the_network_draws_them(trained):
    assert run_stage(trained, "--native", "--count", 3).returncode == 0
    sizes = {Image.open(path).size for path in (trained / "data/samples/faces").iterdir()}
    assert sizes == {(32, 32)}


def test_another_models_pictures_do_not_stay(trained, tmp_path):
    assert run_stage(trained, "--out", tmp_path / "out").returncode == 0
    assert run_stage(trained, "--model", trained / "data/model/generator.safetensors", "--count", 2, "--out", tmp_path / "out").returncode == 0
    assert sorted(read_all(tmp_path / "out")) == [*FACES[:2], "grid.png", "report.html", "walk.webp"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--face", "-1"], "expected numbers of faces from 0 to 999,999; found -1"),
        (["--between", "0", "1000000"], "found 1,000,000"),
        (["--pixels", "0"], "expected --pixels from 1 to 4,096; found 0"),
        (["--seed", "-1", "--face", "3"], "seed: expected a number of at least 0; found -1"),
    ],
)
def test_impossible_choices_are_told(trained, arguments, message):
    result = run_stage(trained, *arguments)
    assert result.returncode == 1 and message in result.stderr and not (trained / "data/samples").exists()


def test_outputs_replace_files_and_never_write_through_a_hard_link(trained):
    """What DVC checks out is a hard link into its cache, for everybody to read and nobody to write."""
    assert run_stage(trained).returncode == 0
    samples, cache = trained / "data/samples", trained / "cache"
    shutil.copytree(samples, cache, copy_function=os.link)
    for path in cache.rglob("*.*"):
        path.chmod(0o444)
    before = read_all(cache)
    (trained / "metrics/losses.csv").write_text(LOSSES.replace("0.5", "0.7"))
    save_png(trained / "data/model/progress/0000000009.png", np.full((32, 32, 3), 99, np.uint8))
    shutil.copy(ROOT / "pretrained/avatars.safetensors", trained / "data/model/generator.safetensors")
    result = run_stage(trained, "--count", 9)
    assert result.returncode == 0, result.stderr
    assert read_all(cache) == before
    after = read_all(samples)
    assert all(after[name] != before[name] for name in after if name != "vega.js")


def test_stage_errors_are_one_line(project, tmp_path):
    result = run_stage(project)
    assert result.returncode == 1
    assert result.stderr.startswith("error: expected a generator at ") and result.stderr.count("\n") == 1
    result = run_stage(project, "--count", 0)
    assert result.returncode == 1 and "count: expected a number of at least 1; found 0" in result.stderr
    save_small_generator(tmp_path / "model.safetensors")
    (tmp_path / "taken").touch()
    result = run_stage(project, "--model", tmp_path / "model.safetensors", "--out", tmp_path / "taken")
    assert result.returncode == 1 and "Traceback" not in result.stderr and result.stderr.startswith("error: expected to ")


def test_published_copy_is_half_the_size_and_draws_the_same_faces(project, tmp_path):
    save_small_generator(tmp_path / "whole.safetensors", gain=5.0)
    result = run_stage(project, "--model", tmp_path / "whole.safetensors", "--out", tmp_path / "shared/half.safetensors", script="pretrained/publish.py")
    assert result.returncode == 0, result.stderr
    whole, half = tmp_path / "whole.safetensors", tmp_path / "shared/half.safetensors"
    assert half.stat().st_size < 0.6 * whole.stat().st_size
    for path, name in ((whole, "whole"), (half, "half")):
        generator, card = load_generator(path)
        assert card.images_seen == 1000
        draw_faces(generator, choose(), tmp_path / name)
    pictures = [np.asarray(Image.open(tmp_path / name / "grid.png"), dtype=int) for name in ("whole", "half")]
    assert 0 < np.abs(pictures[0] - pictures[1]).max() <= 8
