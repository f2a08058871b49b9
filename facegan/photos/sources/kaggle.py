"""A Kaggle data set, downloaded once by Kaggle's own client and cached.

In: ``owner/dataset``, or ``owner/dataset/version`` to pin a version. Out: the data set's zip archive. The cache has a folder for each::

    owner/dataset/dataset.zip
    owner/dataset/dataset.zip.kaggle-partial  the client's marker of an incomplete download, with the version
    owner/dataset/checked.json                the SHA-256 of the archive when all its files were verified
    owner/dataset/license.txt                 the licence according to Kaggle
    owner/dataset/lock                        held by the process that downloads
"""

import contextlib
import functools
import io
import os
import random
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pydantic
from filelock import AcquireReturnProxy, FileLock, Timeout

from facegan.common.errors import FaceganError, printable
from facegan.common.files import hash_file, read_json, write_json, write_text
from facegan.common.progress import Progress
from facegan.photos.manifest import ARCHIVE, Manifest, Sha256
from facegan.photos.parameters import DataParameters
from facegan.photos.sources.archive import check_archive, describe_archive, link_or_copy

SLUG = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(/[0-9]+)?")
DOWNLOADS = 2  # of an archive that arrives damaged
TRIES = 6  # consecutive failed requests without a new byte
STALL_SECONDS = 120  # without a byte, after which a connection is closed
LONGEST_PAUSE_SECONDS = 600  # whatever pause a server requests
TEMPORARY = (429, 500, 502, 503, 504)  # HTTP statuses worth a retry
TOKEN_HELP = "create a token at https://www.kaggle.com/settings and put it into KAGGLE_API_TOKEN or ~/.kaggle/access_token"
REFUSALS = {
    401: f"credentials missing or expired (401); {TOKEN_HELP}, or remove an old token: public data sets need none",
    403: f"access refused (403); open that page, sign in and accept its terms, or ask its owner; {TOKEN_HELP}",
    404: "no such data set (404); search for it at https://www.kaggle.com/datasets and correct data.path",
}

Answer = TypeVar("Answer")


class Check(pydantic.BaseModel, frozen=True):
    """The content of checked.json."""

    sha256: Sha256


def take_kaggle(parameters: DataParameters, raw: Path, home: Path) -> Manifest:
    """Puts the archive of Kaggle's data set ``parameters.path`` (owner/dataset) into ``raw``.

    The archive is kept in ``$FACEGAN_CACHE`` (default: ~/.cache/facegan), so that queued experiments and fresh clones do not download it
    again.
    """
    archive = raw / ARCHIVE
    sha256, license = fetch_kaggle(str(parameters.path), find_cache(), archive)
    return describe_archive(parameters, archive, sha256, license)


def find_cache() -> Path:
    """Returns the cache folder. Raises FaceganError if the user has no home folder."""
    if os.environ.get("FACEGAN_CACHE"):
        return Path(os.environ["FACEGAN_CACHE"])
    try:
        return Path.home() / ".cache" / "facegan"
    except RuntimeError:
        raise FaceganError("expected a home folder for the Kaggle cache; found none; set FACEGAN_CACHE to a folder") from None


def fetch_kaggle(slug: str, cache: Path, copy: Path) -> tuple[str, str]:
    """Puts a verified copy of a data set's archive at ``copy``. Returns its SHA-256 and its licence.

    A cached archive with the SHA-256 in checked.json is used without network access. Otherwise the archive, or the rest of it, is
    downloaded, anonymously or with the credentials that Kaggle's client finds, and every file in it is verified. If several processes
    need the same data set, one downloads it and the others wait.

    Raises:
        FaceganError: the slug is invalid; Kaggle refuses or is not reachable; the archive arrives damaged; the disk is full.
    """
    if not SLUG.fullmatch(slug):
        raise FaceganError(f"data.path: expected owner/dataset, as in https://www.kaggle.com/datasets/owner/dataset; found {slug!r}")
    folder = cache / slug
    archive = folder / f"{slug.split('/')[1]}.zip"  # the name that the client chooses
    downloads = 0
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with hold_lock(folder / "lock"):
            while True:
                if not archive.is_file() or partial_marker(archive).exists():
                    archive.with_name("checked.json").unlink(missing_ok=True)  # describes an earlier archive
                    download(slug, archive)
                    downloads += 1
                link_or_copy(archive, copy)
                sha256 = hash_file(copy)
                damage = find_damage(archive, copy, sha256)
                if damage is None:
                    write_json(archive.with_name("checked.json"), Check(sha256=sha256).model_dump())
                    return sha256, read_license(slug, archive)
                for path in (copy, archive, partial_marker(archive), archive.with_name("checked.json")):
                    path.unlink(missing_ok=True)
                if downloads == DOWNLOADS:
                    break
                print(f"{damage}; downloading it again", flush=True)
    except OSError as error:
        problem = f"expected to write to {folder}; found: {error}"
        raise FaceganError(f"{problem}; free some space, or set FACEGAN_CACHE to another folder") from error
    problem = f"expected an undamaged archive from {page(slug)}; found damage in {DOWNLOADS} downloads: {damage}"
    raise FaceganError(f"{problem}; try again later, try another disk (FACEGAN_CACHE), or report it to the data set's owner")


def find_damage(archive: Path, copy: Path, sha256: str) -> str | None:
    """Returns what is wrong with an archive, or None: it must have the recorded SHA-256 or, without a valid record, no damaged file.

    Args:
        copy, sha256: the archive's copy, and the SHA-256 of the copy.
    """
    try:
        recorded = read_json(archive.with_name("checked.json"), Check, remedy="").sha256
    except FaceganError:
        recorded = None
    if recorded is not None:
        return None if sha256 == recorded else f"{archive} has changed since it was downloaded"
    try:
        check_archive(copy)
    except FaceganError as error:
        return str(error)
    return None


def partial_marker(archive: Path) -> Path:
    """Returns the file that the client keeps next to an incomplete archive."""
    return archive.with_name(archive.name + ".kaggle-partial")


def read_license(slug: str, archive: Path) -> str:
    """Returns the data set's licence according to Kaggle."""
    try:
        return archive.with_name("license.txt").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return f"unknown; read it at {page(slug)}"


def page(slug: str) -> str:
    """Returns the URL of a data set's page."""
    return "https://www.kaggle.com/datasets/" + "/".join(slug.split("/")[:2])


def hold_lock(path: Path) -> AcquireReturnProxy:
    """Returns a context manager that holds a lock, after waiting for any process that has it. The lock ends with the process."""
    lock = FileLock(path, mode=0o666)
    try:
        return lock.acquire(timeout=0)
    except Timeout:
        print(f"waiting for another run that downloads into {path.parent}", flush=True)
        return lock.acquire()


def download(slug: str, archive: Path) -> None:
    """Downloads an archive, or the rest of it, and the name of its licence. Raises FaceganError if Kaggle refuses or is not reachable."""
    client = open_client()
    retry(lambda: client.dataset_download_files(slug, path=str(archive.parent)), slug, archive)
    write_license(client, slug, archive)


def open_client() -> Any:
    """Returns Kaggle's client, with the credentials that it found, or anonymous.

    Importing it searches for credentials, sends a token to Kaggle for validation, and prints a long help text if there are none. Its
    transfers are limited to one attempt: its own retries reuse a URL that may have expired, and write error pages into the archive.
    """
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            from kaggle import api as client
    except SystemExit as error:
        problem = "expected Kaggle's client 2.2 or newer; found one that requires credentials"
        raise FaceganError(f"{problem}; install requirements.txt again") from error
    client.download_file = functools.partial(transfer, client)
    return client


def transfer(client: Any, response: Any, outfile: str, http_client: Any, quiet: bool, resume: bool) -> None:
    """Runs one transfer of the client. Shows its progress, and closes the connection if the file has not grown for STALL_SECONDS."""
    archive, finished = Path(outfile), threading.Event()

    def watch() -> None:
        total = int(response.headers.get("Content-Length", 0))
        size, grown = measure(archive), time.monotonic()
        with Progress(f"downloading {archive.name}", total // 10**6, "MB", done=size // 10**6) as progress:
            ended = False
            while not ended:
                ended = finished.wait(0.5)
                before, size = size, measure(archive)
                progress.add(size // 10**6 - before // 10**6)
                if size != before:
                    grown = time.monotonic()
                elif not ended and time.monotonic() - grown > STALL_SECONDS:
                    with contextlib.suppress(RuntimeError, ValueError):  # closed already
                        response.raw.shutdown()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        type(client).download_file(client, response, outfile, http_client, quiet, resume, max_retries=0)
    finally:
        finished.set()
        thread.join()


def measure(path: Path) -> int:
    """Returns a file's size in bytes, or 0 if there is none."""
    return path.stat().st_size if path.is_file() else 0


def retry(request: Callable[[], Answer], slug: str, archive: Path) -> Answer:
    """Returns what the request returns. Retries temporary errors after increasing pauses, or after the pause that the server requests.

    Raises:
        FaceganError: a permanent error, or TRIES consecutive failures without a new byte in the archive.
    """
    import requests
    import urllib3

    failures = 0
    while True:
        before = measure(archive)
        try:
            return request()
        except (requests.RequestException, urllib3.exceptions.HTTPError, ConnectionError, ValueError) as error:  # ValueError: truncated
            response = getattr(error, "response", None)
            if response is not None and response.status_code not in TEMPORARY:
                found = REFUSALS.get(response.status_code, f"{describe(error)}; see that page")
                raise FaceganError(f"expected Kaggle's data set {slug} at {page(slug)}; found {found}") from error
            failures = 1 if measure(archive) > before else failures + 1
            if failures == TRIES:
                problem = f"expected to reach {page(slug)}; found {describe(error)}, {TRIES} times"
                raise FaceganError(f"{problem}; run the same command again to resume the download") from error
            seconds = read_retry_after(response) or 2 ** (failures - 1) * random.uniform(1, 1.5)
            print(f"Kaggle: {describe(error)}; trying again in {seconds:.0f} s", flush=True)
            time.sleep(seconds)


def describe(error: Exception) -> str:
    """Returns a short description of an error, without the URL, which contains a signature for Kaggle's storage."""
    response = getattr(error, "response", None)
    if response is not None:
        return f"{str(error).split(' for url: ')[0]} (status {response.status_code})"
    return f"no connection, or one that was closed early ({type(error).__name__})"


def read_retry_after(response: Any) -> float:
    """Returns the pause in seconds that a server requests (RFC 9110, a number or a date), at most LONGEST_PAUSE_SECONDS.

    Returns 0 if there is no response, or no valid header.
    """
    import urllib3

    try:
        seconds = urllib3.Retry().parse_retry_after(response.headers["Retry-After"])
    except (AttributeError, KeyError, ValueError, OverflowError, urllib3.exceptions.InvalidHeader):
        return 0.0
    return min(seconds, LONGEST_PAUSE_SECONDS)


def write_license(client: Any, slug: str, archive: Path) -> None:
    """Writes the names of the data set's licences into ``license.txt``, if Kaggle provides them."""
    from kagglesdk.datasets.types.dataset_api_service import ApiGetDatasetMetadataRequest

    request = ApiGetDatasetMetadataRequest()
    request.owner_slug, request.dataset_slug = slug.split("/")[:2]
    with client.build_kaggle_client() as kaggle:
        try:
            info = retry(lambda: kaggle.datasets.dataset_api_client.get_dataset_metadata(request), slug, archive).info
        except FaceganError as error:  # not fatal: the photos are there
            print(f"Kaggle does not provide the licence: {error}", flush=True)
            return
    names = [license.name for license in (info.licenses if info else None) or () if license.name]
    if names:
        write_text(archive.with_name("license.txt"), printable(f"{', '.join(names)}, says {page(slug)}"))
