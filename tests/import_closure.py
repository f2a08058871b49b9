"""Which of the project's files a script imports, directly or through others, without running it."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def find_imports(file: Path) -> set[Path]:
    """Returns the project's files that one file imports by itself, packages' __init__.py on the way included."""
    found = set()
    tree = ast.parse(file.read_text())
    lazy = file == ROOT / "facegan" / "__init__.py"  # every import of a module runs it, but not its functions
    for node in tree.body if lazy else ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        found.update(path for name in names for path in locate(name))
    return found


def locate(name: str) -> list[Path]:
    """Returns the files that importing the dotted name runs; none where it is not the project's."""
    if name == "command":
        return [ROOT / "stages" / "command.py"]
    parts = name.split(".")
    if parts[0] != "facegan":
        return []
    places = [ROOT.joinpath(*parts[: length + 1]) for length in range(len(parts))]
    return [file for place in places for file in (place / "__init__.py", place.with_suffix(".py")) if file.is_file()]


def import_closure(script: Path) -> list[str]:
    """Returns the script and everything of the project that it imports, as sorted paths relative to the root."""
    closure, waiting = set(), {script}
    while waiting:
        file = waiting.pop()
        closure.add(file)
        waiting |= find_imports(file) - closure
    return sorted(path.relative_to(ROOT).as_posix() for path in closure)
