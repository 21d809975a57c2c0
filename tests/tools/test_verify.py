from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest
from PIL import Image

from fastaug.files import cache_folder
from fastaug.tools import verify as module
from fastaug.tools.cli import main

from .. import corpus

JPEG = corpus.encoded(corpus.photo(), "JPEG", quality=92)


@pytest.fixture
def folder(tmp_path) -> Path:
    """A few good files, in folders of their own or not, and no cache."""
    (tmp_path / "x" / "deep").mkdir(parents=True)
    for name in ("a.jpg", "deep/b.jpg", "deep/c.JPEG"):
        (tmp_path / "x" / name).write_bytes(JPEG)
    for record in cache_folder().glob("*.verified"):
        record.unlink()
    return tmp_path / "x"


@pytest.mark.release
def test_every_bad_file_of_the_corpus_is_found_and_no_good_one(tmp_path, capsys):
    verdicts = corpus.write(tmp_path / "x")
    fix_list = tmp_path / "bad.txt"
    assert main(["verify", str(tmp_path / "x"), "--fix-list", str(fix_list)]) == 1
    listed = set(fix_list.read_bytes().split(b"\0")[:-1])
    in_a_folder = {p: v for p, v in verdicts.items() if not p.endswith(b"folder.jpg")}
    assert {p for p, v in in_a_folder.items() if v == corpus.BAD} <= listed
    assert not {p for p, v in in_a_folder.items() if v == corpus.GOOD} & listed
    # Damage that the loader does not see, and all that ends too early.
    for name in (b"zeros in the middle", b"flipped bits 1", b"jpeg cut 9", b"progressive cut"):
        assert any(name in path for path in listed)
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == len(listed) + 1
    for path in listed:
        assert any(line.startswith(f"{os.fsdecode(path)!r}: ") for line in printed)
    assert printed[-1] == f"{len(in_a_folder)} images, 0 of them found good before; {len(listed)} are bad"


def test_the_fix_list_is_for_xargs(folder, tmp_path):
    names = [b"bad\nline.jpg", b"not \xff utf-8.jpg", b"a space.jpg", b"'quote.jpg", b"-rf.jpg"]
    for name in names:
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_bytes(b"no image")
    fix_list = tmp_path / "bad.txt"
    assert main(["verify", str(folder), "--fix-list", str(fix_list)]) == 1
    with fix_list.open() as file:
        subprocess.run(["xargs", "-0", "rm", "--"], stdin=file, check=True)
    assert sorted(p.name for p in folder.iterdir()) == ["a.jpg", "deep"]
    assert main(["verify", str(folder), "--fix-list", str(fix_list)]) == 0
    assert fix_list.read_bytes() == b""


@pytest.mark.release
def test_a_second_run_looks_only_at_what_changed(folder, capsys, monkeypatch):
    asked = []
    reasons = module.Checker.reasons
    monkeypatch.setattr(module.Checker, "reasons", lambda self, p: asked.append(list(p)) or reasons(self, p))
    (folder / "bad.jpg").write_bytes(b"")
    assert main(["verify", str(folder)]) == 1
    (folder / "new.jpg").write_bytes(JPEG)
    changed = folder / "deep" / "b.jpg"
    changed.write_bytes(JPEG[: len(JPEG) // 2])
    assert main(["verify", str(folder)]) == 1
    assert len(asked[0]) == 4
    assert asked[1] == [str(folder / "bad.jpg"), str(changed), str(folder / "new.jpg")]
    assert "5 images, 2 of them found good before; 2 are bad" in capsys.readouterr().out
    next(cache_folder().glob("*.verified")).write_bytes(b"damaged")
    assert main(["verify", str(folder)]) == 1
    assert len(asked[2]) == 5


@pytest.mark.release
def test_what_another_version_found_good_is_looked_at_again(folder, capsys, monkeypatch):
    """It may refuse files that were taken before."""
    module.verify(str(folder))
    monkeypatch.setattr(module, "FORMAT", module.FORMAT + 1)
    module.verify(str(folder))
    assert capsys.readouterr().out.count(" 0 of them found good before") == 2


@pytest.mark.release
def test_a_stopped_run_is_gone_on_with(folder, monkeypatch, capsys):
    for k in range(5):
        (folder / f"{k}.jpg").write_bytes(JPEG)
    monkeypatch.setattr(module, "_CHUNK", 3)
    asked = []
    reasons = module.Checker.reasons

    def stops(self, paths):
        asked.append(len(paths))
        if len(asked) == 3:
            raise KeyboardInterrupt
        return reasons(self, paths)

    monkeypatch.setattr(module.Checker, "reasons", stops)
    assert main(["verify", str(folder)]) == 130
    assert "goes on from here" in capsys.readouterr().err
    assert main(["verify", str(folder)]) == 0
    assert asked == [3, 3, 2, 2]


@pytest.mark.release
def test_a_file_that_ends_the_decoder_is_named_and_the_rest_goes_on(folder, monkeypatch, capsys):
    deadly = folder / "deep" / "b.jpg"
    ask = module.Checker._ask

    def dies(self, paths):
        if str(deadly) in paths:
            self.close()
            return -11
        return ask(self, paths)

    monkeypatch.setattr(module.Checker, "_ask", dies)
    assert main(["verify", str(folder)]) == 1
    out = capsys.readouterr().out
    assert f"{str(deadly)!r}: ends the decoder's process (status -11)" in out
    assert "3 images, 0 of them found good before; 1 are bad" in out


@pytest.mark.release
def test_a_process_that_was_killed_is_replaced(folder):
    image = Image.open(folder / "a.jpg").copy()
    image.save(folder / "a.jpg", progressive=True)  # not the box decoder's, which needs no process
    checker = module.Checker()
    try:
        assert checker.reasons([str(folder / "a.jpg")]) == [""]
        checker._process.kill()
        time.sleep(0.1)
        assert isinstance(checker._ask([str(folder / "a.jpg")]), int)
        assert checker.reasons([str(folder / "a.jpg"), "/nowhere.jpg"])[0] == ""
    finally:
        checker.close()


def test_wrong_input(tmp_path, capsys):
    assert main(["verify", str(tmp_path / "nowhere")]) == 2
    assert "no folder" in capsys.readouterr().err
    assert main(["verify", str(tmp_path)]) == 2
    assert "no image" in capsys.readouterr().err
