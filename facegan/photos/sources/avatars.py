"""Cartoon faces drawn by the program: a data set without account, network or personal photos.

Face number i is a function of (seed, i) and ``data.style`` only, so the archive is byte-identical for any number of processes.
"""

import csv
import io
import os
import random
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from facegan.common.files import hash_file, replace_file
from facegan.common.progress import Progress
from facegan.photos.manifest import ARCHIVE, Manifest
from facegan.photos.parameters import DataParameters
from facegan.photos.sources.archive import describe_archive
from facegan.photos.sources.dicebear_styles import check_styles, describe_licenses, draw_style, list_labels
from facegan.photos.worker_pool import Workers

LICENSE = "drawn by python_avatars (MIT) after Pablo Stanley's Avataaars: free for personal and commercial use"
PIXELS = 96
FRAME = (44, 30, 220, 206)  # left, top, right, bottom of the face and its hair, in units of the drawing
DRAWING_WIDTH = 264  # in the same units
SEED = 0
FACES_PER_TASK = 50
FIXED_DATE = (1980, 1, 1, 0, 0, 0)  # so that the archive does not depend on the date
NAME = "avatars/{:06d}.png"
BACKGROUNDS = ("#65c9ff", "#a7e0b5", "#f6d7a8", "#d9c4ec", "#f4b6c2", "#cfd8dc")
GLASSES = {"KURT": "dark", "PRESCRIPTION_1": "clear", "PRESCRIPTION_2": "clear", "ROUND": "clear", "SUNGLASSES": "dark"}
GLASSES |= {"SUNGLASSES_2": "dark", "WAYFARERS": "dark", "WAYFARERS_2": "dark"}
BEARDS = {"BEARD_LIGHT": "full", "BEARD_MAGESTIC": "full", "BEARD_MEDIUM": "full", "WICK_BEARD": "full", "MOUSTACHE_FANCY": "moustache"}
BEARDS |= {"MOUSTACHE_MAGNUM": "moustache", "EINSTEIN_MOUSTACHE": "moustache"}
HAIR = {"AUBURN": "brown", "BLACK": "black", "BLONDE": "blond", "BLONDE_GOLDEN": "blond", "BROWN": "brown", "BROWN_DARK": "brown"}
HAIR |= {"PASTEL_PINK": "pink", "PLATINUM": "grey", "RED": "red", "SILVER_GRAY": "grey"}
HAIR_OF_TOP = {"NONE": "none", "SHAVED_SIDES": "blond", "STRAIGHT_2": "brown"}  # they have a colour of their own
EXCLUDED = {"VOMIT", "HEART", "X_DIZZY"}  # not realistic expressions


def draw_avatars(parameters: DataParameters, raw: Path, home: Path, processes: int = os.cpu_count() or 1) -> Manifest:
    """Draws ``parameters.count`` faces of 96 × 96 pixels into one archive in ``raw``, on all cores by default.

    Raises FaceganError for an unknown style.
    """
    styles = parameters.style or ()
    if styles:
        check_styles(styles)
    firsts = range(0, parameters.count, FACES_PER_TASK)
    tasks = ((SEED, first, min(FACES_PER_TASK, parameters.count - first), styles) for first in firsts)
    with (
        Workers(processes) as workers,
        replace_file(raw / ARCHIVE) as file,
        zipfile.ZipFile(file, "w") as archive,
        Progress("drawing", parameters.count, "faces") as progress,
    ):
        for first, faces in zip(firsts, workers.map(draw_faces, tasks), strict=True):
            for number, face in enumerate(faces, first):
                archive.writestr(zipfile.ZipInfo(NAME.format(number), FIXED_DATE), face)
            progress.add(len(faces))
    lists = {"metadata.csv": label_faces(SEED, parameters.count, styles)} if parameters.labels else {}
    license = describe_licenses(styles) if styles else LICENSE
    return describe_archive(parameters, raw / ARCHIVE, hash_file(raw / ARCHIVE), license, lists=lists)


def label_faces(seed: int, count: int, styles: tuple[str, ...] = ()) -> bytes:
    """Returns what ``count`` faces show, as ``metadata.csv``; similar glasses, beards and hair colours of avatars have one name."""
    draws = [random.Random(f"{seed} {number}") for number in range(count)]
    rows = list_labels([draw_style(draw, styles)[1] for draw in draws]) if styles else list_features(draws)
    result = io.StringIO()
    names = ["file_name", *map(NAME.format, range(count))]
    csv.writer(result, lineterminator="\n").writerows([name, *row] for name, row in zip(names, rows, strict=True))
    return result.getvalue().encode()


def list_features(draws: list[random.Random]) -> Iterator[list[str]]:
    """Yields the columns and each avatar's values."""
    yield ["glasses", "beard", "hair", "skin", "hairstyle", "eyebrows", "eyes", "nose", "mouth"]
    for draw in draws:
        face = choose_features(draw)
        glasses, beard, top = face.accessory.name, face.facial_hair.name, face.top.name
        grouped = [GLASSES.get(glasses, "none"), BEARDS.get(beard, "none"), HAIR_OF_TOP.get(top) or HAIR[face.hair_color.name]]
        others = [part.name.lower() for part in (face.skin_color, face.top, face.eyebrows, face.eyes, face.nose, face.mouth)]
        yield grouped + others


def draw_faces(seed: int, first: int, count: int, styles: tuple[str, ...] = ()) -> list[bytes]:
    """Returns ``count`` faces, from number ``first``, as PNG files."""
    return [draw_face(random.Random(f"{seed} {number}"), styles) for number in range(first, first + count)]


def draw_face(draw: random.Random, styles: tuple[str, ...] = ()) -> bytes:
    """Returns an avatar, or a face in one of the styles, as a PNG file of 96 × 96 pixels."""
    import resvg_py
    from PIL import Image

    if styles:
        (svg, _), width, left, top = draw_style(draw, styles), PIXELS, 0, 0
    else:
        scale = PIXELS / (FRAME[2] - FRAME[0])
        svg, width = choose_features(draw).render(), round(DRAWING_WIDTH * scale)
        left, top = round(FRAME[0] * scale), round(FRAME[1] * scale)
    picture = bytes(resvg_py.svg_to_bytes(svg_string=svg, width=width, skip_system_fonts=True))
    face = Image.open(io.BytesIO(picture)).convert("RGBA")
    face = face.crop((left, top, left + PIXELS, top + PIXELS))
    ground = Image.new("RGBA", face.size, draw.choice(BACKGROUNDS))
    result = io.BytesIO()
    Image.alpha_composite(ground, face).convert("RGB").save(result, format="PNG")
    return result.getvalue()


def choose_features(draw: random.Random) -> Any:
    """Returns an avatar with randomly chosen features. Half of them have no beard, and half no glasses."""
    import python_avatars as avatars

    def pick(kind: Any, default: Any = None) -> Any:
        if default is not None and draw.random() < 0.5:
            return default
        return draw.choice([value for value in kind if value.name not in EXCLUDED])

    return avatars.Avatar(
        style=avatars.AvatarStyle.TRANSPARENT,
        top=pick(avatars.HairType),
        eyebrows=pick(avatars.EyebrowType),
        eyes=pick(avatars.EyeType),
        nose=pick(avatars.NoseType),
        mouth=pick(avatars.MouthType),
        facial_hair=pick(avatars.FacialHairType, avatars.FacialHairType.NONE),
        skin_color=pick(avatars.SkinColor),
        hair_color=pick(avatars.HairColor),
        facial_hair_color=pick(avatars.HairColor),
        accessory=pick(avatars.AccessoryType, avatars.AccessoryType.NONE),
        clothing=pick(avatars.ClothingType),
        clothing_color=pick(avatars.ClothingColor),
    )
