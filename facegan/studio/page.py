"""State shared by the page's sections: the studio, the selected generator, the picked faces, and the open section."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr

from facegan.studio import requests
from facegan.studio.components import QUIET, Grid, describe_face, report_errors, show_faces, show_hint
from facegan.studio.service import Studio

NOTHING_PICKED = (
    "No faces picked yet. Click faces on the wall to pick them: they stay here and are used by Between, Directions and Origins. "
    "Click a picked face to remove it."
)

# faces.js changes the picks in the browser: through a slow server, two quick clicks would each start from the picks before both.
SEND_PICKS = "() => [window.faceganPicks]"
STORE_PICKS = "(picks) => { window.faceganPicks = picks || []; }"


@dataclasses.dataclass
class Page:
    """The parts of the page that several sections use.

    Attributes:
        studio: answers requests.
        generator: the drop-down of generators.
        picks: the picked faces as text, stored in the visitor's browser.
        open: the open section.
        blocks: the complete page.
    """

    studio: Studio
    generator: gr.Dropdown
    picks: gr.BrowserState
    open: gr.Radio
    blocks: gr.Blocks

    def when(
        self,
        section: str,
        function: Callable[..., Any],
        inputs: Sequence[gr.Component],
        outputs: Sequence[gr.Component],
        also: Sequence[Callable[..., Any]] = (),
    ) -> None:
        """Calls ``function`` when the section opens, and while it is open when picks, generator or an event in ``also`` change."""

        @report_errors
        def call(current: str, *values: Any) -> Any:
            return function(*values) if current == section else gr.skip()

        triggers = [self.open.change, self.picks.change, self.generator.input, *also]
        gr.on(triggers, call, [self.open, *inputs], list(outputs), trigger_mode="always_last", **QUIET)

    def drawable_picks(self, generator: str, picks: object) -> list[str]:
        """Returns the picked faces that the generator can draw."""
        return self.studio.keep_drawable(generator, clean_picks(picks))

    def show(self, generator: str, faces: Sequence[str], **options: Any) -> Grid:
        """Returns the grid of faces given as text."""
        drawn = self.studio.draw_faces(requests.Faces(generator=generator, face=list(faces)))
        return show_faces(drawn, faces, self.studio.mark(generator, "grid", faces), **options)

    def show_tray(self, generator: str, picks: object) -> Grid:
        """Returns the tray's value."""
        faces = self.drawable_picks(generator, picks)
        if not faces:
            return show_hint(NOTHING_PICKED)
        labels = [f"remove {describe_face(face)}" for face in faces]
        return self.show(generator, faces, labels=labels) | {"most_picked": requests.MAX_PICKED}


def clean_picks(picks: object) -> list[str]:
    """Returns the picked faces that the browser sent, without invalid values."""
    faces = picks if isinstance(picks, list) else []
    return [face for face in faces if isinstance(face, str) and 0 < len(face) <= requests.MAX_FACE_LENGTH][: requests.MAX_PICKED]


def add_pick(picks: object, face: str) -> Any:
    """Returns the picks with the face added; beyond the limit the oldest is dropped. Without a new face nothing changes."""
    faces = clean_picks(picks)
    return [*faces, face][-requests.MAX_PICKED :] if clean_picks([face]) and face not in faces else gr.skip()
