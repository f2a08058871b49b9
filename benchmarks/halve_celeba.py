"""Makes celeba10k.zip of docs/measurements/data.md: the first CelebA faces at half size, packed as Kaggle packs CelebA.

    dvc repro download                                  # with a preset for CelebA
    python benchmarks/halve_celeba.py celeba10k.zip

Next to it, list_attr_celeba.csv contains the faces' attributes, if the source has them.
"""

import argparse
import csv
import io
import sys
from pathlib import Path
from zipfile import ZIP_STORED, ZipFile

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
FOLDER = "img_align_celeba/img_align_celeba/"
TEST = "2"  # the number of the test split in list_eval_partition.csv


def halve(source: Path, target: Path, count: int, test: int) -> int:
    """Writes the zip and the list of attributes. Returns the number of images."""
    with ZipFile(source) as photos, ZipFile(target, "w", ZIP_STORED) as zipped:
        names = sorted(name for name in photos.namelist() if name.startswith(FOLDER) and name.endswith((".jpg", ".png")))[:count]
        for name in names:
            with Image.open(photos.open(name)) as image:
                half = image.resize((image.width // 2, image.height // 2), Image.Resampling.LANCZOS)
            content = io.BytesIO()
            half.save(content, "JPEG", quality=90)
            zipped.writestr(name, content.getvalue())
        rows = [f"{Path(name).name},{TEST if number >= len(names) - test else 0}" for number, name in enumerate(names)]
        zipped.writestr("list_eval_partition.csv", "\n".join(["image_id,partition", *rows]) + "\n")
        if "list_attr_celeba.csv" in photos.namelist():
            chosen = {Path(name).name for name in names}
            header, *lines = csv.reader(io.TextIOWrapper(photos.open("list_attr_celeba.csv"), "utf-8"))
            with (target.parent / "list_attr_celeba.csv").open("w", newline="") as file:
                csv.writer(file, lineterminator="\n").writerows([header, *(line for line in lines if line[0] in chosen)])
    return len(names)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", type=Path)
    parser.add_argument("--source", type=Path, default=ROOT / "data/raw/photos.zip")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--test", type=int, default=1_000, help="images of the test split, at the end (default: %(default)s)")
    arguments = parser.parse_args()
    if not arguments.source.exists():
        sys.exit(f"error: expected CelebA in {arguments.source}; found nothing; run dvc repro download with a preset for CelebA")
    print(f"{arguments.target}: {halve(arguments.source, arguments.target, arguments.count, arguments.test):,} images")


if __name__ == "__main__":
    main()
