"""Each kind of preset, made small, resumes after a kill and ends with byte-identical results."""

import csv
import signal

import pytest
import torch
from projects import change_params, copy_project, make_shards, run_stage, start_stage, wait_for
from test_resume import hash_outcome

from presets import PRESETS, SIZES, VARIANTS, make_small_model

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="requires a CUDA GPU"))]
SMALL = {"batch": 8, "progress_images": 16, "on_collapse": "warn"}
IMAGES = {"cpu": 64, "cuda": 8_000}  # on a GPU, training must not end before it is killed


def copy_preset(folder, name, device, labelled):
    """Returns a copy of the project with the preset at a small size, and with shards."""
    resolution = SIZES[PRESETS[name]["model"]["name"]][1]
    schedule_images = 56 if PRESETS[name]["train"]["schedule_images"] else None
    train = SMALL | {"images": IMAGES[device], "device": device, "schedule_images": schedule_images}
    if PRESETS[name]["train"]["augment_strength"] == "adaptive":
        train["lr"] = 2.5e-3  # the discriminator soon overfits, so that the strength changes
    project = copy_project(folder, make_small_model(name, 48), name, **train)  # grows after the kill
    change_params(project, "preprocess", resolution=resolution)
    make_shards(project, resolution=resolution, labelled=labelled)
    return project


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("name", "labelled"), VARIANTS)
def test_killed_run_ends_with_the_same_bytes(name, labelled, device, tmp_path):
    reference, killed = (copy_preset(tmp_path / part, name, device, labelled) for part in ("reference", "killed"))
    result = run_stage(reference, "train")
    assert result.returncode == 0, result.stderr

    process = start_stage(killed, "train")
    wait_for(lambda: any((killed / ".checkpoints").glob("*/progress/0000000016.png")), process)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL, "training ended before it was killed"
    resumed = run_stage(killed, "train")
    assert "resumed at" in resumed.stdout, resumed.stderr
    assert hash_outcome(killed) == hash_outcome(reference)

    with (reference / "metrics" / "losses.csv").open() as file:
        strengths = {float(row["augment_strength"]) for row in csv.DictReader(file)}
    assert (len(strengths) > 1) == (PRESETS[name]["train"]["augment"] != "none")
