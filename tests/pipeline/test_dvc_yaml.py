"""dvc.yaml says exactly what each stage depends on."""

import ast

import pytest
import yaml
from import_closure import ROOT, import_closure

PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text())
STAGES = PIPELINE["stages"]


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_exactly_the_modules_that_its_script_imports(stage):
    code = sorted(dependency for dependency in STAGES[stage]["deps"] if dependency.endswith(".py"))
    assert code == import_closure(ROOT / "stages" / f"{stage}.py")


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_is_a_plain_script(stage):
    assert STAGES[stage]["cmd"] == f"python stages/{stage}.py"


def test_every_script_is_a_stage():
    assert {path.stem for path in (ROOT / "stages").glob("*.py")} - {"command"} == set(STAGES)


@pytest.mark.parametrize("stage", STAGES)
def test_parameters_are_named_for_the_preset_and_for_the_overrides(stage):
    names = set(STAGES[stage]["params"])
    overrides = {name for name in names if not name.startswith("presets.")}
    assert {f"presets.${{preset}}.{name}" for name in overrides} == names - overrides


def test_data_moves_one_way():
    made = set()
    for stage in STAGES.values():
        read = {dependency for dependency in stage["deps"] if not dependency.endswith(".py")}
        assert read <= made
        outputs = [*stage.get("outs", []), *stage.get("metrics", []), *stage.get("plots", [])]
        made |= {output if isinstance(output, str) else next(iter(output)) for output in outputs}


def test_training_starts_without_any_heavy_library():
    heavy = {"dvc", "kaggle", "pandas", "matplotlib", "torchvision", "torch_fidelity", "scipy", "sklearn"}
    for file in import_closure(ROOT / "stages" / "train.py"):
        for node in ast.parse((ROOT / file).read_text()).body:  # what is imported in functions is imported when it is needed
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [getattr(node, "module", None) or ""]
            assert not heavy & {name.split(".")[0] for name in names}, file
