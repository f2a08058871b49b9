"""Selection of photos: by a pattern, by CelebA's attributes, by CelebA's partition."""

import pytest
from raw_photos import SOURCES, make_raw

from facegan.common.errors import FaceganError
from facegan.photos.store import Photos, open_photos

ATTRIBUTES = ("Male", "Smiling", "Young")
VALUES = {f"{number:06}.jpg": [1 if number & bit else -1 for bit in (1, 2, 4)] for number in range(8)}
CSV = "image_id," + ",".join(ATTRIBUTES) + "\n" + "".join(f"{file},{','.join(map(str, values))}\n" for file, values in VALUES.items())
ORIGINAL = "8\n" + " ".join(ATTRIBUTES) + " \n" + "".join(f"{file} {' '.join(f'{v:3}' for v in vs)}\n" for file, vs in VALUES.items())
LISTS = {"list_attr_celeba.csv": CSV, "list_attr_celeba.txt": ORIGINAL}
FACES = [f"img_align_celeba/img_align_celeba/{number:06}.jpg" for number in range(8)]
MASKS = [f"masks/{number:06}.png" for number in range(3)]


def take(home, source: str, names: list[str], lists: dict[str, str], **choice) -> Photos:
    """Returns the photos that are selected from these files."""
    files = {name: name.encode() for name in names} | {name: text.encode() for name, text in lists.items()}
    return open_photos(make_raw(home, files, source, **choice))


@SOURCES
def test_pattern_and_limit(tmp_path, source):
    photos = take(tmp_path, source, FACES + MASKS, {}, only="img_align_celeba/**", limit=5)
    assert photos.names == FACES[:5] and photos.manifest.images == 5
    assert photos.manifest.left_out == {"excluded by data.only": 3}
    assert list(photos.read_all()) == [name.encode() for name in FACES[:5]]


@SOURCES
def test_pattern_without_match_reports_folders(tmp_path, source):
    with pytest.raises(
        FaceganError, match=r"match faces/\*; found 8 in img_align_celeba/img_align_celeba, 3 in masks; correct the pattern"
    ):
        take(tmp_path, source, FACES + MASKS, {}, only="faces/*")


@SOURCES
@pytest.mark.parametrize("name", LISTS)
def test_attributes(tmp_path, source, name):
    photos = take(tmp_path, source, FACES + MASKS, {f"meta/{name}": LISTS[name]}, only="img*", where={"Smiling": 1, "Male": -1})
    assert photos.names == [FACES[2], FACES[6]]
    assert photos.manifest.left_out == {"excluded by data.where": 6, "excluded by data.only": 3}
    assert photos.manifest.where == {"Smiling": 1, "Male": -1}


def test_attributes_match_other_suffixes_and_limit_applies_afterwards(tmp_path):
    names = [name.replace(".jpg", ".png") for name in FACES] + ["unlisted.png"]
    assert take(tmp_path, "archive", names, {"list_attr_celeba.csv": CSV}, where={"Young": 1}, limit=2).names == names[4:6]


@pytest.mark.parametrize(
    ("where", "lists", "problem"),
    [
        ({"Smilling": 1}, {"list_attr_celeba.csv": CSV}, "found Smilling; did you mean Smiling?"),
        ({"Hat": 1}, {"list_attr_celeba.txt": ORIGINAL}, "found Hat; the list has Male, Smiling, Young"),
        ({"Smiling": 1}, {}, "expected list_attr_celeba.csv or list_attr_celeba.txt"),
        ({"Smiling": 1}, {"list_attr_celeba.csv": CSV.replace("-1", "no")}, "expected 1 or -1 for each attribute and file"),
        ({"Smiling": 1}, {"list_attr_celeba.csv": ""}, "found Smiling"),
        (
            {"Smiling": 1},
            {"list_attr_celeba.csv": CSV.replace(".jpg", "x.jpg")},
            "found none among 8, of which list_attr_celeba.csv lists 0",
        ),
    ],
)
def test_invalid_attributes_are_reported(tmp_path, where, lists, problem):
    with pytest.raises(FaceganError) as caught:
        take(tmp_path, "archive", FACES, lists, where=where)
    assert problem in str(caught.value) and str(caught.value).isprintable()


PARTITION = {file: number % 3 for number, file in enumerate(VALUES)}
OFFICIAL = "".join(f"{file} {partition}\n" for file, partition in PARTITION.items())
KAGGLES = "image_id,partition\n" + OFFICIAL.replace(" ", ",")


@SOURCES
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list_eval_partition.csv", KAGGLES),
        ("Eval/list_eval_partition.txt", OFFICIAL),
        ("list_eval_partition.txt", OFFICIAL.replace("\n", "  \r\n")),
        ("list_eval_partition.csv", "\ufeff" + KAGGLES),
        ("list_eval_partition.csv", OFFICIAL.replace(" ", ",")),
        ("list_eval_partition.txt", KAGGLES.replace(",", "\t")),
    ],
)
@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_partition_formats(tmp_path, capsys, source, name, text, suffix):
    photos = take(tmp_path, source, [face.replace(".jpg", suffix) for face in FACES], {name: text})
    assert photos.read_partition() == {file.replace(".jpg", suffix): partition for file, partition in PARTITION.items()}
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("listed", "count"), [(FACES, 8), ([], 0)])
def test_incomplete_partition_is_reported(tmp_path, capsys, listed, count):
    photos = take(tmp_path, "archive", [*listed, "new.jpg", "newer.jpg"], {"list_eval_partition.txt": OFFICIAL})
    assert photos.read_partition() == {file: partition for file, partition in PARTITION.items() if listed}
    assert f"list_eval_partition.txt lists {count} of {count + 2} photos" in capsys.readouterr().out


INVALID = [
    "",
    "\n\n",
    "a.jpg\n",
    "a.jpg 3\n",
    "a.jpg 0 1\n",
    "a.jpg train\n",
    "a.jpg 0\nb.jpg\n",
    "\0\xff",
    '"a.jpg 0\n',
    "image,split\na.jpg,0\n",
]


@pytest.mark.parametrize("text", INVALID)
def test_invalid_partition_is_reported(tmp_path, text):
    photos = take(tmp_path, "archive", ["a.jpg", "b.jpg"], {"list_eval_partition.txt": text})
    with pytest.raises(FaceganError, match=r"^expected a file name and its partition .* list_eval_partition\.txt; found") as caught:
        photos.read_partition()
    assert str(caught.value).isprintable()
