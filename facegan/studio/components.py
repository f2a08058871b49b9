"""What the page is built of: a grid of faces, links, tables, and errors told in a line."""

import contextlib
import functools
import html
import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ParamSpec, TypeVar
from urllib.parse import urlencode

import gradio as gr
from torch import Tensor

from facegan.common.errors import FaceganError
from facegan.common.pictures import make_grid
from facegan.studio import requests
from facegan.studio.pictures import as_uri, choose_columns, write_png

STATIC = Path(__file__).parent / "static"
Given = ParamSpec("Given")
Result = TypeVar("Result")


def face_grid(**options: Any) -> gr.HTML:
    """Returns a grid of faces, each a button; ``show_faces`` makes its value, and its event ``pick`` names the face that was pressed."""
    # no subclass of gr.HTML: Gradio would write a .pyi file beside this module
    return gr.HTML(
        {"faces": []},
        html_template='<div class="faces"></div>',
        js_on_load=(STATIC / "faces.js").read_text(),
        apply_default_css=False,
        **options,
    )


def say(text: str = "", **options: Any) -> gr.HTML:
    """Returns a place for HTML, without Gradio's own look of it."""
    return gr.HTML(text, apply_default_css=False, **options)


def show_faces(
    faces: Tensor,
    names: Sequence[str],
    picked: Sequence[str] | None = None,
    captions: Sequence[str] = (),
    labels: Sequence[str] = (),
    address: str = "",
) -> dict[str, Any]:
    """Returns the value of a ``face_grid`` for faces (N, 3, H, W) in uint8.

    Args:
        names: each face as text.
        picked: the faces that are marked as picked; None: they cannot be.
        captions, labels: what stands below each face, and what a screen reader says.
        address: the page's own address from now on.
    """
    columns = choose_columns(len(faces))
    labels = labels or [describe_face(name) for name in names]
    captions = captions or [""] * len(names)
    items = [{"face": name, "label": label, "caption": caption} for name, label, caption in zip(names, labels, captions, strict=True)]
    value: dict[str, Any] = {
        "sheet": as_uri(write_png(make_grid(faces, columns))),
        "columns": columns,
        "size": faces.shape[-1],
        "faces": items,
    }
    return (
        value
        | ({} if picked is None else {"picked": list(picked), "most_picked": requests.MOST_PICKED})
        | ({"address": address} if address else {})
    )


def show_hint(hint: str) -> dict[str, Any]:
    """Returns the value of a ``face_grid`` without faces."""
    return {"faces": [], "hint": hint}


def describe_face(name: str) -> str:
    """Returns what a screen reader says of a face."""
    if name.startswith("~"):
        return "a face made here"
    seed, index, truncation = name.split("-")
    return f"face {int(index) + 1} of seed {seed}, truncation {truncation}"


def link(path: str, words: str, download: str = "", **query: Any) -> str:
    """Returns a link to one of the studio's own addresses."""
    address = f"{path}?{urlencode(query, doseq=True)}" if query else path
    saved = f' download="{html.escape(download)}"' if download else ""
    return f'<a href="{html.escape(address)}"{saved}>{html.escape(words)}</a>'


def links(*parts: str) -> str:
    """Returns links side by side."""
    return f'<div class="links">{"".join(parts)}</div>'


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Returns a table of plain texts."""
    top = "".join(f"<th scope=col>{html.escape(str(cell))}</th>" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{html.escape(" / ".join(map(str, head)))}">'
        f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def status(facts: dict[str, Any]) -> str:
    """Returns a few facts side by side."""
    pairs = (f"<div><dt>{html.escape(name)}</dt><dd>{html.escape(str(value))}</dd></div>" for name, value in facts.items())
    return f'<dl class="status">{"".join(pairs)}</dl>'


def told(words: str) -> str:
    """Returns a sentence that stands out."""
    return f'<p class="told">{html.escape(words)}</p>'


def hint(words: str) -> str:
    """Returns a quiet sentence."""
    return f'<p class="hint">{html.escape(words)}</p>'


def telling(function: Callable[Given, Result]) -> Callable[Given, Result]:
    """Wraps what the page calls so that a FaceganError is shown to the visitor in a line."""

    @functools.wraps(function)
    def tell(*arguments: Given.args, **options: Given.kwargs) -> Any:
        with told_to_visitor():
            return function(*arguments, **options)

    @functools.wraps(function)
    def tell_each(*arguments: Given.args, **options: Given.kwargs) -> Any:
        with told_to_visitor():
            yield from function(*arguments, **options)

    return tell_each if inspect.isgeneratorfunction(function) else tell


@contextlib.contextmanager
def told_to_visitor() -> Iterator[None]:
    """Shows a FaceganError of the block to the visitor."""
    try:
        yield
    except FaceganError as error:
        raise gr.Error(html.escape(str(error)), title="Not possible", duration=8, print_exception=False) from None
