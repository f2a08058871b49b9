"""The studio as one web application: Gradio's page at /, the HTTP interface below /api."""

import html
import os
from typing import Any

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # before Gradio is imported: nothing is told to anybody

import gradio as gr

from facegan.studio.components import face_grid, telling
from facegan.studio.page import Page, show_tray, toggle
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
# In the browser alone, so that it is there at once. Gradio's tabs hide what does not fit a phone in a menu; these buttons wrap.
SHOW_SECTION = "(name) => document.querySelectorAll('.section').forEach((part) => part.classList.toggle('open', part.id === `section-${name}`))"


def build_page(studio: Studio) -> gr.Blocks:
    """Returns the page."""
    with gr.Blocks(title="facegan studio", analytics_enabled=False, delete_cache=(60, UPLOAD_SECONDS)) as blocks:
        with gr.Row(elem_classes="controls"):
            with gr.Column(min_width=240):
                gr.HTML("<h1>facegan studio</h1><p>Watch, look, compare, play.</p>", elem_id="heading")
            names = list(studio.generators.known())
            with gr.Column(min_width=240):
                generator = gr.Dropdown(names, value=names[0] if names else None, label="Generator", interactive=True)
        about = gr.HTML(elem_id="about")
        tray = face_grid(elem_id="tray")
        titles = [(title, name) for name, (title, _) in SECTIONS.items()]
        open_section = gr.Radio(titles, value="wall", show_label=False, label="What to do", elem_id="sections", container=False)
        page = Page(studio, generator, gr.BrowserState([], storage_key="facegan-picked", secret="facegan"), tray, open_section)
        for name, (_, module) in SECTIONS.items():
            with gr.Column(elem_id=f"section-{name}", elem_classes=["section", "open"] if name == "wall" else "section"):
                module.build(page)
        open_section.change(None, open_section, None, js=SHOW_SECTION)
        quiet = {"show_progress": "hidden", "api_visibility": "private"}
        gr.on([page.picks.change, generator.input], telling(lambda *values: show_tray(studio, *values)), [generator, page.picks], tray, **quiet)
        gr.on([blocks.load, generator.change], telling(lambda name: describe(studio, name)), generator, about, **quiet)
        tray.pick(put_back, page.picks, page.picks, **quiet)
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


def put_back(picks: Any, event: gr.EventData) -> list[str]:
    """Returns the picks without the face that was pressed."""
    return toggle(picks, str(event.face))


def describe(studio: Studio, name: str) -> str:
    """Returns what the page says about the generator that is chosen."""
    facts = studio.describe(name)
    text = (
        f"{facts['model']}, {facts['resolution']} px, {facts['parameters']:,} parameters, trained on {facts['images_seen']:,} images. "
    )
    own = "" if "workspace" in studio.generators.known() else (
        " This is the generator that comes with the project. For one of your own, run <code>make demo</code> (cartoon faces, minutes) or "
        "<code>dvc exp run -S data.source=folder -S data.path=…</code> with your photos, and load this page again."
    )
    return f"<p>{html.escape(text)}{own}</p>"
