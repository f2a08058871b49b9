"""A Kaggle data set, fetched once by Kaggle's own client and kept in a cache.

In: ``owner/dataset``, or ``owner/dataset/version`` to pin one version. Out: the data set's zip, whole, in a folder of its own
below the cache::

    owner/dataset/dataset.zip
    owner/dataset/dataset.zip.kaggle-partial  the client's: the zip is unfinished, and which version of it this is
    owner/dataset/checked.json                the zip was whole when it had this size, time and sha256
    owner/dataset/license.txt                 what Kaggle says about its licence
    owner/dataset/lock                        held by the run that fetches
"""

import contextlib
import email.utils
import functools
import io
import os
import random
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pydantic
from filelock import FileLock, Timeout

from facegan.common.errors import FaceganError, printable
from facegan.common.files import hash_file, read_json, write_json, write_text
from facegan.common.progress import Progress
from facegan.photos.manifest import ARCHIVE, Manifest, Sha256
from facegan.photos.sources.archive import check_archive, describe_archive, link_or_copy

SLUG = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(/[0-9]+)?")
TRIES = 6  # in a row without a single new byte
STALL_SECONDS = 120  # without a byte: the connection is dead, though nobody has said so
LONGEST_PAUSE_SECONDS = 600  # whatever a server asks for
PASSING = (429, 500, 502, 503, 504)  # statuses that may be gone in a while
TOKEN_HELP = "make a token at https://www.kaggle.com/settings and put it into KAGGLE_API_TOKEN or ~/.kaggle/access_token"
REFUSALS = {
    401: f"credentials missing or out of date (401); {TOKEN_HELP}, or take an old one away: public data sets need none",
    403: f"access refused (403); open that page, sign in and accept its terms, or ask its owner; {TOKEN_HELP}",
    404: "no such data set (404); look for it at https://www.kaggle.com/datasets and mend data.path",
}


class Check(pydantic.BaseModel, frozen=True):
    """What a zip was like when it was last found whole."""

    bytes: pydantic.NonNegativeInt
    mtime_ns: int
    sha256: Sha256

    def fits(self, archive: Path) -> bool:
        """Returns whether the zip is there and has the size and time that it had."""
        return archive.is_file() and (archive.stat().st_size, archive.stat().st_mtime_ns) == (self.bytes, self.mtime_ns)


def take_kaggle(parameters: Any, raw: Path, home: Path) -> Manifest:
    """Brings the archive of Kaggle's data set ``parameters.path`` (owner/dataset) into ``raw``.

    The archive is kept in ``$FACEGAN_CACHE`` (default: ~/.cache/facegan), so that queued experiments and fresh clones do not
    fetch it again.
    """
    archive = raw / ARCHIVE
    sha256, license = fetch_kaggle(parameters.path, find_cache(), archive)
    return describe_archive(parameters, archive, sha256, license)


def find_cache() -> Path:
    """Returns the folder where fetched archives are kept. Raises FaceganError where the system knows no home for the user."""
    if os.environ.get("FACEGAN_CACHE"):
        return Path(os.environ["FACEGAN_CACHE"])
    try:
        return Path.home() / ".cache" / "facegan"
    except RuntimeError:
        raise FaceganError("expected a home folder for what Kaggle sends; found none; set FACEGAN_CACHE to a folder") from None


def fetch_kaggle(slug: str, cache: Path, copy: Path) -> tuple[str, str]:
    """Brings a data set's zip, every member of it checked, to ``copy``. Returns its sha256 and a note about its licence.

    A zip that was fetched and checked before, and is still what it was, is taken without any use of the network. Otherwise it is
    fetched, or the rest of it, anonymously or with the credentials that Kaggle's client finds. Of several processes one fetches and
    the others wait for it.

    Raises:
        FaceganError: the slug is none; Kaggle refuses, cannot be reached or sends a damaged zip; the disk is full, or does not keep
            what it is given.
    """
    if not SLUG.fullmatch(slug):
        raise FaceganError(f"data.path: expected owner/dataset, as in https://www.kaggle.com/datasets/owner/dataset; found {slug!r}")
    folder = cache / slug
    archive = folder / f"{slug.split('/')[1]}.zip"  # the name that the client gives it
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with hold_lock(folder / "lock"):
            for _ in range(2):
                check = read_check(archive)
                if check is None or not check.fits(archive):
                    fetch_whole(slug, archive)
                    check = write_check(archive)
                link_or_copy(archive, copy)
                if hash_file(copy) == check.sha256:
                    return check.sha256, read_license(slug, archive)
                print(f"{archive} is no longer what was fetched: fetching it again", flush=True)
                discard(archive)
                copy.unlink()
    except OSError as error:
        raise FaceganError(
            f"expected room for files in {folder}; found: {error}; make some, or set FACEGAN_CACHE to another folder"
        ) from error
    raise FaceganError(
        f"expected {archive} to stay what was fetched; found other bytes there twice; set FACEGAN_CACHE to a folder on a sound disk"
    )


def read_license(slug: str, archive: Path) -> str:
    """Returns what Kaggle said about the data set's licence."""
    try:
        return archive.with_name("license.txt").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return f"unknown; read it at {page(slug)}"


def page(slug: str) -> str:
    """Returns the address where people read about a data set."""
    return "https://www.kaggle.com/datasets/" + "/".join(slug.split("/")[:2])


@contextlib.contextmanager
def hold_lock(path: Path) -> Iterator[None]:
    """Lets one process in at a time; the lock goes with the process, however that ends."""
    lock = FileLock(path, mode=0o666)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print(f"waiting for another run that fetches into {path.parent}", flush=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def read_check(archive: Path) -> Check | None:
    """Returns what was written when the zip was last found whole; None when nothing was, or that is damaged itself."""
    try:
        return read_json(archive.with_name("checked.json"), Check, remedy="")
    except FaceganError:
        return None


def write_check(archive: Path) -> Check:
    """Writes down, and returns, what the zip is like now that it is whole, so that gigabytes are not read again in every run."""
    check = Check(bytes=archive.stat().st_size, mtime_ns=archive.stat().st_mtime_ns, sha256=hash_file(archive))
    write_json(archive.with_name("checked.json"), check.model_dump())
    return check


def marker(archive: Path) -> Path:
    """Returns the file that the client keeps beside an unfinished zip."""
    return archive.with_name(archive.name + ".kaggle-partial")


def find_damage(archive: Path) -> str | None:
    """Returns what is wrong with a zip that nobody has vouched for yet, or None."""
    check = read_check(archive)
    if check is not None:
        return None if hash_file(archive) == check.sha256 else f"{archive} was changed after it had been fetched"
    try:
        check_archive(archive)
    except FaceganError as error:
        return str(error)
    return None


def discard(archive: Path) -> None:
    """Removes a damaged zip, and what was known of it."""
    for path in (archive, marker(archive), archive.with_name("checked.json")):
        path.unlink(missing_ok=True)


def fetch_whole(slug: str, archive: Path) -> None:
    """Leaves a whole zip: the one that is there if it is whole, else the fetched one, which gets two chances.

    Raises:
        FaceganError: Kaggle refuses, cannot be reached, or sends a damaged zip twice.
    """
    if archive.is_file() and not marker(archive).exists():
        damage = find_damage(archive)
        if damage is None:
            return
        print(f"{damage}; fetching it again", flush=True)
        discard(archive)
    archive.with_name("checked.json").unlink(missing_ok=True)  # it spoke of a zip that is gone
    client = open_client()
    for _ in range(2):
        insist(functools.partial(client.dataset_download_files, slug, path=str(archive.parent)), slug, archive)
        write_license(client, slug, archive)
        damage = find_damage(archive)
        if damage is None:
            return
        print(f"Kaggle sent a damaged zip: {damage}", flush=True)
        discard(archive)
    raise FaceganError(
        f"expected a whole zip from {page(slug)}; found damage twice, and removed it; try later, or tell the owner of the data set"
    )


def open_client() -> Any:
    """Returns Kaggle's client: with the credentials that it found, or anonymous.

    Its import looks for them, asks Kaggle about a token, and prints pages of help when there are none. Each call of its
    transfer tries once: it would go on asking an address that may be out of date, and write an error page into the zip.
    """
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            from kaggle import api as client
    except SystemExit as error:
        raise FaceganError(
            "expected Kaggle's client 2.2 or newer; found one that insists on credentials; install requirements.txt again"
        ) from error
    client.download_file = functools.partial(transfer, client.download_file)
    return client


def transfer(download_file: Callable[..., None], response: Any, outfile: str, http_client: Any, quiet: bool, resume: bool) -> None:
    """Runs the client's own transfer once, and shows how far it has come."""
    finished = threading.Event()
    watch = threading.Thread(target=follow, args=(Path(outfile), response, finished), daemon=True)
    watch.start()
    try:
        download_file(response, outfile, http_client, quiet, resume, max_retries=0)
    finally:
        finished.set()
        watch.join()


def follow(archive: Path, response: Any, finished: threading.Event) -> None:
    """Shows how fast a file grows until it is finished. Ends the connection when it has stopped growing for too long."""
    total = int(response.headers.get("Content-Length", 0))
    size, grown = measure(archive), time.monotonic()
    with Progress(f"fetching {archive.name}", total // 10**6, "MB", done=size // 10**6) as progress:
        ended = False
        while not ended:
            ended = finished.wait(0.5)
            before, size = size, measure(archive)
            progress.add(size // 10**6 - before // 10**6)
            if size != before:
                grown = time.monotonic()
            elif not ended and time.monotonic() - grown > STALL_SECONDS:
                with contextlib.suppress(RuntimeError, ValueError):  # it has ended by itself
                    response.raw.shutdown()


def measure(path: Path) -> int:
    """Returns a file's size in bytes, 0 where there is none."""
    return path.stat().st_size if path.is_file() else 0


def insist(request: Callable[[], Any], slug: str, archive: Path) -> Any:
    """Returns what the request returns, asking again after errors that may pass: with longer and longer pauses, or as told.

    Raises:
        FaceganError: an error that will not pass, or too many in a row without a new byte in the zip.
    """
    import requests
    import urllib3

    failures = 0
    while True:
        before = measure(archive)
        try:
            return request()
        except (requests.RequestException, urllib3.exceptions.HTTPError, ConnectionError, ValueError) as error:  # ValueError: cut short
            response = getattr(error, "response", None)
            if response is not None and response.status_code not in PASSING:
                found = REFUSALS.get(response.status_code, f"{describe(error)}; look at that page")
                raise FaceganError(f"expected Kaggle's data set {slug} at {page(slug)}; found {found}") from error
            failures = 1 if measure(archive) > before else failures + 1
            if failures == TRIES:
                raise FaceganError(
                    f"expected to reach {page(slug)}; found {describe(error)}, {TRIES} times; run it again: it goes on from there"
                ) from error
            seconds = read_retry_after(response) or 2 ** (failures - 1) * random.uniform(1, 1.5)
            print(f"Kaggle: {describe(error)}; trying again in {seconds:.0f} s", flush=True)
            time.sleep(seconds)


def describe(error: Exception) -> str:
    """Returns an error in few words. Its own text holds the whole address, which on Kaggle's storage carries a signature."""
    response = getattr(error, "response", None)
    if response is not None:
        return f"{str(error).split(' for url: ')[0]} (status {response.status_code})"
    return f"no connection, or a cut one ({type(error).__name__})"


def read_retry_after(response: Any) -> float:
    """Returns for how many seconds the server asks to be left alone (a number or a date, RFC 9110), at most LONGEST_PAUSE_SECONDS.

    It is 0 when it does not say, or nothing that makes sense.
    """
    text = "" if response is None else response.headers.get("Retry-After", "").strip()
    date = email.utils.parsedate_tz(text)
    try:
        seconds = float(text) if date is None else email.utils.mktime_tz(date) - time.time()
    except (ValueError, OverflowError):
        return 0.0
    return min(max(0.0, seconds), LONGEST_PAUSE_SECONDS)  # of which max() takes "nan" for 0


def write_license(client: Any, slug: str, archive: Path) -> None:
    """Writes the names of the data set's licences into ``license.txt``, if Kaggle tells them."""
    from kagglesdk.datasets.types.dataset_api_service import ApiGetDatasetMetadataRequest

    request = ApiGetDatasetMetadataRequest()
    request.owner_slug, request.dataset_slug = slug.split("/")[:2]
    with client.build_kaggle_client() as kaggle:
        ask = functools.partial(kaggle.datasets.dataset_api_client.get_dataset_metadata, request)
        try:
            info = insist(ask, slug, archive).info
        except FaceganError as error:  # the photos are there: whoever uses them can look it up
            print(f"Kaggle does not tell the licence: {error}", flush=True)
            return
    names = [license.name for license in (info.licenses if info else None) or () if license.name]
    if names:
        write_text(archive.with_name("license.txt"), printable(f"{', '.join(names)}, says {page(slug)}"))
