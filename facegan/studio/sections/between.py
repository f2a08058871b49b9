"""Between: blends of the picked faces, style mixing, and a walk through them."""

from typing import Any

import gradio as gr

from facegan.sampling import codes
from facegan.studio import requests
from facegan.studio.components import QUIET, Grid, face_grid, hint, link, links, report_errors, show_faces, show_hint, text
from facegan.studio.page import Page, add_pick
from facegan.studio.pictures import as_uri, write_animation

ABOUT = "Faces between those that you picked: blends, and a walk from one to the next."
BLENDED = 4
NOT_ENOUGH = "Pick two or more faces on the wall to blend them here."


def build(page: Page) -> None:
    """Lays out the section."""
    with gr.Row():
        with gr.Column(min_width=280):
            text("<h3>Blend</h3><p>The weight of each of the first four picked faces.</p>")
            sources = face_grid(elem_classes="quad")
            weights = [
                gr.Slider(0, 1, 0.5 if number < 2 else 0, step=0.02, label=f"Face {number + 1}", visible=number < 2)
                for number in range(BLENDED)
            ]
        with gr.Column(min_width=280):
            result, blended_face = face_grid(elem_classes="big", elem_id="blend"), gr.State("")
            keep = gr.Button("Pick this face", elem_classes="short")
    with gr.Row(visible=False) as mixing:
        with gr.Column(min_width=280):
            text("<h3>Style mixing</h3><p>The first face sets the coarse layers, the second the finer ones, from this layer on.</p>")
            layer = gr.Slider(0, 64, 4, step=1, label="First layer of the second face")
        with gr.Column(min_width=280):
            mixed, mixed_face = face_grid(elem_classes="big", elem_id="mixed"), gr.State("")
            keep_mixed = gr.Button("Pick this face", elem_classes="short")
    with gr.Row():
        with gr.Column(min_width=280):
            text("<h3>Walk</h3><p>From each picked face to the next, and back to the first.</p>")
            frames = gr.Slider(4, 48, 20, step=1, label="Frames from face to face")
            play = gr.Button("Walk", variant="primary", elem_classes="short")
        with gr.Column(min_width=280):
            animation = text(elem_classes="walk", elem_id="moving")

    def update(generator: str, picks: object, *values: float) -> list[Any]:
        """Shows one slider per face, and the blend."""
        faces = page.drawable_picks(generator, picks)[:BLENDED]
        layers = int(page.studio.describe(generator)["layers"])
        sliders = [gr.Slider(visible=number < max(2, len(faces))) for number in range(BLENDED)]
        captions = [f"Face {number + 1}" for number in range(len(faces))]
        shown = page.show(generator, faces, captions=captions) if faces else show_hint(NOT_ENOUGH)
        styles = gr.Row(visible=layers > 1 and len(faces) > 1)
        return [shown, *sliders, *blend(generator, picks, *values), styles, gr.Slider(maximum=layers if layers > 1 else 64)]

    def blend(generator: str, picks: object, *values: float) -> tuple[Grid, str]:
        faces = page.drawable_picks(generator, picks)[:BLENDED]
        if len(faces) < 2:
            return show_hint(""), ""
        face, name = page.studio.blend(requests.Blend(generator=generator, face=faces, weight=list(values[: len(faces)])))
        return show_faces(face[None], [name], page.studio.mark(generator, "face", [name])), name

    def mix(generator: str, picks: object, layer: int) -> tuple[Grid, str]:
        faces = page.drawable_picks(generator, picks)[:2]
        if len(faces) < 2 or page.studio.describe(generator)["layers"] == 1:
            return show_hint(""), ""
        face, name = page.studio.mix(requests.Mix(generator=generator, face=faces, layer=layer))
        return show_faces(face[None], [name], page.studio.mark(generator, "face", [name])), name

    def walk(generator: str, picks: object, frames: int) -> str:
        faces = page.drawable_picks(generator, picks)
        if len(faces) < 2:
            return hint(NOT_ENOUGH)
        request = requests.Walk(generator=generator, face=faces, frames=frames)
        uri = as_uri(write_animation(page.studio.walk(request), "webp", page.studio.mark(generator, "walk", faces)), "image/webp")
        if all(codes.SEEDED.fullmatch(face) for face in faces):
            saving = [
                link(f"api/walk.{kind}", f"Save as {kind.upper()}", f"walk.{kind}", **request.model_dump()) for kind in ("webp", "gif")
            ]
        else:  # other faces are too long for an address
            saving = [f'<a href="{uri}" download="walk.webp">Save as WEBP</a>']
        picture = f'<img src="{uri}" alt="an animation through {len(faces)} faces and back to the first">'
        return f"<figure>{picture}<figcaption>{len(faces)} faces, {len(faces) * frames} frames</figcaption></figure>{links(*saving)}"

    inputs = [page.generator, page.picks, *weights]
    page.when("between", update, inputs, [sources, *weights, result, blended_face, mixing, layer])
    sliders = [weight.input for weight in weights]
    gr.on(sliders, report_errors(blend), inputs, [result, blended_face], trigger_mode="always_last", **QUIET)
    page.when("between", mix, [page.generator, page.picks, layer], [mixed, mixed_face], also=[layer.input])
    for button, face in ((keep, blended_face), (keep_mixed, mixed_face)):
        button.click(add_pick, [page.picks, face], page.picks, **QUIET)
    play.click(report_errors(walk), [page.generator, page.picks, frames], animation, api_visibility="private", trigger_mode="once")
