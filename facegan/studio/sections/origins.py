"""Origins: the training and held-out photos that a picked face comes nearest to."""

import html
from typing import Any

import gradio as gr

from facegan.common.errors import FaceganError
from facegan.studio import requests
from facegan.studio.components import describe_face, face_grid, hint, say, show_faces, show_hint, told
from facegan.studio.page import Page, clean_picks

ABOUT = "The photos that come nearest to a picked face. A copy would lie much nearer to one training photo than to all others."
NOTHING = "Pick a face on the wall to see which photos come nearest to it."


def build(page: Page) -> None:
    """Lays out the section."""
    chosen = gr.Dropdown([], label="Face (the picked ones)", interactive=True)
    facts = say(elem_id="origin-facts")
    with gr.Row():
        with gr.Column(scale=1, min_width=180):
            face = face_grid(elem_classes="one")
        with gr.Column(scale=3, min_width=280):
            say("<h3>Nearest training photos</h3>")
            train = face_grid(elem_id="train-photos", elem_classes="photos")
            say("<h3>Nearest held-out photos</h3><p>Never seen in training.</p>")
            holdout = face_grid(elem_id="holdout-photos", elem_classes="photos")

    def look(generator: str, picks: Any, face: str | None) -> list[Any]:
        faces = page.studio.keep_drawable(generator, clean_picks(picks))
        if not faces:
            return [gr.Dropdown(choices=[], value=None), hint(NOTHING), *(show_hint("") for _ in range(3))]
        face = face if face in faces else faces[-1]
        offered = gr.Dropdown([(f"{number + 1}: {describe_face(name)}", name) for number, name in enumerate(faces)], value=face)
        request = requests.check(requests.Faces, generator=generator, face=[face])
        try:
            drawn, found = page.studio.find_origins(request)
        except FaceganError as error:  # no shards: nothing went wrong, there is nothing to show
            return [
                offered,
                hint(f"{error}."),
                show_faces(page.studio.draw_faces(request), [face]),
                show_hint("none here"),
                show_hint("none here"),
            ]
        words = hint(f"Nearest by {found.space}, among {found.searched[0]:,} training and {found.searched[1]:,} held-out photos.")
        if not found.same_data:
            words = told("This generator learned from other photos than those in data/shards; these are only the ones here.") + words
        elif found.holdout_distances and found.train_distances:
            nearer = found.train_distances[0] < found.holdout_distances[0]
            words += hint(f"Its nearest photo is {'a training' if nearer else 'a held-out'} one.")
        return [
            offered,
            words,
            show_faces(drawn[None], [face]),
            *(
                show_photos(pictures, distances, html.escape(kind))
                for pictures, distances, kind in (
                    (found.train, found.train_distances, "training"),
                    (found.holdout, found.holdout_distances, "held-out"),
                )
            ),
        ]

    page.when("origins", look, [page.generator, page.picks, chosen], [chosen, facts, face, train, holdout], also=[chosen.input])


def show_photos(pictures: Any, distances: list[float], kind: str) -> dict[str, Any]:
    """Returns the grid of some photos with their distances."""
    if not len(pictures):
        return show_hint("none")
    labels = [f"{kind} photo at distance {distance:.1f}" for distance in distances]
    return show_faces(pictures, [""] * len(pictures), captions=[f"{distance:.1f}" for distance in distances], labels=labels)
