"""Kaggle's own, unmodified client fetches through stages/download.py from a server on this machine that misbehaves."""

import email.utils
import hashlib
import io
import json
import os
import random
import subprocess
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from fake_kaggle import FakeKaggle
from projects import copy_project, start_stage

from facegan.common.config import read_yaml
from facegan.common.errors import FaceganError
from facegan.photos.sources.kaggle import fetch_kaggle, find_cache, read_retry_after

MEBIBYTE = 2**20  # the client writes pieces of this size
CUT = MEBIBYTE * 3 // 2
TOKEN = "a-token-of-the-test"
BASIC = "Basic cGFpbnRlcjprZXk="  # painter:key
ARCHIVE = Path("painter/faces/faces.zip")


def make_zip(seed: int, photos: int = 6) -> bytes:
    """Returns a zip of half a megabyte for each photo; its "photos" are noise, since download does not decode them."""
    file, noise = io.BytesIO(), random.Random(seed)
    with zipfile.ZipFile(file, "w") as archive:
        for number in range(photos):
            archive.writestr(f"faces/{number:06}.jpg", noise.randbytes(MEBIBYTE // 2))
    return file.getvalue()


WHOLE, CHANGED = make_zip(seed=1), make_zip(seed=2, photos=7)
DAMAGED = WHOLE[:2000] + bytes([WHOLE[2000] ^ 1]) + WHOLE[2001:]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project whose photos come from painter/faces."""
    project = copy_project(tmp_path_factory.mktemp("kaggle"))
    choose_data_set(project, "painter/faces")
    return project


def choose_data_set(project: Path, slug: str) -> None:
    params = read_yaml(project / "params.yaml")
    params["data"] |= {"source": "kaggle", "path": slug}
    (project / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))


@pytest.fixture
def fake() -> Iterator[FakeKaggle]:
    fake = FakeKaggle(WHOLE)
    yield fake
    fake.stop()


@pytest.fixture
def start(project: Path, fake: FakeKaggle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., subprocess.Popen]:
    """Starts the stage, for a person with an empty home and without credentials but those given."""
    for name in ("KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_CONFIG_DIR", "XDG_CONFIG_HOME", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "home").mkdir()

    def start(out: str = "raw", **extra: str) -> subprocess.Popen:
        folders = {"HOME": str(tmp_path / "home"), "FACEGAN_CACHE": str(tmp_path / "cache")}
        return start_stage(project, "download", "--out", str(tmp_path / out), **fake.environment() | folders | extra)

    return start


@pytest.fixture
def fetch(start: Callable[..., subprocess.Popen]) -> Callable[..., subprocess.CompletedProcess]:
    """Runs the stage to its end."""
    return lambda *arguments, **extra: finish(start(*arguments, **extra))


def finish(process: subprocess.Popen) -> subprocess.CompletedProcess:
    out, err = process.communicate(timeout=120)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def check_fetched(run: subprocess.CompletedProcess, folder: Path, content: bytes = WHOLE) -> None:
    """The stage succeeded, and left just this zip, in the cache and in the output."""
    assert run.returncode == 0, run.stderr
    assert (folder / "cache" / ARCHIVE).read_bytes() == content
    manifest = json.loads((folder / "raw" / "manifest.json").read_text())
    assert manifest["sha256"] == hashlib.sha256(content).hexdigest()
    assert sorted(path.name for path in (folder / "raw").iterdir()) == sorted(["manifest.json", manifest["archive"]])
    assert "CC0-1.0" in manifest["license"]


def wait_for_bytes(path: Path, count: int, process: subprocess.Popen) -> None:
    """Waits until the file has so many bytes."""
    while not path.is_file() or path.stat().st_size < count:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


def test_fetches_anonymously_once_and_again_only_what_was_damaged(fetch, fake, tmp_path):
    run = fetch()
    check_fetched(run, tmp_path)
    assert "6 photos" in run.stdout
    assert "KAGGLE_API_TOKEN" not in run.stdout + run.stderr  # the client's pages of help for those without credentials
    assert all(request.authorization is None for request in fake.requests)

    archive = tmp_path / "cache" / ARCHIVE
    archive.unlink()  # not written in place: the stage's output may be the same file
    archive.write_bytes(DAMAGED)
    check_fetched(fetch(), tmp_path)
    assert fake.count("transfer") == 2

    fake.stop()
    check_fetched(fetch(), tmp_path)
    assert fake.count("transfer") == 2


@pytest.mark.parametrize("at", [2000, len(WHOLE) - 60], ids=["in a photo", "in the directory"])
def test_a_cache_that_rots_is_noticed_and_fetched_again(fetch, fake, tmp_path, at):
    check_fetched(fetch(), tmp_path)
    archive = tmp_path / "cache" / ARCHIVE
    time_ns = archive.stat().st_mtime_ns
    archive.unlink()  # not written in place: the stage's output may be the same file
    archive.write_bytes(WHOLE[:at] + bytes([WHOLE[at] ^ 1]) + WHOLE[at + 1 :])
    os.utime(archive, ns=(time_ns, time_ns))
    run = fetch()
    check_fetched(run, tmp_path)
    assert "is no longer what was fetched: fetching it again" in run.stdout and fake.count("transfer") == 2


@pytest.mark.parametrize("torn", [b"", b'{"bytes": 3', b"[]", b'{"bytes": 1, "mtime_ns": 1, "sha256": "0"}', b"\xff"])
def test_a_torn_note_about_the_cache_costs_a_check_and_no_fetch(fetch, fake, tmp_path, torn):
    check_fetched(fetch(), tmp_path)
    (tmp_path / "cache" / ARCHIVE).with_name("checked.json").write_bytes(torn)
    check_fetched(fetch(), tmp_path)
    assert fake.count("transfer") == 1


def test_a_user_without_a_home_is_told_to_name_the_cache(monkeypatch):
    """As in a container that runs under a number nobody knows."""
    monkeypatch.delenv("HOME")
    monkeypatch.delenv("FACEGAN_CACHE", raising=False)
    monkeypatch.setattr("pwd.getpwuid", lambda number: {}[number])
    with pytest.raises(FaceganError, match="expected a home folder for what Kaggle sends; found none; set FACEGAN_CACHE"):
        find_cache()


def test_goes_on_after_a_cut(fetch, fake, tmp_path):
    fake.cuts = [CUT]
    check_fetched(fetch(), tmp_path)
    assert fake.ranges() == [f"bytes={MEBIBYTE}-"]


def test_goes_on_after_being_killed(start, fetch, fake, tmp_path):
    fake.stall_after = CUT
    process = start()
    wait_for_bytes(tmp_path / "cache" / ARCHIVE, MEBIBYTE, process)
    process.kill()
    process.communicate()
    assert not (tmp_path / "raw" / "manifest.json").exists()
    check_fetched(fetch(), tmp_path)
    assert fake.ranges() == [f"bytes={MEBIBYTE}-"]


def test_starts_afresh_when_the_data_set_changed_meanwhile(fetch, fake, tmp_path):
    fake.cuts, fake.next_content = [CUT], CHANGED
    check_fetched(fetch(), tmp_path, CHANGED)
    assert fake.ranges() == []


def test_a_dead_connection_is_given_up_for_a_new_one(project, fetch, fake, tmp_path):
    fake.stall_after = CUT
    module = project / "facegan" / "photos" / "sources" / "kaggle.py"
    source = module.read_text()
    module.write_text(source.replace("STALL_SECONDS = 120", "STALL_SECONDS = 1"))
    try:
        check_fetched(fetch(), tmp_path)
    finally:
        module.write_text(source)
    assert fake.ranges() == [f"bytes={MEBIBYTE}-"]


@pytest.mark.parametrize(("status", "told"), [(401, "token"), (403, "accept its terms"), (404, "no such data set")])
def test_a_refusal_is_told_in_one_line(fetch, fake, tmp_path, status, told):
    fake.refusals = [(status, {})]
    run = fetch()
    assert run.returncode == 1
    assert run.stderr.startswith("error: expected") and run.stderr.count("\n") == 1
    assert told in run.stderr and str(status) in run.stderr and "https://www.kaggle.com/datasets/painter/faces" in run.stderr
    assert fake.count("DownloadDataset") == 1
    assert not (tmp_path / "raw" / "manifest.json").exists()


def test_waits_as_long_as_a_busy_server_asks(fetch, fake, tmp_path):
    fake.refusals = [(429, {"Retry-After": "2"})]
    run = fetch()
    check_fetched(run, tmp_path)
    assert "trying again in 2 s" in run.stdout
    assert fake.count("DownloadDataset") == 2


def test_asks_again_after_errors_of_the_server(fetch, fake, tmp_path):
    fake.refusals = [(500, {}), (503, {"Retry-After": "1"})]
    check_fetched(fetch(), tmp_path)
    assert fake.count("DownloadDataset") == 3


def test_a_damaged_zip_is_refused(fetch, fake, tmp_path):
    fake.content = DAMAGED
    run = fetch()
    assert run.returncode == 1
    assert run.stderr.startswith("error: expected a whole zip") and run.stderr.count("\n") == 1
    assert fake.count("transfer") == 2
    assert not (tmp_path / "cache" / ARCHIVE).exists()
    fake.content = WHOLE
    check_fetched(fetch(), tmp_path)


def test_two_runs_at_once_fetch_once(start, fake, tmp_path):
    fake.stall_after = CUT
    first = start("raw")
    wait_for_bytes(tmp_path / "cache" / ARCHIVE, MEBIBYTE, first)
    second = start("raw of the second")
    assert "waiting for another run" in second.stdout.readline()
    fake.going_on.set()
    check_fetched(finish(first), tmp_path)
    assert finish(second).returncode == 0
    assert fake.count("transfer") == 1


@pytest.mark.parametrize(
    ("file", "content", "variables", "sent"),
    [
        (None, None, {"KAGGLE_API_TOKEN": TOKEN}, f"Bearer {TOKEN}"),
        (".kaggle/access_token", TOKEN, {}, f"Bearer {TOKEN}"),
        (None, None, {"KAGGLE_USERNAME": "painter", "KAGGLE_KEY": "key"}, BASIC),
        (".kaggle/kaggle.json", '{"username": "painter", "key": "key"}', {}, BASIC),
        ("elsewhere/kaggle.json", '{"username": "painter", "key": "key"}', {"KAGGLE_CONFIG_DIR": "~/elsewhere"}, BASIC),
    ],
)
def test_sends_the_credentials_that_it_finds(fetch, fake, tmp_path, file, content, variables, sent):
    home = tmp_path / "home"
    if file:
        (home / file).parent.mkdir()
        (home / file).write_text(content)
        (home / file).chmod(0o600)
    check_fetched(fetch(**{key: value.replace("~", str(home)) for key, value in variables.items()}), tmp_path)
    assert {request.authorization for request in fake.requests if request.name == "DownloadDataset"} == {sent}


def test_a_version_can_be_pinned(project, fetch, fake, tmp_path):
    choose_data_set(project, "painter/faces/3")
    try:
        run = fetch()
    finally:
        choose_data_set(project, "painter/faces")
    assert run.returncode == 0, run.stderr
    assert (tmp_path / "cache" / "painter" / "faces" / "3" / "faces.zip").read_bytes() == WHOLE
    asked = {request.content.get("datasetVersionNumber") for request in fake.requests if request.name == "DownloadDataset"}
    assert asked == {3}


@pytest.mark.parametrize("slug", ["faces", "painter/", "../faces", "https://www.kaggle.com/datasets/painter/faces"])
def test_only_a_slug_is_taken(tmp_path, slug):
    with pytest.raises(FaceganError, match="expected owner/dataset"):
        fetch_kaggle(slug, tmp_path, tmp_path / "copy.zip")


def test_retry_after_is_a_number_or_a_date():
    def read(**headers: str) -> float:
        return read_retry_after(SimpleNamespace(headers=headers))

    later = email.utils.format_datetime(email.utils.localtime().replace(year=2100))
    assert read(**{"Retry-After": "17"}) == 17
    assert read(**{"Retry-After": later}) == read(**{"Retry-After": "999999999"}) == read(**{"Retry-After": "1e400"}) == 600
    assert read(**{"Retry-After": "-5"}) == read(**{"Retry-After": "nan"}) == read(**{"Retry-After": "²"}) == 0
    assert read(**{"Retry-After": "Wed, 01 Jan 999999 00:00:00 GMT"}) == 0
    assert read(**{"Retry-After": "soon"}) == read() == read_retry_after(None) == 0
