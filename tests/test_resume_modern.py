"""R3GAN and StyleGAN2, with all that they keep between steps, go on after a kill to the same bytes."""

import csv

import pytest
from projects import copy_project, make_shards, run_stage, start_stage
from test_resume import hash_outcome, wait_for

SCHEDULES = {"schedule_images": 200, "lr": [2e-3, 5e-4], "beta2": [0.9, 0.99], "ema_halflife_images": [0, 100]}
ADAPTIVE = {"augment": "full", "augment_strength": "adaptive", "fresh_batch": True, "flip": True, "images": 192, "on_collapse": "warn"}
RUNS = {
    "r3gan": {
        "model": {"name": "r3gan", "width": 8, "latent_size": 8},
        **{"objective": "relativistic", "penalty": "r1_r2", "gamma": "auto", **SCHEDULES, **ADAPTIVE},
    },
    "stylegan2": {
        "model": {"name": "stylegan2", "width": 8, "latent_size": 8},
        **{"objective": "non_saturating", "penalty": "r1", "gamma": "auto", "penalty_interval": 4, "lr": 2.5e-3, "beta2": 0.99, **ADAPTIVE},
    },
}


@pytest.mark.parametrize("name", RUNS)
def test_a_killed_run_ends_in_the_same_bytes(name, tmp_path):
    projects = [copy_project(tmp_path / part, **RUNS[name]) for part in ("whole", "killed")]
    for project in projects:
        make_shards(project)
    whole = run_stage(projects[0], "train")
    assert whole.returncode == 0, whole.stderr

    process = start_stage(projects[1], "train")
    wait_for(lambda: any((projects[1] / ".checkpoints").glob("*/progress/0000000080.png")), process)
    process.kill()
    process.communicate()
    resumed = run_stage(projects[1], "train")
    assert "resumed at" in resumed.stdout, resumed.stderr
    assert hash_outcome(projects[1]) == hash_outcome(projects[0])

    with (projects[0] / "metrics" / "losses.csv").open() as file:
        strengths = {float(row["augment_strength"]) for row in csv.DictReader(file)}
    assert len(strengths) > 1  # the controller was at work
