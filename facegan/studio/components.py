"""Building blocks of the page: a grid of faces, links, tables, and errors reported in one line."""

import contextlib
import functools
import html
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast
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
QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}  # options of most events
Grid = dict[str, Any]  # the value of a ``face_grid``; faces.js lists its keys
Function = TypeVar("Function", bound=Callable[..., Any])


def face_grid(**options: Any) -> gr.HTML:
    """Returns a grid of faces, each a button. ``show_faces`` returns its value; its event ``pick`` contains the clicked face."""
    # not a subclass of gr.HTML: Gradio would write a .pyi file next to this module
    return gr.HTML(
        {"faces": []},
        html_template='<div class="faces"></div>',
        js_on_load=(STATIC / "faces.js").read_text(),
        apply_default_css=False,
        **options,
    )


def text(content: str = "", **options: Any) -> gr.HTML:
    """Returns a component that shows HTML without Gradio's style."""
    return gr.HTML(content, apply_default_css=False, **options)


def show_faces(
    faces: Tensor,
    names: Sequence[str],
    mark: Mark | None,
    picked: Sequence[str] | None = None,
    captions: Sequence[str] = (),
    labels: Sequence[str] = (),
    address: str = "",
) -> Grid:
    """Returns the value of a ``face_grid`` for faces (N, 3, H, W) in uint8.

    Args:
        names: each face as text.
        mark: of the picture; None: photos.
        picked: the faces marked as picked; None: faces cannot be picked here.
        captions, labels: the text below each face, and its description for screen readers.
        address: replaces the page's address.
    """
    columns = choose_columns(len(faces))
    labels = labels or [describe_face(name) for name in names]
    captions = captions or [""] * len(names)
    value: Grid = {
        "sheet": as_uri(write_png(make_grid(faces, columns), mark)),
        "columns": columns,
        "size": faces.shape[-1],
        "faces": [{"face": name, "label": label, "caption": caption} for name, label, caption in zip(names, labels, captions, strict=True)],
    }
    if picked is not None:
        value |= {"picked": list(picked), "most_picked": requests.MAX_PICKED}
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


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Returns a table of plain text."""
    top = "".join(f"<th scope=col>{html.escape(cell)}</th>" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{html.escape(" / ".join(head))}">'
        f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def status(facts: Mapping[str, object]) -> str:
    """Returns a few facts side by side."""
    pairs = (f"<div><dt>{html.escape(name)}</dt><dd>{html.escape(str(value))}</dd></div>" for name, value in facts.items())
    return f'<dl class="status">{"".join(pairs)}</dl>'


def notice(message: str) -> str:
    """Returns a highlighted sentence."""
    return f'<p class="notice">{html.escape(message)}</p>'


def hint(message: str) -> str:
    """Returns a sentence in a muted colour."""
    return f'<p class="hint">{html.escape(message)}</p>'


def report_errors(function: Function) -> Function:
    """Wraps an event's function, or generator function, so that the page shows its errors in one line."""

    @functools.wraps(function)
    def call(*arguments: Any) -> Any:
        with errors_on_page():
            return function(*arguments)

    @functools.wraps(function)
    def iterate(*arguments: Any) -> Iterator[Any]:
        with errors_on_page():
            yield from function(*arguments)

    return cast(Function, iterate if inspect.isgeneratorfunction(function) else call)


@contextlib.contextmanager
def errors_on_page() -> Iterator[None]:
    """Shows a FaceganError, or an invalid request, that the block raises on the page."""
    try:
        yield
    except (FaceganError, ValidationError) as error:
        message = requests.explain(error.errors()) if isinstance(error, ValidationError) else str(error)
        raise gr.Error(html.escape(message), title="Not possible", duration=8, print_exception=False) from None
