"""stages/download.py with Kaggle's own, unmodified client, and a local server that fails in various ways."""

import email.utils
import hashlib
import io
import json
import random
import subprocess
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from fake_kaggle import FakeKaggle
from projects import change_params, complete, copy_project, start_stage

from facegan.common.errors import FaceganError
from facegan.photos.sources.kaggle import fetch_kaggle, find_cache, read_retry_after

MEBIBYTE = 2**20  # the client's chunk size
CUT = MEBIBYTE * 3 // 2
TOKEN = "a-token-of-the-test"
BASIC = "Basic cGFpbnRlcjprZXk="  # painter:key
KEY = '{"username": "painter", "key": "key"}'
ARCHIVE = Path("painter/faces/faces.zip")


def make_zip(seed: int, photos: int = 6) -> bytes:
    """Returns an archive of noise, half a megabyte per photo. The stage does not decode photos."""
    file, noise = io.BytesIO(), random.Random(seed)
    with zipfile.ZipFile(file, "w") as archive:
        for number in range(photos):
            archive.writestr(f"faces/{number:06}.jpg", noise.randbytes(MEBIBYTE // 2))
    return file.getvalue()


INTACT, CHANGED = make_zip(seed=1), make_zip(seed=2, photos=7)
DAMAGED = INTACT[:2000] + bytes([INTACT[2000] ^ 1]) + INTACT[2001:]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with the data set painter/faces."""
    project = copy_project(tmp_path_factory.mktemp("kaggle"))
    change_params(project, "data", source="kaggle", path="painter/faces")
    return project


@pytest.fixture
def fake() -> Iterator[FakeKaggle]:
    fake = FakeKaggle(INTACT)
    yield fake
    fake.stop()


@pytest.fixture
def start(project: Path, fake: FakeKaggle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., subprocess.Popen]:
    """Returns a function that starts the stage with an empty home folder, and no credentials but those given."""
    for name in ("KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_CONFIG_DIR", "XDG_CONFIG_HOME", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "home").mkdir()

    def start(out: str = "raw", **extra: str) -> subprocess.Popen:
        folders = {"HOME": str(tmp_path / "home"), "FACEGAN_CACHE": str(tmp_path / "cache")}
        return start_stage(project, "download", "--out", str(tmp_path / out), **fake.environment() | folders | extra)

    return start


@pytest.fixture
def fetch(start: Callable[..., subprocess.Popen]) -> Callable[..., subprocess.CompletedProcess]:
    """Returns a function that runs the stage to its end."""
    return lambda **extra: complete(start(**extra))


def check_fetched(run: subprocess.CompletedProcess, folder: Path, content: bytes = INTACT) -> None:
    """Asserts that the stage succeeded with this archive in the cache and in the output."""
    assert run.returncode == 0, run.stderr
    assert (folder / "cache" / ARCHIVE).read_bytes() == content
    manifest = json.loads((folder / "raw" / "manifest.json").read_text())
    assert manifest["sha256"] == hashlib.sha256(content).hexdigest()
    assert sorted(path.name for path in (folder / "raw").iterdir()) == sorted(["manifest.json", manifest["archive"]])
    assert "CC0-1.0" in manifest["license"]


def wait_for_bytes(path: Path, count: int, process: subprocess.Popen) -> None:
    """Waits until the file has this size."""
    while not path.is_file() or path.stat().st_size < count:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


def test_archive_is_downloaded_anonymously_and_cached(fetch, fake, tmp_path):
    run = fetch()
    check_fetched(run, tmp_path)
    assert "6 photos" in run.stdout
    assert "KAGGLE_API_TOKEN" not in run.stdout + run.stderr  # the client's help for users without credentials
    assert all(request.authorization is None for request in fake.requests)
    fake.stop()
    check_fetched(fetch(), tmp_path)
    assert fake.count("transfer") == 1


@pytest.mark.parametrize("at", [2000, len(INTACT) - 60], ids=["in a photo", "in the directory"])
def test_damaged_cache_is_detected_and_downloaded_again(fetch, fake, tmp_path, at):
    check_fetched(fetch(), tmp_path)
    archive = tmp_path / "cache" / ARCHIVE
    archive.unlink()  # the stage's output may be a hard link to it
    archive.write_bytes(INTACT[:at] + bytes([INTACT[at] ^ 1]) + INTACT[at + 1 :])
    run = fetch()
    check_fetched(run, tmp_path)
    assert "has changed since it was downloaded; downloading it again" in run.stdout and fake.count("transfer") == 2


@pytest.mark.parametrize("content", [b"", b'{"sha256": 3', b"[]", b'{"sha256": "0"}', b"\xff"])
def test_invalid_record_of_the_cache_requires_no_download(fetch, fake, tmp_path, content):
    check_fetched(fetch(), tmp_path)
    (tmp_path / "cache" / ARCHIVE).with_name("checked.json").write_bytes(content)
    check_fetched(fetch(), tmp_path)
    assert fake.count("transfer") == 1


def test_user_without_home_folder_must_set_the_cache(monkeypatch):
    """As in a container that runs under an unknown user id."""
    monkeypatch.delenv("HOME")
    monkeypatch.delenv("FACEGAN_CACHE", raising=False)
    monkeypatch.setattr("pwd.getpwuid", lambda number: {}[number])
    with pytest.raises(FaceganError, match="found none; set FACEGAN_CACHE to a folder"):
        find_cache()


def test_resumes_after_a_closed_connection(fetch, fake, tmp_path):
    fake.cuts = [CUT]
    check_fetched(fetch(), tmp_path)
    assert fake.ranges() == [f"bytes={MEBIBYTE}-"]


def test_resumes_after_kill(start, fetch, fake, tmp_path):
    fake.stall_after = CUT
    process = start()
    wait_for_bytes(tmp_path / "cache" / ARCHIVE, MEBIBYTE, process)
    process.kill()
    process.communicate()
    assert not (tmp_path / "raw" / "manifest.json").exists()
    check_fetched(fetch(), tmp_path)
    assert fake.ranges() == [f"bytes={MEBIBYTE}-"]


def test_starts_over_if_the_data_set_has_changed(fetch, fake, tmp_path):
    fake.cuts, fake.next_content = [CUT], CHANGED
    check_fetched(fetch(), tmp_path, CHANGED)
    assert fake.ranges() == []


def test_stalled_connection_is_replaced(project, fetch, fake, tmp_path):
    fake.stall_after = CUT
    module = project / "facegan" / "photos" / "sources" / "kaggle.py"
    source = module.read_text()
    module.write_text(source.replace("STALL_SECONDS = 120", "STALL_SECONDS = 1"))
    try:
        check_fetched(fetch(), tmp_path)
    finally:
        module.write_text(source)
    assert fake.ranges() == [f"bytes={MEBIBYTE}-"]


@pytest.mark.parametrize(("status", "hint"), [(401, "token"), (403, "accept its terms"), (404, "no such data set")])
def test_refusal_is_reported_on_one_line(fetch, fake, tmp_path, status, hint):
    fake.refusals = [(status, {})]
    run = fetch()
    assert run.returncode == 1
    assert run.stderr.startswith("error: expected") and run.stderr.count("\n") == 1
    assert hint in run.stderr and str(status) in run.stderr and "https://www.kaggle.com/datasets/painter/faces" in run.stderr
    assert fake.count("DownloadDataset") == 1
    assert not (tmp_path / "raw" / "manifest.json").exists()


def test_retries_temporary_errors_after_the_requested_pause(fetch, fake, tmp_path):
    fake.refusals = [(429, {"Retry-After": "2"}), (500, {}), (503, {"Retry-After": "1"})]
    run = fetch()
    check_fetched(run, tmp_path)
    assert "trying again in 2 s" in run.stdout
    assert fake.count("DownloadDataset") == 4


def test_damaged_archive_is_refused(fetch, fake, tmp_path):
    fake.content = DAMAGED
    run = fetch()
    assert run.returncode == 1
    assert run.stderr.startswith("error: expected an undamaged archive") and run.stderr.count("\n") == 1
    assert fake.count("transfer") == 2
    assert not (tmp_path / "cache" / ARCHIVE).exists()
    fake.content = INTACT
    check_fetched(fetch(), tmp_path)


def test_two_runs_at_the_same_time_download_once(start, fake, tmp_path):
    fake.stall_after = CUT
    first = start("raw")
    wait_for_bytes(tmp_path / "cache" / ARCHIVE, MEBIBYTE, first)
    second = start("raw of the second")
    assert "waiting for another run" in second.stdout.readline()
    fake.resume.set()
    check_fetched(complete(first), tmp_path)
    assert complete(second).returncode == 0
    assert fake.count("transfer") == 1


@pytest.mark.parametrize(
    ("file", "content", "variables", "sent"),
    [
        (None, None, {"KAGGLE_API_TOKEN": TOKEN}, f"Bearer {TOKEN}"),
        (".kaggle/access_token", TOKEN, {}, f"Bearer {TOKEN}"),
        (None, None, {"KAGGLE_USERNAME": "painter", "KAGGLE_KEY": "key"}, BASIC),
        (".kaggle/kaggle.json", KEY, {}, BASIC),
        ("elsewhere/kaggle.json", KEY, {"KAGGLE_CONFIG_DIR": "~/elsewhere"}, BASIC),
    ],
)
def test_credentials_are_found(fetch, fake, tmp_path, file, content, variables, sent):
    home = tmp_path / "home"
    if file:
        (home / file).parent.mkdir()
        (home / file).write_text(content)
        (home / file).chmod(0o600)
    check_fetched(fetch(**{key: value.replace("~", str(home)) for key, value in variables.items()}), tmp_path)
    assert {request.authorization for request in fake.requests if request.name == "DownloadDataset"} == {sent}


def test_pinned_version(project, fetch, fake, tmp_path):
    change_params(project, "data", path="painter/faces/3")
    try:
        run = fetch()
    finally:
        change_params(project, "data", source="kaggle", path="painter/faces")
    assert run.returncode == 0, run.stderr
    assert (tmp_path / "cache" / "painter" / "faces" / "3" / "faces.zip").read_bytes() == INTACT
    versions = {request.content.get("datasetVersionNumber") for request in fake.requests if request.name == "DownloadDataset"}
    assert versions == {3}


@pytest.mark.parametrize("slug", ["faces", "painter/", "../faces", "https://www.kaggle.com/datasets/painter/faces"])
def test_invalid_slug_is_reported(tmp_path, slug):
    with pytest.raises(FaceganError, match="expected owner/dataset"):
        fetch_kaggle(slug, tmp_path, tmp_path / "copy.zip")


def test_retry_after_is_a_number_or_a_date():
    def read(value: str) -> float:
        return read_retry_after(SimpleNamespace(headers={"Retry-After": value}))

    later = email.utils.format_datetime(email.utils.localtime().replace(year=2100))
    assert [read(value) for value in ("17", later, "999999999")] == [17, 600, 600]
    invalid = ("-5", "nan", "²", "1e400", "9" * 5000, "Wed, 01 Jan 999999 00:00:00 GMT", "soon", "")
    assert [read(value) for value in invalid] == [0] * len(invalid)
    assert read_retry_after(SimpleNamespace(headers={})) == read_retry_after(None) == 0
