"""Watch: a training while it runs, or what is left of one that was stopped."""

import html
import time
from typing import Any

import gradio as gr

from facegan.studio.components import hint, say, status, telling, told
from facegan.studio.curves import Curve, draw_all
from facegan.studio.page import Page
from facegan.studio.trainings import Training, list_trainings, read_training

ABOUT = "A training as it goes, or as far as it came; looking on does not disturb it."
SECONDS = 2.0  # between two looks
QUIET = {"show_progress": "hidden", "api_visibility": "private"}
NOTHING = "No training runs here, and none was stopped. Start one with: dvc repro, or: make demo"
CURVES = {
    "Losses": ("loss_generator", "loss_discriminator"),
    "Mean logits": ("real_logit", "fake_logit"),
    "Diversity (1: as varied as the real images)": ("diversity",),
}


def build(page: Page) -> None:
    """Lays out the section."""
    chosen = gr.Dropdown([], label="Training", interactive=True)
    facts = say(elem_id="facts")
    film = say(elem_id="film", elem_classes="film-holder")
    time_slider = gr.Slider(0, 1, 0, step=1, label="Picture to put beside the newest", visible=False)
    curves = say(elem_id="curves")
    timer = gr.Timer(SECONDS, active=False)
    shown = gr.State(None)  # what is on the page: what has not changed is not sent again

    def look(name: str | None, index: float, shown: Any) -> list[Any]:
        project = page.studio.project
        names = list_trainings(project)
        if not names:
            return [gr.Dropdown(choices=[]), hint(NOTHING), "", gr.Slider(visible=False), "", None]
        name = name if name in names else names[0]
        training = read_training(project, name)
        offered = gr.Dropdown([(title(project, other), other) for other in names], value=name)
        last = len(training.pictures) - 1
        follows = shown is None or shown[0] != name or not 0 <= index <= last
        index = max(0, last // 2) if follows else int(index)
        # the value stays the visitor's: a look that began before it was pulled would put it back
        slider = gr.Slider(maximum=max(1, last), visible=last > 0, **({"value": index} if follows else {}))
        drawn = (name, len(training.rows.get("images_seen", [])), len(training.scores.get("images_seen", [])))
        return [
            offered,
            describe(training),
            show_film(training, index),
            slider,
            gr.skip() if drawn == shown else show_curves(training),
            drawn,
        ]

    inputs, outputs = [chosen, time_slider, shown], [chosen, facts, film, time_slider, curves, shown]
    timer.tick(telling(look), inputs, outputs, **QUIET)
    gr.on([chosen.input, time_slider.input], telling(look), inputs, outputs, trigger_mode="always_last", **QUIET)
    page.when("watch", look, inputs, outputs)
    page.open.change(lambda now: gr.Timer(active=now == "watch"), page.open, timer, **QUIET)


def title(project: Any, name: str) -> str:
    """Returns what the drop-down says of a training."""
    if name == "workspace":
        return "the finished training in data/model"
    training = read_training(project, name)
    model = training.parameters.get("model")
    return f"{model.get('name', '') if isinstance(model, dict) else 'training'} {name} ({training.state})"


def describe(training: Training) -> str:
    """Returns the figures of a training."""
    facts = {
        "state": training.state,
        "images seen": f"{training.images_seen:,} of {training.images:,}" if training.images else f"{training.images_seen:,}",
    }
    if training.images_per_second:
        facts["images a second"] = f"{training.images_per_second:,.0f}"
    if training.seconds_left is not None:
        facts["time left" if training.state == "running" else "time it would still take"] = describe_seconds(training.seconds_left)
    for name, words in (("loss_generator", "loss G"), ("loss_discriminator", "loss D")):
        if training.rows.get(name):
            facts[words] = f"{training.rows[name][-1]:.2f}"
    if training.scores.get("score"):
        facts["best quick score"] = f"{min(training.scores['score']):.1f}"
    if training.state != "finished":
        facts["last wrote"] = f"{describe_seconds(max(0, time.time() - training.changed))} ago"
    advice = {"stopped": "The same command goes on from its last checkpoint.", "running": "", "finished": ""}[training.state]
    return status(facts) + "".join(map(told, training.warnings)) + (hint(advice) if advice else "")


def describe_seconds(seconds: float) -> str:
    """Returns a length of time in words."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def show_film(training: Training, index: int) -> str:
    """Returns the chosen progress picture and the newest, side by side."""
    seen = list(training.pictures)
    if not seen:
        return hint("No progress picture yet.")
    pictures = [(seen[min(index, len(seen) - 1)], ""), (seen[-1], "newest: ")] if len(seen) > 1 else [(seen[-1], "newest: ")]
    figures = "".join(
        f'<figure><img src="api/trainings/{html.escape(training.name)}/{count}.png" alt="faces from the same latents after {count:,} images">'
        f"<figcaption>{words}after {count:,} images</figcaption></figure>"
        for count, words in pictures
    )
    return f'<div class="film">{figures}</div>'


def show_curves(training: Training) -> str:
    """Returns losses, logits, diversity and quick scores over the images seen."""
    figures = {title: pick_curves(training.rows, names) for title, names in CURVES.items()}
    return draw_all(figures | {"Quick score": pick_curves(training.scores, ("score",))})


def pick_curves(columns: dict[str, list[float]], names: tuple[str, ...]) -> dict[str, Curve]:
    """Returns the named columns over the images seen, those that are there."""
    return {
        name.replace("_", " "): (columns["images_seen"], columns[name])
        for name in names
        if columns.get(name) and columns.get("images_seen")
    }
