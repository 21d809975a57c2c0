"""Run in a process of its own: decodes JPEGs beside another decoder, then a bad file among good ones.

python -m tests.gpu.decoding cpu|gpu DEVICE prints what it found as JSON, in its last line.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import fastaug as fa


def photographs(folder: Path, count: int = 48) -> None:
    """Smooth colored noise as JPEGs of about 500 x 375 pixels."""
    rng = np.random.default_rng(0)
    (folder / "a").mkdir()
    for k in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (9, 12, 3), np.uint8))
        image = coarse.resize((480 + k, 360 + k), Image.Resampling.BICUBIC)
        image.save(folder / "a" / f"{k:02}.jpg", quality=92)


def pillow_images(folder: Path, plan: fa.BatchPlan) -> torch.Tensor:
    """A plan's crops by Pillow: uint8 ``[B, 3, H, W]``."""
    files, out = sorted(folder.glob("a/*.jpg")), []
    for row in plan.rows:
        y, x, h, w = (int(row[name]) for name in ("y0", "x0", "h", "w"))
        image = Image.open(files[int(row["index"])]).convert("RGB").crop((x, y, x + w, y + h))
        image = image.resize(plan.size[::-1], Image.Resampling.BILINEAR)
        out.append(np.asarray(image)[:, ::-1] if row["flip"] else np.asarray(image))
    return torch.from_numpy(np.stack(out)).permute(0, 3, 1, 2)


def pixels(folder: Path, decode: str, device: str, **common: Any) -> dict[str, float]:
    """The greatest mean difference of a batch and the greatest of all, 2 pixels inside the border, from
    Pillow's (decoding on the CPU) or from the CPU's (on a GPU); and images a second."""
    mean, most, count = 0.0, 0, 0
    with (
        fa.loader(folder, device=device, decode=decode, with_plan=True, **common) as loader,
        fa.loader(folder, device="cpu", with_plan=True, **common) as cpu,
    ):
        for images, _, plan in loader:
            other = pillow_images(folder, plan) if decode == "cpu" else cpu.replay(plan)[0]
            apart = (images.cpu().int() - other.int()).abs()[:, :, 2:-2, 2:-2]
            mean, most = max(mean, float(apart.float().mean())), max(most, int(apart.max()))
        begin = time.perf_counter()
        for _ in range(5):
            for images, _, _ in loader:
                count += len(images)
            if images.is_cuda:
                torch.cuda.synchronize(images.device)
        return {"mean": mean, "most": most, "rate": count / (time.perf_counter() - begin)}


def beside_a_bad_file(folder: Path, decode: str, device: str, **common: Any) -> dict[str, Any]:
    """How many good images there are and come; which files were called bad, and which one is."""
    good = sorted(folder.glob("a/*.jpg"))
    data, broken = good[0].read_bytes(), folder / "a" / "05broken.jpg"
    broken.write_bytes(data[: data.index(b"\xff\xda") + 4])
    with fa.loader(folder, device=device, decode=decode, on_error="skip", max_bad=None, **common) as loader:
        delivered = sum(len(images) for images, _ in loader)
        named = list(loader.bad_files)
    return {"good": len(good), "delivered": delivered, "named": named, "bad": str(broken)}


def main(decode: str, device: str) -> None:
    augment = [fa.RandomResizedCrop(224), fa.RandomHorizontalFlip()]
    common: dict[str, Any] = dict(batch_size=16, augment=augment, dtype=torch.uint8)
    with tempfile.TemporaryDirectory() as name:
        photographs(Path(name))
        found = pixels(Path(name), decode, device, **common)
        print(json.dumps(found | beside_a_bad_file(Path(name), decode, device, **common)))


if __name__ == "__main__":
    main(*sys.argv[1:])
