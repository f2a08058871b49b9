"""Reading training runs while they run and after a kill, without changing their files."""

import os
import re
import signal
import time

import pytest
import torch
from projects import copy_project, make_shards, run_stage, start_stage

from facegan.common.errors import FaceganError
from facegan.common.files import read_sealed_values, write_sealed_json
from facegan.export.card import describe_training, read_facts
from facegan.models.checkpoint_file import read_checkpoint, write_checkpoint
from facegan.models.generator_file import load_generator
from facegan.studio.trainings import list_trainings, read_history, read_training


def wait_for(condition, process):
    """Waits until the condition is true while the process runs; returns its value."""
    for _ in range(3000):
        if value := condition():
            return value
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    raise AssertionError("the condition never became true")


def snapshot(folder):
    return {path.name: (path.stat().st_mtime_ns, path.stat().st_size) for path in folder.rglob("*") if path.is_file()}


def test_a_running_and_then_killed_training_can_be_read(tmp_path):
    project = copy_project(tmp_path, images=100_000, progress_images=160)
    make_shards(project)
    process = start_stage(project, "train")
    try:
        (name,) = wait_for(lambda: list_trainings(project), process)
        wait_for(lambda: len(read_training(project, name).pictures) > 2 and read_training(project, name).rows, process)
        running = read_training(project, name)
        assert running.state == "running"
        assert running.images == 100_000
        assert running.parameters["model"]["name"] == "dcgan"
        assert running.images_per_second > 0
        assert running.seconds_left > 0
        more = wait_for(lambda: (now := read_training(project, name)).images_seen > running.images_seen and now, process)
        assert len(more.pictures) >= len(running.pictures)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    folder = project / ".checkpoints" / name
    before = snapshot(folder)
    stopped = read_training(project, name)
    assert stopped.state == "stopped"
    state = read_checkpoint(folder / "state.ckpt")
    assert stopped.images_seen == state["images_seen"]
    assert stopped.rows["loss_generator"] == [row["loss_generator"] for row in state["rows"]]
    assert snapshot(folder) == before
    for file, content in (("state.ckpt", b"facegan checkpoint 2\ncut"), ("state.previous.ckpt", b"")):  # one truncated, then both
        (folder / file).write_bytes(content)
        assert read_training(project, name).state == "stopped"
    assert read_training(project, name).rows == {}


def test_tensors_are_not_read(tmp_path):
    rows = [{"images_seen": 8, "loss_generator": 1.5}]
    write_checkpoint(tmp_path / "state.ckpt", {"tensors": {"weight": torch.ones(4_000_000)}, "best": None, "images_seen": 8, "rows": rows})
    with (tmp_path / "state.ckpt").open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    began = read_bytes()
    assert read_history(tmp_path) == {"images_seen": 8, "rows": rows}
    assert read_bytes() - began < 1_000_000


def read_bytes():
    """Returns the number of bytes that this process has read so far."""
    with open("/proc/self/io") as file:
        return int(next(line.split()[1] for line in file if line.startswith("rchar")))


def test_a_finished_training_is_shown_and_fills_the_card(tmp_path):
    project = copy_project(tmp_path)
    make_shards(project)
    assert run_stage(project, "train").returncode == 0
    name, workspace = list_trainings(project)
    finished, same = read_training(project, name), read_training(project, workspace)
    assert finished.state == same.state == "finished"
    assert finished.images_seen == same.images_seen == 960
    assert finished.seconds_left is None
    assert list(finished.pictures) == list(same.pictures)
    assert finished.rows["loss_generator"] == pytest.approx(same.rows["loss_generator"], rel=1e-4)
    assert finished.parameters["model"] == same.parameters["model"]
    details = project / "data" / "model" / "training.json"
    write_sealed_json(details, read_sealed_values(details, "") | {"warnings": ["960 images: it collapses"]})
    assert read_training(project, workspace).warnings == ["960 images: it collapses"]
    _, card = load_generator(project / "data" / "model" / "generator.safetensors")
    fingerprints = card.model_dump(include={"images_seen", "data_fingerprint", "parameters_fingerprint"})
    (project / "data" / "evaluation").mkdir()
    report = project / "data" / "evaluation" / "report.json"
    write_sealed_json(report, {"protocol": {"data": card.data_fingerprint}, **fingerprints})
    assert re.fullmatch(r"on cpu in \w+, at [\d,]+ images per second", describe_training(read_facts(project, card).training))


@pytest.mark.parametrize("name", ["", "..", "../secrets", "0123456789abcdef", "workspace", "x" * 1000])
def test_only_known_trainings_are_read(tmp_path, name):
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "run.json").write_text("{}")
    (tmp_path / "project" / ".checkpoints").mkdir(parents=True)
    with pytest.raises(FaceganError, match="expected a training"):
        read_training(tmp_path / "project", name)
