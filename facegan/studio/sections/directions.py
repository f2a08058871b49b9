"""Directions: what the generator changes most, as sliders on a face, with previews and names."""

from typing import Any

import gradio as gr

from facegan.sampling.directions import COUNT, LONGEST_NAME, REACH
from facegan.studio import requests
from facegan.studio.components import describe_face, face_grid, show_faces, telling
from facegan.studio.page import Page, add_pick, clean_picks
from facegan.studio.service import PREVIEWS

QUIET = {"show_progress": "hidden", "api_visibility": "private"}
ABOUT = (
    "What the generator itself changes most, found in its weights (SeFa, Shen and Zhou 2021). Pull a slider or press a preview; "
    "a name that you give a direction is kept with the generator."
)
DEFAULT_FACE = "0-0-1"


def build(page: Page) -> None:
    """Lays out the section."""
    with gr.Row():
        with gr.Column(scale=1, min_width=280, elem_classes="follows"):
            chosen = gr.Dropdown(
                [("the first face of seed 0", DEFAULT_FACE)], value=DEFAULT_FACE, label="Face (the picked ones)", interactive=True
            )
            result, made = face_grid(elem_classes="big", elem_id="moved"), gr.State("")
            with gr.Row():
                keep, reset = gr.Button("Pick this face", min_width=100), gr.Button("Back to 0", min_width=100)
        with gr.Column(scale=2, min_width=300):
            rows = [build_row(number) for number in range(COUNT)]
    names, amounts, previews = (list(parts) for parts in zip(*rows, strict=True))

    def lay_out(generator: str, picks: Any, face: str, *values: float) -> list[Any]:
        """Offers the picked faces, and draws the previews of the one chosen."""
        faces = page.studio.keep_drawable(generator, clean_picks(picks)) or [DEFAULT_FACE]
        face = face if face in faces else faces[-1]
        offered = gr.Dropdown([(f"{number + 1}: {describe_face(name)}", name) for number, name in enumerate(faces)], value=face)
        drawn = page.studio.preview_directions(requests.check(requests.Previews, generator=generator, face=face))
        given = page.studio.read_names(generator)
        steps = [name_step(step - REACH) for step in range(PREVIEWS)]
        shown = [
            show_faces(drawn[number], steps, captions=steps, labels=[f"direction {number + 1} at {step}" for step in steps])
            if number < len(drawn)
            else {"faces": []}
            for number in range(COUNT)
        ]
        return [offered, *shown, *(given.get(number, "") for number in range(COUNT)), *move(generator, face, *values)]

    def move(generator: str, face: str, *values: float) -> tuple[dict[str, Any], str]:
        drawn, text = page.studio.move(requests.check(requests.Move, generator=generator, face=face, amount=list(values)))
        return show_faces(drawn[None], [text], labels=["the face, moved along the directions"]), text

    inputs = [page.generator, chosen, *amounts]
    page.when(
        "directions",
        lay_out,
        [page.generator, page.picks, chosen, *amounts],
        [chosen, *previews, *names, result, made],
        also=[chosen.input],
    )
    gr.on([amount.change for amount in amounts], telling(move), inputs, [result, made], trigger_mode="always_last", **QUIET)
    reset.click(lambda: [0] * COUNT, None, amounts, **QUIET)
    keep.click(add_pick, [page.picks, made], page.picks, **QUIET)
    for number, (name, amount, preview) in enumerate(zip(names, amounts, previews, strict=True)):
        preview.pick(take_step, None, amount, **QUIET)
        gr.on(
            [name.submit, name.blur],
            telling(lambda generator, text, number=number: page.studio.name_direction(generator, number, text)),
            [page.generator, name],
            None,
            **QUIET,
        )


def take_step(event: gr.EventData) -> int:
    """Returns the amount that the pressed preview stands for."""
    step = str(event.face)
    return int(step) if step in map(name_step, range(-REACH, REACH + 1)) else gr.skip()


def name_step(step: int) -> str:
    """Returns what stands below a preview: -3, …, 0, …, +3."""
    return f"{step:+d}" if step else "0"


def build_row(number: int) -> tuple[gr.Textbox, gr.Slider, gr.HTML]:
    """Returns a direction's name, slider and previews."""
    with gr.Row(elem_classes="way"):
        with gr.Column(scale=1, min_width=130):
            name = gr.Textbox(label=f"Direction {number + 1}", placeholder="name it", max_length=LONGEST_NAME)
        with gr.Column(scale=3, min_width=260):
            preview = face_grid(elem_classes="preview")
            amount = gr.Slider(-REACH, REACH, 0, step=0.1, label=f"Amount of direction {number + 1}", show_label=False, elem_classes="bare")
    return name, amount, preview
