"""Parquet files as on the Hugging Face hub: images as bytes or as the hub's struct, labels, several row groups, damage."""

import io
import json
import sys
import zipfile

import pytest
from PIL import Image
from raw_photos import fill_raw

from facegan.common.errors import FaceganError
from facegan.photos.parquet_file import ParquetImages
from facegan.photos.store import open_photos

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")


def make_photo(shade: int, format: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), (shade, 0, 0)).save(file, format)
    return file.getvalue()


PHOTOS = [make_photo(number, "PNG" if number % 2 else "JPEG") for number in range(7)]


def write_parquet(path, columns, metadata=None, **options):
    table = pyarrow.table(columns)
    parquet.write_table(table.replace_schema_metadata(metadata), path, **options)
    return path


def as_structs(photos, paths=None):
    return [{"bytes": photo, "path": path} for photo, path in zip(photos, paths or [None] * len(photos), strict=True)]


@pytest.mark.parametrize("column", [PHOTOS, as_structs(PHOTOS)], ids=["bytes", "struct"])
def test_images_of_all_row_groups_are_read_in_order(tmp_path, column):
    path = write_parquet(tmp_path / "faces.parquet", {"label": range(7), "image": column}, row_group_size=3)
    assert parquet.ParquetFile(path).num_row_groups == 3
    photos = open_photos(fill_raw(tmp_path, "archive", "faces.parquet"))
    assert photos.names == [f"{number:08d}.{'png' if number % 2 else 'jpg'}" for number in range(7)]
    assert list(photos.read_all()) == PHOTOS


def test_other_columns_are_labels_and_class_labels_have_names(tmp_path):
    features = {"image": {"_type": "Image"}, "hair": {"_type": "ClassLabel", "names": ["black", "brown"]}, "age": {"_type": "Value"}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    columns = {"image": as_structs(PHOTOS[:4], ["a/b.webp", None, None, None]), "hair": [0, 1, 1, 0], "age": [20, 30, 20, None]}
    write_parquet(tmp_path / "faces.parquet", {**columns, "box": [[1, 2]] * 4}, metadata)
    raw = fill_raw(tmp_path, "archive", "faces.parquet", labels=["hair"])
    photos = open_photos(raw)
    assert photos.names[0] == "00000000.webp" and photos.labels.columns == {"hair": ("black", "brown")}
    assert [photos.labels.photos[name] for name in photos.names] == [(0,), (1,), (1,), (0,)]
    rows = [json.loads(line) for line in zipfile.ZipFile(raw / "photos.zip").read("metadata.jsonl").splitlines()]
    assert rows[1] == {"file_name": "00000001.png", "hair": "brown", "age": 30} and rows[3]["age"] is None


def test_rows_without_an_image_are_counted(tmp_path):
    write_parquet(tmp_path / "faces.parquet", {"image": [PHOTOS[0], None, b"", PHOTOS[1]]})
    photos = open_photos(fill_raw(tmp_path, "archive", "faces.parquet"))
    assert photos.names == ["00000000.jpg", "00000003.png"] and photos.manifest.left_out == {"without an image": 1, "empty": 1}


def test_file_with_paths_only_is_reported(tmp_path):
    write_parquet(tmp_path / "faces.parquet", {"file_name": ["a.jpg"], "age": [3]})
    with pytest.raises(FaceganError, match=r"expected a column of images, as bytes, in .*; found the columns file_name, age; if they are"):
        fill_raw(tmp_path, "archive", "faces.parquet")


@pytest.mark.parametrize("change", [lambda content: content[:-20], lambda content: content[:60] + bytes(200) + content[260:]])
def test_damaged_file_is_reported(tmp_path, change):
    path = write_parquet(tmp_path / "faces.parquet", {"image": PHOTOS * 20})
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(FaceganError, match=r"expected a Parquet file without errors in .*faces\.parquet; found damage"):
        fill_raw(tmp_path, "archive", "faces.parquet")


def test_missing_package_is_named(tmp_path, monkeypatch):
    path = write_parquet(tmp_path / "faces.parquet", {"image": PHOTOS})
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(FaceganError, match="run: pip install pyarrow"):
        ParquetImages(path)


def test_memory_does_not_grow_with_the_row_group(tmp_path):
    images = {"image": [bytes([number]) * 1_000_000 for number in range(200)]}
    write_parquet(tmp_path / "faces.parquet", images, compression="zstd", use_dictionary=False, write_batch_size=1)
    before = pyarrow.total_allocated_bytes()
    most = max(pyarrow.total_allocated_bytes() - before for _ in ParquetImages(tmp_path / "faces.parquet").read())
    assert most < 100_000_000  # 200 MB are in the only row group
