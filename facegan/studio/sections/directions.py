"""Directions: the strongest directions of the generator's latent space, as sliders on a face, with previews and names."""

import functools
from collections.abc import Iterator
from typing import Any

import gradio as gr

from facegan.sampling.directions import COUNT, LONGEST_NAME, REACH
from facegan.sampling.label_directions import MOST
from facegan.studio import requests
from facegan.studio.components import Grid, face_grid, offer_faces, script, show_faces
from facegan.studio.page import PRIVATE, Page, add_pick

ABOUT = (
    "The directions that change the generator's faces most, computed from its weights (SeFa, Shen and Zhou 2021). Move a slider or click a "
    "preview. The name that you give to a direction is stored with the generator. If the generator has labels, the first row shows the "
    "same face with each of them; click one to pick it. If the training images have other labels, the directions that change those can be "
    "found as well (InterFaceGAN, Shen et al. 2020), from a thousand generated faces; this takes seconds to minutes."
)
DEFAULT_FACE = "0-0-1"
STEPS = [f"{step:+d}" if step else "0" for step in range(-REACH, REACH + 1)]  # the captions of the previews


MAP = (
    f'<div class="map" role="group" tabindex="0" data-reach="{REACH}" aria-label="Map: direction 1 across, direction 2 up"><i></i></div>'
    "<p>Map: drag the point, or use the arrow keys: direction 1 across, direction 2 up.</p>"
)


def build(page: Page) -> None:
    """Lays out the section."""
    with gr.Row():
        with gr.Column(scale=1, min_width=280, elem_classes="follows"):
            selected = gr.Dropdown(
                [("the first face of seed 0", DEFAULT_FACE)], value=DEFAULT_FACE, label="Face (the picked ones)", interactive=True
            )
            result, moved_face = face_grid(elem_classes="big", elem_id="moved"), gr.State("")
            with gr.Row():
                keep, reset = gr.Button("Pick this face", min_width=100), gr.Button("Back to 0", min_width=100)
        with gr.Column(scale=2, min_width=300):
            relabelled = face_grid(elem_id="relabelled")
            area = script("map", [0, 0], MAP, elem_id="map")
            rows = [build_row(number) for number in range(COUNT)]
            search = gr.Button("Find directions of labels")
            with gr.Column(visible=False) as extra:
                rows += [build_row(number, is_named=True) for number in range(COUNT, COUNT + MOST)]
    names, amounts, previews = [row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows]

    def choose(generator: str, picks: object, face: str) -> tuple[Any, ...]:
        """Lists the picked faces, and reads the directions' names."""
        faces = page.drawable_picks(generator, picks) or [DEFAULT_FACE]
        stored = page.studio.read_names(generator)
        return offer_faces(faces, face if face in faces else faces[-1]), *(stored.get(number, "") for number in range(COUNT))

    def find_labels(generator: str) -> tuple[Any, ...]:
        """Finds the directions of labels, and shows their rows."""
        found = page.studio.find_label_directions(generator)
        return gr.Column(visible=True), *found, *[""] * (MOST - len(found))

    def preview(generator: str, face: str, found: str) -> Iterator[list[Grid]]:
        """Draws the previews of the selected face."""
        mark = page.studio.mark(generator, "direction of a face", [face])
        others, captions = page.studio.relabel(requests.Previews(generator=generator, face=face))
        shown = [page.show(generator, others, click="pick", captions=captions, labels=captions) if others else {"faces": []}]
        for drawn in page.studio.preview_directions(requests.Previews(generator=generator, face=face)):
            grids = [
                show_faces(row, STEPS, mark, "", captions=STEPS, labels=[f"direction {number} at {step}" for step in STEPS])
                for number, row in enumerate(drawn.split(len(STEPS)), 1)
            ]
            yield [*shown, *grids, *[{"faces": []}] * (len(rows) - len(grids))]

    def move(generator: str, face: str, *values: float) -> tuple[Grid, str]:
        drawn, name = page.studio.move(requests.Move(generator=generator, face=face, amount=list(values)))
        mark = page.studio.mark(generator, "face", [name])
        return show_faces(drawn[None], [name], mark, labels=["the face, moved along the directions"]), name

    page.when(choose, [page.generator, page.picks, selected], [selected, *names[:COUNT]], show_progress="hidden")
    page.on([search.click], find_labels, [page.generator], [extra, *names[COUNT:]], busy=search)
    page.on([page.generator.change], lambda _: (gr.Column(visible=False),), [page.generator], [extra], show_progress="hidden")
    named = names[COUNT].change
    page.when(preview, [page.generator, selected, names[COUNT]], [relabelled, *previews], also=[selected.change, named], busy=previews[0])
    moves = [selected.change, *(amount.change for amount in amounts)]
    page.when(move, [page.generator, selected, *amounts], [result, moved_face], also=moves)
    area.input(None, area, amounts[:2], js="(value) => value", show_progress="hidden", **PRIVATE)
    followed = [amounts[0].change, amounts[1].change]
    gr.on(followed, None, amounts[:2], area, js="(across, up) => [[across, up]]", show_progress="hidden", **PRIVATE)
    reset.click(lambda: [0] * len(rows), None, amounts, show_progress="hidden", **PRIVATE)
    page.on([keep.click], add_pick, [page.generator, moved_face], [page.picks], show_progress="hidden")
    for number, (name, amount, grid) in enumerate(rows):
        grid.pick(take_step, None, amount, show_progress="hidden", **PRIVATE)
        if number >= COUNT:
            continue
        rename = functools.partial(rename_direction, page, number)
        page.on([name.submit, name.blur], rename, [page.generator, name], [], show_progress="hidden")


def rename_direction(page: Page, number: int, generator: str, name: str) -> tuple[()]:
    """Stores a direction's name."""
    page.studio.name_direction(generator, number, name)
    return ()


def take_step(event: gr.EventData) -> Any:
    """Returns the amount of the clicked preview."""
    step = str(event.face)
    return int(step) if step in STEPS else gr.skip()


def build_row(number: int, is_named: bool = False) -> tuple[gr.Textbox, gr.Slider, gr.HTML]:
    """Returns a direction's name, which the user gives unless it is that of a label, its slider and previews."""
    with gr.Row(elem_classes="way"):
        with gr.Column(scale=1, min_width=130):
            options: dict[str, Any] = {"interactive": False} if is_named else {"placeholder": "name it", "max_length": LONGEST_NAME}
            name = gr.Textbox(label=f"Direction {number + 1}", **options)
        with gr.Column(scale=3, min_width=260):
            preview = face_grid(elem_classes="preview")
            amount = gr.Slider(-REACH, REACH, 0, step=0.1, label=f"Amount of direction {number + 1}", show_label=False, elem_classes="bare")
    return name, amount, preview
