"""Runs: two runs side by side: what they were told, how they score, what they draw of the same latents, how they went."""

from typing import Any

import gradio as gr

from facegan.sampling import codes
from facegan.studio import requests
from facegan.studio.components import face_grid, hint, say, show_faces, show_hint, table, telling, told
from facegan.studio.curves import Curve, draw_all
from facegan.studio.page import Page
from facegan.studio.runs import Run

QUIET = {"show_progress": "hidden", "api_visibility": "private"}
ABOUT = "Two runs side by side: what they draw of the same latents, how they score, what they were told, how they went."
FACES = 16
CURVES = {
    "Generator's loss": "loss_generator",
    "Discriminator's loss": "loss_discriminator",
    "Diversity (1: as varied as the real images)": "diversity",
    "Mean logit of real images": "real_logit",
}


def build(page: Page) -> None:
    """Lays out the section."""
    with gr.Row(elem_classes="controls"):
        left = gr.Dropdown([], label="Run A", interactive=True, min_width=220)
        right = gr.Dropdown([], label="Run B", interactive=True, min_width=220)
        seed = gr.Number(0, label="Seed", precision=0, minimum=0, maximum=codes.HIGHEST_SEED, min_width=90, scale=0)
        refresh = gr.Button("Look again", min_width=110, scale=0)
    with gr.Row():
        grids = []
        for name in ("A", "B"):
            with gr.Column(min_width=260):
                say(f"<h3>{name}</h3>")
                grids.append(face_grid(elem_id=f"run-{name.lower()}", elem_classes="quad"))
    scores = say(elem_id="scores")
    parameters = say(elem_id="parameters")
    curves = say(elem_id="run-curves")

    def look(first: str | None, second: str | None, seed: float) -> list[Any]:
        runs = {run.name: run for run in page.studio.generators.runs}
        names = list(runs)
        first = first if first in runs else names[0]
        second = second if second in runs else next((name for name in names if runs[name].scores and name != first), names[-1])
        choices = [(run.title, run.name) for run in runs.values()]
        a, b = runs[first], runs[second]
        drawn = [draw(page, run, seed) for run in (a, b)]
        figures = {title: pick_curves(name, a, b) for title, name in CURVES.items()}
        return [
            gr.Dropdown(choices, value=first),
            gr.Dropdown(choices, value=second),
            *drawn,
            show_scores(a, b),
            show_parameters(a, b),
            draw_all(figures),
        ]

    def look_again(*values: Any) -> list[Any]:
        page.studio.generators.refresh()
        return look(*values)

    inputs, outputs = [left, right, seed], [left, right, *grids, scores, parameters, curves]
    page.when("runs", look, inputs, outputs, also=[left.input, right.input, seed.input])
    refresh.click(telling(look_again), inputs, outputs, **QUIET)


def draw(page: Page, run: Run, seed: float) -> dict[str, Any]:
    """Returns the grid of a run's faces."""
    if run.generator is None:
        return show_hint(
            "No generator is in data/model yet; dvc repro makes one."
            if run.name == "workspace"
            else "Its generator is not on this machine; dvc fetch, or dvc exp apply, brings it."
        )
    request = requests.check(requests.Wall, generator=run.name, seed=seed, count=FACES)
    return show_faces(page.studio.draw_wall(request), codes.name_faces(request.seed, FACES, 1.0))


def show_scores(a: Run, b: Run) -> str:
    """Returns both runs' scores: side by side only where one protocol made them."""
    if not (a.scores and b.scores):
        return hint("Scores: a run without metrics/evaluate.json has none; run dvc repro.")
    if a.protocol is None or a.protocol != b.protocol:
        words = told("The scores were taken under different protocols and may not be compared, so they are not put side by side.")
        return words + "".join(
            table([f"{name}: protocol {run.protocol or 'unknown'}", run.title], sorted_scores(run)) for name, run in (("A", a), ("B", b))
        )
    names = sorted({*a.scores, *b.scores})
    rows = [
        (name, show(a.scores.get(name)), show(b.scores.get(name)), show_difference(a.scores.get(name), b.scores.get(name)))
        for name in names
    ]
    return table([f"Score (protocol {a.protocol})", "A", "B", "B − A"], rows)


def sorted_scores(run: Run) -> list[tuple[str, str]]:
    """Returns a run's scores as rows."""
    return [(name, show(value)) for name, value in sorted(run.scores.items())]


def show(value: Any) -> str:
    """Returns a value as a table shows it."""
    return "" if value is None else f"{value:.5g}" if isinstance(value, float) else str(value)


def show_difference(first: float | None, second: float | None) -> str:
    """Returns how much more the second is."""
    return "" if first is None or second is None else f"{second - first:+.4g}"


def show_parameters(a: Run, b: Run) -> str:
    """Returns the parameters in which the runs differ, and how many are the same."""
    names = list(dict.fromkeys([*a.parameters, *b.parameters]))
    differing = [name for name in names if a.parameters.get(name) != b.parameters.get(name)]
    same = hint(f"{len(names) - len(differing)} parameters are the same.")
    if not differing:
        return hint("The parameters are the same.") if names else ""
    return (
        table(["Parameter", "A", "B"], [(name, show(a.parameters.get(name, "—")), show(b.parameters.get(name, "—"))) for name in differing])
        + same
    )


def pick_curves(name: str, a: Run, b: Run) -> dict[str, Curve]:
    """Returns a column of both runs' losses over the images seen."""
    return {
        f"{letter}: {run.name}": (run.losses["images_seen"], run.losses[name])
        for letter, run in (("A", a), ("B", b))
        if run.losses.get(name) and run.losses.get("images_seen")
    }
