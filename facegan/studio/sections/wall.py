"""Wall: the faces of a seed in a grid, to pick, save and link to."""

import random
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import gradio as gr
from pydantic import ValidationError

from facegan.sampling import codes
from facegan.studio import requests
from facegan.studio.components import QUIET, Grid, face_grid, link, links, report_errors, show_faces, text
from facegan.studio.generators import Generators
from facegan.studio.page import SEND_PICKS, Page, clean_picks

ABOUT = (
    "Faces that the generator draws; the same seed gives the same faces. Click faces to pick them: they stay above, for the other sections."
)


def build(page: Page) -> None:
    """Lays out the section."""
    with gr.Row(elem_classes="controls"):
        seed = gr.Number(0, label="Seed", minimum=0, maximum=codes.HIGHEST_SEED, min_width=110, scale=0)
        count = gr.Slider(1, codes.MOST_FACES, 64, step=1, label="Faces", min_width=200)
        truncation = gr.Slider(0.05, 1.5, 1.0, step=0.05, label="Truncation (lower: more typical)", min_width=240)
        new = gr.Button("New seed", variant="primary", min_width=120, scale=0)
    wall = face_grid(elem_id="wall")
    saving = text(elem_id="saving")
    inputs, outputs = [page.generator, seed, count, truncation, page.picks], [wall, saving]

    @report_errors
    def draw(*values: Any) -> tuple[Grid, str]:
        request, picks = read(*values)
        names = codes.name_faces(request.seed, request.count, request.truncation)
        grid = show_faces(page.studio.draw_wall(request), names, picks, address=write_link(request, picks))
        return grid, show_links(request, picks)

    def draw_new_seed(generator: str, seed: int, *values: Any) -> tuple[Any, ...]:
        seed = random.randrange(100_000)  # short enough to read out
        return seed, *draw(generator, seed, *values)

    @report_errors
    def restore(picks: object, request: gr.Request) -> tuple[Any, ...]:
        wall, names = read_link(dict(request.query_params), page.studio.generators)
        linked = request.query_params.get("picked", "")
        picks = [face for face in linked.split(" ") if codes.SEEDED.fullmatch(face)] if linked else clean_picks(picks)
        choice = gr.Dropdown(choices=names, value=wall.generator, interactive=len(names) > 1)
        values = (wall.seed, wall.count, wall.truncation, picks)
        return choice, *values, *draw(wall.generator, *values)

    triggers = [seed.input, count.input, truncation.input, page.generator.input]
    gr.on(triggers, draw, inputs, outputs, trigger_mode="always_last", **QUIET)
    new.click(draw_new_seed, inputs, [seed, *outputs], trigger_mode="once", **QUIET)
    wall.pick(None, None, page.picks, js=SEND_PICKS, trigger_mode="multiple", **QUIET)
    page.picks.change(report_errors(lambda *values: show_links(*read(*values))), inputs, saving, trigger_mode="always_last", **QUIET)
    page.open.change(lambda current, *values: draw(*values) if current == "wall" else gr.skip(), [page.open, *inputs], outputs, **QUIET)
    page.blocks.load(restore, page.picks, [page.generator, seed, count, truncation, page.picks, *outputs], **QUIET)


def read(generator: str, seed: int, count: int, truncation: float, picks: object) -> tuple[requests.Wall, list[str]]:
    """Returns the wall that the controls describe, and the picked faces."""
    return requests.Wall(generator=generator, seed=seed, count=count, truncation=truncation), clean_picks(picks)


def shareable(picks: list[str]) -> list[str]:
    """Returns the picked faces that fit in a link: those made here, such as blends, are too long."""
    return [face for face in picks if not face.startswith("~")]


def write_link(wall: requests.Wall, picks: list[str]) -> str:
    """Returns a link that restores this wall and its picked faces."""
    picked = " ".join(shareable(picks))
    values = {"generator": wall.generator, "seed": wall.seed, "faces": wall.count, "truncation": f"{wall.truncation:g}"}
    return "?" + urlencode(values | ({"picked": picked} if picked else {}))


def read_link(values: Mapping[str, str], generators: Generators) -> tuple[requests.Wall, list[str]]:
    """Returns the wall that a link describes, and the known generators. Invalid parts are reported and replaced by the defaults."""
    names = list(generators.known())
    generator = values.get("generator") or generators.first()
    if generator not in names:
        gr.Warning(f"The link names a generator that does not exist here; showing {generators.first()} instead.")
        generator = generators.first()
    given = {name: values[key] for name, key in (("seed", "seed"), ("count", "faces"), ("truncation", "truncation")) if key in values}
    try:
        return requests.Wall.model_validate({"generator": generator, **given}), names
    except ValidationError as error:
        gr.Warning(requests.explain(error.errors()))
        return requests.Wall(generator=generator), names


def show_links(wall: requests.Wall, picks: list[str]) -> str:
    """Returns the links below the wall."""
    name, values, picked = f"faces-seed{wall.seed}", wall.model_dump(), shareable(picks)
    parts = [
        link("api/wall.png", "Save the wall (PNG)", f"{name}.png", **values),
        link("api/wall.zip", "Save all faces (zip)", f"{name}.zip", **values),
    ]
    if picked:
        parts.append(link("api/faces.zip", "Save the picked faces (zip)", "picked.zip", generator=wall.generator, face=picked))
    if len(picked) == 1:
        parts.append(link("api/faces.png", "Save the picked face (PNG)", "face.png", generator=wall.generator, face=picked))
    return links(*parts, link(write_link(wall, picks), "Link to this wall"))
