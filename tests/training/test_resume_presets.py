"""Every preset, made small with the keys that users have, goes on after a kill to the same bytes."""

import csv
import signal

import pytest
import torch
from projects import change_params, copy_project, make_shards, run_stage, start_stage
from test_resume import hash_outcome, wait_for

from presets import KINDS, PRESETS, SIZES

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU here"))]
SMALL = {"batch": 16, "progress_images": 64, "on_collapse": "warn"}
IMAGES = {"cpu": 128, "cuda": 8_000}  # a GPU must not be done before it is killed


def copy_preset(folder, name, device):
    """Returns a copy of the project, set to the preset at a small size, with shards."""
    width, resolution = SIZES[PRESETS[name]["model"]["name"]]
    train = SMALL | {
        "images": IMAGES[device],
        "device": device,
        "schedule_images": 112 if PRESETS[name]["train"]["schedule_images"] else None,
    }
    if PRESETS[name]["train"]["augment_strength"] == "adaptive":
        train["lr"] = 2.5e-3  # so that the discriminator soon knows the photos by heart, and the strength moves
    project = copy_project(folder, PRESETS[name]["model"] | {"width": width}, name, **train)
    change_params(project, "preprocess", resolution=resolution)
    make_shards(project, resolution=resolution)
    return project


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", KINDS.values())
def test_a_killed_run_ends_in_the_same_bytes(name, device, tmp_path):
    whole, killed = (copy_preset(tmp_path / part, name, device) for part in ("whole", "killed"))
    result = run_stage(whole, "train")
    assert result.returncode == 0, result.stderr

    process = start_stage(killed, "train")
    wait_for(lambda: any((killed / ".checkpoints").glob("*/progress/0000000064.png")), process)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL, "it ended before it was killed"
    resumed = run_stage(killed, "train")
    assert "resumed at" in resumed.stdout, resumed.stderr
    assert hash_outcome(killed) == hash_outcome(whole)

    with (whole / "metrics" / "losses.csv").open() as file:
        strengths = {float(row["augment_strength"]) for row in csv.DictReader(file)}
    assert (len(strengths) > 1) == (PRESETS[name]["train"]["augment"] != "none")  # it moved, where it should
