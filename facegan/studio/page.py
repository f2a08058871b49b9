"""What the sections share: the studio, the generator chosen, the faces picked, and which section is open."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr

from facegan.studio import requests
from facegan.studio.components import describe_face, show_faces, show_hint, telling
from facegan.studio.service import Studio

NOTHING_PICKED = (
    "No face is picked yet: press some on the wall. They stay here, for Between, Directions and Origins; press one here to put it back."
)


# Picks are changed in the browser, by faces.js: a slow server would answer two quick presses one by one, each from the picks before both.
TAKE_PICKS = "() => [window.faceganPicks]"
GIVE_PICKS = "(picks) => { window.faceganPicks = picks || []; }"


@dataclasses.dataclass
class Page:
    """The parts of the page that more than one section uses.

    Attributes:
        studio: answers requests.
        generator: the drop-down of generators.
        picks: the picked faces as text, kept by the visitor's browser.
        tray: shows them.
        open: which section is open.
    """

    studio: Studio
    generator: gr.Dropdown
    picks: gr.BrowserState
    tray: gr.HTML
    open: gr.Radio

    def when(
        self, section: str, function: Callable, inputs: Sequence[gr.Component], outputs: Sequence[gr.Component], also: Sequence[Any] = ()
    ) -> None:
        """Calls ``function`` when the section is opened, and while it is open when picks, generator or one of ``also`` changes."""

        @telling
        def call(now: str, *values: Any) -> Any:
            return function(*values) if now == section else gr.skip()

        triggers = [self.open.change, self.picks.change, self.generator.input, *also]
        gr.on(
            triggers,
            call,
            [self.open, *inputs],
            list(outputs),
            show_progress="hidden",
            trigger_mode="always_last",
            api_visibility="private",
        )


def clean_picks(picks: Any) -> list[str]:
    """Returns the picked faces as the browser kept them; whatever else it sent is left out."""
    faces = picks if isinstance(picks, list) else []
    return [face for face in faces if isinstance(face, str) and 0 < len(face) <= requests.LONGEST_FACE][: requests.MOST_PICKED]


def show_tray(studio: Studio, generator: str, picks: Any) -> dict[str, Any]:
    """Returns the tray's value."""
    faces = studio.keep_drawable(generator, clean_picks(picks))
    if not faces:
        return show_hint(NOTHING_PICKED)
    drawn = studio.draw_faces(requests.check(requests.Faces, generator=generator, face=faces))
    return show_faces(drawn, faces, labels=[f"put back {describe_face(face)}" for face in faces]) | {"most_picked": requests.MOST_PICKED}


def add_pick(picks: Any, face: Any) -> Any:
    """Returns the picks with the face, once; the oldest goes when there are too many. Nothing changes when there is none."""
    picks = clean_picks(picks)
    return [*picks, face][-requests.MOST_PICKED :] if clean_picks([face]) and face not in picks else gr.skip()
