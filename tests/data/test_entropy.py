"""Entropy indices: the same pixels with them, and never believed where they do not fit."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from jpegs import corpus, encoded, picture

import fastaug as fa
from fastaug.data.entropy import NAME, ROW, EntropyIndex, open_index
from fastaug.data.scanned import Scanned
from fastaug.machine.library import library
from fastaug.tools.cli import main
from fastaug.tools.index import index

pytestmark = pytest.mark.skipif(library() is None, reason="no compiled kernels here")


@pytest.fixture
def folder(tmp_path) -> Path:
    """Every kind of JPEG, and a few other images."""
    root = tmp_path / "data"
    for k in range(2):
        (root / f"c{k}").mkdir(parents=True)
    for k, (_, data) in enumerate(corpus(seed=4, count=60)):
        (root / f"c{k % 2}" / f"{k}.jpg").write_bytes(data)
    large = picture(np.random.default_rng(2), 300, 421)
    for k, ratio in enumerate(("444", "422", "420", "440")):
        (root / "c0" / f"large{k}.jpg").write_bytes(encoded(large, ratio, 85, interval=11 * (k == 2)))
    (root / "c1" / "other.jpg").write_bytes(encoded(large, progressive=True))
    return root


def batches(root: Path | str, **options) -> torch.Tensor:
    augment = [fa.RandomResizedCrop(24, (0.02, 1.0)), fa.RandomHorizontalFlip()]
    with fa.loader(
        root, 16, True, augment=augment, dtype=torch.uint8, seed=5, num_workers=2, **options
    ) as loader:
        return torch.cat([images for _ in range(2) for images, _ in loader])


def used(monkeypatch) -> list[bool]:
    """Notes of each file that is fetched whether its tiles are known."""
    found: list[bool] = []
    fetch = Scanned.fetch

    def noted(self, *args):
        items = fetch(self, *args)
        found.extend(item.tiles is not None for item in items)
        return items

    monkeypatch.setattr(Scanned, "fetch", noted)
    return found


@pytest.mark.parametrize("tile", ["16", "64", "128", "row"])
def test_the_same_pixels_come_with_an_index(folder, tile, monkeypatch, capsys, caplog):
    want = batches(folder)
    assert main(["index", str(folder), "--tile", tile]) == 0
    out = capsys.readouterr().out
    assert "64 JPEGs" in out
    assert "1 other images" in out
    known = used(monkeypatch)
    assert (batches(folder) == want).all()
    assert known.count(False) == 2  # the other one, in two epochs
    assert known.count(True) == 128
    assert not [r for r in caplog.records if "does not fit" in r.getMessage()]


def test_an_index_above_the_folder_and_relative_paths(folder, monkeypatch):
    want = batches(folder)
    assert index(str(folder.parent)) == 0
    known = used(monkeypatch)
    monkeypatch.chdir(folder)
    assert (batches(".") == want).all()
    assert (batches("../data/") == want).all()
    assert known.count(True) == 2 * 128


def test_changed_files_are_not_looked_up(folder, monkeypatch):
    index(str(folder))
    path = folder / "c0" / "0.jpg"
    path.write_bytes((folder / "c0" / "2.jpg").read_bytes())
    want = batches(shutil.copytree(folder, folder.parent / "plain", ignore=shutil.ignore_patterns(NAME)))
    known = used(monkeypatch)
    assert (batches(folder) == want).all()
    assert known.count(False) == 4
    index(str(folder))
    known.clear()
    assert (batches(folder) == want).all()
    assert known.count(False) == 2


def test_tiles_of_other_bytes_are_never_believed(folder, caplog):
    """A file of the same size and time, and tiles that were changed: decoded from the start, said once."""
    index(str(folder))
    before = os.stat(folder / "c0" / "large0.jpg")
    data = bytearray((folder / "c0" / "large0.jpg").read_bytes())
    data[-400] ^= 4
    (folder / "c0" / "large0.jpg").write_bytes(data)
    os.utime(folder / "c0" / "large0.jpg", ns=(before.st_atime_ns, before.st_mtime_ns))
    want = batches(shutil.copytree(folder, folder.parent / "plain", ignore=shutil.ignore_patterns(NAME)))
    assert (batches(folder) == want).all()
    content = bytearray((folder / NAME).read_bytes())
    for at in range(len(content) - 40, len(content), 2):
        content[at] ^= 1
    (folder / NAME).write_bytes(content)
    assert (batches(folder) == want).all()
    said = [r for r in caplog.records if "does not fit" in r.getMessage()]
    assert len(said) == 2  # once a loader


@pytest.mark.parametrize("kind", ["cut", "longer", "magic", "negative", "empty", "tile"])
def test_a_damaged_file_is_left_aside(folder, kind, caplog):
    want = batches(folder)
    index(str(folder))
    path = folder / NAME
    content = bytearray(path.read_bytes())
    if kind == "cut":
        del content[-1:]
    elif kind == "longer":
        content += b"xx"
    elif kind == "magic":
        content[0] ^= 1
    elif kind == "negative":
        content[24:32] = (-5).to_bytes(8, "little", signed=True)
    elif kind == "tile":
        content[16:24] = (1 << 40).to_bytes(8, "little")
    else:
        content.clear()
    path.write_bytes(content)
    assert open_index(str(folder)) is None
    assert (batches(folder) == want).all()
    assert [r for r in caplog.records if "left aside" in r.getMessage()]


def test_rows_that_point_elsewhere_are_not_followed(folder):
    want = batches(folder)
    index(str(folder))
    content = bytearray((folder / NAME).read_bytes())
    rows = EntropyIndex(folder / NAME).rows.copy()
    rng = np.random.default_rng(0)
    for name, numbers in (("first", [-1, 1 << 62, 7]), ("words", [-1, 0, 1 << 40, 1 << 62])):
        some = rng.permutation(len(rows))[:20]
        rows[name][some] = rng.choice(numbers, 20)
    content[64 : 64 + len(rows) * ROW.itemsize] = rows.tobytes()
    (folder / NAME).write_bytes(content)
    assert (batches(folder) == want).all()


def test_a_limit_and_wrong_input(folder, capsys):
    assert main(["index", str(folder), "--limit", "4000"]) == 0
    assert "are left out" in capsys.readouterr().out
    assert (folder / NAME).stat().st_size <= 4000
    for tile in ("0", "20", "8", "rows", "-64", "65536"):
        with pytest.raises(SystemExit):
            main(["index", str(folder), "--tile", tile])
        assert "neither row nor a power of two" in capsys.readouterr().err
    assert main(["index", str(folder / "none")]) == 2
    (folder.parent / "empty").mkdir()
    assert main(["index", str(folder.parent / "empty")]) == 2


def test_what_an_index_would_bring_is_said_once(folder, caplog, monkeypatch):
    """Of a folder that has none, where it is much; measured, with its size."""
    from fastaug import build
    from fastaug.decode import gain

    monkeypatch.setattr(build, "MANY", 10)
    monkeypatch.setattr(gain, "_LEAST", 0.0)
    for _ in range(2):
        batches(folder)
    said = [r.getMessage() for r in caplog.records if "times as fast" in r.getMessage()]
    assert len(said) == 1
    assert f"`fastaug index {folder}`" in said[0]
    index(str(folder))
    gain._said.clear()
    batches(folder)
    assert len([r for r in caplog.records if "times as fast" in r.getMessage()]) == 1


@pytest.mark.release
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_stopped_it_leaves_a_whole_file_or_none_and_goes_on(tmp_path, sent):
    """Interrupted, what was done is kept; killed, what was there before."""
    root = tmp_path / "data" / "a"
    root.mkdir(parents=True)
    large = encoded(picture(np.random.default_rng(2), 1500, 2000), "444", 95)
    for k in range(1100):
        (root / f"{k:04}.jpg").write_bytes(large)
    code = "import sys; from fastaug.tools.index import index; sys.exit(index(sys.argv[1]))"
    process = subprocess.Popen([sys.executable, "-c", code, str(root.parent)], stdout=subprocess.DEVNULL)
    time.sleep(25)
    process.send_signal(sent)
    process.wait(60)
    assert process.returncode == (130 if sent == signal.SIGINT else -9)
    found = open_index(str(root.parent))
    assert [p.name for p in root.parent.iterdir() if not p.name.startswith((NAME, "."))] == ["a"]
    if sent == signal.SIGINT:
        assert found is not None
        assert 0 < len(found.rows) < 1100
    else:
        assert found is None
