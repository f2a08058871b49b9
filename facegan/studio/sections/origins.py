"""Origins: the training and held-out photos nearest to a picked face."""

from collections.abc import Iterator
from typing import Any

import gradio as gr
from torch import Tensor

from facegan.common.errors import FaceganError
from facegan.studio import requests
from facegan.studio.components import Grid, face_grid, hint, notice, offer_faces, show_faces, show_hint, text
from facegan.studio.origins import Neighbours
from facegan.studio.page import Page

ABOUT = "The photos nearest to a picked face. A copy would be much nearer to one training photo than to all others."
NOTHING = "Pick a face on the wall to see the photos nearest to it."


def build(page: Page) -> None:
    """Lays out the section."""
    selected = gr.Dropdown([], label="Face (the picked ones)", interactive=True)
    facts = text(elem_id="origin-facts")
    with gr.Row():
        with gr.Column(scale=1, min_width=180):
            grid = face_grid(elem_classes="one")
        with gr.Column(scale=3, min_width=280):
            text("<h2>Nearest training photos</h2>")
            train = face_grid(elem_id="train-photos", elem_classes="photos")
            text("<h2>Nearest held-out photos</h2><p>Not used in training.</p>")
            holdout = face_grid(elem_id="holdout-photos", elem_classes="photos")

    def update(generator: str, picks: object, face: str | None) -> Iterator[list[Any]]:
        faces = page.drawable_picks(generator, picks)
        if not faces:
            yield [gr.Dropdown(choices=[], value=None), hint(NOTHING), *[show_hint("")] * 3]
            return
        face = face if face in faces else faces[-1]
        offered, shown = offer_faces(faces, face), page.show(generator, [face])
        yield [offered, hint("Comparing the face with the photos in data/shards …"), shown, *[show_hint("")] * 2]
        try:
            found = page.studio.find_origins(requests.Faces(generator=generator, face=[face]))[1]
        except FaceganError as error:  # without shards there is nothing to show, which is not an error here
            yield [offered, hint(f"{error}."), shown, *[show_hint("none here")] * 2]
            return
        photos = (
            show_photos(found.train, found.train_distances, "training"),
            show_photos(found.holdout, found.holdout_distances, "held-out"),
        )
        yield [offered, describe(found), shown, *photos]

    page.when(update, [page.generator, page.picks, selected], [selected, facts, grid, train, holdout], also=[selected.input])


def describe(found: Neighbours) -> str:
    """Returns how the photos were searched, and which kind is nearest."""
    summary = hint(f"Nearest by {found.space}, among {found.searched[0]:,} training and {found.searched[1]:,} held-out photos.")
    if not found.same_data:
        return notice("This generator was trained on other photos than those in data/shards; only those are searched.") + summary
    if not (found.train_distances and found.holdout_distances):
        return summary
    kind = "a training" if found.train_distances[0] < found.holdout_distances[0] else "a held-out"
    return summary + hint(f"Its nearest photo is {kind} one.")


def show_photos(pictures: Tensor, distances: list[float], kind: str) -> Grid:
    """Returns the grid of some photos with their distances."""
    if not len(pictures):
        return show_hint("none")
    labels = [f"{kind} photo at distance {distance:.1f}" for distance in distances]
    return show_faces(pictures, [""] * len(pictures), None, captions=[f"{distance:.1f}" for distance in distances], labels=labels)
