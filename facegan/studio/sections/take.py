"""Take it along: the generator as a folder for the Hugging Face hub, and as one page that draws faces by itself."""

import gradio as gr

from facegan.studio.components import hint, link, links, say, status, telling
from facegan.studio.page import Page

ABOUT = (
    "The generator as a folder that the Hugging Face hub takes as it is: weights, ONNX, plain PyTorch, two short scripts, a model card filled from the run, "
    "and <b>page.html</b>, one file that draws faces in any browser without a server or a network. It takes about half a minute; on the command line: "
    "<code>make export</code>."
)


def build(page: Page) -> None:
    """Lays out the section."""
    make = gr.Button("Make the folder", variant="primary", elem_classes="short")
    made = say(elem_id="made")

    def export(generator: str) -> str:
        done = page.studio.export(generator)
        parts = [
            link(f"api/export/{done.name}.zip", "Save the folder (zip)", f"{done.name}.zip"),
            link(f"api/export/{done.name}/page.html", "Save the page (page.html)", "page.html"),
            link(f"api/export/{done.name}/README.md", "Save the model card", "README.md"),
        ]
        return status({name: f"{size / 1e6:.2f} MB" for name, size in done.sizes.items()}) + links(*parts) + "".join(map(hint, done.words))

    make.click(
        telling(export), page.generator, made, api_visibility="private", concurrency_limit=1, concurrency_id="export", trigger_mode="once"
    )
