"""Writes the folder of an exported generator, ready for the Hugging Face hub."""

import dataclasses
from pathlib import Path

import torch

from facegan.common.errors import FaceganError
from facegan.common.files import hash_file, write_bytes, write_text
from facegan.common.pictures import make_grid, save_png, to_bytes
from facegan.export.card import read_facts, write_card
from facegan.export.onnx_file import COMPARED_FACES, LARGEST_DIFFERENCE, check_packages, measure_difference, write_onnx
from facegan.export.page import estimate_seconds, write_page
from facegan.export.plain_torch import write_code
from facegan.models.generator_file import load_generator
from facegan.models.latents import seeded_latents
from facegan.models.registry import count_parameters
from facegan.sampling.directions import read_names
from facegan.sampling.faces import enlarge

GRID_FACES, GRID_COLUMNS, GRID_FACE_PIXELS = 32, 8, 64
DRAW_TORCH = """import torch
from PIL import Image, PngImagePlugin
from safetensors.torch import load_file

import generator

MARK = {mark!r}  # that a picture was generated, in XMP

with torch.inference_mode():
    latents = generator.draw_latents(count=16, seed=0)[:8]  # drawn 16 at a time, as by facegan
    faces = generator.forward(load_file("generator.safetensors"), latents{labels})
for number, face in enumerate(((faces + 1) * 127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1)):
    chunks = PngImagePlugin.PngInfo()
    chunks.add_itxt("XML:com.adobe.xmp", MARK.replace("NUMBER", str(number)))
    image = Image.frombytes("RGB", (face.shape[1], face.shape[0]), bytes(face.flatten().tolist()))
    image.save(f"torch{{number}}.png", pnginfo=chunks)
"""
DRAW_ONNX = """import numpy
import onnxruntime
from PIL import Image, PngImagePlugin

chunks = PngImagePlugin.PngInfo()
chunks.add_itxt("XML:com.adobe.xmp", {mark!r})  # that a picture was generated
session = onnxruntime.InferenceSession("generator.onnx")
latents = numpy.random.default_rng(seed=0).{draw}.astype("float32")  # other faces than facegan's for a seed
{labels}faces = session.run(None, {{"latents": latents{and_labels}}})[0]
for number, face in enumerate(((faces + 1) * 127.5).round().clip(0, 255).astype("uint8").transpose(0, 2, 3, 1)):
    Image.fromarray(face).save(f"onnx{{number}}.png", pnginfo=chunks)
"""
DRAWS = {"normal": "standard_normal((8, {size}))", "uniform": "uniform(-1, 1, (8, {size}))"}


def export(model: Path, folder: Path, project: Path) -> list[str]:
    """Writes the folder, and returns remarks about its files.

    Args:
        model: the generator's file.
        project: the project whose run fills the card, if that run made this generator.

    Raises:
        FaceganError: no generator, missing packages, or an ONNX file that draws different faces.
    """
    check_packages()
    generator, card = load_generator(model)
    generator.requires_grad_(False)
    names = read_names(project, hash_file(model))
    title = f"facegan-{card.model}-{card.resolution}px"
    folder.mkdir(parents=True, exist_ok=True)
    if model.resolve() != (folder / "generator.safetensors").resolve():
        write_bytes(folder / "generator.safetensors", model.read_bytes())
    write_text(folder / "generator.py", write_code(generator, card.model))
    columns = generator.labels.columns
    labels = {column.name: column.values[column.counts.index(max(column.counts))] for column in columns}  # the most frequent values
    mark = dataclasses.replace(card.mark, labels=labels)
    choose = ", generator.choose_labels(8)" if columns else ""
    write_text(folder / "draw_torch.py", DRAW_TORCH.format(mark=mark.replace("face", "0-NUMBER-1").write_xmp(), labels=choose))
    draw = DRAWS[str(generator.latent_distribution)].format(size=generator.latent_size)
    row = [int(value == labels[column.name]) for column in columns for value in column.values]
    given = {"labels": f'labels = numpy.tile(numpy.array({row}, "float32"), (8, 1))  # {labels}\n', "and_labels": ', "labels": labels'}
    given = given if columns else dict.fromkeys(given, "")
    write_text(folder / "draw_onnx.py", DRAW_ONNX.format(draw=draw, mark=mark.replace("face drawn by draw_onnx.py").write_xmp(), **given))
    write_onnx(generator, folder / "generator.onnx")
    difference = measure_difference(generator, folder / "generator.onnx")
    if difference > LARGEST_DIFFERENCE:
        raise FaceganError(
            f"expected ONNX faces within {LARGEST_DIFFERENCE} of 255 of PyTorch's; found {difference}; report it with model and versions"
        )
    page_size = write_page(folder / "page.html", generator, card, names, f"Faces by {card.model}, {card.resolution} px")
    with torch.inference_mode():
        faces = to_bytes(torch.cat([generator(part) for part in seeded_latents(generator, GRID_FACES, 0).split(16)]))
    mark = card.mark.replace("grid", *(f"0-{number}-1" for number in range(GRID_FACES)))
    save_png(folder / "grid.png", enlarge(make_grid(faces, GRID_COLUMNS), card.resolution, GRID_FACE_PIXELS), mark)
    sizes = {name: (folder / name).stat().st_size for name in ("page.html", "generator.safetensors", "generator.onnx")}
    facts = read_facts(project, card)
    seconds = estimate_seconds(generator)
    write_text(folder / "README.md", write_card(card, facts, title, count_parameters(generator), sizes, difference, names, seconds))
    return [
        f"generator.onnx: no pixel of {COMPARED_FACES} faces differs from PyTorch's by more than {difference} of 255",
        f"page.html: {page_size / 1e6:.2f} MB; open it in a browser; about {seconds} s per face",
        "README.md: " + ("filled from this project's run" if facts else "without scores: this project's run did not make this generator"),
        "draw_torch.py, draw_onnx.py: draw faces from these files without facegan",
    ]
