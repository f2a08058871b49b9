"""Tar archives in the variants that data sets use: the same photos as from a zip archive, damage is reported, memory is limited."""

import bz2
import gzip
import io
import lzma
import random
import tarfile
from pathlib import Path

import pytest
from PIL import Image
from raw_photos import fill_raw, write_zip

from facegan.common.errors import FaceganError
from facegan.photos.sources.archive import find_kind
from facegan.photos.store import open_photos
from facegan.preprocessing.preprocess import preprocess
from presets import read_preset

zstandard = pytest.importorskip("zstandard")
PACKERS = {
    "faces.tar": lambda content: content,
    "lfw.tgz": gzip.compress,
    "faces.tar.bz2": bz2.compress,
    "faces.tar.xz": lzma.compress,
    "faces.tar.zst": lambda content: zstandard.compress(content[:5000]) + zstandard.compress(content[5000:]),
}


def make_photo(number: int) -> bytes:
    file = io.BytesIO()
    random_numbers = random.Random(number)
    Image.frombytes("RGB", (40, 40), random_numbers.randbytes(4800)).save(file, "JPEG" if number % 2 else "PNG")
    return file.getvalue()


LFW = {f"lfw/Person_{number // 3:02d}/Person_{number // 3:02d}_{number % 3 + 1:04d}.jpg": make_photo(number) for number in range(12)}
UTKFACE = {f"UTKFace/{number}_{number % 2}_3_2017010900{number:04d}.jpg.chip.jpg": make_photo(number) for number in range(12)}


def make_tar(files: dict[str, bytes], format: int = tarfile.PAX_FORMAT) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=format) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


def read_all(raw: Path) -> dict[str, bytes]:
    photos = open_photos(raw)
    return dict(zip(photos.names, photos.read_all(), strict=True))


@pytest.mark.parametrize("name", PACKERS)
@pytest.mark.parametrize("files", [LFW, UTKFACE], ids=["lfw", "utkface"])
def test_photos_are_those_in_the_archive(tmp_path, name, files):
    (tmp_path / name).write_bytes(PACKERS[name](make_tar(files)))
    assert read_all(fill_raw(tmp_path, "archive", name)) == files


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_names_of_every_format_are_read(tmp_path, format):
    name = f"{'long folder/' * (1 if format == tarfile.USTAR_FORMAT else 20)}größe 例.jpg"
    (tmp_path / "faces.tar").write_bytes(make_tar({f"./{name}": b"one", "a\\b.jpg": b"two"}, format))
    assert read_all(fill_raw(tmp_path, "archive", "faces.tar")) == {name: b"one", "a/b.jpg": b"two"}


def test_undecodable_name_is_escaped(tmp_path):
    content = make_tar({"caf__.jpg": b"one"}, tarfile.GNU_FORMAT)
    header = bytearray(content[:512].replace(b"caf__", b"caf\xe9_"))
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    (tmp_path / "faces.tar").write_bytes(header + content[512:])
    assert list(read_all(fill_raw(tmp_path, "archive", "faces.tar"))) == ["caf%E9_.jpg"]


def test_other_members_are_skipped_and_counted(tmp_path):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for kind, name in ((tarfile.DIRTYPE, "a.jpg"), (tarfile.SYMTYPE, "b.jpg"), (tarfile.LNKTYPE, "c.jpg"), (tarfile.FIFOTYPE, "d.jpg")):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            archive.addfile(member)
        for name, content in (("e.jpg", b"photo"), ("e.jpg", b"newer"), (".f.jpg", b"fork"), ("g.txt", b"text"), ("h.jpg", b"")):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    (tmp_path / "faces.tar").write_bytes(file.getvalue())
    photos = open_photos(fill_raw(tmp_path, "archive", "faces.tar"))
    assert list(photos.read_all()) == [b"newer"]
    assert photos.manifest.left_out == {"hidden": 1, ".txt": 1, "empty": 1, "replaced by a later file of the same name": 1}


def test_partition_list_is_kept(tmp_path):
    files = {"celeba/1.jpg": b"one", "celeba/2.jpg": b"two", "celeba/list_eval_partition.csv": b"image_id,partition\n1.jpg,0\n2.jpg,1\n"}
    (tmp_path / "celeba.tar.gz").write_bytes(gzip.compress(make_tar(files)))
    assert open_photos(fill_raw(tmp_path, "archive", "celeba.tar.gz")).read_partition() == {"1.jpg": 0, "2.jpg": 1}


def test_folders_are_labels(tmp_path):
    (tmp_path / "lfw.tgz").write_bytes(gzip.compress(make_tar(LFW)))
    raw = fill_raw(tmp_path, "archive", "lfw.tgz", labels=["folder"])
    assert set(open_photos(raw).labels.columns["folder"]) == {f"Person_{number:02d}" for number in range(4)}


def test_archives_of_all_kinds_in_a_folder_are_read(tmp_path):
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts/one.tar.gz").write_bytes(gzip.compress(make_tar({"a.jpg": b"one"})))
    write_zip(tmp_path / "parts/two.zip", {"a.jpg": b"two"})
    (tmp_path / "parts/notes.txt").write_text("not an archive")
    assert read_all(fill_raw(tmp_path, "archive", "parts")) == {"one/a.jpg": b"one", "two/a.jpg": b"two"}


def test_tar_that_ends_with_a_zip_archive_is_a_tar(tmp_path):
    inner = write_zip(tmp_path / "inner.zip", {"b.jpg": b"inner"}).read_bytes()
    content = make_tar({"a.jpg": b"outer", "b.zip": inner})
    (tmp_path / "faces.tar").write_bytes(content)
    assert find_kind(tmp_path / "faces.tar") == "tar" and find_kind(tmp_path / "inner.zip") == "zip"


@pytest.mark.parametrize("name", PACKERS)
def test_truncated_archive_is_rejected_wherever_it_ends(tmp_path, name):
    plain = make_tar(dict(list(LFW.items())[:3]))
    content = PACKERS[name](plain)
    end = len(plain.rstrip(b"\0")) if content == plain else len(content)
    for size in {*range(0, end, max(1, end // 40)), *range(512, end, 512), end - 1}:
        (tmp_path / name).write_bytes(content[:size])
        with pytest.raises(FaceganError, match=r"expected .*; found "):
            fill_raw(tmp_path, "archive", name)
        assert not (tmp_path / "raw/manifest.json").exists()


def test_changed_header_or_compressed_byte_is_rejected(tmp_path):
    plain = make_tar(dict(list(LFW.items())[:2]), tarfile.GNU_FORMAT)
    second = 512 + (len(LFW[next(iter(LFW))]) + 511) // 512 * 512
    packed = gzip.compress(plain)
    numbers = random.Random(0)
    for name, content, at in [("a.tar", plain, second + 120)] + [
        ("a.tgz", packed, numbers.randrange(10, len(packed) - 4)) for _ in range(40)
    ]:
        (tmp_path / name).write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        with pytest.raises(FaceganError, match=r"expected a tar archive without errors in .*; found damage"):
            fill_raw(tmp_path, "archive", name)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (gzip.compress(b"no tar archive" * 100), "a header is invalid"),
        (gzip.compress(b""), "empty|missing"),
        (make_tar({"a.jpg": b"one"}) + make_tar({"b.jpg": b"two"}), "other data follow its end"),
    ],
    ids=["not tar", "empty", "two archives"],
)
def test_other_content_is_rejected(tmp_path, content, found):
    (tmp_path / "faces.tar.gz").write_bytes(content)
    with pytest.raises(FaceganError, match=found):
        fill_raw(tmp_path, "archive", "faces.tar.gz")


def test_header_that_claims_gigabytes_is_rejected_before_it_is_read(tmp_path):
    member = tarfile.TarInfo("././@LongLink")
    member.type, member.size = tarfile.GNUTYPE_LONGNAME, 7 * 2**30
    (tmp_path / "faces.tar").write_bytes(member.tobuf(tarfile.GNU_FORMAT) + bytes(20_000))
    with pytest.raises(FaceganError, match="a header of 7,516,192,768 bytes"):
        fill_raw(tmp_path, "archive", "faces.tar")


def test_missing_package_is_named(tmp_path, monkeypatch):
    (tmp_path / "faces.tar.zst").write_bytes(PACKERS["faces.tar.zst"](make_tar(LFW)))
    monkeypatch.setitem(__import__("sys").modules, "zstandard", None)
    with pytest.raises(FaceganError, match="run: pip install zstandard"):
        fill_raw(tmp_path, "archive", "faces.tar.zst")


def test_shards_are_those_of_a_zip_archive_for_any_number_of_workers(tmp_path):
    parameters = read_preset("demo", preprocess={"resolution": 32, "crop": "none", "holdout": 0.3}).preprocess
    (tmp_path / "lfw.tgz").write_bytes(gzip.compress(make_tar(LFW)))
    write_zip(tmp_path / "lfw.zip", LFW)
    results = []
    for name, workers in (("lfw.tgz", 1), ("lfw.tgz", 3), ("lfw.zip", 1)):
        out = tmp_path / f"{name}{workers}"
        preprocess(fill_raw(tmp_path, "archive", name), parameters, out, workers)
        results.append({path.name: path.read_bytes() for path in out.iterdir()})
    assert results[0] == results[1]
    assert {name: results[0][name] for name in results[0] if "safetensors" in name} == {
        name: content for name, content in results[2].items() if "safetensors" in name
    }
