"""Watch: the progress of a running, stopped or finished training run."""

import time
from pathlib import Path
from typing import Any

import gradio as gr

from facegan.common.errors import FaceganError
from facegan.studio.components import hint, notice, status, text
from facegan.studio.curves import build_curves, select_curves, show_curves
from facegan.studio.generators import TRAINING
from facegan.studio.page import Page
from facegan.studio.trainings import WORKSPACE, Training, list_trainings, read_training

ABOUT = (
    "The progress of a training run, running or stopped. Watching does not disturb it. Its newest checkpoint can draw in every section; "
    "the faces follow the training."
)
REFRESH_SECONDS = 2.0
NOTHING = "There are no training runs yet. Start one with: dvc repro, or: make demo"
CURVES = {
    "Losses": {"loss_generator": "generator", "loss_discriminator": "discriminator"},
    "Mean logits": {"real_logit": "real images", "fake_logit": "generated images"},
    "Diversity (real images: 1)": {"diversity": "diversity"},
}
QUICK_SCORE = "Quick score"


def build(page: Page) -> None:
    """Lays out the section."""
    with gr.Row(elem_classes="controls"):
        selected = gr.Dropdown([], label="Training", interactive=True)
        use = gr.Button("Draw with its newest checkpoint", min_width=320, scale=0)
    facts = text(elem_id="facts")
    film = text(elem_id="film", elem_classes="film-holder")
    position = gr.Slider(0, 1, 0, step=1, label="Picture to compare with the newest", visible="hidden")
    with gr.Column(elem_id="curves"):
        plots = build_curves(dict(zip((*CURVES, QUICK_SCORE), ("loss", "logit", "diversity", "score"), strict=True)))
    shown = gr.State(None)  # the curves on the page, which are sent again only if they have changed

    def update(name: str | None, index: float, shown: tuple[str, int, int] | None) -> list[Any]:
        project = page.studio.project
        names = list_trainings(project)
        if not names:
            return [gr.Dropdown(choices=[]), hint(NOTHING), "", gr.Slider(visible="hidden"), *(gr.skip() for _ in plots), None]
        name = name if name in names else names[0]
        training = read_training(project, name)
        choices = gr.Dropdown([(describe_choice(project, other), other) for other in names], value=name)
        last = len(training.pictures) - 1
        reset = shown is None or shown[0] != name or not 0 <= index <= last
        index = max(0, last // 2) if reset else int(index)
        # the slider's value is otherwise not sent: an update that began before the visitor moved it would move it back
        value: dict[str, Any] = {"value": index} if reset else {}
        slider = gr.Slider(maximum=max(1, last), visible=True if last > 0 else "hidden", **value)
        drawn = (name, len(training.rows.get("images_seen", [])), len(training.scores.get("images_seen", [])))
        figures = {title: select_curves(training.rows, names) for title, names in CURVES.items()}
        figures[QUICK_SCORE] = select_curves(training.scores, {"score": "quick score"})
        curves = [gr.skip() for _ in plots] if drawn == shown else show_curves(figures)
        return [choices, describe(training), show_film(training, index), slider, *curves, drawn]

    def draw(name: str | None) -> tuple[Any, ...]:
        """Selects the training's newest checkpoint as the page's generator."""
        known = list(page.studio.generators.known())
        chosen = WORKSPACE if name == WORKSPACE else f"{TRAINING}{name}"
        if chosen not in known:
            raise FaceganError("this training has no checkpoint yet; wait for the first one")
        return gr.Dropdown(known, value=chosen, interactive=True), {"generator": chosen}

    inputs, outputs = [selected, position, shown], [selected, facts, film, position, *plots, shown]
    page.when(update, inputs, outputs, also=[selected.input, position.input], latest=False, show_progress="hidden")
    page.on([use.click], draw, [selected], [page.generator, page.picks], show_progress="hidden")


def describe_choice(project: Path, name: str) -> str:
    """Returns a training run's title in the drop-down."""
    if name == "workspace":
        return "the finished training in data/model"
    training = read_training(project, name)
    model = training.parameters.get("model")
    return f"{model.get('name', '') if isinstance(model, dict) else 'training'} {name} ({training.state})"


def describe(training: Training) -> str:
    """Returns the status of a training run."""
    facts = {
        "state": training.state,
        "images seen": f"{training.images_seen:,} of {training.images:,}" if training.images else f"{training.images_seen:,}",
    }
    if training.images_per_second:
        facts["images per second"] = f"{training.images_per_second:,.0f}"
    if training.seconds_left is not None:
        facts["time left" if training.state == "running" else "time left once resumed"] = describe_seconds(training.seconds_left)
    for name, label in (("loss_generator", "loss G"), ("loss_discriminator", "loss D")):
        if training.rows.get(name):
            facts[label] = f"{training.rows[name][-1]:.2f}"
    if training.scores.get("score"):
        facts["best quick score"] = f"{min(training.scores['score']):.1f}"
    if training.state != "finished":
        facts["last write"] = f"{describe_seconds(max(0, time.time() - training.changed))} ago"
    advice = hint("The same command resumes it from its last checkpoint.") if training.state == "stopped" else ""
    return status(facts) + "".join(map(notice, training.warnings)) + advice


def describe_seconds(seconds: float) -> str:
    """Returns a duration in its largest unit."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def show_film(training: Training, index: int) -> str:
    """Returns the selected progress picture and the newest, side by side."""
    seen = list(training.pictures)
    if not seen:
        return hint("No progress picture yet.")
    pictures = [(seen[min(index, len(seen) - 1)], "")] if len(seen) > 1 else []
    figures = "".join(
        f'<figure><img src="api/trainings/{training.name}/{count}.png" alt="faces from the same latents after {count:,} images">'
        f"<figcaption>{prefix}after {count:,} images</figcaption></figure>"
        for count, prefix in [*pictures, (seen[-1], "newest: ")]
    )
    return f'<div class="film">{figures}</div>'
