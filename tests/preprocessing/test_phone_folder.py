"""A folder as copied from a phone: sound, turned, incomplete and unreadable files together, through both stages."""

import pillow_heif
import yaml
from drawn_faces import draw_photo, encode
from PIL import Image
from projects import ROOT, complete, start_stage
from raw_photos import fill_raw, write_folder

from facegan.common.config import read_yaml
from facegan.common.shards import open_split
from facegan.preprocessing.colour import PRIMARIES, build_profile

pillow_heif.register_heif_opener()


def draw(seed: int) -> Image.Image:
    return draw_photo((320, 320), [(160 + 150j, 50, 6 * (seed % 5) - 12)], seed)[0]


def test_folder_of_a_phone(tmp_path):
    photos = {f"IMG_{seed:02d}.jpg": encode(draw(seed)) for seed in range(16)}
    photos |= {f"IMG_{seed}.HEIC": encode(draw(seed), "HEIF", tile_size=64, icc_profile=build_profile(PRIMARIES[12])) for seed in (16, 17)}
    photos["scan.jpg"] = encode(draw(18).transpose(Image.Transpose.ROTATE_180))
    photos["sent.jpg"] = encode(draw(0).resize((200, 200)), quality=60)
    sound = len(photos)
    photos["cut.HEIC"] = photos["IMG_16.HEIC"][: len(photos["IMG_16.HEIC"]) * 2 // 3]
    photos["copied.jpg"] = photos["IMG_03.jpg"][:5000]
    photos["cloud.jpg"] = bytes(4000)
    photos["page.jpg"] = b"<!DOCTYPE html><html>Sign in</html>"
    photos["pointer.jpg"] = b"version https://git-lfs.github.com/spec/v1"
    photos["unknown.jpg"] = b"no image"
    photos["view.jpg"] = encode(Image.radial_gradient("L"))
    folder = write_folder(tmp_path / "phone", photos | {"empty.jpg": b"", "video.mov": b"video"})
    (folder / "loop.jpg").symlink_to("loop.jpg")
    params = read_yaml(ROOT / "presets/my_faces.yaml")
    params["preprocess"]["holdout"] = 0.3
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    raw, out = fill_raw(tmp_path, "folder", str(tmp_path / "phone")), tmp_path / "shards"
    arguments = ("--params", str(tmp_path / "params.yaml"), "--raw", str(raw), "--out", str(out), "--workers", "2")
    done = complete(start_stage(ROOT, "preprocess", *arguments))
    assert (done.returncode, done.stderr) == (0, "")
    images = [image.numpy() for split in ("train", "holdout") for images in open_split(out, split) for image in images]
    assert len(images) == sound
    assert all(image[1].mean() < image[0].mean() + 30 for image in images)  # none is green
    lines = "\n".join(done.stdout.splitlines()[-10:])
    for words in (
        "1 empty",
        "1 .mov",
        "1 broken links",
        "6 photos are unreadable",
        "a truncated file (cut.HEIC)",
        "image file is truncated (copied.jpg)",
        "only zero bytes: an incomplete copy, or a placeholder (cloud.jpg)",
        "an HTML page, not the file (page.jpg)",
        "a Git LFS pointer, not the file (pointer.jpg)",
        "not an image in a supported format (unknown.jpg)",
        "1 × no face found (view.jpg)",
        "1 images are almost the same as others",
        "1 photos were upside down",
    ):
        assert words in lines
