"""Between: blends of the picked faces, style mixing, and a walk through them."""

from collections.abc import Iterator
from typing import Any

import gradio as gr
from torch import Tensor

from facegan.common.errors import FaceganError
from facegan.sampling import codes
from facegan.studio import requests
from facegan.studio.components import Grid, face_grid, hint, link, links, show_faces, show_hint, text
from facegan.studio.page import Page, add_pick
from facegan.studio.pictures import as_uri, write_animation

ABOUT = "Faces between those that you picked: blends, and a walk from one to the next."
BLENDED = 4
NOT_ENOUGH = "Pick two or more faces on the wall to blend them here."


def build(page: Page) -> None:
    """Lays out the section."""
    with gr.Row():
        with gr.Column(min_width=280):
            text("<h2>Blend</h2><p>The weight of each of the first four picked faces.</p>")
            rows, sources, weights = [], [], []
            for number in range(1, BLENDED + 1):
                with gr.Row(elem_classes="weight", visible="hidden") as row:
                    sources.append(face_grid(elem_classes="source"))
                    weights.append(gr.Slider(0, 1, 0.5, step=0.02, label=f"Face {number}", min_width=160))
                rows.append(row)
        with gr.Column(min_width=280, elem_classes="follows"):
            result, blended_face = face_grid(elem_classes="big", elem_id="blend"), gr.State("")
            keep = gr.Button("Pick this face", elem_classes="short")
    with gr.Row(visible="hidden") as mixing:
        with gr.Column(min_width=280):
            text("<h2>Style mixing</h2><p>The first face sets the coarse layers, the second the finer ones, from this layer on.</p>")
            layer = gr.Slider(0, 64, 4, step=1, label="First layer of the second face")
        with gr.Column(min_width=280, elem_classes="follows"):
            mixed, mixed_face = face_grid(elem_classes="big", elem_id="mixed"), gr.State("")
            keep_mixed = gr.Button("Pick this face", elem_classes="short")
    with gr.Row():
        with gr.Column(min_width=280):
            text("<h2>Walk</h2><p>From each picked face to the next, and back to the first.</p>")
            frames = gr.Slider(4, 48, 20, step=1, label="Frames from face to face")
            with gr.Row():
                play, stop = gr.Button("Walk", variant="primary", min_width=90), gr.Button("Stop", min_width=90)
        with gr.Column(min_width=280):
            animation = text(elem_classes="walk", elem_id="moving")

    def update(generator: str, picks: object) -> list[Any]:
        """Shows one slider per face."""
        faces = page.drawable_picks(generator, picks)[:BLENDED]
        layers = int(page.studio.describe(generator)["layers"])
        shown = [page.show(generator, [face]) for face in faces] + [show_hint("")] * (BLENDED - len(faces))
        several = len(faces) > 1
        visible = [gr.Row(visible=True if several and number < len(faces) else "hidden") for number in range(BLENDED)]
        return [
            *visible,
            *shown,
            gr.Row(visible=True if layers > 1 and several else "hidden"),
            gr.Slider(maximum=layers if layers > 1 else 64),
        ]

    def blend(generator: str, picks: object, *values: float) -> tuple[Grid, str]:
        faces = page.drawable_picks(generator, picks)[:BLENDED]
        if len(faces) < 2:
            return show_hint(NOT_ENOUGH), ""
        if not any(values[: len(faces)]):
            raise FaceganError("raise at least one weight above 0 to see a blend")
        return show(generator, *page.studio.blend(requests.Blend(generator=generator, face=faces, weight=list(values[: len(faces)]))))

    def mix(generator: str, picks: object, layer: int) -> tuple[Grid, str]:
        faces = page.drawable_picks(generator, picks)[:2]
        if len(faces) < 2 or page.studio.describe(generator)["layers"] == 1:
            return show_hint(""), ""
        return show(generator, *page.studio.mix(requests.Mix(generator=generator, face=faces, layer=layer)))

    def show(generator: str, face: Tensor, name: str) -> tuple[Grid, str]:
        return show_faces(face[None], [name], page.studio.mark(generator, "face", [name])), name

    def walk(generator: str, picks: object, frames: int) -> Iterator[tuple[str]]:
        faces = page.drawable_picks(generator, picks)
        if len(faces) < 2:
            yield (hint(NOT_ENOUGH),)
            return
        request, count = requests.Walk(generator=generator, face=faces, frames=frames), len(faces) * frames
        for drawn in page.studio.walk(request):
            yield (hint(f"{len(drawn)} of {count} frames are drawn."),)
        uri = as_uri(write_animation(drawn, "webp", page.studio.mark(generator, "walk", faces)), "image/webp")
        saving = [f'<a href="{uri}" download="walk.webp">Save as WEBP</a>']
        if all(codes.SEEDED.fullmatch(face) for face in faces):  # other faces are too long for an address
            saving.append(link("api/walk.gif", "Save as GIF", "walk.gif", **request.model_dump()))
        picture = f'<img src="{uri}" alt="an animation through {len(faces)} faces and back to the first">'
        yield (f"<figure>{picture}<figcaption>{len(faces)} faces, {count} frames</figcaption></figure>{links(*saving)}",)

    inputs = [page.generator, page.picks]
    page.when(update, inputs, [*rows, *sources, mixing, layer], busy=result)
    page.when(blend, [*inputs, *weights], [result, blended_face], also=[weight.input for weight in weights])
    page.when(mix, [*inputs, layer], [mixed, mixed_face], also=[layer.input])
    for button, face in ((keep, blended_face), (keep_mixed, mixed_face)):
        page.on([button.click], add_pick, [page.generator, face], [page.picks], show_progress="hidden")
    page.on([play.click], walk, [*inputs, frames], [animation], stop=stop, trigger_mode="once")
