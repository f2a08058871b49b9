"""Every preset, made small with the keys that users have, goes on after a kill to the same bytes."""

import csv
import json

import pytest
import yaml
from projects import ROOT, copy_project, make_shards, run_stage, start_stage
from test_resume import hash_outcome, wait_for

PRESETS = yaml.safe_load((ROOT / "params.yaml").read_text())["presets"]
LENGTHS = {"batch", "images", "schedule_images", "progress_images", "progress_count", "checkpoint_seconds", "ema_halflife_images"}
# of presets that differ only in photos, width and lengths, which are all made small here, one stands for all
KINDS = {
    json.dumps([preset["model"] | {"width": 0}, {key: value for key, value in preset["train"].items() if key not in LENGTHS}]): name
    for name, preset in PRESETS.items()
}
SIZES = {"dcgan": (8, 32), "tutorial28": (32, 28), "keras128": (8, 48), "r3gan": (8, 32), "stylegan2": (8, 32)}  # width, resolution
SMALL = {"images": 192, "batch": 16, "progress_images": 80, "checkpoint_seconds": 0.0, "device": "cpu", "on_collapse": "warn"}


def copy_preset(folder, name):
    """Returns a copy of the project, set to the preset at a small size, with shards."""
    project = copy_project(folder)
    path = project / "params.yaml"
    params = yaml.safe_load(path.read_text())
    width, resolution = SIZES[PRESETS[name]["model"]["name"]]
    train = SMALL | {"schedule_images": 160 if PRESETS[name]["train"]["schedule_images"] else None}
    if PRESETS[name]["train"]["augment_strength"] == "adaptive":
        train["lr"] = 2.5e-3  # so that the discriminator soon knows the photos by heart, and the strength moves
    changes = {"preset": name, "model": {"width": width}, "preprocess": {"resolution": resolution}, "train": train}
    path.write_text(yaml.safe_dump(params | changes))
    make_shards(project, resolution=resolution)
    return project


@pytest.mark.parametrize("name", KINDS.values())
def test_a_killed_run_ends_in_the_same_bytes(name, tmp_path):
    whole, killed = (copy_preset(tmp_path / part, name) for part in ("whole", "killed"))
    result = run_stage(whole, "train")
    assert result.returncode == 0, result.stderr

    process = start_stage(killed, "train")
    wait_for(lambda: any((killed / ".checkpoints").glob("*/progress/0000000080.png")), process)
    process.kill()
    process.communicate()
    resumed = run_stage(killed, "train")
    assert "resumed at" in resumed.stdout, resumed.stderr
    assert hash_outcome(killed) == hash_outcome(whole)

    with (whole / "metrics" / "losses.csv").open() as file:
        strengths = {float(row["augment_strength"]) for row in csv.DictReader(file)}
    assert (len(strengths) > 1) == (PRESETS[name]["train"]["augment"] != "none")  # it moved, where it should
