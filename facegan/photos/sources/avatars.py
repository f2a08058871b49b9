"""Cartoon faces drawn on the spot: a data set that needs no account, no network and nobody's photo.

Face number i is a function of (seed, i) alone, so any number of processes draws the same bytes.
"""

import contextlib
import io
import os
import random
import zipfile
from pathlib import Path
from typing import Any

from facegan.common.files import hash_file, replace_file
from facegan.common.progress import Progress
from facegan.photos.manifest import ARCHIVE, Manifest
from facegan.photos.sources.archive import describe_archive
from facegan.photos.worker_pool import Workers

LICENSE = "drawn by python_avatars (MIT) after Pablo Stanley's Avataaars: free for personal and commercial use"
PIXELS = 96
FRAME = (44, 30, 220, 206)  # left, top, right, bottom of the face and its hair in the drawing's own units
DRAWING_WIDTH = 264  # in the same units
SEED = 0
FACES_PER_TASK = 50
UNALTERED = (1980, 1, 1, 0, 0, 0)  # the earliest date a zip can hold: the same faces give the same bytes on any day
BACKGROUNDS = ("#65c9ff", "#a7e0b5", "#f6d7a8", "#d9c4ec", "#f4b6c2", "#cfd8dc")
ODD = {"VOMIT", "HEART", "X_DIZZY"}  # expressions that no face wears for long


def draw_avatars(parameters: Any, raw: Path, home: Path, processes: int = os.cpu_count() or 1) -> Manifest:
    """Draws ``parameters.count`` faces of 96 × 96 pixels into one archive in ``raw``, on all cores."""
    firsts = range(0, parameters.count, FACES_PER_TASK)
    tasks = ((SEED, first, min(FACES_PER_TASK, parameters.count - first)) for first in firsts)
    with contextlib.ExitStack() as stack:
        workers = stack.enter_context(Workers(processes))
        archive = stack.enter_context(zipfile.ZipFile(stack.enter_context(replace_file(raw / ARCHIVE)), "w"))
        progress = stack.enter_context(Progress("drawing", parameters.count, "faces"))
        for first, faces in zip(firsts, workers.map(draw_faces, tasks), strict=True):
            for number, face in enumerate(faces, first):
                archive.writestr(zipfile.ZipInfo(f"avatars/{number:06d}.png", UNALTERED), face)
            progress.add(len(faces))
    return describe_archive(parameters, raw / ARCHIVE, hash_file(raw / ARCHIVE), LICENSE)


def draw_faces(seed: int, first: int, count: int) -> list[bytes]:
    """Returns the faces from number ``first`` on, as PNG files."""
    return [draw_face(random.Random(f"{seed} {number}")) for number in range(first, first + count)]


def draw_face(draw: random.Random) -> bytes:
    """Returns one face as a PNG file of 96 × 96 pixels."""
    import resvg_py
    from PIL import Image

    scale = PIXELS / (FRAME[2] - FRAME[0])
    svg = choose_features(draw).render()
    picture = bytes(resvg_py.svg_to_bytes(svg_string=svg, width=round(DRAWING_WIDTH * scale), skip_system_fonts=True))
    face = Image.open(io.BytesIO(picture)).convert("RGBA")
    left, top = round(FRAME[0] * scale), round(FRAME[1] * scale)
    face = face.crop((left, top, left + PIXELS, top + PIXELS))
    ground = Image.new("RGBA", face.size, draw.choice(BACKGROUNDS))
    result = io.BytesIO()
    Image.alpha_composite(ground, face).convert("RGB").save(result, format="PNG")
    return result.getvalue()


def choose_features(draw: random.Random) -> Any:
    """Returns an avatar with features drawn at random; half of them go without a beard, half without glasses."""
    import python_avatars as avatars

    def pick(kind: Any, favourite: Any = None) -> Any:
        if favourite is not None and draw.random() < 0.5:
            return favourite
        return draw.choice([value for value in kind if value.name not in ODD])

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
