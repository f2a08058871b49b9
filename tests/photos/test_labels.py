"""Labels of photos: each source, photos without labels, and lists that are damaged or unusual."""

import codecs
import json

import pytest
from raw_photos import SOURCES, fill_raw, make_raw, write_folder, write_zip

from facegan.common.errors import FaceganError
from facegan.photos.sources.avatars import label_faces
from facegan.photos.store import Photos, open_photos

CSV = "file_name,glasses,hair\na.png,yes,red\nb.png,no,black\nc.png,no,red\n"
JSON_LINES = "".join(
    json.dumps({"file_name": file, "glasses": glasses, "box": [1, 2]}) + "\n"
    for file, glasses in (("a.png", 2), ("b.png", 10), ("c.png", 2))
)
ATTRIBUTES = "image_id,Male,Smiling\na.jpg,-1,1\nb.jpg,1,1\nc.jpg,-1,-1\n"


def take(
    home, lists: dict[str, str | bytes], labels: list[str], names=("a.png", "b.png", "c.png"), source: str = "archive", **choice
) -> Photos:
    """Returns the photos with these names, labelled by these lists."""
    files = {name: name.encode() for name in names}
    files |= {name: text.encode() if isinstance(text, str) else text for name, text in lists.items()}
    return open_photos(make_raw(home, files, source, labels=labels, **choice))


def show(photos: Photos) -> dict[str, list[str]]:
    """Returns the values of each photo by its name."""
    assert photos.names == list(photos.labels.photos)
    values = photos.labels.columns.values()
    return {name: [texts[place] for texts, place in zip(values, places, strict=True)] for name, places in photos.labels.photos.items()}


def refuse(home, lists: dict[str, str | bytes], labels: list[str], **choice) -> str:
    with pytest.raises(FaceganError) as caught:
        take(home, lists, labels, **choice)
    assert str(caught.value).isprintable()
    return str(caught.value)


@SOURCES
@pytest.mark.parametrize("name", ["list_attr_celeba.csv", "meta/list_attr_celeba.txt"])
def test_celeba_attributes_are_binary(tmp_path, source, name):
    text = ATTRIBUTES if name.endswith(".csv") else "3\n" + ATTRIBUTES.replace("image_id,", "").replace(",", " ")
    photos = take(tmp_path, {name: text}, ["Smiling", "Male"], ["x/a.png", "x/b.jpg", "x/c.jpg", "x/d.jpg"], source)
    assert photos.labels.columns == {"Smiling": ("0", "1"), "Male": ("0", "1")}
    assert show(photos) == {"x/a.png": ["1", "0"], "x/b.jpg": ["1", "1"], "x/c.jpg": ["0", "0"]}
    assert photos.manifest.images == 3 and photos.manifest.left_out == {"without a value for Smiling": 1}


@SOURCES
def test_metadata_next_to_the_photos(tmp_path, source):
    photos = take(tmp_path, {"in/metadata.csv": CSV}, ["hair", "glasses"], ["in/a.png", "in/b.png", "in/c.png"], source)
    assert photos.labels.columns == {"hair": ("black", "red"), "glasses": ("no", "yes")}
    assert show(photos) == {"in/a.png": ["red", "yes"], "in/b.png": ["black", "no"], "in/c.png": ["red", "no"]}
    assert photos.manifest.left_out == {}


def test_numbers_are_sorted_by_size(tmp_path):
    photos = take(tmp_path, {"metadata.jsonl": JSON_LINES}, ["glasses"])
    assert photos.labels.columns == {"glasses": ("2", "10")} and show(photos)["b.png"] == ["10"]


def test_dataset_json(tmp_path):
    pairs = [["00000/a.png", 3], ["00000/b.png", 0], ["00000/c.png", 3]]
    names = [name for name, _ in pairs]
    assert list(show(take(tmp_path / "1", {"dataset.json": json.dumps({"labels": pairs})}, ["label"], names)).values()) == [
        ["3"],
        ["0"],
        ["3"],
    ]
    assert "found label" in refuse(tmp_path / "2", {"dataset.json": '{"labels": null}'}, ["label"], names=names)


@SOURCES
def test_folders(tmp_path, source):
    names = ["faces/me/1.png", "faces/me/2020/2.png", "faces/you/1.png", "faces/other.png"]
    photos = take(tmp_path, {}, ["folder"], names, source)
    assert show(photos) == {"faces/me/1.png": ["me"], "faces/me/2020/2.png": ["me"], "faces/you/1.png": ["you"]}
    assert photos.manifest.left_out == {"without a value for folder": 1}
    assert "expected 2 to 64 values of folder; found one: me" in refuse(
        tmp_path / "one", {}, ["folder"], names=["me/1.png", "me/2.png", "3.png"]
    )


def test_columns_of_several_sources(tmp_path):
    names = ["m/a.png", "m/b.png", "n/c.png"]
    lists = {"list_attr_celeba.csv": ATTRIBUTES, "m/metadata.csv": "file_name,hair\na.png,red\nb.png,black\n", "n/metadata.csv": CSV}
    photos = take(tmp_path, lists, ["folder", "Smiling", "hair"], names)
    assert show(photos) == {"m/a.png": ["m", "1", "red"], "m/b.png": ["m", "1", "black"], "n/c.png": ["n", "0", "red"]}


def test_lists_next_to_an_archive(tmp_path):
    write_zip(tmp_path / "one/photos.zip", {f"{name}.jpg": name.encode() for name in "abc"})
    write_folder(tmp_path / "one", {"list_attr_celeba.txt": ("3\n" + ATTRIBUTES[9:]).replace(",", " ").encode()})
    assert show(open_photos(fill_raw(tmp_path / "one", "archive", "photos.zip", labels=["Male"])))["b.jpg"] == ["1"]
    for part in ("me", "you"):
        write_zip(tmp_path / f"two/parts/{part}.zip", {"a.png": part.encode(), "metadata.csv": f"file_name,who\na.png,{part}".encode()})
    photos = open_photos(fill_raw(tmp_path / "two", "archive", "parts", labels=["who", "folder"]))
    assert show(photos) == {"me/a.png": ["me", "me"], "you/a.png": ["you", "you"]} and photos.manifest.left_out == {}


def test_avatars_know_what_they_show(tmp_path):
    photos = open_photos(fill_raw(tmp_path, "avatars", "", count=12, labels=["skin", "beard"]))
    assert photos.labels.columns["beard"] == ("full", "moustache", "none") and len(show(photos)) == 12
    unlabelled = open_photos(fill_raw(tmp_path / "unlabelled", "avatars", "", count=12))
    assert unlabelled.manifest.sha256 == photos.manifest.sha256 and unlabelled.labels is None
    assert label_faces(0, 12).startswith(label_faces(0, 5)) and label_faces(1, 12) != label_faces(0, 12)


def test_without_labels_nothing_is_written(tmp_path):
    raw = make_raw(tmp_path, {"a.png": b"a", "metadata.csv": CSV.encode()})
    assert sorted(path.name for path in raw.iterdir()) == ["manifest.json", "photos.zip"]
    assert "labels" not in json.loads((raw / "manifest.json").read_text()) and open_photos(raw).manifest.left_out == {".csv": 1}


def test_the_limit_counts_labelled_photos(tmp_path):
    photos = take(tmp_path, {"metadata.csv": CSV}, ["hair"], ["0.png", "a.png", "b.png", "c.png"], limit=2, only="*.png")
    assert photos.names == ["a.png", "b.png"] and photos.manifest.limit == 2


def test_changed_labels_are_refused(tmp_path):
    take(tmp_path, {"metadata.csv": CSV}, ["hair"])
    (tmp_path / "raw/labels.json").write_text("{}")
    with pytest.raises(FaceganError, match=r"labels\.json.*run the download stage again"):
        open_photos(tmp_path / "raw")


@pytest.mark.parametrize(
    "content",
    [
        codecs.BOM_UTF8 + CSV.encode(),
        CSV.encode("utf-16"),
        CSV.encode("utf-16-le"),
        codecs.BOM_UTF16_BE + CSV.encode("utf-16-be"),
        CSV.replace("\n", "\r\n").encode(),
        CSV.replace(",", ";").encode(),
        CSV.replace(",", "\t").encode("utf-16"),
        CSV.replace("\n", "\n\n").replace(",", ", ").encode(),
        CSV.replace("a.png", ".\\a.png").encode(),
        CSV.replace("a.png", '"a.png"').replace("hair", '"hair"').replace("\n", ",\n").encode(),
    ],
)
def test_unusual_csv_files_are_read(tmp_path, content):
    assert show(take(tmp_path, {"metadata.csv": content}, ["hair"])) == {"a.png": ["red"], "b.png": ["black"], "c.png": ["red"]}


@SOURCES
def test_commas_backslashes_and_accents_in_names(tmp_path, source):
    text = 'file_name,"size, roughly"\n"sub\\a, b.png","large, or so"\nsub/e\u0301.png,small\n'
    photos = take(tmp_path, {"metadata.csv": text}, ["size, roughly"], ["sub/a, b.png", "sub/\u00e9.png"], source)
    assert show(photos) == {"sub/a, b.png": ["large, or so"], "sub/\u00e9.png": ["small"]}


def test_missing_photos_and_values(tmp_path, capsys):
    photos = take(
        tmp_path, {"metadata.csv": CSV + "gone.png,yes,red\nd.png, ,red\ne.png\n"}, ["glasses"], ["a.png", "b.png", "d.png", "e.png"]
    )
    assert show(photos) == {"a.png": ["yes"], "b.png": ["no"]}
    assert photos.manifest.left_out == {"without a value for glasses": 2}
    assert "2 files that are not among the photos, such as c.png" in capsys.readouterr().out


def test_values_in_another_case_are_one_value(tmp_path, capsys):
    text = "file_name,sex\na.png,male\nb.png,Male\nc.png,Male\nd.png,female\n"
    photos = take(tmp_path, {"metadata.csv": text}, ["sex"], [f"{name}.png" for name in "abcd"])
    assert photos.labels.columns == {"sex": ("female", "Male")} and show(photos)["a.png"] == ["Male"]
    assert "sex: male is read as Male" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("lists", "labels", "problem"),
    [
        ({"metadata.csv": CSV}, ["glases"], "found glases; did you mean glasses?; the columns are folder, glasses, hair"),
        (
            {"list_attr_celeba.csv": ATTRIBUTES},
            ["Smilling"],
            "found Smilling; did you mean Smiling?; the columns are folder, Male, Smiling",
        ),
        ({}, ["Smiling"], "expected columns of metadata.csv, metadata.jsonl, dataset.json, list_attr_celeba.csv"),
        (
            {"metadata.csv": CSV.replace(".png", ".jpg")},
            ["hair"],
            "expected photos with a value for hair; found none; compare the names in meta",
        ),
        ({"metadata.csv": CSV.replace("yes", "no")}, ["glasses"], "expected 2 to 64 values of glasses; found one: no"),
        ({"metadata.csv": CSV.replace("file_name", "filename")}, ["hair"], "call the column with the photos' names file_name"),
        ({"metadata.csv": CSV.replace("red", "red, really")}, ["hair"], "4 values instead of 3 in line 2; quote values that contain ','"),
        ({"metadata.csv": CSV.replace("red", '"red', 1)}, ["hair"], "expected labels in metadata.csv; found unexpected end of data"),
        ({"metadata.csv": CSV + "a.png,no,red\n"}, ["glasses"], "found a.png twice with different values"),
        ({"metadata.csv": CSV.replace("red", "röd").encode("latin-1")}, ["hair"], "expected text in UTF-8 in metadata.csv"),
        ({"metadata.csv": ""}, ["hair"], "no column file_name"),
        ({"metadata.jsonl": "[1]\n"}, ["hair"], "found a line without file_name"),
        ({"metadata.jsonl": '{"file_name": "a.png"'}, ["hair"], "expected labels in metadata.jsonl"),
        ({"dataset.json": '{"labels": [3]}'}, ["label"], "expected labels in dataset.json"),
        ({"dataset.json": "[" * 10**5}, ["label"], "expected labels in dataset.json"),
        ({"list_attr_celeba.csv": ATTRIBUTES.replace("-1", "no")}, ["Male"], "expected 1 or -1 for each attribute and file"),
    ],
)
def test_invalid_labels_are_reported(tmp_path, lists, labels, problem):
    assert problem in refuse(tmp_path, lists, labels)


def test_too_many_values(tmp_path):
    names = [f"{number:03}.png" for number in range(200)]
    text = "file_name,who\n" + "".join(f"{name},person {name}\n" for name in names)
    assert "expected 2 to 64 values of who; found 200: person 000.png, person 001.png" in refuse(
        tmp_path, {"metadata.csv": text}, ["who"], names=names
    )


def test_escape_codes_are_not_printed(tmp_path):
    photos = take(tmp_path, {"metadata.csv": CSV.replace("red", "\x1b[31m")}, ["hair"])
    assert photos.labels.columns == {"hair": ("\\x1b[31m", "black")}
