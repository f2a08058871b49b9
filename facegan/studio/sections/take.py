"""Take it along: the generator as a folder for the Hugging Face hub, with a page that draws faces offline."""

import gradio as gr

from facegan.studio.components import hint, link, links, report_errors, status, text
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

    def export(generator: str) -> str:
        done = page.studio.export(generator)
        parts = [
            link(f"api/export/{done.name}.zip", "Save the folder (zip)", f"{done.name}.zip"),
            link(f"api/export/{done.name}/page.html", "Save the page (page.html)", "page.html"),
            link(f"api/export/{done.name}/README.md", "Save the model card", "README.md"),
        ]
        return status({name: f"{size / 1e6:.2f} MB" for name, size in done.sizes.items()}) + links(*parts) + "".join(map(hint, done.words))

    start.click(
        report_errors(export),
        page.generator,
        result,
        api_visibility="private",
        concurrency_limit=1,
        concurrency_id="export",
        trigger_mode="once",
    )
