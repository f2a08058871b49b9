"""Runs: several runs in one table and in one chart, with their faces for the same latents."""

import html
from collections.abc import Iterator, Sequence
from typing import Any

import gradio as gr

from facegan.common.errors import FaceganError
from facegan.sampling.explanations import find_kind
from facegan.studio import requests
from facegan.studio.components import Grid, describe_error, face_grid, hint, notice, show_faces, show_hint, text
from facegan.studio.curves import build_curves, select_curves, show_curves
from facegan.studio.page import Page
from facegan.studio.runs import Run

ABOUT = "Several runs: what changed, the scores, the faces for the same latents, and the course of the training."
FACES = 8
MOST_RUNS, FIRST_RUNS = 6, 4
ONE_RUN = "To compare, train a second run, such as <code>dvc exp run -S train.lr=2e-4</code>; it is listed here when it is finished."
CURVES = {
    "Generator loss": ("loss_generator", "loss"),
    "Discriminator loss": ("loss_discriminator", "loss"),
    "Diversity (real images: 1)": ("diversity", "diversity"),
    "Mean logit of real images": ("real_logit", "logit"),
}


def build(page: Page) -> None:
    """Lays out the section."""
    with gr.Row(elem_classes="controls"):
        chosen = gr.Dropdown([], value=[], multiselect=True, max_choices=MOST_RUNS, label="Runs", min_width=320)
        seed = gr.Number(0, label="Seed", min_width=90, scale=0)
        refresh = gr.Button("Refresh", min_width=110, scale=0)
    facts = text(hint("Reading the project's runs …"), elem_id="scores")
    grids = [face_grid(elem_id=f"run-{number}", elem_classes="run-row", visible="hidden") for number in range(MOST_RUNS)]
    smoothing = gr.Slider(1, 25, 1, step=1, label="Points averaged in the curves")
    with gr.Column(elem_id="run-curves"):
        plots = build_curves({title: axis for title, (_, axis) in CURVES.items()})

    def update(names: list[str], seed: int, smoothing: int) -> Iterator[list[Any]]:
        requests.Wall(seed=seed)  # raises ValidationError
        generators = page.studio.generators
        known = {run.name: run for run in generators.runs}
        faces_only = {name: make_empty(name) for name in generators.known() if name not in known}
        runs = known | faces_only
        selected = [runs[name] for name in names if name in runs] or choose(known, [*faces_only.values()])
        choices = gr.Dropdown([(title(run), run.name) for run in runs.values()], value=[run.name for run in selected])
        curves = show_curves(
            {
                title: {label: curve for run in selected for label, curve in select_curves(run.losses, {name: run.name}, smoothing).items()}
                for title, (name, _) in CURVES.items()
            }
        )
        lost = [notice(f"The run {name} does not exist any more.") for name in names if name not in runs]
        table = "".join(lost) + show_table(selected) + ("" if len(known) > 1 else f'<p class="hint">{ONE_RUN}</p>')
        drawn: list[Any] = []
        for run in selected:
            drawn.append(gr.HTML(draw(page, run, seed), visible=True))
            yield [choices, table, *drawn, *[gr.HTML(visible="hidden")] * (MOST_RUNS - len(drawn)), *curves]

    def reload(*values: Any) -> Iterator[list[Any]]:
        page.studio.generators.refresh()
        return update(*values)

    inputs, outputs = [chosen, seed, smoothing], [chosen, facts, *grids, *plots]
    page.when(update, inputs, outputs, also=[chosen.input, seed.input, smoothing.input], busy=facts)
    page.on([refresh.click], reload, inputs, outputs, busy=facts)


def make_empty(name: str) -> Run:
    """Returns a generator without a run, such as the shipped one."""
    return Run(name=name, title="a generator", date="", parameters={}, scores={}, margins={}, protocol=None, losses={}, generator=None)


def choose(runs: dict[str, Run], others: list[Run]) -> list[Run]:
    """Returns the runs of the first view: the newest with different results, and a generator to compare their faces with."""
    different = {(str(run.scores), str(run.parameters)): run for run in reversed(runs.values()) if run.scores or run.name == "workspace"}
    return [*list(reversed(different.values()))[:FIRST_RUNS], *others[:1]]


def title(run: Run) -> str:
    """Returns a run's name, title and date."""
    return f"{run.name}: {run.title}" + (f", {run.date}" if run.date else "")


def draw(page: Page, run: Run, seed: int) -> Grid:
    """Returns the grid of a run's faces, or why there is none."""
    if run.name not in page.studio.generators.known():
        return show_hint(f"{run.name}: its generator is not on this machine; get it with dvc fetch or dvc exp apply, or train it.")
    request = requests.Wall(generator=run.name, seed=seed, count=FACES)
    names = request.name_faces()
    labels = [f"{run.name}, face {number}" for number in range(FACES)]
    try:
        mark = page.studio.mark(run.name, "grid", names)
        return show_faces(page.studio.draw_wall(request), names, mark, captions=[run.name, *[""] * (FACES - 1)], labels=labels)
    except FaceganError as error:
        return show_hint(f"{run.name}: {describe_error(error)}")


def show_table(runs: Sequence[Run]) -> str:
    """Returns the table of the runs, and what its scores mean. The parameters are compared with the last run that has some."""
    base = next((run for run in reversed(runs) if run.parameters), None)
    ends = ("_floor", "_untrained")  # of the scale, the same in most runs; the report has them
    scores = list(dict.fromkeys(name for run in runs for name in run.scores if find_kind(name) and not name.endswith(ends)))
    protocols = {run.protocol for run in runs if run.scores}
    head = ["Run", *(f"{name}<br><small>{describe_score(name)}</small>" for name in scores)]
    rows = []
    for run in runs:
        facts = [f"{run.title} {run.date}", *([f"protocol {run.protocol or 'unknown'}"] if run.scores else [])]
        cells = ["<br>".join([html.escape(run.name), *(f"<small>{html.escape(fact)}</small>" for fact in facts)])]
        for name in scores:
            rivals = [other.scores[name] for other in runs if name in other.scores and other.protocol == run.protocol]
            cells.append(show_score(run, name, rivals))
        rows.append("".join(f"<td>{cell}</td>" for cell in cells))
    table = (
        '<div class="scroll" tabindex="0" role="region" aria-label="Runs"><table><thead><tr>'
        + "".join(f"<th scope=col>{cell}</th>" for cell in head)
        + f"</tr></thead><tbody>{''.join(f'<tr>{row}</tr>' for row in rows)}</tbody></table></div>"
    )
    meanings = "".join(f"<p><b>{name}</b>: {html.escape(kind.meaning)}</p>" for name in scores if (kind := find_kind(name)))
    explained = f"<details><summary>What the scores mean</summary>{meanings}</details>" if meanings else ""
    mixed = (
        notice("The runs were scored under different protocols; compare only scores with the same protocol.") if len(protocols) > 1 else ""
    )
    margins = hint("±: images from another seed fall within this range in 95 of 100 cases.") if any(run.margins for run in runs) else ""
    changes = "".join(f"<li><b>{html.escape(run.name)}</b>: {changed}</li>" for run in runs if (changed := list_changes(run, base)))
    listed = f"<h2>What changed</h2><ul>{changes}</ul>" if changes else ""
    return mixed + table + margins + explained + listed


def describe_score(name: str) -> str:
    """Returns a score's meaning in a few words, and which direction is better."""
    kind = find_kind(name)
    return f"{kind.title.lower()}; {kind.better} is better" if kind else ""


def show_score(run: Run, name: str, rivals: list[float]) -> str:
    """Returns a score with its margin; the best of several is bold."""
    if name not in run.scores:
        return ""
    value, kind = run.scores[name], find_kind(name)
    shown = f"{value:.4g}" + (f" ± {run.margins[name]:.2g}" if name in run.margins else "")
    best = (max if kind and kind.better == "higher" else min)(rivals)
    return f"<b>{shown}</b>" if value == best and len(set(rivals)) > 1 else shown


def list_changes(run: Run, base: Run | None) -> str:
    """Returns the parameters that differ from another run's, with both values."""
    if base is None or not run.parameters:
        return ""
    if run is base:
        return "the others are compared with this run"
    names = [name for name in {**base.parameters, **run.parameters} if run.parameters.get(name) != base.parameters.get(name)]
    changes = [f"{name}: {run.parameters.get(name, 'none')} (was {base.parameters.get(name, 'none')})" for name in names]
    return html.escape("; ".join(changes)) or "nothing"
