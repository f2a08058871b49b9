"""Take it along: the generator as a folder for the Hugging Face hub, and as one page that draws faces by itself."""

import gradio as gr

from facegan.studio.components import hint, link, links, status, telling
from facegan.studio.page import Page

ABOUT = (
    "Makes a folder that the Hugging Face hub takes as it is: the weights, the generator as ONNX and as plain PyTorch, a model card filled from the run, two "
    "short scripts, and **page.html**, one file that draws faces with sliders in any browser, without a server or a network. "
    "The same on the command line: `python stages/export.py`."
)


def build(page: Page) -> None:
    """Lays out the section."""
    gr.Markdown(ABOUT)
    make = gr.Button("Make the folder (about half a minute)", variant="primary", scale=0, min_width=260)
    made = gr.HTML(elem_id="made")

    def export(generator: str) -> str:
        done = page.studio.export(generator)
        parts = [
            link(f"api/export/{done.name}.zip", "Save the folder (zip)", f"{done.name}.zip"),
            link(f"api/export/{done.name}/page.html", "Save the page (page.html)", "page.html"),
            link(f"api/export/{done.name}/README.md", "Save the model card", "README.md"),
        ]
        return status({name: f"{size / 1e6:.2f} MB" for name, size in done.sizes.items()}) + links(*parts) + "".join(map(hint, done.words))

    make.click(telling(export), page.generator, made, api_visibility="private", concurrency_limit=1, concurrency_id="export", trigger_mode="once")
