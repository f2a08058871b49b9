"""Scores of many runs, best first, and only beside those that they may be compared with.

    python benchmarks/leaderboard.py                        # this checkout, its branches and tags, and every DVC experiment
    python benchmarks/leaderboard.py one.json two.json      # reports that stages/evaluate.py wrote with --out

Runs are grouped by the protocol's fingerprint with the seed left out: a seed makes another sample of the same score. What
differs between groups is printed above each.
"""

import argparse
import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from facegan.scoring.extractors import name_frechet  # noqa: E402 (the path above must come first)
from facegan.scoring.protocol import Protocol  # noqa: E402

REPORT = "metrics/evaluate.json"


def read_files(paths: list[Path]) -> dict[str, dict[str, Any]]:
    """Returns the reports in those files, by file name."""
    return {str(path): json.loads(path.read_text()) for path in paths}


def read_history(root: Path) -> dict[str, dict[str, Any]]:
    """Returns the reports of the working tree, of every branch and tag, and of every DVC experiment, each text once."""
    texts = {}
    if (root / REPORT).is_file():
        texts["workspace"] = (root / REPORT).read_text()
    listing = ["git", "for-each-ref", "--format=%(refname)", "refs/heads", "refs/tags", "refs/exps"]
    for reference in subprocess.run(listing, cwd=root, capture_output=True, text=True, check=True).stdout.split():
        if "/exec/" in reference:  # DVC's own notes on a run under way
            continue
        shown = subprocess.run(["git", "show", f"{reference}:{REPORT}"], cwd=root, capture_output=True, text=True)
        if shown.returncode == 0 and shown.stdout not in texts.values():
            texts[reference.rsplit("/", 1)[-1]] = shown.stdout
    return {name: json.loads(text) for name, text in texts.items()}


def group(reports: dict[str, dict[str, Any]]) -> dict[str, list[tuple[str, dict[str, Any]]]]:
    """Returns the reports that may be compared, best first, by the fingerprint that they share."""
    groups: dict[str, list[tuple[str, dict[str, Any]]]] = {}
    for name, report in reports.items():
        protocol = Protocol(**{key: value for key, value in report["protocol"].items() if key != "fingerprint"})
        groups.setdefault(dataclasses.replace(protocol, seed=0).fingerprint, []).append((name, report))
    for runs in groups.values():
        runs.sort(key=lambda run: run[1][name_frechet(run[1]["protocol"]["extractor"])])
    return groups


def print_group(fingerprint: str, runs: list[tuple[str, dict[str, Any]]]) -> None:
    """Prints one table."""
    protocol = runs[0][1]["protocol"]
    score = name_frechet(protocol["extractor"])
    print(f"## {score}, protocol {fingerprint}\n")
    print(f"{protocol['generated']:,} generated, {protocol['real']:,} real of {protocol['split']} (data {protocol['data'][:8]}), "
          f"{protocol['resolution']} px, crop {protocol['crop']}, {protocol['filter']}; truncation {protocol['truncation']:g}\n")
    print(f"| run | {score} | another seed ± | floor | precision | recall | images seen |\n|---|---|---|---|---|---|---|")
    for name, report in runs:
        space = protocol["extractor"]
        numbers = (report[score], report["another_seed_95"][score], report["floor"].get(score, float("nan")))
        shares = (report[f"precision_{space}"], report[f"recall_{space}"])
        print(f"| {name} | {' | '.join(f'{number:.4g}' for number in numbers)} | {' | '.join(f'{share:.2f}' for share in shares)} "
              f"| {report['images_seen']:,} |")
    print()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reports", type=Path, nargs="*", help="files; none: everything that git and DVC know here")
    parser.add_argument("--root", type=Path, default=ROOT, help="the checkout to look through")
    arguments = parser.parse_args()
    reports = read_files(arguments.reports) if arguments.reports else read_history(arguments.root)
    if not reports:
        sys.exit(f"error: expected {REPORT} in the checkout, a branch or an experiment; found none; run dvc repro")
    for fingerprint, runs in group(reports).items():
        print_group(fingerprint, runs)


if __name__ == "__main__":
    main()
