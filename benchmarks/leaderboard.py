"""Lists the scores of many runs, best first, in one table per protocol.

    python benchmarks/leaderboard.py                        # this checkout, its branches and tags, and all DVC experiments
    python benchmarks/leaderboard.py one.json two.json      # metrics that stages/evaluate.py wrote with --metrics

Runs are grouped by the fingerprint of the protocol, because scores of different protocols are not comparable. They are sorted by the
geometric mean of their distances; older metrics have only one.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
METRICS = "metrics/evaluate.json"


def read_files(paths: list[Path]) -> pd.DataFrame:
    """Returns the metrics in the files, one row per file, indexed by file name."""
    return make_table({str(path): path.read_text() for path in paths})


def read_history(root: Path) -> pd.DataFrame:
    """Returns the metrics of the working tree, of all branches and tags, and of all DVC experiments, without repetitions."""
    texts = {}
    if (root / METRICS).is_file():
        texts["workspace"] = (root / METRICS).read_text()
    listing = ["git", "for-each-ref", "--format=%(refname)", "refs/heads", "refs/tags", "refs/exps"]
    try:
        references = subprocess.run(listing, cwd=root, capture_output=True, text=True, check=True).stdout.split()
    except (OSError, subprocess.CalledProcessError):
        sys.exit("error: expected a git repository with scores in its commits and experiments; found none; run git init and commit")
    for reference in references:
        if "/exec/" in reference:  # DVC's bookkeeping for a running experiment
            continue
        shown = subprocess.run(["git", "show", f"{reference}:{METRICS}"], cwd=root, capture_output=True, text=True)
        if shown.returncode == 0 and shown.stdout not in texts.values():
            texts[reference.rsplit("/", 1)[-1]] = shown.stdout
    return make_table(texts)


def make_table(texts: dict[str, str]) -> pd.DataFrame:
    """Returns one row per text, indexed by the name of the run."""
    return pd.DataFrame.from_dict({name: json.loads(text) for name, text in texts.items()}, orient="index")


def group(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Returns the comparable runs, best first, for each fingerprint."""
    tables = {}
    for fingerprint, runs in table.groupby("protocol", sort=False):
        runs = runs.drop(columns="protocol").dropna(axis="columns", how="all")
        distances = [name for name in runs.columns if name.startswith(("fid", "fd_")) and not name.endswith(("_floor", "_untrained"))]
        tables[fingerprint] = runs.loc[runs[distances].prod(axis="columns").sort_values().index]
    return tables


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("metrics", type=Path, nargs="*", help="metrics files (default: everything in git and DVC)")
    parser.add_argument("--root", type=Path, default=ROOT, help="the checkout to search")
    arguments = parser.parse_args()
    table = read_files(arguments.metrics) if arguments.metrics else read_history(arguments.root)
    if table.empty:
        sys.exit(f"error: expected {METRICS} in the checkout, a branch or an experiment; found none; run dvc repro")
    for fingerprint, runs in group(table).items():
        print(f"## protocol {fingerprint}\n\n{runs.to_string(float_format=lambda number: f'{number:.4g}')}\n")


if __name__ == "__main__":
    main()
