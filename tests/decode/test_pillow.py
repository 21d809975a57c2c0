"""Images that Pillow decodes: every format of its, cut files, colour profiles."""

from __future__ import annotations

import io
import logging

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms, ImageOps

import fastaug as fa
from fastaug.data.pillow import extensions, formats, pixels_of
from fastaug.data.source import Kind
from fastaug.sampling.epoch import Ticket

from ..corpus import encoded, oriented, photo

WRITTEN = ["GIF", "TGA", "ICO", "AVIF", "QOI", "PCX", "SGI", "JPEG2000", "DDS", "IM", "XBM", "MSP", "DIB"]
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def whole(data: bytes, **options) -> np.ndarray:
    """An image as a loader delivers it at its own size."""
    image = Image.open(io.BytesIO(data))
    size = ImageOps.exif_transpose(image).size[::-1]
    augment = [fa.Resize(size, "nearest")]
    with fa.loader([(data, 0)], augment=augment, dtype=torch.uint8, **options) as loader:
        return next(iter(loader))[0][0].permute(1, 2, 0).numpy()


@pytest.mark.parametrize("form", WRITTEN)
def test_every_format_that_pillow_writes_comes_with_its_pixels(form, tmp_path):
    picture = photo(64, 64).convert({"XBM": "1", "MSP": "1"}.get(form, "RGB"))
    data = encoded(picture, form)
    want = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    assert (whole(data) == want).all()
    end = next(e for e, f in Image.registered_extensions().items() if f == form)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / f"x{end.upper()}").write_bytes(data)
    with fa.loader(tmp_path, augment=[fa.Resize((64, 64), "nearest")], dtype=torch.uint8) as loader:
        assert (next(iter(loader))[0][0].permute(1, 2, 0).numpy() == want).all()


def test_the_registry_of_pillow_is_searched_for():
    found = {".jpg", ".jfif", ".jpe", ".gif", ".tga", ".ico", ".qoi", ".pcx", ".jp2"}
    assert found <= set(extensions())
    assert not {".eps", ".ps", ".wmf", ".mpg", ".pdf", ".h5", ".grib"} & set(extensions())
    assert {"JPEG", "GIF"} <= set(formats())
    assert "EPS" not in formats()


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
@pytest.mark.parametrize("code", range(1, 9))
def test_orientation_is_applied(form, code):
    picture = Image.fromarray(np.arange(12, dtype=np.uint8).reshape(3, 4) * 20).convert("LA")
    data = encoded(picture, form, exif=oriented(code))
    want = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))
    assert (whole(data) == want).all()


def test_what_dali_refuses_pillow_decodes_and_it_is_said_once(caplog, monkeypatch):
    """Of a kind that DALI takes: its word alone does not make a file bad."""
    from fastaug.decode import dali

    monkeypatch.setattr(dali.DaliDecoder, "_decode", refuse)
    pictures = [photo(40 + k, 30) for k in range(6)]
    data = [(encoded(p, "PNG"), 0) for p in pictures]
    with fa.loader(data, 3, augment=[fa.Resize((30, 40), "nearest")], dtype=torch.uint8) as loader:
        images = torch.cat([x for x, _ in loader]).permute(0, 2, 3, 1).numpy()
        assert loader.bad_files == {}
    assert (images[0] == np.asarray(pictures[0])).all()
    said = [r for r in caplog.records if "refuses" in r.getMessage()]
    assert len(said) == 1


def refuse(*_):
    from fastaug.decode.dali import _Refused

    raise _Refused("damaged")


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("form", ["baseline", "progressive", "PNG", "TIFF", "BMP", "GIF", "TGA", "PPM"])
def test_cut_files_are_padded_where_that_is_asked_for(form, share):
    picture = photo(240, 200)
    data = (
        encoded(picture, "JPEG", progressive=form == "progressive", quality=95)
        if form in ("baseline", "progressive")
        else encoded(picture, form)
    )
    right = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)
    cut = data[: int(len(data) * share)]
    augment, pad = [fa.Resize((200, 240), "nearest")], fa.Decode(truncated="pad")
    with fa.loader([(cut, 0)], augment=augment, decode=pad, dtype=torch.uint8) as loader:
        got = next(iter(loader))[0][0].permute(1, 2, 0).numpy().astype(int)
        assert "cut files padded" in repr(loader)
        assert loader.bad_files == {}
    if form != "progressive":  # what is there is as it should be
        assert (np.abs(got - right).max(2) <= 2).mean() > share - 0.2
    with fa.loader([(cut, 0)], augment=augment) as loader, pytest.raises(fa.DecodeError, match="truncated"):
        next(iter(loader))


@pytest.fixture(scope="module")
def swapped() -> bytes:
    """An RGB profile whose red and green primaries are exchanged: what it does is plain to see."""
    data = bytearray(SRGB)
    at = {bytes(data[p : p + 4]): p for p in range(132, 132 + 12 * data[131], 12)}
    red, green = at[b"rXYZ"], at[b"gXYZ"]
    data[red + 4 : red + 12], data[green + 4 : green + 12] = (
        data[green + 4 : green + 12],
        data[red + 4 : red + 12],
    )
    return bytes(data)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_colour_profiles_are_converted_where_that_is_asked_for(form, swapped):
    picture = photo(48, 40)
    options = {"quality": 95} if form == "JPEG" else {"lossless": True} if form == "WEBP" else {}
    data = encoded(picture, form, icc_profile=swapped, **options)
    plain = whole(data).astype(int)
    assert np.abs(plain - np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))).max() <= 2
    got = whole(data, decode=fa.Decode(icc="srgb")).astype(int)
    assert np.abs(got - plain[..., [1, 0, 2]]).mean() < 3
    assert np.abs(got - plain).mean() > 5
    same = encoded(picture, form, icc_profile=SRGB, **options)
    assert np.abs(whole(same, decode=fa.Decode(icc="srgb")).astype(int) - plain).max() <= 3


def test_a_profile_that_does_not_fit_is_left_out_and_said(swapped, caplog):
    gray = encoded(photo(48, 40).convert("L"), "PNG", icc_profile=swapped)
    broken = encoded(photo(48, 40), "PNG", icc_profile=b"no profile")
    with caplog.at_level(logging.WARNING, "fastaug"):
        for data in (gray, broken):
            image = np.frombuffer(data, np.uint8)
            assert (pixels_of(image, icc="srgb") == pixels_of(image)).all()


def test_cmyk_without_adobes_marker_is_pillows():
    data = encoded(photo(48, 40).convert("CMYK"), "JPEG", quality=95)
    at = data.index(b"\xff\xee")
    bare = data[:at] + data[at + 2 + int.from_bytes(data[at + 2 : at + 4], "big") :]
    want = np.asarray(Image.open(io.BytesIO(bare)).convert("RGB"))
    assert (whole(bare) == want).all()


def test_a_batch_mixes_all_decoders(tmp_path):
    """The printed plan says which image took which way."""
    forms = ["JPEG", "GIF", "PNG", "TGA", "progressive"] * 4
    pictures = [photo(40, 30).rotate(9 * k) for k in range(20)]
    data = [
        (encoded(p, "JPEG", progressive=True) if form == "progressive" else encoded(p, form), k)
        for k, (p, form) in enumerate(zip(pictures, forms, strict=True))
    ]
    augment = [fa.Resize((30, 40), "nearest")]
    with fa.loader(data, 20, augment=augment, dtype=torch.uint8, with_plan=True) as loader:
        kinds = loader._pipeline.source.describe(Ticket.of(np.arange(20))).kind
        assert set(kinds) == {Kind.SEQUENTIAL, Kind.JPEG, Kind.PNG, Kind.OTHER}
        images, labels, plan = next(iter(loader))
    assert labels.tolist() == list(range(20))
    ways = {"JPEG": "box", "GIF": "Pillow", "PNG": "DALI", "TGA": "Pillow", "progressive": "DALI"}
    assert list(plan.decoders) == [ways[form] for form in forms]
    assert str(plan).splitlines()[1].endswith("decoder")
    assert str(plan).splitlines()[2].endswith("box")
    for k, (encoded_image, _) in enumerate(data):
        want = np.asarray(Image.open(io.BytesIO(encoded_image)).convert("RGB")).astype(int)
        assert np.abs(images[k].permute(1, 2, 0).numpy() - want).max() <= 2
