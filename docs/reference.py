"""A hook of MkDocs: the pages that are generated from the code, and the front page from README.md.

Input: the pydantic models, their docstrings, dvc.yaml, the presets and the scripts. Output: Markdown, in place of the pages in
docs/reference/ that say where the code is. A field without a description in its class's docstring, or a description without a field, stops
the build.
"""

import ast
import dataclasses
import inspect
import itertools
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
SIGNS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}


def on_files(files: Any, config: Any) -> None:
    """Adds the front page to MkDocs' files."""
    sys.path.insert(0, str(ROOT))  # MkDocs undoes changes of the path that are made while it loads this file
    from mkdocs.structure.files import File

    files.append(File.generated(config, "index.md", content=write_home((ROOT / "README.md").read_text())))


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Replaces the generated pages and the links to files outside of docs/, and fills in the committed scores and the names of all."""
    for write in (write_parameters, write_presets, write_commands, write_files, write_python, write_http):
        if page.file.src_uri == f"reference/{write.__name__.removeprefix('write_')}.md":
            return write()
    scores = (ROOT / "metrics/evaluate.json").read_text()
    markdown = re.sub(r"\[([^\]]+)\]\(\.\./\.\./(?!README)[^)]+\)", r"\1", markdown).replace("](../../README.md", "](../index.md")
    return markdown.replace("<!-- metrics/evaluate.json -->", f"```json\n{scores}\n```").replace("<!-- scores -->", write_scores())


def write_home(readme: str) -> str:
    """Returns the README with its links relative to docs/; files outside of it are named, not linked."""
    readme = re.sub(r"\]\(docs/", "](", readme)
    return re.sub(r"(?<!!)\[([^\]]+)\]\((?!https?:)(?![a-z][\w/-]+\.md)[^)]+\)", r"\1", readme)


def describe_fields(kind: type) -> dict[str, str]:
    """Returns the description of each field from the section "Attributes" of the class's docstring.

    Raises:
        ValueError: a field without a description, or a description without a field.
    """
    section = (inspect.getdoc(kind) or "").partition("Attributes:\n")[2].partition("\n\n")[0]
    described = {}
    for names, text in re.findall(r"^ {4}(\w[\w, ]*): (.*(?:\n {8}.*)*)", section, re.MULTILINE):
        described |= dict.fromkeys(names.split(", "), " ".join(text.split()).replace("``", "`"))
    fields = {field.name for field in dataclasses.fields(kind)} if dataclasses.is_dataclass(kind) else set(kind.model_fields)
    inherited = {name for base in kind.__mro__[1:] if dataclasses.is_dataclass(base) for name in describe_fields(base)}
    difference = set(described) ^ (fields - inherited - {"name", "format"})
    if difference:
        raise ValueError(f"expected one description for each field of {kind.__name__}; found a difference: {', '.join(sorted(difference))}")
    return described


def describe_type(kind: Any, bounds: tuple[Any, ...] = ()) -> str:
    """Returns a type of a parameter and its range in words; pydantic's JSON schema omits the bounds of whole numbers."""
    if get_origin(kind) is Annotated:
        inner, *more = get_args(kind)
        return describe_type(inner, (*bounds, *more))
    if get_origin(kind) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(kind))
    if get_origin(kind) in (Union, UnionType):
        return ", or ".join(map(describe_type, get_args(kind)))
    if get_origin(kind) is tuple:
        return f"[{', '.join('…' if part is ... else describe_type(part) for part in get_args(kind))}]"
    if get_origin(kind) is dict:
        return "names and values"
    found = [(sign, getattr(bound, name)) for bound in bounds for name, sign in SIGNS.items() if hasattr(bound, name)]
    limits = ", ".join(f"{sign} {f'{limit:,}'.removesuffix('.0')}" for sign, limit in found)
    name = {bool: "true or false", str: "text", int: "whole number", float: "number", NoneType: "`null`"}[kind]
    return f"{name} ({limits})" if limits else name


def show(value: Any) -> str:
    """Returns a value as YAML on one line."""
    return f"`{json.dumps(value, ensure_ascii=False)}`".replace('"', "")


def write_parameters() -> str:
    """Returns the page of all parameters."""
    from facegan.common.config import read_yaml
    from facegan.parameters import Parameters

    presets = {path.stem: read_yaml(path) for path in sorted((ROOT / "presets").glob("*.yaml"))}
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    lines = [
        "# Parameters",
        "",
        "Every parameter of `params.yaml`, generated from the code. Each stage checks the complete file before it starts. DVC reruns the "
        "stages that read a changed parameter, and what depends on them.",
    ]
    for section, field in Parameters.model_fields.items():
        lines += ["", f"## {section}"]
        for kind in get_args(field.annotation) or [field.annotation]:
            tag = get_args(kind.model_fields["name"].annotation)[0] if "name" in kind.model_fields else None
            lines += [*(["", f"### {section}.name: {tag}"] if tag else []), "", clean(inspect.getdoc(kind).partition("\n\n")[0])]
            for name, text in describe_fields(kind).items():
                values = {preset: show(content[section][name]) for preset, content in presets.items() if name in content[section]}
                if tag:
                    values = {preset: value for preset, value in values.items() if presets[preset][section]["name"] == tag}
                readers = [stage for stage, content in stages.items() if {section, f"{section}.{name}"} & set(content.get("params", []))]
                others = sorted(set(values.values()) - {values.get("demo")})
                facts = {
                    "values": describe_type(kind.model_fields[name].annotation, tuple(kind.model_fields[name].metadata)),
                    "`demo`": values.get("demo"),
                    "other presets" if "demo" in values else "presets": ", ".join(others),
                    "read by": ", ".join(readers),
                }
                lines += ["", f"{'#' * (4 if tag else 3)} {section}.{name}", "", f"{text[0].upper()}{text[1:]}", ""]
                lines += [f"- {name}: {fact}" for name, fact in facts.items() if fact]
    return "\n".join(lines) + "\n"


def write_presets() -> str:
    """Returns the page of the presets, from the comments at the tops of their files."""
    lines = ["# Presets", "", "Complete parameter files. To use one: `cp presets/NAME.yaml params.yaml && dvc exp run`."]
    for path in sorted((ROOT / "presets").glob("*.yaml")):
        comment = itertools.takewhile(lambda line: line.startswith("#"), path.read_text().splitlines())
        lines += ["", f"## {path.stem}", "", re.sub(r"\n(Cost|Expected score):", r"\n\n\1:", "\n".join(line[2:] for line in comment))]
    return "\n".join(lines) + "\n"


def write_scores() -> str:
    """Returns a table of all scores, as the report explains them."""
    from facegan.sampling.explanations import KINDS

    rows = [f"| {', '.join(f'`{name}…`' for name in kind.prefixes)} | {kind.title} | {kind.meaning} | {kind.better} |" for kind in KINDS]
    return "\n".join(["| name begins with | title | meaning | better |", "|---|---|---|---|", *rows])


def write_commands() -> str:
    """Returns the page of all commands: every script's --help, and make's targets."""
    scripts = [["stages/" + path.name] for path in sorted((ROOT / "stages").glob("*.py")) if path.name != "command.py"]
    scripts += [["-m", "facegan.studio"]]
    environment = {**os.environ, "COLUMNS": "100", "PYTHONPATH": str(ROOT)}
    running = [
        subprocess.Popen([sys.executable, *script, "--help"], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
        for script in scripts
    ]
    makefile = re.findall(r"^# (.+?)(?:[.:] .*)?\n(?:# .*\n)*([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    lines = ["# Commands", "", "## make", "", "| target | purpose |", "|---|---|"]
    lines += [f"| `make {target}` | {purpose} |" for purpose, target in makefile]
    for script, process in zip(scripts, running, strict=True):
        text = process.communicate(timeout=600)[0]
        if process.returncode:
            raise ValueError(f"expected the help of {script[-1]}; found exit status {process.returncode}")
        lines += ["", f"## {Path(script[-1]).stem if script[0] != '-m' else 'studio'}", "", "```text", text.strip(), "```"]
    lines += ["", "## Benchmarks", "", "| script | purpose |", "|---|---|"]
    for path in sorted((ROOT / "benchmarks").glob("*.py")):
        summary = (ast.get_docstring(ast.parse(path.read_text())) or "").partition("\n\n")[0]
        lines.append(f"| `benchmarks/{path.name}` | {' '.join(summary.split())} |")
    return "\n".join(lines) + "\n"


def write_table(kind: type) -> list[str]:
    """Returns a table of a class's fields."""
    rows = [f"| `{name}` | {text} |" for name, text in describe_fields(kind).items()]
    return ["", "| field | meaning |", "|---|---|", *rows]


def write_files() -> str:
    """Returns the page of the file formats, from the docstrings of the modules that read and write them."""
    from facegan.common import shards
    from facegan.models import checkpoint_file, generator_file
    from facegan.scoring import protocol

    formats: dict[str, tuple[Any, list[type]]] = {
        "Shards": (shards, [shards.Index]),
        "Generator": (generator_file, [generator_file.Card]),
        "Checkpoint": (checkpoint_file, []),
        "Protocol of a score": (protocol, [protocol.RealProtocol, protocol.PictureProtocol, protocol.Protocol]),
    }
    lines = ["# File formats", "", "JSON and YAML are UTF-8. Weights and images are safetensors; no pickle from outside is ever loaded."]
    for name, (module, kinds) in formats.items():
        lines += ["", f"## {name}", "", f"Module `{module.__name__}`.", "", clean(inspect.getdoc(module))]
        for kind in kinds:
            lines += ["", f"### {kind.__name__}", "", clean(inspect.getdoc(kind).partition("\n\n")[0]), *write_table(kind)]
    return "\n".join(lines) + "\n"


def clean(text: str) -> str:
    """Returns a docstring as Markdown."""
    return text.replace("``", "`")


def write_python() -> str:
    """Returns the page of the Python API."""
    import facegan
    from facegan.sampling.library import FaceGenerator

    lines = ["# Python API", "", "    pip install .", "", "```python", *inspect.getdoc(facegan).split("\n\n")[1].splitlines(), "```"]
    for name, thing in {
        "facegan.load": facegan.load,
        "facegan.save": facegan.save,
        "FaceGenerator": FaceGenerator,
        "FaceGenerator.faces": FaceGenerator.faces,
    }.items():
        signature = re.sub(r"<class '([\w.]+)'>|facegan\.sampling\.library\.", r"\1", str(inspect.signature(thing)))
        lines += ["", f"## {name}", "", "```python", f"{name}{signature}", "```", "", "```text", inspect.getdoc(thing), "```"]
    return "\n".join(lines) + "\n"


def write_http() -> str:
    """Returns the page of the studio's HTTP interface, from its OpenAPI schema."""
    import fastapi

    from facegan.studio import api

    application = fastapi.FastAPI()
    application.include_router(api.routes)
    lines = ["# HTTP interface", "", "What the studio serves; the schema is at `/api/openapi.json`.", ""]
    lines += [
        "    curl -o wall.png 'http://127.0.0.1:7860/api/wall.png?seed=1'",
        "",
        'A request that fails is answered with `{"error": "expected …; found …; what to do"}` and status 422, or 503 if it is busy.',
    ]
    for path, methods in application.openapi()["paths"].items():
        for method, route in methods.items():
            lines += ["", f"## {method.upper()} {path}", "", f"{route['summary']}.", *list_queries(route.get("parameters", []))]
    return "\n".join(lines) + "\n"


def list_queries(parameters: list[dict[str, Any]]) -> Iterator[str]:
    """Yields a list of a route's parameters."""
    yield ""
    for parameter in parameters:
        schema = parameter["schema"]
        item = schema.get("items", schema)
        text = parameter.get("description") or item.get("description") or schema["title"]
        facts = {"default": schema.get("default") or None, "at least": item.get("minimum"), "at most": item.get("maximum")}
        facts["at most this many"] = schema.get("maxItems")
        listed = "".join(f"; {name} {show(fact)}" for name, fact in facts.items() if fact is not None)
        yield f"- `{parameter['name']}`{', repeatable' if 'items' in schema else ''}: {text}{listed}"
