"""Did a change help? Trains the same experiment with several seeds, with and without the change, through DVC's queue.

    python benchmarks/seeds.py                          # the current parameters, seeds 0, 1 and 2: the spread of a score
    python benchmarks/seeds.py -S train.lr=1e-3         # the same, and with another learning rate: the difference next to the spread

Each seed is a DVC experiment (of the committed code and the current params.yaml), named after the change and the seed, so an interrupted
call continues and a repeated one only prints the table. The ± of a score covers other images of one generator; this table covers other
trainings. A difference within the spread of the seeds is no evidence.
"""

import argparse
import hashlib
import json
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
METRICS = "metrics/evaluate.json"
Scores = dict[str, float]


def name_experiment(settings: list[str], parameters: str, seed: int) -> str:
    """Returns the name of the experiment with these settings, contents of params.yaml and training seed."""
    digest = hashlib.sha256(json.dumps([sorted(settings), parameters]).encode()).hexdigest()[:8]
    return f"seeds-{'changed' if settings else 'current'}-{digest}-{seed}"


def run_dvc(root: Path, *arguments: str) -> None:
    """Runs DVC. Exits if it fails; DVC has printed the reason."""
    done = subprocess.run([sys.executable, "-m", "dvc", *arguments], cwd=root, check=False)
    if done.returncode:
        sys.exit(f"error: dvc {' '.join(arguments)} ended with {done.returncode}")


def read_scores(root: Path, name: str) -> Scores | None:
    """Returns the numbers in the metrics of a DVC experiment; None if there is no such experiment or it has no metrics."""
    listing = ["git", "for-each-ref", "--format=%(refname)", f"refs/exps/*/*/{name}"]
    references = subprocess.run(listing, cwd=root, capture_output=True, text=True, check=True).stdout.split()
    if not references:
        return None
    shown = subprocess.run(["git", "show", f"{references[0]}:{METRICS}"], cwd=root, capture_output=True, text=True, check=False)
    metrics = json.loads(shown.stdout) if shown.returncode == 0 else {}
    scores = {name: float(value) for name, value in metrics.items() if isinstance(value, int | float) and not isinstance(value, bool)}
    return scores or None


def train_all(root: Path, settings: list[str], seeds: int) -> list[Scores]:
    """Returns the scores of all seeds; those that are missing are queued and run."""
    parameters = (root / "params.yaml").read_text()
    names = [name_experiment(settings, parameters, seed) for seed in range(seeds)]
    missing = [(seed, name) for seed, name in enumerate(names) if read_scores(root, name) is None]
    for seed, name in missing:
        options = [option for setting in [*settings, f"train.seed={seed}"] for option in ("-S", setting)]
        run_dvc(root, "exp", "run", "--queue", "--force", "--name", name, *options)
    if missing:
        run_dvc(root, "exp", "run", "--run-all")
    found = {name: read_scores(root, name) for name in names}
    failed = [name for name, scores in found.items() if scores is None]
    if failed:
        sys.exit(f"error: expected scores of {', '.join(failed)}; found none; see dvc queue status and dvc queue logs")
    return [scores for scores in found.values() if scores is not None]


def make_table(current: list[Scores], changed: list[Scores]) -> str:
    """Returns a table of means and ranges over the seeds, and, if there is a change, the difference of the means next to the spread.

    The spread is the standard error of that difference, from the standard deviations of both sides.
    """
    header = ["score", "current"] + (["changed", "difference ± standard error"] if changed else [])
    lines = [f"| {' | '.join(header)} |", "|---" * len(header) + "|"]
    for name in current[0]:
        if not all(name in scores for scores in changed):
            continue  # such as the label accuracy, when the change removes the labels
        sides = [[scores[name] for scores in side] for side in (current, changed) if side]
        cells = [f"{statistics.mean(side):.4g} ({min(side):.4g} to {max(side):.4g})" for side in sides]
        if len(sides) == 2:
            difference = statistics.mean(sides[1]) - statistics.mean(sides[0])
            error = sum(statistics.variance(side) / len(side) for side in sides) ** 0.5
            cells.append(f"{difference:+.3g} ± {error:.2g}{'' if abs(difference) > 2 * error else ', no evidence'}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-S", "--set-param", action="append", default=[], metavar="NAME=VALUE", help="the change; may be repeated")
    parser.add_argument("--seeds", type=int, default=3, help="number of training seeds, starting at 0 (default: 3)")
    parser.add_argument("--root", type=Path, default=ROOT, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.seeds < 2:
        parser.error("--seeds: expected at least 2, for a spread")
    current = train_all(arguments.root, [], arguments.seeds)
    changed = train_all(arguments.root, arguments.set_param, arguments.seeds) if arguments.set_param else []
    print(f"\nmean (smallest to largest) of {arguments.seeds} training seeds\n\n{make_table(current, changed)}")


if __name__ == "__main__":
    main()
