"""The studio's page, built with Gradio."""

import html
import os
from collections.abc import Awaitable, Callable

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # before Gradio is imported, which would otherwise report its use

import gradio as gr
from gradio.blocks import Block

from facegan.common.errors import FaceganError
from facegan.studio.components import face_grid, script, text
from facegan.studio.page import PRIVATE, Page
from facegan.studio.requests import MAX_PICKED
from facegan.studio.sections import between, directions, find, origins, runs, take, wall, watch
from facegan.studio.service import Studio

MAX_QUEUED = 128
UPLOAD_SECONDS = 300  # after which an uploaded photo is deleted
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
# CSS shows the selected section, without a request to the server. Gradio's tabs have no arrow keys, its radio buttons are no group.
SECTION_STYLE = "".join(
    f'.gradio-container:has([aria-controls="section-{name}"][aria-selected="true"]) #section-{name} {{ display: flex !important; }}\n'
    for name in SECTIONS
)
TABS = "".join(
    f'<button type="button" role="tab" id="tab-{name}" aria-controls="section-{name}">{title}</button>'
    for name, (title, _) in SECTIONS.items()
)
SHIPPED = (
    "<p>It ships with the project. To train your own, run <code>make demo</code> (cartoon faces, a few minutes) or use your photos as "
    "described in the README; then reload this page.</p>"
)


PICKS = f'<div data-most="{MAX_PICKED}"><span class="line" role="status"></span><button type="button" hidden>Undo</button></div>'
LARGE = (
    '<dialog aria-labelledby="large-title"><h2 id="large-title"></h2><div class="picture" role="img"></div><p>'
    '<button type="button" aria-label="previous face">←</button><button type="button" aria-label="next face">→</button>'
    '<button type="button"></button><button type="button" aria-pressed="false">Smooth</button><a download="face.png">Save (PNG)</a>'
    '<button type="button">Close</button></p></dialog>'
)
NAME_UPLOAD = "() => document.querySelector('.upload-container')?.removeAttribute('aria-label')"  # its text is its name
MOVE_UPLOAD = "async_move_resource_to_block_cache"  # the method by which Gradio stores an uploaded file


def build_page(studio: Studio) -> gr.Blocks:
    """Returns the page."""
    with gr.Blocks(title="facegan studio", analytics_enabled=False, delete_cache=(60, UPLOAD_SECONDS)) as blocks:
        with gr.Row():
            with gr.Column(scale=2, min_width=280, elem_id="head"):
                text("<h1>facegan studio</h1>", elem_id="heading")
                about = text(elem_id="about")
            names = list(studio.generators.known())
            with gr.Column(min_width=220):
                generator = gr.Dropdown(names, value=names[0] if names else None, label="Generator", interactive=True)
        messages = gr.Column(elem_classes="messages")
        picks = script("picks", {}, PICKS, elem_id="picks")
        tray = face_grid(elem_id="tray")
        script("large", None, LARGE, elem_id="large")
        script("sections", None, f'<div role="tablist" aria-label="Sections">{TABS}</div>', elem_id="sections")
        page = Page(studio, generator, picks, picks, blocks, messages)
        page.on([picks.input], page.show_tray, [generator, picks], [tray], quiet=True)
        page.on([picks.select], lambda name: (describe(studio, name),), [generator], [about], show_progress="hidden")
        generator.input(None, generator, picks, js="(name) => ({generator: name})", **PRIVATE)
        for name, (_, module) in SECTIONS.items():
            every = getattr(module, "REFRESH_SECONDS", "")
            with gr.Column(elem_id=f"section-{name}", elem_classes="section"):
                text(f"<p>{module.ABOUT}</p>", elem_classes="intro")
                page.messages = gr.Column(elem_classes="messages")
                page.section = script("section", None, f'<i data-name="{name}" data-every="{every}"></i>', elem_classes="event")
                module.build(page)
        blocks.load(None, None, None, js=NAME_UPLOAD, **PRIVATE)
    for block in blocks.blocks.values():
        reject_addresses(block)
    return blocks


def reject_addresses(block: Block) -> None:
    """Makes a component accept uploaded files only. Otherwise Gradio would download from any address that a visitor sends."""
    move: Callable[[object], Awaitable[object]] | None = getattr(block, MOVE_UPLOAD, None)
    if move is None:
        return

    async def move_uploaded(path: object) -> object:
        if isinstance(path, str) and "://" in path:
            raise gr.Error("expected an uploaded photo; found an address; choose a file", print_exception=False)
        return await move(path)

    setattr(block, MOVE_UPLOAD, move_uploaded)


def describe(studio: Studio, name: str) -> str:
    """Returns the page's description of the selected generator."""
    try:
        facts = studio.describe(name)
    except FaceganError:
        return "<p>This generator cannot be opened.</p>"  # the open section says why
    summary = (
        f"{facts['model']}, {facts['resolution']} px, {facts['parameters']:,} parameters, {facts['images_seen']:,} images shown in training"
    )
    notes = "".join(f"<p>{html.escape(note)}.</p>" for note in studio.compare_with_project(name))
    return f"<p>{html.escape(summary)}.</p>{notes}{'' if 'workspace' in studio.generators.known() else SHIPPED}"
