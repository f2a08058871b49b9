"""The studio as one web application: Gradio's page at /, the HTTP interface below /api."""

import html
import os
from typing import Any

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # before Gradio is imported: nothing is told to anybody

import gradio as gr

from facegan.studio.components import face_grid, say, telling
from facegan.studio.page import GIVE_PICKS, TAKE_PICKS, Page, show_tray
from facegan.studio.sections import between, directions, find, origins, runs, take, wall, watch
from facegan.studio.service import Studio

MOST_QUEUED = 128
UPLOAD_SECONDS = 300  # then a visitor's photo is deleted
SECTIONS = {
    "wall": ("Wall", wall),
    "between": ("Between", between),
    "directions": ("Directions", directions),
    "find": ("Find me", find),
    "origins": ("Origins", origins),
    "runs": ("Runs", runs),
    "watch": ("Watch", watch),
    "take": ("Take it along", take),
}
# Which section is seen is the style sheet's doing, so that it is there at once. Gradio's tabs hide what does not fit a phone in a menu; these
# buttons wrap.
SHOWN = '.gradio-container:has(#sections input[value="{0}"]:checked) #section-{0} {{ display: flex !important; }}\n'
SECTION_STYLE = "".join(map(SHOWN.format, SECTIONS))


def build_page(studio: Studio) -> gr.Blocks:
    """Returns the page."""
    with gr.Blocks(title="facegan studio", analytics_enabled=False, delete_cache=(60, UPLOAD_SECONDS)) as blocks:
        with gr.Row():
            with gr.Column(scale=2, min_width=280, elem_id="head"):
                say("<h1>facegan studio</h1>", elem_id="heading")
                about = say(elem_id="about")
            names = list(studio.generators.known())
            with gr.Column(min_width=220):
                generator = gr.Dropdown(names, value=names[0] if names else None, label="Generator", interactive=True)
        tray = face_grid(elem_id="tray")
        titles = [(title, name) for name, (title, _) in SECTIONS.items()]
        open_section = gr.Radio(titles, value="wall", show_label=False, label="What to do", elem_id="sections", container=False)
        page = Page(studio, generator, gr.BrowserState([], storage_key="facegan-picked", secret="facegan"), tray, open_section)
        for name, (_, module) in SECTIONS.items():
            with gr.Column(elem_id=f"section-{name}", elem_classes="section"):
                say(f"<p>{module.ABOUT}</p>", elem_classes="intro")
                module.build(page)
        quiet = {"show_progress": "hidden", "api_visibility": "private"}
        gr.on(
            [page.picks.change, generator.input],
            telling(lambda *values: show_tray(studio, *values)),
            [generator, page.picks],
            tray,
            **quiet,
        )
        gr.on([blocks.load, generator.change], telling(lambda name: describe(studio, name)), generator, about, **quiet)
        page.picks.change(None, page.picks, None, js=GIVE_PICKS, **quiet)
        tray.pick(None, None, page.picks, js=TAKE_PICKS, trigger_mode="multiple", **quiet)
    for block in blocks.blocks.values():
        refuse_addresses(block)
    return blocks


def refuse_addresses(block: Any) -> None:
    """Lets the block take uploaded files alone: Gradio would fetch what is named by an address, from wherever a visitor says."""
    move = getattr(block, "async_move_resource_to_block_cache", None)
    if move is None:
        return

    async def move_uploaded(path: Any) -> Any:
        if isinstance(path, str) and "://" in path:
            raise gr.Error("expected an uploaded photo; found an address; choose a file", print_exception=False)
        return await move(path)

    block.async_move_resource_to_block_cache = move_uploaded


def describe(studio: Studio, name: str) -> str:
    """Returns what the page says about the generator that is chosen."""
    facts = studio.describe(name)
    text = f"{facts['model']}, {facts['resolution']} px, {facts['parameters']:,} parameters, trained on {facts['images_seen']:,} images"
    own = (
        ""
        if "workspace" in studio.generators.known()
        else (
            "<p>It comes with the project. For one of your own: <code>make demo</code> (cartoon faces, minutes), or your photos, as the README has it; "
            "then load this page again.</p>"
        )
    )
    return f"<p>{html.escape(text)}.</p>{own}"
