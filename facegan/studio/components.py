"""Building blocks of the page: a grid of faces, links, messages."""

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlencode

import gradio as gr
from pydantic import ValidationError
from torch import Tensor

from facegan.common.errors import FaceganError
from facegan.common.marks import Mark
from facegan.common.pictures import make_grid
from facegan.sampling.codes import split_face
from facegan.studio import requests
from facegan.studio.pictures import as_uri, choose_columns, write_png

STATIC = Path(__file__).parent / "static"
Grid = dict[str, Any]  # the value of a ``face_grid``; faces.js lists its keys


def face_grid(**options: Any) -> gr.HTML:
    """Returns a grid of faces, each a button. ``show_faces`` returns its value; its event ``pick`` contains the clicked face."""
    return script("faces", {"faces": []}, '<div class="faces"></div>', **options)


def script(name: str, value: object, template: str, **options: Any) -> gr.HTML:
    """Returns a component with the behaviour in ``static/<name>.js``."""
    # not a subclass of gr.HTML: Gradio would write a .pyi file next to this module
    code = (STATIC / f"{name}.js").read_text()
    return gr.HTML(value, html_template=template, js_on_load=code, apply_default_css=False, **options)


def text(content: str = "", **options: Any) -> gr.HTML:
    """Returns a component that shows HTML without Gradio's style."""
    return gr.HTML(content, apply_default_css=False, **options)


def show_faces(
    faces: Tensor,
    names: Sequence[str],
    mark: Mark | None,
    click: Literal["pick", "enlarge", ""] = "enlarge",
    captions: Sequence[str] = (),
    labels: Sequence[str] = (),
    address: str = "",
) -> Grid:
    """Returns the value of a ``face_grid`` for faces (N, 3, H, W) in uint8.

    Args:
        names: each face as text, also of those that are not drawn yet.
        mark: of the picture; None: photos.
        click: what a click does.
        captions, labels: the text below each face, and its description for screen readers.
        address: replaces the page's address.
    """
    columns = choose_columns(len(names))
    labels = labels or [describe_face(name) for name in names]
    captions = captions or [""] * len(names)
    value: Grid = {
        "sheet": as_uri(write_png(make_grid(faces, columns), mark)) if len(faces) else "",
        "columns": columns,
        "size": faces.shape[-1],
        "faces": [{"face": name, "label": label, "caption": caption} for name, label, caption in zip(names, labels, captions, strict=True)],
        "drawn": len(faces),
        "click": click,
    }
    return value | ({"address": address} if address else {})


def show_hint(hint: str) -> Grid:
    """Returns the value of a ``face_grid`` without faces."""
    return {"faces": [], "hint": hint}


def describe_face(name: str) -> str:
    """Returns a face's description for screen readers."""
    if name.startswith("~"):
        return "a face made here"
    name, labels = split_face(name)
    seed, index, truncation = name.split("-")
    return f"face {index} of seed {seed}, truncation {truncation}" + "".join(f", {column} {value}" for column, value in labels.items())


def offer_faces(faces: Sequence[str], selected: str) -> gr.Dropdown:
    """Returns the update of a drop-down that lists the picked faces."""
    return gr.Dropdown([(f"{number}: {describe_face(face)}", face) for number, face in enumerate(faces, 1)], value=selected)


def link(path: str, label: str, download: str = "", /, **query: Any) -> str:
    """Returns a link to an address of the studio."""
    address = f"{path}?{urlencode(query, doseq=True)}" if query else path
    saved = f' download="{html.escape(download)}"' if download else ""
    return f'<a href="{html.escape(address)}"{saved}>{html.escape(label)}</a>'


def links(*parts: str) -> str:
    """Returns links side by side."""
    return f'<div class="links">{"".join(parts)}</div>'


def status(facts: Mapping[str, object]) -> str:
    """Returns a few facts side by side."""
    pairs = (f"<div><dt>{html.escape(name)}</dt><dd>{html.escape(str(value))}</dd></div>" for name, value in facts.items())
    return f'<dl class="status">{"".join(pairs)}</dl>'


def notice(message: str) -> str:
    """Returns a highlighted sentence, which screen readers announce."""
    return f'<p class="notice" role="alert">{html.escape(message)}</p>' if message else ""


def hint(message: str) -> str:
    """Returns a sentence in a muted colour."""
    return f'<p class="hint">{html.escape(message)}</p>'


def describe_error(error: FaceganError | ValidationError) -> str:
    """Returns an error as a sentence for the page."""
    message = requests.advise(error.errors()) if isinstance(error, ValidationError) else str(error)
    return f"{message[:1].upper()}{message[1:]}{'' if message.endswith('.') else '.'}"
