"""labels.png: what a generator has learned about labels.

Input: a labelled generator. Output: one row per value of each column, one picture per latent. Within a column of labels, only that label
changes from row to row, so that the same face should be seen with other values.
"""

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from facegan.common.labels import Labels, replace
from facegan.common.pictures import make_grid
from facegan.models.latents import seeded_latents, truncate
from facegan.models.network import GeneratorNetwork
from facegan.sampling.faces import enlarge, generate
from facegan.sampling.parameters import SampleParameters

LATENTS, MOST_VALUES = 8, 12  # pictures per row; rows per column
PICTURE_PIXELS, TITLE_PIXELS, FONT_SIZE = 64, 150, 13  # at least; of the rows' titles


def choose_rows(labels: Labels) -> list[tuple[str, int]]:
    """Returns the name of a column and the position of a value for each row: the most frequent values, in their order."""
    rows = []
    for column in labels.columns:
        frequent = sorted(range(len(column.values)), key=lambda position: -column.counts[position])[:MOST_VALUES]
        rows += [(column.name, position) for position in sorted(frequent)]
    return rows


def draw_label_sheet(generator: GeneratorNetwork, parameters: SampleParameters) -> np.ndarray:
    """Returns the sheet (H, W, 3) in uint8 of a labelled generator: the seed's first latents with other labels."""
    latents = seeded_latents(generator, LATENTS, parameters.seed)  # (8, input_size)
    rows = choose_rows(generator.labels)
    inputs = torch.cat([label(generator, latents, {name: position}) for name, position in rows])
    faces = torch.stack(list(generate(generator, truncate(generator, inputs, parameters.truncation), "labels")))
    grid = enlarge(make_grid(faces, LATENTS), faces.shape[-1], PICTURE_PIXELS)
    sheet = Image.new("RGB", (TITLE_PIXELS + grid.shape[1], grid.shape[0]), "white")
    sheet.paste(Image.fromarray(grid), (TITLE_PIXELS, 0))
    values = {column.name: column.values for column in generator.labels.columns}
    height, font, draw = grid.shape[0] // len(rows), ImageFont.load_default(FONT_SIZE), ImageDraw.Draw(sheet)
    for number, (name, position) in enumerate(rows):
        draw.text((8, round((number + 0.5) * height)), f"{name} = {values[name][position]}", "black", font, anchor="lm")
    return np.asarray(sheet)


def label(generator: GeneratorNetwork, latents: Tensor, given: dict[str, int]) -> Tensor:
    """Returns the same latents (B, input_size) with other labels. ``given``: positions of values by column."""
    size = generator.latent_size
    return torch.cat([latents[:, :size], replace(latents[:, size:], generator.labels.columns, given)], 1)
