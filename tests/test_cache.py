"""The cache is optional: whatever lies in its place, and wherever it cannot lie, images come as without
it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import fastaug as fa
from fastaug.data.cache import name_of
from fastaug.data.datasets import as_listing
from fastaug.data.scanned import open_scanned
from fastaug.files import cache_folder, load_cached, replacing, save_cached, sweep
from fastaug.sampling.epoch import Ticket


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = cache_folder()
    assert folder == tmp_path / "fastaug"
    folder.mkdir()
    return folder


def same(a, b) -> bool:
    ids = np.arange(len(a))
    return all(
        np.array_equal(getattr(a.describe(Ticket.of(ids)), name), getattr(b.describe(Ticket.of(ids)), name))
        for name in ("height", "width", "kind")
    )


def malformed(good: bytes, rng: np.random.Generator) -> bytes:
    """A damaged cache: of another length, with other bytes, of another file, or of none."""
    data = bytearray(good)
    kind = int(rng.integers(6))
    if kind == 0:
        return bytes(data[: int(rng.integers(len(data)))])
    if kind == 1:
        return bytes(data) + rng.bytes(int(rng.integers(1, 100)))
    if kind == 2:
        for at in rng.integers(0, len(data), int(rng.integers(1, 9))):
            data[at] ^= 1 << int(rng.integers(8))
        return bytes(data)
    if kind == 3:
        return rng.bytes(len(data))
    if kind == 4:
        at = int(rng.integers(len(data) - 8))
        data[at : at + 8] = rng.choice([b"\xff" * 8, bytes(8), b"\x7f" * 8])
        return bytes(data)
    return bytes(data[32:]) + bytes(data[:32])


@pytest.mark.parametrize("count", [60, pytest.param(1000, marks=pytest.mark.release)])
def test_malformed_caches_are_made_anew(photos, cache, count):
    listing = as_listing(photos)
    first = open_scanned(listing)
    file = cache / name_of(listing)
    good, rng = file.read_bytes(), np.random.default_rng(count)
    for _ in range(count):
        bad = malformed(good, rng)
        file.write_bytes(bad)
        assert same(open_scanned(listing), first)
        assert file.read_bytes() == good or bad == good


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", ["pipe", "folder", "huge", "endless", "link to itself", "dangling"])
def test_what_is_no_cache_is_not_read(photos, cache, kind):
    listing = as_listing(photos)
    first = open_scanned(listing)
    file = cache / name_of(listing)
    file.unlink()
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "folder":
        (file / "full").mkdir(parents=True)
    elif kind == "huge":
        with file.open("wb") as out:
            out.truncate(1 << 40)  # a sparse terabyte
    else:
        file.symlink_to({"endless": "/dev/zero", "dangling": "nowhere"}.get(kind, file.name))
    begin = time.monotonic()
    assert same(open_scanned(listing), first)
    assert time.monotonic() - begin < 20


STRANGER = """
import os, sys
import fastaug as fa
from fastaug.files import cache_folder
with fa.loader(sys.argv[1], 4, augment=[fa.Resize((16, 16))]) as loader:
    list(loader)  # loads what only root may read here
os.setgroups([]); os.setgid(43210); os.setuid(43210)
for name in ("HOME", "XDG_CACHE_HOME", "USER", "LOGNAME"):
    os.environ.pop(name, None)
os.environ.update(eval(sys.argv[2]))
with fa.loader(sys.argv[1], 4, augment=[fa.Resize((16, 16))]) as loader:
    print(sum(len(x) for x, _ in loader), cache_folder())
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize(
    ("environment", "folder"),
    [
        ({}, "None"),
        *(
            pytest.param(environment, folder, marks=pytest.mark.release)
            for environment, folder in (
                ({"HOME": "/"}, "/.cache/fastaug"),
                ({"HOME": "/nonexistent"}, "/nonexistent/.cache/fastaug"),
                ({"XDG_CACHE_HOME": "relative"}, "None"),
            )
        ),
        ({"XDG_CACHE_HOME": "/proc"}, "/proc/fastaug"),
    ],
    ids=str,
)
def test_a_user_without_a_home_needs_no_cache(tmp_path, environment, folder):
    """As in a container that runs as some uid."""
    from fastaug.tools.demo import make_photos

    photos = make_photos(tmp_path / "photos", 2)
    for folder_above in (tmp_path, *tmp_path.parents[:3]):  # pytest's are its user's alone
        if not folder_above.stat().st_mode & 0o005:
            folder_above.chmod(0o755)
    command = [sys.executable, "-c", STRANGER, str(photos), repr(environment)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, cwd="/")
    assert done.stdout.split() == [str(len(as_listing(photos))), folder], done.stderr
    assert "cannot be kept" in done.stderr


def test_cached_files_are_whole_and_of_their_size(cache):
    assert save_cached("x", b"content") == cache / "x"
    assert load_cached("x", 7) == b"content"
    assert load_cached("x", 6) is None
    assert load_cached("y", 7) is None


def test_writers_at_once_leave_one_whole_file(tmp_path):
    """From several threads of one process too: a pid is no name of one's own."""
    path = tmp_path / "x"

    def write(k: int) -> None:
        for _ in range(20):
            with replacing(path) as file:
                file.write(bytes([k]) * 5000)
                file.flush()
                file.write(bytes([k]) * 5000)

    threads = [threading.Thread(target=write, args=(k,)) for k in range(6)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        if path.exists():
            assert len(set(path.read_bytes())) == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["x"]
    assert path.stat().st_mode & 0o777 == 0o666 & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_what_killed_writers_left_is_swept(tmp_path):
    code = (
        "import os, sys\nfrom fastaug.files import replacing\n"
        "with replacing(sys.argv[1]) as file:\n    file.write(b'half'); file.flush(); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "x")], check=False)
    (left,) = tmp_path.iterdir()
    sweep(tmp_path, older=60)
    assert left.exists()
    sweep(tmp_path)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "name").write_bytes(b"")
    sweep(tmp_path)
    sweep(tmp_path / "nowhere")
    assert [entry.name for entry in tmp_path.iterdir()] == ["name"]


def test_files_that_are_left_out_are_said_once(photos, tmp_path, caplog, capsys):
    import shutil

    from fastaug.tools.cli import main

    folder = Path(shutil.copytree(photos, tmp_path / "p"))
    inside = next(path for path in folder.iterdir() if path.is_dir())
    for name in ("a.heic", "b.HEIC", "notes.txt", "README", ".hidden"):
        (inside / name).write_bytes(b"")
    (inside / "c.gif").write_bytes(_gif())
    with fa.loader(folder, 4, augment=[fa.Resize((8, 8))]) as loader:
        list(loader)
        list(loader)
    said = [record.getMessage() for record in caplog.records]
    assert sum("left out" in text for text in said) == 1
    assert "4 files (.heic 2, no ending 1, .txt 1)" in said[0]
    main(["inspect", str(folder)])
    out = capsys.readouterr().out
    assert "left out: 4 files (.heic 2, no ending 1, .txt 1)" in out
    assert "decoded by the box decoder: 40, by Pillow, slower: 1" in out


def _gif() -> bytes:
    from .corpus import encoded, photo

    return encoded(photo(), "GIF")
