"""The exported folder: every file in it draws the same pictures without facegan, and the card is filled from the run."""

import ast
import importlib.util
import os
import shutil
import subprocess
import sys
import types

import numpy as np
import pytest
import torch
import yaml
from browsers import HOW, visit
from marked_pictures import read_source_type, read_xmp
from PIL import Image
from projects import ROOT, environment, run_stage
from small_generators import SMALL, build_small, make_card, write_small

from facegan.common.errors import FaceganError
from facegan.common.files import hash_file, write_sealed_json
from facegan.common.labels import decode
from facegan.common.pictures import to_bytes
from facegan.export.card import read_facts, write_card
from facegan.export.folder import export
from facegan.export.onnx_file import OPSET
from facegan.export.page import write_page
from facegan.models.generator_file import load_generator, save_generator
from facegan.models.latents import seeded_latents
from facegan.models.registry import build_generator
from facegan.parameters import read_parameters
from facegan.sampling.codes import draw_codes, encode, synthesize
from facegan.sampling.directions import find_directions, move, name_direction
from facegan.sampling.parameters import SampleParameters
from facegan.sampling.verification import verify

onnx = pytest.importorskip("onnx", reason=f"exports need their packages; {HOW}")
pytest.importorskip("onnxscript", reason=f"exports need their packages; {HOW}")
onnxruntime = pytest.importorskip("onnxruntime", reason=f"exports need their packages; {HOW}")


pytestmark = pytest.mark.slow
LABELLED = [f"{name}+labels" for name in ("dcgan", "r3gan", "resnet", "stylegan2")]


@pytest.fixture(scope="module", params=[*SMALL, *LABELLED])
def exported(request, tmp_path_factory):
    """The exported folder of one model, and its generator."""
    folder = tmp_path_factory.mktemp(request.param)
    model = write_small(folder / "model.safetensors", request.param)
    name_direction(folder, hash_file(model), 0, "</script><b>hair")
    export(model, folder / "out", folder)
    return folder / "out", load_generator(model)[0]


def test_onnx_draws_the_same_pictures(exported):
    folder, generator = exported
    model = onnx.load(folder / "generator.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", OPSET)]
    content = (folder / "generator.onnx").read_bytes() + (folder / "page.html").read_bytes()
    assert str(ROOT).encode() not in content and b"stack_trace" not in content and b".py" not in content  # no path of this machine
    session = onnxruntime.InferenceSession(folder / "generator.onnx", providers=["CPUExecutionProvider"])
    latents = seeded_latents(generator, 64, 5)  # not the ones that the export compares
    size, labels = generator.latent_size, generator.labels.size
    with torch.inference_mode():
        expected = to_bytes(generator(latents))
    for batch in (64, 1, 7):
        inputs = {"latents": latents[:batch, :size].numpy()} | ({"labels": latents[:batch, size:].numpy()} if labels else {})
        found = to_bytes(torch.from_numpy(session.run(["images"], inputs)[0]))
        assert (found.int() - expected[:batch].int()).abs().max() <= 1
    assert expected.float().std() > 20  # a difference would be visible


def test_hard_links_are_replaced_and_not_written_through(tmp_path):
    model, other = write_small(tmp_path / "model.safetensors", "dcgan"), tmp_path / "other.safetensors"
    other.write_bytes(b"another generator")
    (tmp_path / "out").mkdir()
    os.link(other, tmp_path / "out/generator.safetensors")
    export(model, tmp_path / "out", tmp_path)
    assert other.read_bytes() == b"another generator" and (tmp_path / "out/generator.safetensors").read_bytes() == model.read_bytes()


def test_plain_torch_draws_the_same_pictures(exported):
    folder, generator = exported
    source = (folder / "generator.py").read_text()
    imports = [name.name for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Import) for name in node.names]
    assert imports == ["base64", "zlib", "torch"]
    space = {}
    exec(source, space)
    latents, expected = space["draw_latents"](5, seed=9), seeded_latents(generator, 5, 9)
    assert torch.equal(latents, expected[:, : generator.latent_size])
    labels = [space["choose_labels"](5, hair="grey")] if generator.labels.size else []
    with torch.inference_mode():
        expected = generator(torch.cat([latents, *labels], 1))
        assert torch.equal(space["forward"](generator.state_dict(), latents, *labels), expected)
    if labels:
        assert decode(labels[0], generator.labels.columns) == [{"glasses": "no", "hair": "grey"}] * 5


def test_the_page_draws_the_same_pictures_offline(exported, browser):
    folder, generator = exported
    assert "</script><b>" not in (folder / "page.html").read_text()
    code, size = seeded_latents(generator, 1, 3), generator.latent_size
    shift = find_directions(generator)[:2].sum(0)
    with torch.inference_mode():
        moved = move(encode(generator, code, 0.7), shift[None], torch.ones(1, 1))
        expected = [to_bytes(synthesize(generator, part))[0] for part in (draw_codes(generator, 3, 1, 1.0), moved)]
    with visit(browser, "file:", str(folder / "page.html"), offline=True) as visitor:
        visitor.page.wait_for_selector("#many[data-filled=yes]")
        for picture, arguments in zip(expected, ((1, [0.0] * len(shift)), (0.7, shift.tolist())), strict=True):
            found = visitor.page.evaluate(
                "async ([z, t, s, l]) => Array.from((await facegan.draw(z, t, s, l)).pixels)",
                [code[0, :size].tolist(), *arguments, code[0, size:].tolist()],
            )
            pixels = torch.tensor(found).reshape(*picture.shape[1:], 4)[:, :, :3].permute(2, 0, 1)
            assert (pixels - picture.int()).abs().max() <= 3  # half precision
        assert "hair" in visitor.page.locator("#sliders label").nth(1).inner_text()


def test_the_pages_sliders_and_buttons_work(browser, tmp_path):
    export(ROOT / "pretrained" / "avatars.safetensors", tmp_path, tmp_path)
    assert (tmp_path / "page.html").stat().st_size < 2_500_000
    with visit(browser, "file:", f"{tmp_path / 'page.html'}#42", offline=True) as visitor:
        page = visitor.page
        page.wait_for_selector("#many[data-filled=yes]")
        shown = "document.getElementById('face').toDataURL()"
        seen = [page.evaluate(shown)]

        def wait_for_change():
            page.wait_for_function(f"before => {shown} !== before", arg=seen[-1])
            seen.append(page.evaluate(shown))

        page.locator("input[type=range]").nth(3).press("End")
        wait_for_change()
        page.get_by_role("button", name="Sliders to the middle").press("Enter")
        wait_for_change()
        assert seen[2] == seen[0]
        page.locator("#many button").first.click()
        wait_for_change()
        more = "Array.from(document.querySelectorAll('#many button'), (face) => face.ariaLabel).join()"
        others = page.evaluate(more)
        page.evaluate("location.hash = '43'")  # a changed address is followed, also by the smaller faces
        wait_for_change()
        page.wait_for_function(f"others => {more} !== others && document.querySelector('#many[data-filled]')", arg=others)
        with page.expect_download() as saving:
            page.get_by_role("button", name="Save as PNG").click()
        saving.value.save_as(tmp_path / "saved.png")
        assert Image.open(tmp_path / "saved.png").size == (512, 512)
        mark = read_xmp((tmp_path / "saved.png").read_bytes())
        assert mark["DigitalSourceType"].endswith("/trainedAlgorithmicMedia") and mark["faces"].startswith("page-43+glasses=")
        assert mark["generator"] == load_generator(tmp_path / "generator.safetensors")[1].sha256
    with visit(
        browser, "file:", f"{tmp_path / 'page.html'}#42", width=390, height=844, offline=True
    ) as visitor:  # the same link on a phone
        visitor.page.wait_for_selector("#face[data-drawn]")
        assert visitor.page.evaluate(shown) == seen[0]
        assert visitor.page.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_slow_page_says_so_and_its_matrix_product_is_webassembly(browser, tmp_path):
    parameters = read_parameters(ROOT / "presets" / "celeba64_r3gan.yaml")
    generator = build_generator(parameters.model, 64).eval()
    save_generator(tmp_path / "model.safetensors", generator, make_card(model=parameters.model, resolution=64))
    generator, card = load_generator(tmp_path / "model.safetensors")
    write_page(tmp_path / "page.html", generator, card, {}, "slow")
    latents = seeded_latents(generator, 1, 3)
    with torch.inference_mode():
        expected = to_bytes(generator(latents))[0]
    with visit(browser, "file:", str(tmp_path / "page.html"), offline=True) as visitor:
        assert "s per face" in visitor.page.locator("#about").inner_text()
        visitor.page.wait_for_selector("#face[data-drawn]")
        drawn = visitor.page.evaluate(
            "async (z) => { const face = await facegan.draw(z); return Array.from(face.pixels); }", latents[0].tolist()
        )
        pixels = torch.tensor(drawn).reshape(64, 64, 4)[:, :, :3].permute(2, 0, 1)
        assert (pixels - expected.int()).abs().max() <= 3


@pytest.mark.parametrize("name", ["dcgan", "tutorial28"])
def test_the_scripts_draw_faces_without_facegan(tmp_path, name):
    model = write_small(tmp_path / "model.safetensors", name)
    export(model, tmp_path / "out", tmp_path)
    hidden = (
        "import sys; sys.modules['facegan'] = None; sys.modules[sys.argv[2]] = None; sys.argv = sys.argv[1:];"
        "import runpy; runpy.run_path(sys.argv[0])"
    )
    for script, other in (("draw_torch.py", "numpy"), ("draw_onnx.py", "torch")):
        assert len((tmp_path / "out" / script).read_text().splitlines()) <= 16
        command = [sys.executable, "-c", hidden, script, other]
        subprocess.run(command, cwd=tmp_path / "out", env=environment(PYTHONPATH="."), check=True, capture_output=True)
    with torch.inference_mode():
        generator, _ = load_generator(model)
        expected = to_bytes(generator(seeded_latents(generator, 16, 0)[:8]))
    for number, face in enumerate(expected):
        drawn = tmp_path / "out" / f"torch{number}.png"
        assert np.array_equal(np.asarray(Image.open(drawn)).transpose(2, 0, 1), face.numpy())
        assert verify(drawn, model, [], SampleParameters(seed=0, count=1, truncation=1.0))[1][-1].startswith("recognised: identical")
        assert read_source_type((tmp_path / "out" / f"onnx{number}.png").read_bytes()) == "trainedAlgorithmicMedia"
        assert Image.open(tmp_path / "out" / f"onnx{number}.png").size == face.shape[:0:-1]


def test_a_missing_package_is_reported_before_anything_is_written(tmp_path, monkeypatch):
    model = write_small(tmp_path / "model.safetensors")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FaceganError, match="found no onnx"):
        export(model, tmp_path / "out", tmp_path)
    assert not (tmp_path / "out").exists()


SIZES = {"page.html": 2_000_000, "generator.safetensors": 1, "generator.onnx": 2}


def write_run(project, changes=types.MappingProxyType({}), photos=types.MappingProxyType({})):
    """Writes the results of a run of the small dcgan into the project."""
    _, card = build_small()
    params = {
        "data": {"source": "kaggle", "path": "somebody/faces"},
        "preprocess": {"crop": "face"},
        "model": {"name": card.model, **card.arguments},
    }
    report = {
        **card.model_dump(include={"images_seen", "data_fingerprint", "parameters_fingerprint"}),
        "generated": {"fd_efficientnet_lite0": 30.5, "precision_efficientnet_lite0": 0.25},
        "another_seed_95": {"fd_efficientnet_lite0": 1.25},
        "floor": {"images": 9, "fd_efficientnet_lite0": 10.5},
        "untrained": {"fd_efficientnet_lite0": 90.5},
        "protocol": {"fingerprint": "abcdef123456", "data": card.data_fingerprint, "extractor": "efficientnet_lite0", "generated": 400},
        "memorisation": {"detected": False, "nearest_is_training": {"share": 0.71}, "expected": 0.7, "searched": 1000, "holdout": 400},
    }
    manifest = {"source": "kaggle", "path": "somebody/faces", "license": "CC0: Public Domain", "images": 4321} | photos
    (project / "params.yaml").write_text(yaml.safe_dump(params))
    files = {
        "data/evaluation/report.json": report | changes,
        "metrics/train.json": {"images_seen": card.images_seen, "images_per_second": 123.4},
        "data/model/training.json": {"device": "cpu", "precision": "bfloat16"},
        "data/raw/manifest.json": manifest,
    }
    for path, content in files.items():
        write_sealed_json(project / path, content)
    return card


@pytest.mark.parametrize(("photos", "expected"), [("drawn, CC0 1.0", "mit"), ("drawn by an artist, CC BY 4.0", "other")])
def test_the_license_depends_on_that_of_the_drawings(tmp_path, photos, expected):
    card = write_run(tmp_path, photos={"source": "avatars", "license": photos})
    text = write_card(card, read_facts(tmp_path, card), "small", 1234, SIZES, 1, {}, 0.6)
    assert yaml.safe_load(text.split("---\n", 2)[1])["license"] == expected and photos in text


def test_the_card_is_filled_from_the_run(tmp_path):
    card = write_run(tmp_path)
    facts = read_facts(tmp_path, card)
    text = write_card(card, facts, "small", 1234, SIZES, 1, {0: "hair"}, 0.6)
    _, head, body = text.split("---\n", 2)
    head = yaml.safe_load(head)
    assert head["pipeline_tag"] == "unconditional-image-generation"
    assert head["license"] == "other" and head["license_link"] == "README.md"
    (result,) = head["model-index"][0]["results"]
    assert {metric["type"]: metric["value"] for metric in result["metrics"]} == {
        "fd_efficientnet_lite0": 30.5,
        "precision_efficientnet_lite0": 0.25,
    }
    for fact in (
        *("1,234 parameters", "1,000 real images", "somebody/faces", "4,321 images", "CC0: Public Domain", "crop: face", "generated: 400"),
        *("30.5", "1.25", "10.5", "90.5", "abcdef123456", "no sign of replayed", "on cpu in bfloat16, at 123 images per second"),
        *("1 is hair", "opset 20", "2.00 MB", "about 0.6 s per face"),
    ):
        assert fact in body, fact
    assert "None" not in text and "{" not in body
    hub = pytest.importorskip("huggingface_hub", reason="the hub's own reader of cards").ModelCard(text, ignore_metadata_errors=False).data
    assert {result.metric_type: result.metric_value for result in hub.eval_results} == {
        metric["type"]: metric["value"] for metric in result["metrics"]
    }
    assert hub.pipeline_tag == head["pipeline_tag"]


def test_scores_of_another_run_are_not_put_on_the_card(tmp_path):
    card = write_run(tmp_path, {"images_seen": 999})
    assert read_facts(tmp_path, card) is None
    assert read_facts(tmp_path, card.model_copy(update={"images_seen": 999, "data_fingerprint": "other"})) is None
    assert read_facts(tmp_path / "missing", card) is None
    text = write_card(card, None, "small", 1, SIZES, 0, {}, 0.1)
    assert "exported without its run" in text and "## Scores" not in text


def test_the_stage_exports_a_generator_and_rejects_other_files(tmp_path):
    shutil.copytree(ROOT / "stages", tmp_path / "stages")
    os.symlink(ROOT / "facegan", tmp_path / "facegan")
    write_small(tmp_path / "data" / "model" / "generator.safetensors")
    done = run_stage(tmp_path, "export")
    assert done.returncode == 0, done.stderr
    assert "page.html" in done.stdout
    files = "README.md draw_onnx.py draw_torch.py generator.onnx generator.py generator.safetensors grid.png page.html"
    assert sorted(path.name for path in (tmp_path / "data" / "export").iterdir()) == files.split()
    (tmp_path / "invalid.safetensors").write_bytes(b"invalid")
    rejected = run_stage(tmp_path, "export", "--model", str(tmp_path / "invalid.safetensors"))
    assert rejected.returncode == 1
    assert rejected.stderr.startswith("error: expected a safetensors file")
