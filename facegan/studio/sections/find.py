"""Find me: a photo's nearest face in the generator, sought by gradient descent while one looks on."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import torch

from facegan.studio.components import face_grid, hint, say, show_faces, show_hint, status, telling
from facegan.studio.page import Page, add_pick
from facegan.studio.photos import MOST_BYTES

QUIET = {"show_progress": "hidden", "api_visibility": "private"}
ABOUT = (
    "The face most like a photo, among all that the generator can draw: people where it learned from photos, cartoons where it learned from those. "
    "The photo stays on the machine that runs this page, and is deleted within minutes."
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
            seen, found = face_grid(elem_id="found", elem_classes="two"), gr.State("")
            facts = say(elem_id="finding")
            keep = gr.Button("Pick the found face", elem_classes="short")

    target = gr.State(None)
    shown = [seen, found, facts]

    def read(generator: str, path: str | None, straighten: bool) -> tuple[Any, ...]:
        """Shows the target as it will be sought."""
        if path is None:
            return show_hint(""), "", "", None
        with Path(path).open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        picture, words = page.studio.read_target(generator, content, straighten)
        return show_faces(picture[None], [""], labels=["the photo"], captions=["photo"]), "", hint(words), picture.numpy()

    def seek(generator: str, picture: Any) -> Iterator[tuple[Any, ...]]:
        if not isinstance(picture, np.ndarray):
            yield show_hint(""), "", hint("Choose a photo first.")
            return
        wanted = torch.from_numpy(picture)
        for step, face, text in page.studio.find(generator, wanted):
            drawn = show_faces(torch.stack([wanted, face]), ["", text], labels=["the photo", "the face found"], captions=["photo", "found"])
            yield drawn, text, status({"step": f"{step.step} of {step.steps}", "difference": f"{step.error:.1f} of 255 (root mean square)"})

    gr.on(
        [photo.change, straighten.input, page.generator.input],
        telling(read),
        [page.generator, photo, straighten],
        [*shown, target],
        **QUIET,
    )
    running = start.click(telling(seek), [page.generator, target], shown, concurrency_limit=2, concurrency_id="find", **QUIET)
    stop.click(None, None, None, cancels=[running], **QUIET)
    keep.click(add_pick, [page.picks, found], page.picks, **QUIET)
