"""Runs the commands of README.md and the tutorials in a fresh clone, in the order of the pages.

    python docs/check.py             # all of them; exit status 1 if one fails
    python docs/check.py README.md   # one page
    python docs/check.py --list      # what would run, and what is changed or left out, with the reason

The commands run as written, in a clone whose presets are shortened (SHORT) and whose photos are drawn. CHANGES and LEFT_OUT declare every
other difference. The clone uses the packages of the Python that runs this script.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
PAGES = ["README.md", *(f"docs/tutorials/{name}.md" for name in ("first-faces", "experiment", "your-photos", "celeba-with-a-gpu"))]
START = "cp presets/demo.yaml params.yaml && dvc repro -q"  # before each tutorial but the first
PROGRAMS = r"(?:\. |make |cp |git |dvc |python |python3 |pip )"
TIMEOUT_SECONDS = 900
SHORT = {
    "data": {"count": 200},
    "train": {"images": 240, "batch": 16, "progress_images": 120, "score_every_images": None},
    "evaluate": {"extractor": "efficientnet_lite0", "images": 20, "memorisation_images": 40},
    "sample": {"count": 4},
}
WIDTHS = {"dcgan": 8, "tutorial28": 16, "keras128": 8, "r3gan": 16, "stylegan2": 16, "resnet": 16}
CHANGES = [  # pattern, replacement: the first two only make the clone use the installed packages and a short training
    (r"\bmake (?!-)", "make -o .venv/installed "),
    (r"train\.images=[\d_]+", "train.images=480"),
    (r"evaluate\.images=\d+", "evaluate.images=20"),
    (r"memorisation_images=\d+", "memorisation_images=40"),
    (r"train\.processes=4", "train.processes=2"),
    (r"--pictures FOLDER", "--pictures drawn/faces"),
    (r"benchmarks/seeds\.py", "benchmarks/seeds.py --seeds 2"),
    (r"queue start -j 2", "queue start -j 1 && while dvc queue status | grep -qE 'Queued|Running'; do sleep 5; done"),
]
LEFT_OUT = {
    r"pip install|-m venv|^pip ": "installs packages",
    r"make studio|make export": "needs the studio's environment; tests/studio and tests/export",
    r"make (docs|test|lint)": "run by .ci/run",
    r"--finish": "needs a stopped run; tests/training/test_continue.py",
    r"git init|core\.no_scm|PYTHON=|exp apply": "for other situations than a clone",
}


def read_commands(page: Path) -> Iterator[str]:
    """Yields the commands of a page: lines of indented blocks, and code in tables and sentences that begins with a program's name."""
    text = page.read_text().replace("\\\n", " ")
    for line in text.splitlines():
        if re.match(rf" {{4}}{PROGRAMS}", line):
            yield re.sub(r"\s{2,}#.*", "", line.strip())
        elif not line.startswith("    "):
            yield from (code for code in re.findall(r"`([^`]+)`", line) if re.match(PROGRAMS, code) and " " in code)


def shorten_presets(clone: Path) -> None:
    """Changes all presets and params.yaml as SHORT says; what they download is replaced by an archive of drawn faces."""
    for path in [*(clone / "presets").glob("*.yaml"), clone / "params.yaml"]:
        content = yaml.safe_load(path.read_text())
        for section, values in SHORT.items():
            content[section] |= values
        content["model"]["width"] = WIDTHS[content["model"]["name"]]
        if content["train"]["schedule_images"]:
            content["train"]["schedule_images"] = SHORT["train"]["images"]
        if content["model"].get("grow_images"):
            content["model"]["grow_images"] = [48 * (number + 1) for number in range(len(content["model"]["grow_images"]))]
        if content["data"]["source"] not in ("avatars", "folder", "archive"):
            content["data"] |= {"source": "archive", "path": "celeba.zip", "only": None, "where": None, "labels": None}
        path.write_text(yaml.safe_dump(content, sort_keys=False))


def draw_photos(clone: Path) -> None:
    """Writes the photos that the commands name: a folder of portraits, and archives of CelebA's sizes."""
    sys.path.insert(0, str(ROOT / "tests"))
    from drawn_faces import draw_head
    from PIL import Image

    (clone / "photos").mkdir()
    for number in range(120):
        head = draw_head(number, 1.5)
        photo = Image.new("RGB", (400, 440), (number, 255 - number, 120))
        photo.paste(head, (50, 70), head)
        photo.save(clone / f"photos/{number:03}.jpg", quality=90)
    for name, size in {"celeba": (178, 218), "celeba10k": (89, 109), "anime10k": (64, 64)}.items():
        with zipfile.ZipFile(clone / f"{name}.zip", "w") as archive:
            for path in sorted((clone / "photos").iterdir()):
                with archive.open(path.with_suffix(".png").name, "w") as file:
                    Image.open(path).resize(size).save(file, "PNG")


def make_clone(folder: Path) -> Path:
    """Returns a clone of the last commit with shortened presets, drawn photos and this Python as its environment."""
    clone = folder / "facegan"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
    (clone / ".venv").symlink_to(sys.prefix)
    shorten_presets(clone)
    draw_photos(clone)
    for arguments in (["checkout", "-q", "-B", "main"], ["add", "-A"], ["commit", "-qm", "shortened presets"]):
        subprocess.run(["git", "-c", "user.name=me", "-c", "user.email=me@localhost", *arguments], cwd=clone, check=True)
    (clone / "drawn").mkdir()
    return clone


def run_pages(pages: list[str], clone: Path | None) -> list[str]:
    """Runs the commands of the pages, or only prints them without a clone. Returns those that failed."""
    failed = []
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "LOGNAME": "me", "PATH": f"{sys.prefix}/bin:{os.environ['PATH']}"}
    environment |= dict.fromkeys(("GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME"), "me")
    environment |= dict.fromkeys(("GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"), "me@localhost")
    for page in pages:
        print(f"== {page}", flush=True)
        first = [START] if page not in PAGES[:2] else []
        for command in dict.fromkeys([*first, *read_commands(ROOT / page)]):
            if reason := next((reason for pattern, reason in LEFT_OUT.items() if re.search(pattern, command)), None):
                print(f"   left out  {command}  ({reason})", flush=True)
                continue
            for pattern, replacement in CHANGES:
                command = re.sub(pattern, replacement, command)
            if "--pictures" in command:
                command = f"python stages/sample.py --native --count 24 --out drawn && {command}"
            if clone is None:
                print(f"   {command}")
                continue
            start = time.monotonic()
            done = subprocess.run(
                ["bash", "-c", command], cwd=clone, env=environment, capture_output=True, text=True, timeout=TIMEOUT_SECONDS
            )
            print(f"   {'FAILED' if done.returncode else 'ok':6} {time.monotonic() - start:4.0f} s  {command}", flush=True)
            if done.returncode:
                failed.append(command)
                print((done.stdout + done.stderr)[-2000:], flush=True)
    return failed


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true", help="only print the commands")
    parser.add_argument("pages", nargs="*", default=PAGES, help="pages (default: README.md and the tutorials)")
    arguments = parser.parse_args()
    if arguments.list:
        run_pages(arguments.pages, None)
    else:
        with tempfile.TemporaryDirectory() as folder:
            failed = run_pages(arguments.pages, make_clone(Path(folder)))
        sys.exit(f"{len(failed)} commands failed" if failed else None)
