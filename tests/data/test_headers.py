"""Headers, read by our own code, beside DALI's parser."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from fastaug.data.headers import Header, read_header
from fastaug.data.source import Kind

from ..decoding import peeked
from .test_formats import ALL, SOME, mutants

KINDS = {
    "JPEG": Kind.SEQUENTIAL,
    "PNG": Kind.PNG,
    "WEBP": Kind.WEBP,
    "BMP": Kind.BMP,
    "TIFF": Kind.TIFF,
    "PPM": Kind.PNM,
    "JPEG2000": Kind.OTHER,
    "GIF": Kind.OTHER,
    "TGA": Kind.OTHER,
    "PCX": Kind.OTHER,
    "ICO": Kind.OTHER,
    "QOI": Kind.OTHER,
    "AVIF": Kind.OTHER,
    "SGI": Kind.OTHER,
}


def read(data: bytes) -> Header:
    return read_header(np.frombuffer(data, np.uint8))


@pytest.mark.parametrize("form", KINDS)
def test_sizes_and_kinds_of_every_format(form):
    rng = np.random.default_rng(1)
    for height, width in [(1, 1), (1, 300), (257, 3), (70, 91)] if form != "ICO" else [(16, 16), (64, 64)]:
        file = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8)).save(file, form)
        assert read(file.getvalue()) == Header(KINDS[form], height, width)


def test_sizes_are_dalis():
    """Of every kind that is not refused, turned by EXIF and not, of every layout."""
    pytest.importorskip("nvidia.dali")
    wrong, count = [], 0
    for name, kind in [*ALL.items(), *list(SOME.items())[::11]]:
        header = read(kind.data)
        if header.reason or header.kind == Kind.OTHER:
            continue
        count += 1
        if header[1:3] != peeked(np.frombuffer(kind.data, np.uint8)):
            wrong.append(f"{name}: {header}")
    assert count > 100
    assert wrong == []


@pytest.mark.parametrize("count", [60, pytest.param(3000, marks=pytest.mark.release)])
def test_a_damaged_header_has_dalis_size_or_none_that_decodes(count):
    """Where both find a size it is the same one. What is refused is not shown to DALI: it may end the
    process."""
    pytest.importorskip("nvidia.dali")
    compared = 0
    for data in mutants(count):
        header = read(data)
        dalis = header.height and header.kind != Kind.OTHER
        theirs = peeked(np.frombuffer(data, np.uint8)) if dalis else (0, 0)
        if theirs != (0, 0):
            compared += 1
            assert header[1:3] == theirs
    assert compared > count / 10


@pytest.mark.parametrize("form", KINDS)
def test_a_file_that_is_cut_off_anywhere_is_read_without_errors(form):
    file = io.BytesIO()
    Image.fromarray(np.zeros((9, 7, 3), np.uint8)).save(file, form)
    data = file.getvalue()
    for end in range(min(len(data), 700)):
        header = read(data[:end])
        assert bool(header.reason) == (header.height == 0)
    assert read(b"").reason == "empty"
