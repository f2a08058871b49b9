"""Stopped runs resume with byte-identical results, longer runs start from the end of shorter ones, finished runs are reused."""

import itertools
import json
import os
import shutil
import signal

import pytest
import torch
from projects import make_shards, wait_for
from small_generators import read_all
from small_runs import SmallRuns, in_a_fork

from facegan.common.errors import FaceganError
from facegan.models.checkpoint_file import FORMAT, read_checkpoint, write_checkpoint
from facegan.models.generator_file import load_generator
from facegan.training import trainer
from facegan.training.checkpoint import FINISHED_STATES, has_state
from facegan.training.history import is_row_due

FIRST, SHORT, LONG = 8, 56, 104  # images; at none of these ends is a picture or a score due
INTERRUPTED = 128 + signal.SIGINT


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """The results of a short and of a long run."""
    return {images: SmallRuns(tmp_path_factory.mktemp("uninterrupted")).train(images=images) for images in (SHORT, LONG)}


def test_longer_run_resumes_from_the_end_of_shorter_ones(runs, uninterrupted, capsys):
    for images in (FIRST, 32, SHORT):
        hashes = runs.train(images=images)
    assert hashes == uninterrupted[SHORT]
    capsys.readouterr()
    assert runs.train(images=LONG) == uninterrupted[LONG]
    assert f"resumed at {SHORT} of {LONG} images" in capsys.readouterr().out


def test_finished_run_is_reused(runs, uninterrupted, capsys):
    runs.train(images=SHORT)
    capsys.readouterr()
    for _ in range(2):
        assert runs.train(images=SHORT) == uninterrupted[SHORT]
        assert "already trained" in capsys.readouterr().out
    assert len(list(runs.folders.checkpoints.glob("*/finished/*"))) == 1


def test_shorter_run_after_a_longer_one_keeps_the_end_of_the_longer_one(runs, uninterrupted, capsys):
    runs.train(images=LONG)
    assert runs.train(images=SHORT) == uninterrupted[SHORT]
    capsys.readouterr()
    assert runs.train(images=LONG) == uninterrupted[LONG]
    assert "already trained" in capsys.readouterr().out


def test_shorter_run_keeps_the_state_of_a_stopped_one(runs, uninterrupted, capsys):
    assert runs.stop_at(72, images=LONG) == INTERRUPTED
    assert runs.train(images=SHORT) == uninterrupted[SHORT]
    assert "is kept for a longer run" in capsys.readouterr().out
    (kept,) = runs.folders.checkpoints.glob("*/stopped/*")
    assert runs.train(images=LONG) == uninterrupted[LONG]
    assert f"resumed at {int(kept.name)}" in capsys.readouterr().out
    assert not list(runs.folders.checkpoints.glob("*/stopped/*"))


def test_only_the_newest_finished_states_are_kept(runs):
    for width in range(4, 4 + FINISHED_STATES + 2):
        runs.train(width, images=8)
    assert len(runs.runs()) == FINISHED_STATES
    assert all(has_state(run) for run in runs.runs())
    for images in (16, 24, 32, 40):
        runs.train(3 + FINISHED_STATES + 2, images=images)
    (run,) = runs.runs()
    assert sorted(path.name for path in run.glob("finished/*")) == [f"{images:010d}" for images in (24, 32, 40)]


def test_length_belongs_to_the_run_only_if_a_schedule_depends_on_it(runs):
    def depends(**changes):
        short, long = (runs.prepare(images=images, **changes)[1].key for images in (100, 200))
        return short != long

    assert not depends(penalty="r1_r2", gamma=1.0)
    assert not depends(penalty="r1", gamma="auto")
    constant = {"betas": [0.0, 0.9], "ema_halflife_images": 500, "augment_strength": 0.0, "lr": 1e-3}
    assert depends(penalty="r1_r2", gamma="auto", schedule_images=None, **constant)
    assert not depends(penalty="r1_r2", gamma="auto", schedule_images=100, **constant)


def test_rows_become_less_frequent():
    due = [images for images in range(32, 1_000_000, 32) if is_row_due(images, batch=32)]
    gaps = [now - before for before, now in itertools.pairwise(due)]
    assert due[:64] == list(range(32, 65 * 32, 32))
    assert all(gap <= max(32, now / 32) and gap <= 10_000 for gap, now in zip(gaps, due[1:], strict=True))
    assert 300 < len(due) < 500


def test_finish_writes_the_results_of_a_stopped_run(runs, uninterrupted):
    assert runs.stop_at(24, images=LONG) == INTERRUPTED
    seen = runs.finish(images=LONG)
    hashes = runs.hashes()
    assert 24 <= seen < LONG and load_generator(runs.folders.model / "generator.safetensors")[1].images_seen == seen
    assert json.loads((runs.folders.metrics / "train.json").read_text())["images_seen"] == seen
    report = json.loads((runs.folders.model / "training.json").read_text())
    assert (report["images_seen"], report["images_wanted"]) == (seen, LONG)
    assert runs.train(images=seen)["generator.safetensors"] == hashes["generator.safetensors"]
    assert runs.train(images=LONG) == uninterrupted[LONG]


def test_finish_without_a_run_is_reported(runs):
    with pytest.raises(FaceganError, match="expected a stopped run"):
        runs.finish()
    assert not runs.folders.model.exists()


def test_damaged_note_of_another_run_is_ignored(runs):
    for number, content in enumerate([b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000, b'{"parameters": 1}']):
        other = runs.folders.checkpoints / f"{number:016x}"
        other.mkdir(parents=True)
        (other / "run.json").write_bytes(content)
        (other / "state.ckpt").write_bytes(b"")
    runs.train(images=8)
    assert (runs.folders.model / "generator.safetensors").is_file()


def test_finished_run_is_not_finished_again(runs):
    runs.train(images=LONG)
    runs.train(images=SHORT)
    before = runs.hashes()
    with pytest.raises(FaceganError, match=r"expected a stopped run in .*; found a finished one"):
        runs.finish(images=SHORT)
    assert runs.hashes() == before


def test_generator_can_be_loaded_from_a_checkpoint(runs):
    runs.train(images=SHORT)
    (state,) = runs.folders.checkpoints.glob("*/finished/*/state.ckpt")
    (generator, card), (other, expected) = load_generator(state), load_generator(runs.folders.model / "generator.safetensors")
    assert card == expected and card.images_seen == SHORT
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in generator.state_dict().items())


def test_second_of_two_equal_runs_waits_and_uses_the_result(runs, uninterrupted, capfd):
    children = []
    for _ in range(2):
        child = os.fork()
        if child == 0:
            os._exit(in_a_fork(lambda: runs.train(images=LONG)))
        children.append(child)
        wait_for(lambda: any(runs.folders.checkpoints.glob("*/state.ckpt")))
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0, 0]
    printed = capfd.readouterr().out
    assert "another process is training the same run; waiting" in printed and "already trained" in printed
    assert runs.hashes() == uninterrupted[LONG]


DAMAGES = {
    "truncated": lambda content: content[: len(content) // 2],
    "flipped bit": lambda content: content[:-1000] + bytes([content[-1000] ^ 1]) + content[-999:],
    "other program": lambda content: b"PK\x03\x04" + content,
    "newer version": lambda content: content.replace(FORMAT, b"facegan checkpoint 3\n", 1),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damaged_checkpoint_is_skipped_and_the_previous_one_used(runs, uninterrupted, damage, capsys):
    assert runs.stop_at(72, images=LONG) == INTERRUPTED
    (state,) = runs.folders.checkpoints.glob("*/state.ckpt")
    state.write_bytes(damage(state.read_bytes()))
    assert runs.train(images=LONG) == uninterrupted[LONG]
    printed = capsys.readouterr().out
    assert "it is skipped" in printed and "resumed at" in printed


@pytest.mark.parametrize("damage", ["another run's", "no state at all", "a tensor of another shape", "rows of another kind", "a pickle"])
def test_untrusted_checkpoint_with_the_right_hash_is_skipped(runs, uninterrupted, damage, capsys):
    runs.train(images=SHORT)
    (state,) = runs.folders.checkpoints.glob("*/finished/*/state.ckpt")
    content = read_checkpoint(state)
    if damage == "another run's":
        other = SmallRuns(state.parents[3] / "other", count=50)
        other.train(images=SHORT)
        content = read_checkpoint(next(other.folders.checkpoints.glob("*/finished/*/state.ckpt")))
    contents = {
        "another run's": content,
        "no state at all": {"a": 1},
        "a tensor of another shape": content | {"tensors": content["tensors"] | {"strength": torch.zeros(3)}},
        "rows of another kind": content | {"rows": [1]},
        "a pickle": {"tensors": os.system},  # rejected by weights_only
    }
    write_checkpoint(state, contents[damage])
    capsys.readouterr()
    assert runs.train(images=SHORT) == uninterrupted[SHORT]
    assert "it is skipped" in capsys.readouterr().out


@pytest.mark.parametrize("changed", ["parameters", "data", "code"])
def test_other_parameters_data_or_code_start_a_new_run(runs, changed, monkeypatch, capsys):
    assert runs.stop_at(24) == INTERRUPTED
    if changed == "data":
        make_shards(runs.root, count=50)
    if changed == "code":
        monkeypatch.setattr(trainer, "hash_code", lambda: "changed")
    runs.train(lr=1e-4 if changed == "parameters" else 2e-3)
    printed = capsys.readouterr().out
    assert changed in printed and "changed since" in printed and "resumed" not in printed


def test_checkpoint_interval_may_change(runs, uninterrupted, capsys):
    assert runs.stop_at(72, images=LONG) == INTERRUPTED
    assert runs.train(images=LONG, checkpoint_seconds=7) == uninterrupted[LONG]
    assert "resumed at" in capsys.readouterr().out


def test_infinite_losses_rewind_a_few_times_then_stop(tmp_path, capsys, monkeypatch):
    runs = SmallRuns(tmp_path, norm="batch")
    parameters = runs.parameters(penalty="none", gamma=0.0, penalty_stride=1).model_copy(update={"lr": 1e30})
    monkeypatch.setattr(runs, "parameters", lambda **changes: parameters)
    with pytest.raises(FaceganError, match=r"expected finite losses; .*lower train\.lr"):
        runs.train()
    assert "(3 of at most 3 times)" in capsys.readouterr().out


def test_files_have_the_modes_of_the_umask(runs):
    def work():
        os.umask(0o027)
        runs.train(images=8)

    assert in_a_fork(work) == 0
    files = [path for folder in (runs.folders.model, runs.folders.metrics) for path in folder.rglob("*")]
    assert {path.stat().st_mode & 0o777 for path in files if path.is_file()} == {0o640}
    assert {path.stat().st_mode & 0o777 for path in files if path.is_dir()} == {0o750}


def test_results_are_never_written_through_hard_links_and_replace_earlier_ones(runs, tmp_path):
    runs.train(images=SHORT)
    shutil.copytree(runs.folders.model, tmp_path / "cache", copy_function=os.link)
    shutil.copytree(runs.folders.metrics, tmp_path / "cache/metrics", copy_function=os.link)
    before = read_all(tmp_path / "cache")
    (runs.folders.model / "left.txt").write_text("by an earlier version")
    runs.train(images=LONG, score_every_images=None)
    assert read_all(tmp_path / "cache") == before
    names = {path.name for path in runs.folders.model.iterdir()}
    assert names == {"generator.safetensors", "discriminator.safetensors", "progress", "training.json"}
