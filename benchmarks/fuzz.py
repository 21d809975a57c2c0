"""Damaged and senseless files through the index and the decoder: none may end the process.

Run: python benchmarks/fuzz.py [--files 20000]. Every file is a function of its number: random bytes, or a
small image in one of 13 kinds with bits flipped, bytes overwritten, cut out, repeated, cut off or taken from
another image. They go through ``Loader`` with on_error="skip", some hundred at a time, in a process of its
own. Where that process dies or hangs, fewer and fewer of its files are tried, and the guilty are written to
--keep. Damage may need some luck to end a process, so each chunk is gone through three times.
"""

from __future__ import annotations

import argparse
import io
import logging
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

CHUNK = 250
HEADS = (
    b"",
    b"\xff\xd8\xff\xe0",
    b"\x89PNG\r\n\x1a\n",
    b"RIFF\0\1\0\0WEBPVP8 ",
    b"BM",
    b"II*\0",
    b"MM\0*",
    b"P6 9 9 255\n",
    b"\0\0\0\x0cjP  \r\n\x87\n",
)
MAX_PIXELS = 1 << 22  # damaged headers may say anything, and fifty are decoded at once


def seeds() -> list[bytes]:
    """Small images in every format, from scikit-image's photographs."""
    from fastaug.tools.demo import make_photos

    def encoded(image: Image.Image, form: str, **options: object) -> bytes:
        buffer = io.BytesIO()
        image.save(buffer, form, **options)
        return buffer.getvalue()

    found: list[bytes] = []
    with tempfile.TemporaryDirectory() as folder:
        for path in sorted(make_photos(Path(folder), 1).glob("*/*.jpg")):
            image = Image.open(path).convert("RGB").resize((64, 48))
            exif = Image.Exif()
            exif[0x0112] = 6
            found += [
                encoded(image, "JPEG"),
                encoded(image, "JPEG", progressive=True),
                encoded(image, "JPEG", exif=exif),
                encoded(image.convert("CMYK"), "JPEG"),
                encoded(image, "PNG"),
                encoded(image.convert("P"), "PNG"),
                encoded(image, "WEBP"),
                encoded(image, "WEBP", lossless=True),
                encoded(image, "BMP"),
                encoded(image, "TIFF"),
                encoded(image, "TIFF", compression="tiff_lzw"),
                encoded(image, "PPM"),
                encoded(image, "JPEG2000"),
            ]
    return found


def made(number: int, originals: list[bytes]) -> bytes:
    """File ``number``."""
    rng = np.random.default_rng(number)
    if number % 10 == 0:
        return HEADS[int(rng.integers(len(HEADS)))] + rng.bytes(int(rng.integers(0, 3000)))
    data = np.frombuffer(originals[int(rng.integers(len(originals)))], np.uint8).copy()
    for _ in range(int(rng.integers(1, 6))):
        if not len(data):
            break
        reach = len(data) if rng.random() < 0.5 else min(len(data), 128)  # headers more often
        at, length = int(rng.integers(reach)), int(rng.integers(1, 17))
        kind = int(rng.integers(7))
        if kind == 0:
            data[at] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            data[at : at + length] = rng.integers(0, 256, len(data[at : at + length]))
        elif kind == 2:
            data[at : at + length] = (0, 255, 127, 128)[int(rng.integers(4))]
        elif kind == 3:
            data = np.delete(data, slice(at, at + length))
        elif kind == 4:
            data = np.insert(data, at, data[at : at + length])
        elif kind == 5:
            data = data[:at]
        else:
            other = np.frombuffer(originals[int(rng.integers(len(originals)))], np.uint8)
            data = np.concatenate([data[:at], other[at:]])
    return data.tobytes()


def child(first: int, last: int, low: int, high: int) -> None:
    """Loads files first … last - 1, with a good image in place of those outside low … high - 1, and one more;
    prints what became of them."""
    import torch

    import fastaug as fa

    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    originals = seeds()
    for begin in range(first, last, CHUNK):
        numbers = range(begin, min(begin + CHUNK, last))
        files = [made(n, originals) if low <= n < high else originals[0] for n in numbers]
        pairs = [(data, 0) for data in [originals[0], *files]]
        with fa.loader(
            pairs,
            50,
            augment=[fa.RandomResizedCrop(32)],
            on_error="skip",
            max_bad=None,
            max_pixels=MAX_PIXELS,
            num_workers=2,
            with_plan=True,
        ) as loader:
            for _ in range(3):  # each time other crops
                delivered = sum(len(plan) for _, _, plan in loader)
            bad = loader.bad_files
        headers = sum("header" in r or r == "empty" or "JPEG 2000" in r for r in bad.values())
        large = sum("max_pixels" in reason for reason in bad.values())
        assert delivered >= len(pairs) - len(bad)
        print(f"{begin} {len(files) - len(bad)} {headers} {large} {len(bad) - headers - large}", flush=True)


def run(first: int, last: int, low: int, high: int) -> tuple[Counter[str], int, str]:
    """Loads files in a process of its own: counts, where it ended, and how if not well."""
    command = [sys.executable, __file__, "--child", *map(str, (first, last, low, high))]
    with (
        tempfile.TemporaryFile() as noise,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=noise, text=True) as process,
    ):
        how = ""
        try:
            out, _ = process.communicate(timeout=60 + 0.1 * (last - first))
        except subprocess.TimeoutExpired:
            process.kill()
            out, how = process.communicate()[0], "hangs"
    counts: Counter[str] = Counter()
    at = first
    for line in out.splitlines():
        begin, *numbers = map(int, line.split())
        counts.update(dict(zip(("decoded", "no header", "too large", "damaged"), numbers, strict=True)))
        at = begin + CHUNK
        if process.returncode > 0:  # an error of this program's or of fastaug's
            noise.seek(0)
            sys.exit(noise.read().decode("utf-8", "replace")[-3000:])
    if not how and process.returncode:
        how = f"ends it with signal {-process.returncode}"
    return counts, min(at, last), how


def guilty(first: int, last: int, low: int, high: int) -> list[tuple[int, str]]:
    """Which of the files low … high - 1 end a process by themselves, found by halves; all in their places,
    which decide on the crops."""
    _, _, how = run(first, last, low, high)
    if not how:
        return []
    if high - low == 1:
        return [(low, how)]
    middle = (low + high) // 2
    return guilty(first, last, low, middle) + guilty(first, last, middle, high)


def main() -> int:
    """Prints what became of the files; 0 when no process died or hung."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--first", type=int, default=0, help="number of the first file")
    parser.add_argument("--keep", type=Path, default=Path("fuzz-found"), help="folder for guilty files")
    args = parser.parse_args()
    begin, total, found = time.monotonic(), Counter[str](), []
    at, last = args.first, args.first + args.files
    while at < last:
        counts, reached, how = run(at, last, at, last)
        total += counts
        if how:
            end = min(reached + CHUNK, last)
            one_by_one = guilty(reached, end, reached, end)
            found += one_by_one or [(reached, f"or one of the {end - reached - 1} after it {how}")]
            reached = end
        at = reached
    print(
        f"{args.files} files in {time.monotonic() - begin:.0f} s: "
        + ", ".join(f"{count} {what}" for what, count in total.items())
    )
    for number, how in found:
        args.keep.mkdir(parents=True, exist_ok=True)
        (args.keep / str(number)).write_bytes(made(number, seeds()))
        print(f"file {number} {how}: {args.keep / str(number)}")
    print("no process died or hung" if not found else f"{len(found)} files end a process or let it hang")
    return 1 if found else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(*map(int, sys.argv[2:]))
    else:
        sys.exit(main())
