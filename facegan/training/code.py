"""A hash of the code that determines a training's result, which is part of a run's key.

Only what the code does counts: comments, docstrings, formatting, type annotations and messages do not change the hash, nor do modules that
only report, check input or write files.
"""

import ast
import functools
import hashlib
from pathlib import Path

import torch

import facegan

# the modules that a training's result depends on
MODULES = (
    "common/devices.py",
    "common/pictures.py",
    "models/*.py",
    "training/augmentation.py",
    "training/cuda_graph.py",
    "training/data.py",
    "training/game.py",
    "training/hardware.py",
    "training/history.py",
    "training/loop.py",
    "training/losses.py",
    "training/microbatch.py",
    "training/optimizers.py",
    "training/processes.py",
    "training/resume.py",
    "training/schedules.py",
    "training/start.py",
    "training/trainer.py",
)
WITHOUT_EFFECT = ("models/generator_file.py", "models/checkpoint_file.py", "models/parameters.py")  # formats and limits of values
REPORTING = ("print", "say", "annotate")  # functions and methods whose calls only print


class Essence(ast.NodeTransformer):
    """Removes from a syntax tree what does not change results."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        """Drops docstrings and calls that only print."""
        value = node.value
        name = getattr(value.func, "id", getattr(value.func, "attr", "")) if isinstance(value, ast.Call) else ""
        return None if isinstance(value, ast.Constant) or name in REPORTING else self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        """Drops the error and its message."""
        return ast.Raise()

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.AST:
        """Drops the text of f-strings, which are messages and names."""
        return ast.Constant("")

    def visit_arg(self, node: ast.arg) -> ast.AST:
        """Drops the annotation of an argument."""
        return ast.arg(node.arg)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        """Drops the annotation of the result."""
        node.returns = None
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        """Drops the annotation of a variable."""
        return ast.Assign([node.target], node.value, lineno=0) if node.value else ast.Expr(node.target)


def hash_source(source: str) -> str:
    """Returns the SHA-256 of what a module's source does."""
    tree = Essence().visit(ast.parse(source))
    return hashlib.sha256(ast.unparse(tree).encode()).hexdigest()


@functools.cache
def hash_code() -> str:
    """Returns a hash of the modules that the result depends on, whether they are imported or not, and of PyTorch's version."""
    root = Path(facegan.__file__).parent
    files = sorted({path.relative_to(root).as_posix() for pattern in MODULES for path in root.glob(pattern)} - {*WITHOUT_EFFECT})
    lines = [f"torch {torch.__version__}", *(f"{file} {hash_source((root / file).read_text(encoding='utf-8'))}" for file in files)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
