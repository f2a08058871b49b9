"""Find me: the generator's face most similar to a photo, found by gradient descent while the visitor watches."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import torch

from facegan.studio.components import face_grid, hint, show_faces, show_hint, status, text
from facegan.studio.page import Page, add_pick
from facegan.studio.photos import MAX_BYTES

ABOUT = (
    "The face most similar to a photo among all that the generator can draw; a generator trained on cartoons finds a cartoon. "
    "The photo stays on the machine that runs this page and is deleted within minutes."
)


def build(page: Page) -> None:
    """Lays out the section."""
    with gr.Row():
        with gr.Column(min_width=260):
            photo = gr.File(label="Photo", file_types=["image"], type="filepath", height=140)
            straighten = gr.Checkbox(True, label="Find and straighten the face")
            with gr.Row():
                start, stop = gr.Button("Find", variant="primary", min_width=90), gr.Button("Stop", min_width=90)
        with gr.Column(scale=2, min_width=280):
            grid, found_face = face_grid(elem_id="found", elem_classes="two"), gr.State("")
            facts = text(elem_id="finding")
            keep = gr.Button("Pick the found face", elem_classes="short")
    target = gr.State(None)
    outputs = [grid, found_face, facts]

    def read(generator: str, path: str | None, straighten: bool) -> tuple[Any, ...]:
        """Shows the target of the search."""
        if path is None:
            return show_hint(""), "", "", None
        with Path(path).open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        picture, crop = page.studio.read_target(generator, content, straighten)
        return show_faces(picture[None], [""], None, labels=["the photo"], captions=["photo"]), "", hint(crop), picture.numpy()

    def search(generator: str, picture: object) -> Iterator[tuple[Any, ...]]:
        if not isinstance(picture, np.ndarray):
            yield show_hint(""), "", hint("Choose a photo first.")
            return
        photo = torch.from_numpy(picture)
        for found, face, name in page.studio.find(generator, photo):
            mark = page.studio.mark(generator, "a photo and the face found for it", [name])
            mark, both = dataclasses.replace(mark, composite=True), torch.stack([photo, face])
            drawn = show_faces(both, ["", name], mark, labels=["the photo", "the found face"], captions=["photo", "found"])
            yield (
                drawn,
                name,
                status({"step": f"{found.step} of {found.steps}", "difference": f"{found.error:.1f} of 255 (root mean square)"}),
            )

    page.on([photo.change, straighten.input, page.picks.select], read, [page.generator, photo, straighten], [*outputs, target])
    page.on([start.click], search, [page.generator, target], outputs, stop=stop, concurrency_limit=2, concurrency_id="find")
    page.on([keep.click], add_pick, [page.generator, found_face], [page.picks], show_progress="hidden")
