"""Between: blends of the picked faces, style mixing, and a walk through them."""

from typing import Any

import gradio as gr

from facegan.sampling import codes
from facegan.studio import requests
from facegan.studio.components import face_grid, hint, link, links, say, show_faces, show_hint, telling
from facegan.studio.page import Page, add_pick, clean_picks
from facegan.studio.pictures import as_uri, write_animation

ABOUT = "What lies between the faces that you picked: blends of them, and a walk from one to the next."
BLENDED = 4
NOT_ENOUGH = "Pick two faces or more on the wall: they are blended here."
QUIET = {"show_progress": "hidden", "api_visibility": "private"}


def build(page: Page) -> None:
    """Lays out the section."""
    with gr.Row():
        with gr.Column(min_width=280):
            say("<h3>Blend</h3><p>So much of each of the first four picked faces.</p>")
            sources = face_grid(elem_classes="quad")
            weights = [
                gr.Slider(0, 1, 0.5 if number < 2 else 0, step=0.02, label=f"Face {number + 1}", visible=number < 2)
                for number in range(BLENDED)
            ]
        with gr.Column(min_width=280):
            result, made = face_grid(elem_classes="big", elem_id="blend"), gr.State("")
            keep = gr.Button("Pick this face", elem_classes="short")
    with gr.Row(visible=False) as mixing:
        with gr.Column(min_width=280):
            say("<h3>Style mixing</h3><p>The first face decides the coarse layers, the second the finer ones, from this layer on.</p>")
            layer = gr.Slider(0, 64, 4, step=1, label="First layer of the second face")
        with gr.Column(min_width=280):
            mixed, made_mixed = face_grid(elem_classes="big", elem_id="mixed"), gr.State("")
            keep_mixed = gr.Button("Pick this face", elem_classes="short")
    with gr.Row():
        with gr.Column(min_width=280):
            say("<h3>Walk</h3><p>From each picked face to the next, and back to the first.</p>")
            frames = gr.Slider(4, 48, 20, step=1, label="Frames from face to face")
            play = gr.Button("Walk", variant="primary", elem_classes="short")
        with gr.Column(min_width=280):
            moving = say(elem_classes="walk", elem_id="moving")

    def lay_out(generator: str, picks: Any, *values: float) -> list[Any]:
        """Shows as many sliders as faces, and the blend."""
        faces = page.studio.keep_drawable(generator, clean_picks(picks))[:BLENDED]
        layers = int(page.studio.describe(generator)["layers"])
        sliders = [gr.Slider(visible=number < max(2, len(faces))) for number in range(BLENDED)]
        shown = show_hint(NOT_ENOUGH)
        if faces:
            drawn = page.studio.draw_faces(requests.check(requests.Faces, generator=generator, face=faces))
            shown = show_faces(drawn, faces, captions=[f"Face {number + 1}" for number in range(len(faces))])
        styles = gr.Row(visible=layers > 1 and len(faces) > 1)
        return [shown, *sliders, *blend(generator, picks, *values), styles, gr.Slider(maximum=layers if layers > 1 else 64)]

    def blend(generator: str, picks: Any, *values: float) -> tuple[dict[str, Any], str]:
        faces = page.studio.keep_drawable(generator, clean_picks(picks))[:BLENDED]
        if len(faces) < 2:
            return show_hint(""), ""
        face, text = page.studio.blend(requests.check(requests.Blend, generator=generator, face=faces, weight=list(values[: len(faces)])))
        return show_faces(face[None], [text]), text

    def mix(generator: str, picks: Any, layer: int) -> tuple[dict[str, Any], str]:
        faces = page.studio.keep_drawable(generator, clean_picks(picks))[:2]
        if len(faces) < 2:
            return show_hint(""), ""
        face, text = page.studio.mix(requests.check(requests.Mix, generator=generator, face=faces, layer=layer))
        return show_faces(face[None], [text]), text

    def walk(generator: str, picks: Any, frames: int) -> str:
        faces = page.studio.keep_drawable(generator, clean_picks(picks))
        if len(faces) < 2:
            return hint(NOT_ENOUGH)
        request = requests.check(requests.Walk, generator=generator, face=faces, frames=frames)
        content = write_animation(page.studio.walk(request), "webp")
        saving = [link(f"api/walk.{kind}", f"Save as {kind.upper()}", f"walk.{kind}", **request.model_dump()) for kind in ("webp", "gif")]
        short = all(codes.SEEDED.fullmatch(face) for face in faces)  # an address cannot hold the others
        saving = saving if short else [f'<a href="{as_uri(content, "image/webp")}" download="walk.webp">Save as WEBP</a>']
        picture = (
            f'<img src="{as_uri(content, "image/webp")}" alt="an animation that goes through {len(faces)} faces and back to the first">'
        )
        return f"<figure>{picture}<figcaption>{len(faces)} faces, {len(faces) * frames} frames</figcaption></figure>{links(*saving)}"

    inputs = [page.generator, page.picks, *weights]
    page.when("between", lay_out, inputs, [sources, *weights, result, made, mixing, layer])
    gr.on([weight.input for weight in weights], telling(blend), inputs, [result, made], trigger_mode="always_last", **QUIET)
    page.when(
        "between",
        lambda *values: mix(*values) if page.studio.describe(values[0])["layers"] > 1 else (show_hint(""), ""),
        [page.generator, page.picks, layer],
        [mixed, made_mixed],
        also=[layer.input],
    )
    for button, text in ((keep, made), (keep_mixed, made_mixed)):
        button.click(add_pick, [page.picks, text], page.picks, **QUIET)
    play.click(telling(walk), [page.generator, page.picks, frames], moving, api_visibility="private", trigger_mode="once")
