"""Processes that would not train the same are refused before the first step, and nothing is stored."""

import dataclasses

import pytest
from projects import change_params, copy_project, make_shards, run_ranks

from facegan.common.errors import FaceganError
from facegan.training.agreement import Member, check_agreement
from facegan.training.processes import World

MODEL = {"name": "dcgan", "width": 8, "latent_size": 16, "discriminator_norm": "batch"}
TRAIN = {"images": 48, "batch": 16, "precision": "fp32", "progress_images": 48, "processes": 2}


@pytest.fixture
def machines(tmp_path):
    """Two copies of the project, as on two machines without a shared disk."""
    projects = [copy_project(tmp_path / name, MODEL, **TRAIN) for name in ("a", "b")]
    for project in projects:
        make_shards(project)
    return projects


def train(projects):
    """Trains in one process per project; returns the finished processes by rank."""
    return run_ranks([project / "stages/train.py" for project in projects], "--checkpoint-seconds", "0")


def change_code(project):
    path = project / "facegan/training/losses.py"
    path.write_text(path.read_text().replace("LABEL_NOISE = 0.05", "LABEL_NOISE = 0.06"))


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda project: change_params(project, lr=2e-3), "train.lr: "),
        (lambda project: change_params(project, images=96), "train.images: "),
        (lambda project: make_shards(project, seed=1), "data: "),
        (change_code, "code: "),
        (lambda project: (project / "data/shards/index.json").unlink(), "expected shards"),
    ],
)
def test_machines_that_disagree_are_refused(machines, change, found):
    change(machines[1])
    for project, result in zip(machines, train(machines), strict=True):
        assert result.returncode == 1
        assert "Traceback" not in result.stderr
        assert found in result.stderr and "rank 1 on " in result.stderr
        assert not (project / "data/model").exists()
        assert not list(project.glob(".checkpoints/*/*.ckpt"))


def test_the_newest_checkpoint_must_be_on_rank_0(machines):
    assert [result.returncode for result in train(machines)] == [0, 0]
    results = train(machines[::-1])  # after a restart in the other order
    assert [result.returncode for result in results] == [1, 1]
    assert "expected the newest checkpoint on rank 0" in results[0].stderr and "48 images" in results[0].stderr
    assert [result.returncode for result in train(machines)] == [0, 0]


@dataclasses.dataclass(frozen=True)
class TwoProcesses(World):
    """Two processes, of which the other one has another version of PyTorch."""

    size: int = 2

    def gather(self, facts):
        return [facts, facts | {"ingredients": facts["ingredients"] | {"torch": "1.0"}, "host": "b"}]


def test_another_version_of_pytorch_is_refused():
    with pytest.raises(FaceganError, match=r"torch: .* on rank 0 .*1\.0 on rank 1 on b"):
        check_agreement(TwoProcesses(), "", {"code": "same"}, None)
    assert Member("b", "", {}, 0).name(1) == "rank 1 on b"
