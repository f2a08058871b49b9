"""Runs: two runs side by side, with their faces for the same latents, scores, parameters and curves."""

from typing import Any

import gradio as gr

from facegan.sampling import codes
from facegan.studio import requests
from facegan.studio.components import Grid, face_grid, hint, notice, show_faces, show_hint, table, text
from facegan.studio.curves import Curve, build_curves, select_curves, show_curves
from facegan.studio.page import Page
from facegan.studio.runs import Run, title_score

ABOUT = "Two runs side by side: faces for the same latents, scores, parameters, and the course of the training."
FACES = 16
CURVES = {
    "Generator loss": "loss_generator",
    "Discriminator loss": "loss_discriminator",
    "Diversity (1: as varied as the real images)": "diversity",
    "Mean logit of real images": "real_logit",
}


def build(page: Page) -> None:
    """Lays out the section."""
    with gr.Row(elem_classes="controls"):
        left = gr.Dropdown([], label="Run A", interactive=True, min_width=220)
        right = gr.Dropdown([], label="Run B", interactive=True, min_width=220)
        seed = gr.Number(0, label="Seed", minimum=0, maximum=codes.HIGHEST_SEED, min_width=90, scale=0)
        refresh = gr.Button("Refresh", min_width=110, scale=0)
    with gr.Row():
        grids = []
        for name in ("A", "B"):
            with gr.Column(min_width=260):
                text(f"<h2>{name}</h2>")
                grids.append(face_grid(elem_id=f"run-{name.lower()}", elem_classes="quad"))
    scores = text(elem_id="scores")
    parameters = text(elem_id="parameters")
    with gr.Column(elem_id="run-curves"):
        plots = build_curves(list(CURVES))

    def update(first: str | None, second: str | None, seed: int) -> list[Any]:
        runs = {run.name: run for run in page.studio.generators.runs}
        names = list(runs)
        first = first if first in runs else names[0]
        second = second if second in runs else next((name for name in names if runs[name].scores and name != first), names[-1])
        choices = [(run.title, run.name) for run in runs.values()]
        a, b = runs[first], runs[second]
        return [
            gr.Dropdown(choices, value=first),
            gr.Dropdown(choices, value=second),
            *(draw(page, run, seed) for run in (a, b)),
            show_scores(a, b),
            show_parameters(a, b),
            *show_curves({title: compare_curves(name, a, b) for title, name in CURVES.items()}),
        ]

    def reload(*values: Any) -> list[Any]:
        page.studio.generators.refresh()
        return update(*values)

    inputs, outputs = [left, right, seed], [left, right, *grids, scores, parameters, *plots]
    page.when(update, inputs, outputs, also=[left.input, right.input, seed.input])
    page.on([refresh.click], reload, inputs, outputs)


def draw(page: Page, run: Run, seed: int) -> Grid:
    """Returns the grid of a run's faces."""
    if run.generator is None and run.name == "workspace":
        return show_hint("data/model contains no generator yet; run dvc repro to train one.")
    if run.generator is None:
        return show_hint("Its generator is not on this machine; get it with dvc fetch or dvc exp apply.")
    request = requests.Wall(generator=run.name, seed=seed, count=FACES)
    names = codes.name_faces(request.seed, FACES, 1.0)
    return show_faces(page.studio.draw_wall(request), names, page.studio.mark(request.generator, "grid", names))


def show_scores(a: Run, b: Run) -> str:
    """Returns both runs' scores, side by side only if they were computed under the same protocol."""
    if not (a.scores and b.scores):
        return hint("Scores: a run without metrics/evaluate.json has none; run dvc repro.")
    if a.protocol is None or a.protocol != b.protocol:
        return notice("The scores were computed under different protocols and cannot be compared.") + "".join(
            table(
                [f"{name}: protocol {run.protocol or 'unknown'}", run.title],
                [(title_score(key), show(run.scores[key])) for key in sorted(run.scores)],
            )
            for name, run in (("A", a), ("B", b))
        )
    rows = []
    for name in sorted({*a.scores, *b.scores}):
        first, second = a.scores.get(name), b.scores.get(name)
        difference = "" if first is None or second is None else f"{second - first:+.4g}"
        rows.append((title_score(name), show(first), show(second), difference))
    return table([f"Score (protocol {a.protocol})", "A", "B", "B − A"], rows)


def show(value: object) -> str:
    """Returns a value as text for a table."""
    return "" if value is None else f"{value:.5g}" if isinstance(value, float) else str(value)


def show_parameters(a: Run, b: Run) -> str:
    """Returns a table of the parameters with different values, and the number of equal ones."""
    names = list(dict.fromkeys([*a.parameters, *b.parameters]))
    rows = [
        (name, show(a.parameters.get(name, "—")), show(b.parameters.get(name, "—")))
        for name in names
        if a.parameters.get(name) != b.parameters.get(name)
    ]
    if not rows:
        return hint("The parameters are the same.") if names else ""
    return table(["Parameter", "A", "B"], rows) + hint(f"{len(names) - len(rows)} parameters are the same.")


def compare_curves(name: str, a: Run, b: Run) -> dict[str, Curve]:
    """Returns a column of both runs' losses over the images seen."""
    return select_curves(a.losses, {name: f"A: {a.name}"}) | select_curves(b.losses, {name: f"B: {b.name}"})
