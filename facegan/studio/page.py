"""State shared by the page's sections: the studio, the selected generator, the picked faces; and their events."""

import dataclasses
import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import gradio as gr
from pydantic import ValidationError

from facegan.common.errors import FaceganError
from facegan.studio import requests
from facegan.studio.components import Grid, describe_error, describe_face, notice, show_faces, show_hint, text
from facegan.studio.service import Studio

NOTHING_PICKED = (
    "No faces picked yet. Click faces on the wall to pick them: they stay here, also after you close the page, and are used by Between, "
    "Directions and Origins."
)
PRIVATE: dict[str, Any] = {"api_visibility": "private"}


@dataclasses.dataclass
class Page:
    """The parts of the page that several sections use.

    Attributes:
        studio: answers requests.
        generator: the drop-down of generators.
        picks: the picked faces, stored in the visitor's browser (``picks.js``); its events are ``select`` (a generator) and ``input``.
        section: the section that is being built: its event ``input`` means that it has opened, or that generator or picks have changed
            while it is open (``section.js``).
        blocks: the complete page.
        messages: where the section that is being built shows its messages.
    """

    studio: Studio
    generator: gr.Dropdown
    picks: gr.HTML
    section: gr.HTML
    blocks: gr.Blocks
    messages: gr.Column

    def on(
        self,
        triggers: Sequence[Callable[..., Any]],
        function: Callable[..., Any],
        inputs: Sequence[gr.Component],
        outputs: Sequence[gr.Component],
        latest: bool = False,
        quiet: bool = False,
        busy: gr.Component | None = None,
        stop: gr.Button | None = None,
        **options: Any,
    ) -> None:
        """Calls ``function`` for the last of the triggers, and shows its errors in one line. It returns or yields the outputs' values.

        Args:
            latest: a trigger with other inputs stops it at its next yield; it is not called again for the same inputs and generators.
            quiet: errors are not shown, because another function reports them too.
            busy: where progress is shown; by default the first output.
            stop: a button that stops it at its next yield.
        """
        turn = gr.State({})
        with self.messages:
            message = text(elem_classes="message")

        def call(turn: dict[str, Any], *values: Any) -> Iterator[Any]:
            shown = (values, self.studio.generators.state())
            if latest and turn.get("shown") == shown:
                yield [gr.skip()] * (len(outputs) + 1)  # a generator function without a value would clear the outputs
                return
            turn["wanted"] = values
            try:
                result = function(*values)
                for part in result if inspect.isgenerator(result) else [result]:
                    yield *part, ""
                    if turn["wanted"] != values:  # stopped, or no longer wanted
                        return
            except (FaceganError, ValidationError) as error:
                turn.pop("shown", None)
                yield *[gr.skip()] * len(outputs), "" if quiet else notice(describe_error(error))
                return
            turn["shown"] = shown

        now = {"concurrency_limit": None, "show_progress": "hidden", **PRIVATE}
        if latest and inspect.isgeneratorfunction(function):
            gr.on(triggers, lambda turn, *values: turn.update(wanted=values), [turn, *inputs], None, **now)
        if stop:
            stop.click(lambda turn: turn.update(wanted=None), turn, None, **now)
        options = {
            "trigger_mode": "always_last",
            "show_progress": "minimal",
            "show_progress_on": busy or next(iter(outputs), None),
        } | options
        gr.on(triggers, call, [turn, *inputs], [*outputs, message], **PRIVATE, **options)

    def when(self, function: Callable[..., Any], *arguments: Any, also: Sequence[Callable[..., Any]] = (), **options: Any) -> None:
        """Calls ``function`` when the section opens, and while it is open when generator, picks or an event in ``also`` change."""
        self.on([self.section.input, *also], function, *arguments, **{"latest": True, **options})

    def drawable_picks(self, generator: str, picks: object) -> list[str]:
        """Returns the picked faces that the generator can draw."""
        return self.studio.keep_drawable(generator, clean_picks(picks))

    def show(self, generator: str, faces: Sequence[str], **options: Any) -> Grid:
        """Returns the grid of faces given as text."""
        drawn = self.studio.draw_faces(requests.Faces(generator=generator, face=list(faces)))
        return show_faces(drawn, faces, self.studio.mark(generator, "grid", faces), **options)

    def show_tray(self, generator: str, picks: object) -> tuple[Grid]:
        """Returns the tray's value."""
        faces = self.drawable_picks(generator, picks)
        return (self.show(generator, faces, labels=list(map(describe_face, faces))) if faces else show_hint(NOTHING_PICKED),)


def clean_picks(picks: object) -> list[str]:
    """Returns the picked faces that the browser sent, without invalid values."""
    faces = picks.get("faces") if isinstance(picks, dict) else None
    faces = faces if isinstance(faces, list) else []
    return [face for face in faces if isinstance(face, str) and 0 < len(face) <= requests.MAX_FACE_LENGTH][: requests.MAX_PICKED]


def add_pick(generator: str, face: str) -> tuple[Any]:
    """Returns the change of the picks that adds a face."""
    return ({"generator": generator, "add": [face]} if face else gr.skip(),)
