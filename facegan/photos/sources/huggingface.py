"""A data set on the Hugging Face hub, downloaded by the hub's own client and kept in its cache.

In: ``owner/dataset`` or ``owner/dataset@revision`` (a branch, tag or commit). Out: one zip archive with the images of the data set's
Parquet files or archives or, without these, its image files, under their paths in the data set. The client resumes transfers, uses the
token from its usual places (``hf auth login``, ``HF_TOKEN``), and is configured by its own variables (``HF_ENDPOINT``, ``HF_HOME``).
"""

import glob
import hashlib
import random
import re
import sys
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from facegan.common.errors import FaceganError, printable
from facegan.common.files import hash_file, replace_file
from facegan.common.progress import Progress
from facegan.photos.formats import ARCHIVES
from facegan.photos.manifest import ARCHIVE, Manifest
from facegan.photos.parameters import DataParameters
from facegan.photos.selection import is_list, is_photo, is_visible
from facegan.photos.sources.archive import (
    check_archive,
    copy_part,
    describe_archive,
    find_kind,
    has_images,
    remove_suffix,
    write_member,
    write_metadata,
)

PATH = re.compile(r"([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@([\w./-]+))?", re.ASCII)
TRIES = 6
LONGEST_PAUSE_SECONDS = 600  # whatever pause a server requests
TEMPORARY = (429, 500, 502, 503, 504)  # HTTP statuses worth a retry
DOWNLOADS = 2  # of a file that arrives damaged
LOG_IN = "run `hf auth login`, or set HF_TOKEN to a token from https://huggingface.co/settings/tokens"
Answer = TypeVar("Answer")


def take_huggingface(parameters: DataParameters, raw: Path, home: Path) -> Manifest:
    """Puts the images of the data set ``parameters.path`` into an archive in ``raw``. The manifest's path contains the commit.

    Raises:
        FaceganError: the hub refuses or is not reachable, a file arrives damaged, or the data set has no images.
    """
    match = PATH.fullmatch(str(parameters.path))
    if not match:
        problem = "data.path: expected owner/dataset or owner/dataset@revision, as in https://huggingface.co/datasets/owner/dataset"
        raise FaceganError(f"{problem}; found {str(parameters.path)!r}")
    repository, revision = match.groups()
    import huggingface_hub

    client = huggingface_hub.HfApi(library_name="facegan")
    info = retry(lambda: client.dataset_info(repository, revision=revision), repository, revision)
    tree = retry(
        lambda: list(client.list_repo_tree(repository, repo_type="dataset", revision=info.sha, recursive=True)), repository, revision
    )
    files = {entry.path: entry for entry in tree if isinstance(entry, huggingface_hub.hf_api.RepoFile) and is_visible(entry.path)}
    with_labels = parameters.labels is not None
    parts = {name: files[name] for name in sorted(files) if name.lower().endswith(ARCHIVES)}
    folder = fetch(client, repository, info.sha, parts) if parts else Path()
    tables = [name for name in parts if find_kind(folder / name) == "parquet" and not has_images(folder / name)]
    parts = {name: entry for name, entry in parts.items() if name not in tables}
    skipped: Counter[str] = Counter()
    with replace_file(raw / ARCHIVE) as file, zipfile.ZipFile(file, "w") as archive:
        for name in parts:
            if find_kind(folder / name) == "zip":
                check_archive(folder / name)
            skipped += copy_part(folder / name, f"{remove_suffix(name)}/" if len(parts) > 1 else "", archive, with_labels)
        if not parts:
            images = {name: files[name] for name in sorted(files) if is_photo(name) or is_list(name, with_labels)}
            skipped = Counter(PurePosixPath(name).suffix or "no suffix" for name in files if name not in images)
            folder = fetch(client, repository, info.sha, images) if images else folder
            for name in images:
                write_member(archive, name, (folder / name).read_bytes())
            if with_labels:
                for name in tables:
                    write_metadata(archive, folder / name)
    found = parameters.model_copy(update={"path": f"{repository}@{info.sha}"})
    license = read_license(info.card_data, repository)
    return describe_archive(found, raw / ARCHIVE, hash_file(raw / ARCHIVE), license, skipped)


def fetch(client: Any, repository: str, commit: str | None, files: Mapping[str, Any]) -> Path:
    """Downloads files of a commit that are not in the cache, compares the hash of each, and returns their folder.

    Raises:
        FaceganError: the hub refuses or is not reachable, or a file arrives damaged again.
    """
    from huggingface_hub import utils

    if not sys.stderr.isatty():
        utils.disable_progress_bars()
    patterns = sorted({f"*{glob.escape(PurePosixPath(name).suffix or PurePosixPath(name).name)}" for name in files})
    print(f"{len(files):,} files, {sum(entry.size for entry in files.values()) / 1e6:,.1f} MB, of {page(repository)}", flush=True)
    for _ in range(DOWNLOADS):
        folder = Path(
            retry(
                lambda: client.snapshot_download(repository, repo_type="dataset", revision=commit, allow_patterns=patterns, max_workers=4),
                repository,
                commit,
            )
        )
        damaged = []
        with Progress("comparing hashes", len(files), "files") as progress:
            for name, entry in files.items():
                if not is_intact(folder / name, entry):
                    damaged.append(name)
                    (folder / name).resolve().unlink(missing_ok=True)
                    (folder / name).unlink(missing_ok=True)
                progress.add(1)
        if not damaged:
            return folder
        print(f"{len(damaged):,} files arrived damaged, such as {printable(damaged[0])}; downloading them again", flush=True)
    problem = f"expected {printable(damaged[0])} of {page(repository)} undamaged; found other content in {DOWNLOADS} downloads"
    raise FaceganError(f"{problem}; try again later, try another disk (HF_HOME), or report it to the data set's owner")


def is_intact(path: Path, entry: Any) -> bool:
    """Returns whether a file has the hash that the hub lists: SHA-256 for large files, and Git's SHA-1 for others."""
    if not path.is_file():
        return False
    if entry.lfs:
        return hash_file(path) == entry.lfs.sha256
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest() == entry.blob_id


def retry(request: Callable[[], Answer], repository: str, revision: str | None) -> Answer:
    """Returns what the request returns. Retries temporary errors after increasing pauses, or after the pause that the server requests.

    Raises:
        FaceganError: a permanent error, or TRIES failures.
    """
    from huggingface_hub import errors

    for failures in range(1, TRIES + 1):
        try:
            return request()
        except (errors.HTTPError, OSError) as error:
            cause = error.__cause__ if isinstance(error, errors.LocalEntryNotFoundError) and error.__cause__ else error
            response = getattr(cause, "response", None)
            status = getattr(response, "status_code", None)
            if isinstance(cause, errors.OfflineModeIsEnabled) or (status is not None and status not in TEMPORARY):
                raise FaceganError(f"expected {page(repository)}; found {explain(cause, status, revision)}") from error
            if isinstance(cause, OSError) and not isinstance(cause, errors.HfHubHTTPError | errors.LocalEntryNotFoundError) and cause.errno:
                problem = f"expected to write to the hub's cache; found: {cause.strerror}"
                raise FaceganError(f"{problem}; free some space, or set HF_HOME to another folder") from error
            reason = f"status {status}" if status else f"no connection, or one that was closed early ({type(cause).__name__})"
            if failures < TRIES:
                seconds = read_retry_after(response) or 2 ** (failures - 1) * random.uniform(1, 1.5)
                print(f"Hugging Face: {reason}; trying again in {seconds:.0f} s", flush=True)
                time.sleep(seconds)
    raise FaceganError(f"expected to reach {page(repository)}; found {reason}, {TRIES} times; run the same command again to resume")


def explain(error: BaseException, status: int | None, revision: str | None) -> str:
    """Returns what a permanent error means, and what to do."""
    from huggingface_hub import errors

    if isinstance(error, errors.OfflineModeIsEnabled):
        return "the client offline; remove HF_HUB_OFFLINE"
    if isinstance(error, errors.GatedRepoError):
        return f"a gated data set; open that page, sign in and request access, then {LOG_IN}"
    if isinstance(error, errors.RevisionNotFoundError):
        return f"no revision {printable(str(revision))}; choose a branch, tag or commit from that page"
    if isinstance(error, errors.RepositoryNotFoundError) or status in (401, 403, 404):
        return f"no such data set, or a private one ({status}); correct data.path, or {LOG_IN}"
    return f"status {status}; see that page"


def read_retry_after(response: Any) -> float:
    """Returns the pause in seconds that a server requests, at most LONGEST_PAUSE_SECONDS, or 0."""
    try:
        return min(float(response.headers["Retry-After"]), LONGEST_PAUSE_SECONDS)
    except (AttributeError, KeyError, ValueError):
        return 0.0


def read_license(card: Any, repository: str) -> str:
    """Returns the licence in a data set's card."""
    license = getattr(card, "license", None)
    names = ", ".join(map(str, license)) if isinstance(license, list) else license
    return printable(f"{names}, says {page(repository)}") if names else f"unknown; read it at {page(repository)}"


def page(repository: str) -> str:
    """Returns the URL of a data set's page."""
    return f"https://huggingface.co/datasets/{repository}"
