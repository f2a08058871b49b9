"""Take it along: the generator as a folder for the Hugging Face hub, with a page that draws faces offline."""

from collections.abc import Iterator

import gradio as gr

from facegan.studio.components import hint, link, links, status, text
from facegan.studio.page import Page

ABOUT = (
    "Exports the generator as a folder ready for the Hugging Face hub: weights, ONNX, plain PyTorch, two short scripts, a model card from "
    "the run, and <b>page.html</b>, a single file that draws faces in any browser, offline. This takes about half a minute. On the "
    "command line: <code>make export</code>."
)


def build(page: Page) -> None:
    """Lays out the section."""
    start = gr.Button("Make the folder", variant="primary", elem_classes="short")
    result = text(elem_id="made")

    def export(generator: str) -> Iterator[tuple[str]]:
        yield (hint("Writing the files and comparing their faces with the generator's; about half a minute …"),)
        done = page.studio.export(generator)
        parts = [
            link(f"api/export/{done.name}.zip", "Save the folder (zip)", f"{done.title}.zip"),
            link(f"api/export/{done.name}/page.html", "Save the page (page.html)", "page.html"),
            link(f"api/export/{done.name}/README.md", "Save the model card", "README.md"),
        ]
        sizes = status({name: f"{size / 1e6:.2f} MB" for name, size in done.sizes.items()})
        yield (sizes + links(*parts) + "".join(map(hint, done.words)),)

    page.on([start.click], export, [page.generator], [result], concurrency_limit=1, concurrency_id="export", trigger_mode="once")
