"""An ImageNet-like set of JPEGs, made from the photographs that scikit-image bundles, and kept.

Sizes as ImageNet's: mostly 500 x 375 or 375 x 500, the rest 240 to 700 pixels a side. Weight near
110 KB on average; three in four are 4:2:0, the others 4:4:4. Always the same files.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from tempfile import gettempdir

import numpy as np
from PIL import Image

from fastaug.files import cache_folder
from fastaug.tools.demo import PHOTOS, make_photos

COUNT, QUALITY = 1024, 95
VERSION = 1


def generated(count: int = COUNT) -> Path:
    """The set's folder; made on first use, in a minute."""
    folder = (cache_folder() or Path(gettempdir())) / f"photos-v{VERSION}-{count}"
    if folder.is_dir():
        return folder
    partial = folder.with_suffix(".part")
    shutil.rmtree(partial, ignore_errors=True)
    originals = make_photos(partial / "originals", 1)
    sources = [
        Image.open(file).convert("RGB")
        for name in PHOTOS
        for file in sorted((originals / name).glob("*.jpg"))
    ]
    rng = np.random.default_rng(0)
    for k in range(count):
        photo = sources[k % len(sources)]
        width, height = (500, 375) if rng.random() < 0.75 else rng.integers(240, 701, 2)
        if rng.random() < 0.3:
            width, height = height, width
        share = rng.uniform(0.7, 1.0)
        across, down = int(photo.width * share), int(photo.height * share)
        x, y = rng.integers(0, photo.width - across + 1), rng.integers(0, photo.height - down + 1)
        part = photo.crop((x, y, x + across, y + down)).resize(
            (int(width), int(height)), Image.Resampling.BICUBIC
        )
        grain = rng.normal(0, rng.uniform(2, 9), (int(height), int(width), 1))  # as a sensor's
        pixels = np.clip(np.asarray(part) + grain, 0, 255).astype(np.uint8)
        target = partial / f"class{k % 16:02}"
        target.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(
            target / f"{k:05}.jpg", quality=QUALITY, subsampling=2 if rng.random() < 0.75 else 0
        )
    shutil.rmtree(originals)
    partial.rename(folder)
    return folder


def images(data: Path) -> list[Path]:
    """The files of a set; an index beside them has no suffix."""
    return [f for f in sorted(data.rglob("*")) if f.is_file() and f.suffix]


def repeated(data: Path, least: int, scratch: Path) -> Path:
    """A folder of links that holds ``data`` as often as it takes to have ``least`` images."""
    files = images(data)
    for file in files:
        target = scratch / "images" / file.relative_to(data).parent
        target.mkdir(parents=True, exist_ok=True)
        for k in range(-(-least // len(files))):
            (target / f"{k}-{file.name}").symlink_to(file.resolve())
    return scratch / "images"


def resized(data: Path, side: int, folder: Path, count: int, quality: int = 92) -> Path:
    """Photographs, their longer side brought to ``side`` pixels, with a sensor's grain where they grow."""
    rng = np.random.default_rng(0)
    target = folder / str(side) / "a"
    target.mkdir(parents=True)
    for k, file in enumerate(images(data)[:count]):
        image = Image.open(file).convert("RGB")
        scale = side / max(image.size)
        size = tuple(max(1, round(edge * scale)) for edge in image.size)
        pixels = np.asarray(image.resize(size, Image.Resampling.LANCZOS)).astype(np.float32)
        pixels += rng.normal(0, 4 * (scale > 1), pixels.shape)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(target / f"{k:04}.jpg", quality=quality)
    return target.parent


def fingerprint(data: Path) -> dict[str, object]:
    """What the set is: count, mean bytes, and a hash over names and sizes."""
    files = images(data)
    sizes = [f.stat().st_size for f in files]
    names = "".join(f"{f.relative_to(data)}:{s}" for f, s in zip(files, sizes, strict=True))
    return {
        "images": len(files),
        "mean_bytes": round(float(np.mean(sizes))),
        "hash": hashlib.blake2b(names.encode(), digest_size=8).hexdigest(),
    }
