"""Every script in benchmarks/ runs to its end at a small size, in this process, with its constants made small where it has no option.

Tests of their own run leaderboard, seeds and gpu_day. Inception's scores take a minute: those scripts are marked slow, as are the
studio's.
"""

import ast
import contextlib
import importlib
import io
import itertools
import re
import sys

import pytest
from drawn_faces import draw_head
from PIL import Image
from projects import ROOT, make_shards
from raw_photos import write_zip
from warm_python import make_python

from benchmarks.train_speed import TAUGHT

SMALL: dict[str, tuple[list[str], dict]] = {  # arguments, constants
    "archive_speed": (["--photos", "50", "--repeats", "1"], {}),
    "degradations": (["--counts", "16", "--spaces", "pixels8", "--work", "HERE"], {"REAL": 32, "OTHERS": 64, "PROJECTIONS": 8}),
    "enlarged_faces": (["SHARDS", "--images", "20"], {}),
    "face_alignment": (["PHOTOS", "--photos", "1"], {"ROLLS": (10,), "SHRINKS": (2,)}),
    "halve_celeba": (["HERE", "--source", "PHOTOS", "--count", "20", "--test", "5"], {"FOLDER": ""}),
    "modes": (["--images", "256", "--seeds", "1"], {"GENERATED": 512, "CLASSIFIER_STEPS": 10}),
    "preprocess_speed": (["--images", "30", "--repeats", "1", "--seconds", "0"], {}),
    "speedrun": (
        ["celeba32", "tutorial", "--photos", "PHOTOS", "--images", "16", "--seeds", "1", "--points", "1"],
        {"SCORED": 20, "TAUGHT": TAUGHT | {"batch": 8}},
    ),
    "step_counts": (["celeba28_tutorial"], {}),
    "step_path": (["demo"], {}),
    "train_speed": (["--device", "cpu", "--small", "--rounds", "1", "--seconds", "0"], {}),
}
QUALITY = ["--presets", "celeba64_dcgan", "--resolution", "32", "-S", "model.width=8", "-S", "train.batch=8", "--device", "cpu"]
SMALL["quality"] = (["--path", "PHOTOS", "--images", "16", "--scored", "20", "--seeds", "1", *QUALITY, "--work", "HERE"], {})
SLOW = {name: (["SHARDS", "--images", "12"], {}) for name in ("agreement", "evaluate_speed")}
STUDIO = {"studio_speed": ([], {"WALLS": 1, "FOUND": 1}), "studio_visitors": (["--visitors", "1", "--seconds", "1"], {})}
TESTED = {"gpu_day", "leaderboard", "seeds"}
MODULES = {"random_inception"}  # imported by other benchmarks


class InThisProcess:
    """Does the work of a pool of processes, which would not see the small constants."""

    def __init__(self, workers):
        self.map = itertools.starmap

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A zip file with heads that a detector finds."""
    files = {}
    for number in range(80):
        picture, content = Image.new("RGB", (120, 120), (90, 110, 130)), io.BytesIO()
        head = draw_head(number, scale=0.5)
        picture.paste(head, (10, 10), head)
        picture.save(content, "PNG")
        files[f"{number}.png"] = content.getvalue()
    return write_zip(tmp_path_factory.mktemp("photos") / "photos.zip", files)


@pytest.fixture
def run(monkeypatch, tmp_path, photos, capsys):
    def run(name, arguments, constants):
        """Runs a script and returns its output."""
        make_shards(tmp_path, count=60)
        module = importlib.import_module(f"benchmarks.{name}")
        for constant, value in constants.items():
            assert hasattr(module, constant)
            monkeypatch.setattr(module, constant, value)
        if name == "modes":
            monkeypatch.setattr(module, "Workers", InThisProcess)
            monkeypatch.setattr(module, "VARIANTS", module.VARIANTS[-1:])
        places = {"SHARDS": tmp_path / "data/shards", "HERE": tmp_path / "work", "PHOTOS": photos}
        monkeypatch.setattr(sys, "argv", [name, *(str(places.get(argument, argument)) for argument in arguments)])
        monkeypatch.setattr(sys, "executable", str(make_python(tmp_path) / "python"))
        last = ast.parse((ROOT / f"benchmarks/{name}.py").read_text()).body[-1]
        assert ast.unparse(last.test) == "__name__ == '__main__'"
        with contextlib.suppress(SystemExit):  # modes and quality have goals, which a few images do not reach
            exec(compile(ast.Module(last.body, []), name, "exec"), module.__dict__)
        return capsys.readouterr().out

    return run


@pytest.mark.parametrize("name", SMALL)
def test_script_runs_at_a_small_size(run, name):
    assert re.search(r"\d", run(name, *SMALL[name]))


def test_killed_preprocessing_gives_the_same_bytes(run):
    assert "the same bytes" in run("preprocess_speed", ["--images", "30", "--kills", "2"], {"ADDED": 1})


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_slow_script_runs_at_a_small_size(run, name):
    assert re.search(r"\d", run(name, *SLOW[name]))


@pytest.mark.slow
@pytest.mark.parametrize("name", STUDIO)
def test_script_of_the_studio_runs_at_a_small_size(run, name):
    pytest.importorskip("gradio", reason="the studio needs its packages")
    assert re.search(r"\d", run(name, *STUDIO[name]))


def test_every_script_is_run():
    scripts = {path.stem for path in (ROOT / "benchmarks").glob("*.py")}
    assert scripts == SMALL.keys() | SLOW.keys() | STUDIO.keys() | TESTED | MODULES
