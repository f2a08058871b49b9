"""dvc.yaml says exactly what each stage depends on."""

import ast
import re

import pytest
import yaml
from import_closure import ROOT, import_closure

from facegan.scoring.parameters import EvaluateParameters

STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
SECTIONS = {
    "download": ["data"],
    "preprocess": ["preprocess"],
    "reference": ["evaluate"],
    "train": ["model", "train"],
    "evaluate": ["evaluate"],
    "sample": ["sample"],
}


def list_packages(stage: str) -> list[str]:
    """Returns the packages of code that a stage's script rests on.

    What it reads only to tell a wrong number early (other packages' parameters) changes nothing that it makes; nor does a quick
    score, which training is handed by its script; nor the package's own front, which imports nothing before it is asked.
    """
    modules = import_closure(ROOT / "stages" / f"{stage}.py")
    told_only = [path for path in modules if path.endswith("/parameters.py")]
    quick_score = [path for path in modules if stage == "train" and path.startswith("facegan/scoring/")]
    counted = set(modules) - set(told_only) - set(quick_score) - {"facegan/__init__.py", "facegan/parameters.py"}
    counted = {path for path in counted if not path.startswith("stages/")}
    packages = {"/".join(path.split("/")[:2]) for path in counted}
    return sorted(package for package in packages if any(path.startswith(package) and not path.endswith("__init__.py") for path in counted))


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_exactly_the_packages_that_its_script_imports(stage):
    assert sorted(dependency for dependency in STAGES[stage]["deps"] if dependency.startswith("facegan")) == list_packages(stage)


def test_no_package_imports_a_later_one():
    order = ["common", "photos", "preprocessing", "models", "training", "scoring", "sampling"]
    for file in (ROOT / "facegan").glob("*/**/*.py"):
        package = file.relative_to(ROOT / "facegan").parts[0]
        if package in order:
            imported = {path.split("/")[1] for path in import_closure(file) if path.count("/") > 1}
            assert imported <= set(order[: order.index(package) + 1]), file


def test_every_script_is_a_stage():
    scripts = {path.stem for path in (ROOT / "stages").glob("*.py")} - {"command", "export"}
    assert {stage: values["cmd"] for stage, values in STAGES.items()} == {stage: f"python stages/{stage}.py" for stage in scripts}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_tracks_its_own_sections(stage):
    assert list(dict.fromkeys(name.split(".")[0] for name in STAGES[stage]["params"])) == SECTIONS[stage]
    text = (ROOT / "stages" / f"{stage}.py").read_text()
    assert all(re.search(rf"\b(parameters|experiment|params\))\.{section}\b", text) for section in SECTIONS[stage])


def test_another_seed_does_not_recompute_the_reference():
    assert STAGES["reference"]["params"] == [f"evaluate.{name}" for name in EvaluateParameters.model_fields if name != "seed"]


def test_data_moves_one_way():
    made = set()
    for stage in STAGES.values():
        read = {dependency for dependency in stage["deps"] if not dependency.startswith("facegan")}
        assert read <= made | {"start"}  # what people put there
        outputs = [*stage.get("outs", []), *stage.get("metrics", []), *stage.get("plots", [])]
        made |= {output if isinstance(output, str) else next(iter(output)) for output in outputs}


def test_training_starts_without_any_heavy_library():
    heavy = {"dvc", "kaggle", "pandas", "matplotlib", "torchvision", "torch_fidelity", "scipy", "sklearn", "timm", "cv2", "gradio"}
    for file in import_closure(ROOT / "stages" / "train.py"):
        for node in ast.parse((ROOT / file).read_text()).body:  # what is imported in functions is imported when it is needed
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [getattr(node, "module", None) or ""]
            assert not heavy & {name.split(".")[0] for name in names}, file
