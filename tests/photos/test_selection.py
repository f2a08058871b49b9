"""Which of the photos are taken: by a pattern, by what CelebA's list says is seen on them, by its list of splits."""

import zipfile
from pathlib import Path

import pytest

from facegan.common.errors import FaceganError
from facegan.photos.parameters import DataParameters
from facegan.photos.sources import download
from facegan.photos.store import Photos, open_photos

ATTRIBUTES = ("Male", "Smiling", "Young")
SEEN = {number: [1 if number & bit else -1 for bit in (1, 2, 4)] for number in range(8)}
CSV = "image_id," + ",".join(ATTRIBUTES) + "\n" + "".join(f"{number:06}.jpg,{','.join(map(str, seen))}\n" for number, seen in SEEN.items())
TEXT = (
    "8\n"
    + " ".join(ATTRIBUTES)
    + " \n"
    + "".join(f"{number:06}.jpg  {'  '.join(f'{value:2}' for value in seen)}\n" for number, seen in SEEN.items())
)
LISTS = {"list_attr_celeba.csv": CSV, "list_attr_celeba.txt": TEXT}
FACES = [f"img_align_celeba/img_align_celeba/{number:06}.jpg" for number in range(8)]
MASKS = [f"masks/{number:06}.png" for number in range(3)]


def take(home: Path, source: str, names: list[str], lists: dict[str, str], **choice) -> Photos:
    """Returns the photos that a download of these files takes."""
    files = {name: name.encode() for name in names} | {name: text.encode() for name, text in lists.items()}
    given = home / "given"
    if source == "archive":
        with zipfile.ZipFile(given, "w") as archive:
            for name, content in files.items():
                archive.writestr(name, content)
    else:
        for name, content in files.items():
            (given / name).parent.mkdir(parents=True, exist_ok=True)
            (given / name).write_bytes(content)
    values = {"source": source, "path": "given", "count": 1, "only": None, "where": None, "limit": None} | choice
    download(DataParameters(**values), home / "raw", home)
    return open_photos(home / "raw")


SOURCES = pytest.mark.parametrize("source", ["archive", "folder"])


@SOURCES
def test_a_pattern_takes_one_folder_of_an_archive(tmp_path, source):
    photos = take(tmp_path, source, FACES + MASKS, {}, only="img_align_celeba/**", limit=5)
    assert photos.names == FACES[:5] and photos.manifest.images == 5
    assert photos.manifest.left_out == {"other than data.only": 3}
    assert list(photos.read_all()) == [name.encode() for name in FACES[:5]]


@SOURCES
def test_a_pattern_that_fits_nothing_is_told_with_what_there_is(tmp_path, source):
    with pytest.raises(
        FaceganError, match=r"data\.only: expected photos that fit faces/\*; found 8 in img_align_celeba/img_align_celeba, 3 in masks; mend"
    ):
        take(tmp_path, source, FACES + MASKS, {}, only="faces/*")


@SOURCES
@pytest.mark.parametrize("name", LISTS)
def test_attributes_choose(tmp_path, source, name):
    photos = take(tmp_path, source, FACES + MASKS, {f"meta/{name}": LISTS[name]}, only="img*", where={"Smiling": 1, "Male": -1})
    assert photos.names == [FACES[2], FACES[6]]
    assert photos.manifest.left_out == {"other than data.where": 6, "other than data.only": 3}
    assert photos.manifest.where == {"Smiling": 1, "Male": -1}


def test_attributes_choose_under_another_suffix_and_a_limit_counts_the_chosen(tmp_path):
    names = [name.replace(".jpg", ".png") for name in FACES] + ["unlisted.png"]
    assert take(tmp_path, "archive", names, {"list_attr_celeba.csv": CSV}, where={"Young": 1}, limit=2).names == names[4:6]


@pytest.mark.parametrize(
    ("where", "lists", "told"),
    [
        ({"Smilling": 1}, {"list_attr_celeba.csv": CSV}, "found Smilling; did you mean Smiling?"),
        ({"Hat": 1}, {"list_attr_celeba.txt": TEXT}, "found Hat; it has Male, Smiling, Young"),
        ({"Smiling": 1}, {}, "expected list_attr_celeba.csv or list_attr_celeba.txt beside the photos; found neither"),
        ({"Smiling": 1}, {"list_attr_celeba.csv": CSV.replace("-1", "no")}, "expected 1 or -1 for each attribute and file"),
        ({"Smiling": 1}, {"list_attr_celeba.csv": ""}, "found Smiling"),
        ({"Smiling": 1}, {"list_attr_celeba.csv": CSV.replace(".jpg", "x.jpg")}, "found none of 8, of which list_attr_celeba.csv has 0"),
    ],
)
def test_what_attributes_cannot_choose_is_told(tmp_path, where, lists, told):
    with pytest.raises(FaceganError, match=r"^(data\.where: )?expected") as caught:
        take(tmp_path, "archive", FACES, lists, where=where)
    assert told in str(caught.value) and str(caught.value).isprintable()


PARTITION = {f"{number:06}.jpg": number % 3 for number in range(8)}
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
def test_celebas_split_is_read_in_every_form(tmp_path, capsys, source, name, text, suffix):
    photos = take(tmp_path, source, [face.replace(".jpg", suffix) for face in FACES], {name: text})
    assert photos.read_partition() == {file.replace(".jpg", suffix): partition for file, partition in PARTITION.items()}
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("listed", "count"), [(FACES, 8), ([], 0)])
def test_a_list_of_some_photos_says_of_how_many(tmp_path, capsys, listed, count):
    photos = take(tmp_path, "archive", [*listed, "new.jpg", "newer.jpg"], {"list_eval_partition.txt": OFFICIAL})
    assert photos.read_partition() == {file: partition for file, partition in PARTITION.items() if listed}
    assert f"list_eval_partition.txt has {count} of {count + 2} photos" in capsys.readouterr().out


def test_suffixes_that_disagree_decide_nothing(tmp_path):
    photos = take(
        tmp_path,
        "archive",
        ["1.webp", "2.webp", "3.jpg"],
        {"list_eval_partition.txt": "1.jpg 0\n1.png 2\n2.jpg 1\n2.png 1\n3.jpg 2\n3.png 0\n"},
    )
    assert photos.read_partition() == {"2.webp": 1, "3.jpg": 2}


NO_LISTS = ["", "\n\n", "a.jpg\n", "a.jpg 3\n", "a.jpg 0 1\n", "a.jpg train\n", "a.jpg 0\nb.jpg\n", "\0\xff", '"a.jpg 0\n']


@pytest.mark.parametrize("text", NO_LISTS)
def test_a_list_that_is_none_is_told(tmp_path, text):
    photos = take(tmp_path, "archive", ["a.jpg", "b.jpg"], {"list_eval_partition.txt": text})
    with pytest.raises(FaceganError, match=r"^expected .* list_eval_partition\.txt; found") as caught:
        photos.read_partition()
    assert str(caught.value).isprintable()
