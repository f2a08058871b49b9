"""Wall: a seed's faces in a grid, to pick from, save and link to."""

import random
from typing import Any
from urllib.parse import urlencode

import gradio as gr

from facegan.sampling import codes
from facegan.studio import requests
from facegan.studio.components import face_grid, link, links, say, show_faces, telling
from facegan.studio.page import TAKE_PICKS, Page, clean_picks

ABOUT = (
    "Faces that the generator makes up; the same seed gives the same ones. Press those you like: they stay above, for the other sections."
)


def build(page: Page) -> None:
    """Lays out the section."""
    with gr.Row(elem_classes="controls"):
        seed = gr.Number(0, label="Seed", precision=0, minimum=0, maximum=codes.HIGHEST_SEED, min_width=110, scale=0)
        count = gr.Slider(1, codes.MOST_FACES, 64, step=1, label="Faces", min_width=200)
        truncation = gr.Slider(0.05, 1.5, 1.0, step=0.05, label="Truncation (lower: more typical)", min_width=240)
        new = gr.Button("New seed", variant="primary", min_width=120, scale=0)
    wall = face_grid(elem_id="wall")
    saving = say(elem_id="saving")
    inputs, outputs = [page.generator, seed, count, truncation, page.picks], [wall, saving]

    @telling
    def draw(generator: str, seed: int, count: int, truncation: float, picks: Any) -> tuple[dict[str, Any], str]:
        request = requests.check(requests.Wall, generator=generator, seed=seed, count=count, truncation=truncation)
        faces = page.studio.draw_wall(request)
        names, picks = codes.name_faces(request.seed, request.count, request.truncation), clean_picks(picks)
        address = "?" + write_link(generator, request, picks)
        return show_faces(faces, names, picks, address=address), show_links(generator, request, picks, address)

    def renew(*values: Any) -> tuple[Any, ...]:
        values = (values[0], random.randrange(100_000), *values[2:])  # a seed that can be read out to somebody
        return values[1], *draw(*values)

    @telling
    def restore(picks: Any, request: gr.Request) -> tuple[Any, ...]:
        asked, names = read_link(dict(request.query_params), page.studio.generators)
        found = request.query_params.get("picked", "")
        picks = [face for face in found.split(" ") if codes.SEEDED.fullmatch(face)] if found else clean_picks(picks)
        choice = gr.Dropdown(choices=names, value=asked.generator, interactive=len(names) > 1)
        return (
            choice,
            asked.seed,
            asked.count,
            asked.truncation,
            picks,
            *draw(asked.generator, asked.seed, asked.count, asked.truncation, picks),
        )

    @telling
    def relink(generator: str, seed: int, count: int, truncation: float, picks: Any) -> str:
        request, picks = (
            requests.check(requests.Wall, generator=generator, seed=seed, count=count, truncation=truncation),
            clean_picks(picks),
        )
        return show_links(generator, request, picks, "?" + write_link(generator, request, picks))

    quiet = {"show_progress": "hidden", "api_visibility": "private"}
    gr.on([seed.input, count.input, truncation.input, page.generator.input], draw, inputs, outputs, trigger_mode="always_last", **quiet)
    new.click(renew, inputs, [seed, *outputs], trigger_mode="once", **quiet)
    wall.pick(None, None, page.picks, js=TAKE_PICKS, trigger_mode="multiple", **quiet)
    page.picks.change(relink, inputs, saving, trigger_mode="always_last", **quiet)
    page.open.change(lambda now, *values: draw(*values) if now == "wall" else gr.skip(), [page.open, *inputs], outputs, **quiet)
    gr.context.Context.root_block.load(restore, page.picks, [page.generator, seed, count, truncation, page.picks, *outputs], **quiet)


def write_link(generator: str, request: requests.Wall, picks: list[str]) -> str:
    """Returns the part of an address that brings back exactly this wall. Picked faces that were made here are too long for one."""
    picked = " ".join(face for face in picks if not face.startswith("~"))
    values = {"generator": generator, "seed": request.seed, "faces": request.count, "truncation": f"{request.truncation:g}"}
    return urlencode(values | ({"picked": picked} if picked else {}))


def read_link(values: dict[str, str], generators: Any) -> tuple[requests.Wall, list[str]]:
    """Returns the wall that an address asks for, and the generators to choose from. What it asks in vain is told and left out."""
    names = list(generators.known())
    generator = values.get("generator") or generators.first()
    if generator not in names:
        gr.Warning(f"The link names a generator that is not known here; this is {generators.first()}.")
        generator = generators.first()
    asked = {name: values[key] for name, key in (("seed", "seed"), ("count", "faces"), ("truncation", "truncation")) if key in values}
    try:
        return requests.check(requests.Wall, generator=generator, **asked), names
    except Exception as error:
        gr.Warning(str(error))
        return requests.check(requests.Wall, generator=generator), names


def show_links(generator: str, request: requests.Wall, picks: list[str], address: str) -> str:
    """Returns the links below the wall."""
    asked = request.model_dump() | {"generator": generator}
    name = f"faces-seed{request.seed}"
    parts = [
        link("api/wall.png", "Save the wall (PNG)", f"{name}.png", **asked),
        link("api/wall.zip", "Save all faces (zip)", f"{name}.zip", **asked),
    ]
    short = [face for face in picks if not face.startswith("~")]
    if short:
        parts.append(link("api/faces.zip", "Save the picked faces (zip)", "picked.zip", generator=generator, face=short))
    if len(short) == 1:
        parts.append(link("api/faces.png", "Save the picked face (PNG)", "face.png", generator=generator, face=short))
    return links(*parts, link(address, "Link to this wall"))
