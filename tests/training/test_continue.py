"""A longer run goes on from a shorter one's end, a finished one is taken as it is, and a bounded number of ends is kept."""

import itertools
import json
import os
import signal
import time

import pytest
import torch
from small_runs import SmallRuns, in_a_fork

from facegan.common.errors import FaceganError
from facegan.models.checkpoint_file import read_checkpoint, write_checkpoint
from facegan.models.generator_file import load_generator
from facegan.training.checkpoint import FINISHED_STATES, has_state
from facegan.training.loop import Interrupted, is_row_due

BEGINNING, SHORT, LONG = 8, 56, 104  # images; none of the ends lies where a picture or a score is due anyway


def stop_at(runs, picture, **parameters):
    """Trains in a fork until a picture after so many images is there, and then sends Ctrl-C's signal; returns once it has ended."""
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        status = 1
        try:
            runs.train(**parameters)
        except Interrupted as interruption:
            status = interruption.status
        finally:
            os._exit(status)
    while not any(runs.folders.checkpoints.glob(f"*/progress/{picture:010d}.png")):
        time.sleep(0.001)
    os.kill(child, signal.SIGINT)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.fixture(scope="module")
def at_once(tmp_path_factory):
    """The outcomes of a short and of a long run, each by itself."""
    return {images: SmallRuns(tmp_path_factory.mktemp("once")).train(images=images) for images in (SHORT, LONG)}


def test_a_longer_run_goes_on_to_the_same_bytes(runs, at_once, capsys):
    assert runs.train(images=SHORT) == at_once[SHORT]
    capsys.readouterr()
    assert runs.train(images=LONG) == at_once[LONG]
    assert f"resumed at {SHORT} of {LONG} images" in capsys.readouterr().out


def test_every_step_of_the_way_may_be_a_run_of_its_own(runs, at_once):
    for images in range(BEGINNING, LONG, 24):
        runs.train(images=images)
    assert runs.train(images=LONG) == at_once[LONG]


def test_a_finished_run_is_taken_as_it_is(runs, at_once, capsys):
    runs.train(images=SHORT)
    capsys.readouterr()
    for _ in range(2):
        assert runs.train(images=SHORT) == at_once[SHORT]
        assert "uses the result of an earlier call" in capsys.readouterr().out
    assert len(list(runs.folders.checkpoints.glob("*/finished/*"))) == 1


def test_a_shorter_run_after_a_longer_begins_anew_and_leaves_the_longer_ones_end(runs, at_once, capsys):
    runs.train(images=LONG)
    assert runs.train(images=SHORT) == at_once[SHORT]
    capsys.readouterr()
    assert runs.train(images=LONG) == at_once[LONG]
    assert "uses the result of an earlier call" in capsys.readouterr().out


def test_a_stopped_run_is_kept_when_a_shorter_one_follows(runs, at_once, capsys):
    assert stop_at(runs, 72, images=100_000) == 128 + signal.SIGINT
    assert runs.train(images=SHORT) == at_once[SHORT]
    assert "is kept for a longer run" in capsys.readouterr().out
    (kept,) = runs.folders.checkpoints.glob("*/stopped/*")
    if int(kept.name) <= LONG:  # where the signal came in time
        assert runs.train(images=LONG) == at_once[LONG]
        assert f"resumed at {int(kept.name):,}" in capsys.readouterr().out
        assert not list(runs.folders.checkpoints.glob("*/stopped/*"))


def test_only_the_newest_ends_are_kept_and_of_the_others_nothing(runs):
    for width in range(4, 4 + FINISHED_STATES + 2):
        runs.train(width, images=8)
    assert len(runs.runs()) == FINISHED_STATES
    assert all(has_state(run) for run in runs.runs())
    for images in (16, 24, 32, 40):
        runs.train(3 + FINISHED_STATES + 2, images=images)
    (run,) = runs.runs()
    assert sorted(path.name for path in run.glob("finished/*")) == [f"{images:010d}" for images in (24, 32, 40)]


def test_the_length_counts_where_a_schedule_counts_on_it(runs):
    def key(**changes):
        return runs.prepare(**changes)[1].key

    plain = {"penalty": "r1_r2", "gamma": 1.0}
    assert key(images=100, **plain) == key(images=200, **plain)
    constant = {"betas": [0.0, 0.9], "ema_halflife_images": 500, "augment_strength": 0.0}
    falling = {"penalty": "r1_r2", "gamma": "auto", "schedule_images": None, "lr": 1e-3, **constant}
    assert key(images=100, **falling) != key(images=200, **falling)
    scheduled = {**falling, "schedule_images": 100}
    assert key(images=100, **scheduled) == key(images=200, **scheduled)
    constant = {"penalty": "r1", "gamma": "auto"}
    assert key(images=100, **constant) == key(images=200, **constant)


def test_rows_become_less_frequent():
    due = [images for images in range(32, 1_000_000, 32) if is_row_due(images, batch=32)]
    gaps = [now - before for before, now in itertools.pairwise(due)]
    assert due[:64] == list(range(32, 65 * 32, 32))
    assert all(gap <= max(32, now / 32) and gap <= 10_000 for gap, now in zip(gaps, due[1:], strict=True))
    assert 300 < len(due) < 500


def test_a_stopped_run_is_finished_half_way_and_goes_on_afterwards(runs, at_once):
    assert stop_at(runs, 24, images=LONG) in (0, 128 + signal.SIGINT)
    seen = runs.finish(images=LONG)
    hashes = runs.hashes()
    assert 24 <= seen <= LONG and load_generator(runs.folders.model / "generator.safetensors")[1].images_seen == seen
    assert json.loads((runs.folders.metrics / "train.json").read_text())["images_seen"] == seen
    report = json.loads((runs.folders.model / "training.json").read_text())
    assert (report["images_seen"], report["images_wanted"]) == (seen, LONG)
    assert runs.train(images=seen)["generator.safetensors"] == hashes["generator.safetensors"]
    assert runs.train(images=LONG) == at_once[LONG]


def test_a_torn_note_of_another_run_disturbs_nobody(runs):
    """Such as a kill left when it was written in place."""
    for number, content in enumerate([b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000, b'{"parameters": 1}']):
        other = runs.folders.checkpoints / f"{number:016x}"
        other.mkdir(parents=True)
        (other / "run.json").write_bytes(content)
        (other / "state.ckpt").write_bytes(b"")
    runs.train(images=8)
    assert (runs.folders.model / "generator.safetensors").is_file()


def test_there_is_nothing_to_finish_before_anything_has_begun(runs):
    with pytest.raises(FaceganError, match=r"expected a stopped run in .*; found none"):
        runs.finish()
    assert not runs.folders.model.exists()


def test_a_finished_run_is_not_finished_again(runs):
    runs.train(images=LONG)
    runs.train(images=SHORT)
    before = runs.hashes()
    with pytest.raises(FaceganError, match=r"expected a stopped run in .*; found a finished one"):
        runs.finish(images=SHORT)
    assert runs.hashes() == before


def test_a_checkpoint_alone_makes_the_faces_of_its_run(runs):
    runs.train(images=SHORT)
    (state,) = runs.folders.checkpoints.glob("*/finished/*/state.ckpt")
    (generator, card), (other, expected) = load_generator(state), load_generator(runs.folders.model / "generator.safetensors")
    assert card == expected.model_copy(update={"sha256": None}) and card.images_seen == SHORT
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in generator.state_dict().items())


def test_the_second_of_two_waits_and_takes_the_firsts_result(runs, at_once, capfd):
    children = []
    for number in range(2):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                runs.train(images=LONG)
                status = 0
            finally:
                os._exit(status)
        children.append(child)
        while number == 0 and not any(runs.folders.checkpoints.glob("*/state.ckpt")):
            time.sleep(0.001)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0, 0]
    told = capfd.readouterr().out
    assert "another process is training the same run; waiting" in told and "uses the result of an earlier call" in told
    assert runs.hashes() == at_once[LONG]


@pytest.mark.parametrize("damage", ["another run's", "no state at all", "a tensor of another shape", "rows of another kind", "a pickle"])
def test_a_foreign_checkpoint_with_the_right_hash_is_passed_over(runs, at_once, damage, capsys):
    runs.train(images=SHORT)
    (state,) = runs.folders.checkpoints.glob("*/finished/*/state.ckpt")
    if damage == "a pickle":
        content = {"tensors": os.system}  # what weights_only refuses
    elif damage == "another run's":
        other = SmallRuns(state.parents[3] / "other", count=50)
        other.train(images=SHORT)
        (theirs,) = other.folders.checkpoints.glob("*/finished/*/state.ckpt")
        content = read_checkpoint(theirs)
    else:
        content = read_checkpoint(state)
        if damage == "a tensor of another shape":
            content["tensors"]["strength"] = torch.zeros(3)
        content = {"no state at all": {"a": 1}, "rows of another kind": {**content, "rows": [1]}}.get(damage, content)
    write_checkpoint(state, content)
    capsys.readouterr()
    assert runs.train(images=SHORT) == at_once[SHORT]
    assert "it is skipped" in capsys.readouterr().out


def test_what_training_leaves_has_the_modes_that_the_umask_gives(runs):
    def work():
        os.umask(0o027)
        runs.train(images=8)

    assert in_a_fork(work) == 0
    files = [path for folder in (runs.folders.model, runs.folders.metrics) for path in folder.rglob("*")]
    assert {path.stat().st_mode & 0o777 for path in files if path.is_file()} == {0o640}
    assert {path.stat().st_mode & 0o777 for path in files if path.is_dir()} == {0o750}


def test_nothing_is_written_through_a_hard_link_and_nothing_of_an_earlier_run_stays(runs, tmp_path):
    runs.train(images=SHORT)
    kept = tmp_path / "cache"
    kept.mkdir()
    files = [path for folder in (runs.folders.model, runs.folders.metrics) for path in folder.rglob("*") if path.is_file()]
    for number, path in enumerate(files):
        os.link(path, kept / str(number))
    before = [(kept / str(number)).read_bytes() for number in range(len(files))]
    (runs.folders.model / "left.txt").write_text("by an earlier version")
    runs.train(images=LONG, score_every_images=None)
    assert [(kept / str(number)).read_bytes() for number in range(len(files))] == before
    assert {path.name for path in runs.folders.model.iterdir()} == {
        "generator.safetensors",
        "discriminator.safetensors",
        "progress",
        "training.json",
    }
