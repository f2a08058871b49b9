"""The image formats that are read, by file suffix, in Pillow's names; and other files that are often given instead.

Pillow supports some forty others. They are never opened, whatever a file's suffix is: EPS, for example, would start Ghostscript.
"""

SUFFIXES = {
    "AVIF": (".avif",),
    "BMP": (".bmp",),
    "DIB": (".dib",),
    "GIF": (".gif",),
    "HEIF": (".heic", ".heif", ".hif"),
    "JPEG": (".jfif", ".jpe", ".jpeg", ".jpg"),
    "JPEG2000": (".j2k", ".jp2"),
    "MPO": (".mpo",),
    "PNG": (".png",),
    "PPM": (".pbm", ".pgm", ".ppm"),
    "SGI": (".sgi",),
    "TGA": (".tga",),
    "TIFF": (".tif", ".tiff"),
    "WEBP": (".webp",),
}
FORMATS = {suffix: format for format, suffixes in SUFFIXES.items() for suffix in suffixes}

ARCHIVES = (  # longest suffix first
    *(".tar.bz2", ".tar.zst", ".parquet", ".tar.gz", ".tar.xz"),
    *(".tbz2", ".tar", ".tgz", ".txz", ".zip"),
)
FIRST_BYTES = {
    b"\xff\xd8": ".jpg",
    b"\x89PNG": ".png",
    b"RIFF": ".webp",
    b"GIF8": ".gif",
    b"BM": ".bmp",
    b"II*\0": ".tif",
    b"MM\0*": ".tif",
}

UNPACK = "unpack it, and set data.source to folder and data.path to the unpacked photos"
GET_AGAIN = "open its address in a browser, and download the file itself"
OTHER_FILES = (  # offset, first bytes, description, what to do
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", UNPACK),
    (0, b"Rar!\x1a\x07", "a RAR archive", UNPACK),
    (0, b"version https://git-lfs", "a Git LFS pointer, not the file", "run `git lfs pull` in its repository"),
    (0, b"<!doctype html", "an HTML page, not the file", GET_AGAIN),
    (0, b"<html", "an HTML page, not the file", GET_AGAIN),
)


def describe_other_file(content: bytes) -> tuple[str, str] | None:
    """Returns what a file is, and what to do, if its content (or the first 300 bytes) is one of OTHER_FILES, else None."""
    start = content[:300].lstrip()[:20].lower() if content[:300].lstrip().startswith(b"<") else b""
    matching = (
        (found, remedy) for offset, magic, found, remedy in OTHER_FILES if content.startswith(magic, offset) or start.startswith(magic)
    )
    return next(matching, None)


def find_suffix(content: bytes) -> str:
    """Returns the suffix for an image without a file name; the reader does not rely on it."""
    return next((suffix for magic, suffix in FIRST_BYTES.items() if content.startswith(magic)), ".jpg")
