"""The image formats that are read, by file suffix, in Pillow's names.

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
