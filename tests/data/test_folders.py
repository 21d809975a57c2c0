"""Folders of images: numbered as torchvision's ImageFolder numbers them."""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.datasets import ImageFolder

from fastaug.data.datasets import as_listing

# Names around "/" in every order, hidden ones, and one that is no text.
NAMES = ["a", "a-b", "a.b", "a0", "a b", "A", ".hidden", "é", "b", "\udcff", "10", "9", "a.jpg"]
FILES = ["0.jpg", "a.JPG", "a.jpeg", "b.Png", ".jpg", "a-b.webp", "z.TIFF", "a.ppm", "notes.txt", "c.bmp"]
LEAVES = st.fixed_dictionaries({}, optional={name: st.none() for name in FILES})
TREES = st.recursive(
    LEAVES,
    lambda inner: st.tuples(LEAVES, st.dictionaries(st.sampled_from(NAMES), inner, max_size=4)).map(
        lambda t: {**t[0], **t[1]}
    ),
    max_leaves=12,
)
CLASSES = st.dictionaries(st.sampled_from(NAMES), TREES, min_size=1, max_size=4)


def make(folder: Path, tree: dict) -> list[Path]:
    """Writes a tree of empty files; its folders."""
    folder.mkdir()
    made = [folder]
    for name, inner in tree.items():
        if inner is None:
            (folder / name).touch()
        else:
            made += make(folder / name, inner)
    return made


def check_as_torchvisions(root: Path) -> None:
    source, folder = as_listing(str(root)), ImageFolder(str(root))
    assert source.classes == folder.classes
    assert list(zip(source.paths, source.labels.tolist(), strict=True)) == folder.samples


@settings(max_examples=150, deadline=None)
@given(CLASSES, st.data())
def test_nested_folders_are_numbered_as_by_torchvision(tmp_path_factory, classes, data):
    base = tmp_path_factory.mktemp("tree")
    elsewhere = make(base / "elsewhere", {"a": {"0.jpg": None}, "a-b": {"1.png": None}})
    root = base / "root"
    folders = make(root, {name: {**tree, "sure.jpg": None} for name, tree in classes.items()})
    for k in range(data.draw(st.integers(0, 3))):  # links out of the tree, to a file, to nothing
        place = data.draw(st.sampled_from(folders[1:]))
        target = data.draw(st.sampled_from([*elsewhere, elsewhere[1] / "0.jpg", base / "nothing"]))
        (place / f"{'a-. '[k]}link{'.jpg' if k % 2 else ''}").symlink_to(target)
    check_as_torchvisions(root)


def test_a_folder_sorts_as_a_whole(tmp_path):
    """A folder's own files come before those of its folders, and "a-b" before "a/b"."""
    folders = {"a": {"b": {"1.jpg": None}, "z.jpg": None}, "a-b": {"0.jpg": None}}
    make(tmp_path / "root", {"x": {**folders, "a.jpg": None, "b.jpg": None}})
    check_as_torchvisions(tmp_path / "root")
    names = [os.path.relpath(path, tmp_path / "root/x") for path in as_listing(tmp_path / "root").paths]
    assert names == ["a.jpg", "b.jpg", "a/z.jpg", "a-b/0.jpg", "a/b/1.jpg"]


def test_what_only_fastaug_reads_keeps_the_order(tmp_path):
    make(tmp_path / "root", {"x": {"b.jpe": None, "a.jpg": None, "c.JP2": None, "a": {"0.pnm": None}}})
    names = [os.path.relpath(path, tmp_path / "root/x") for path in as_listing(tmp_path / "root").paths]
    assert names == ["a.jpg", "b.jpe", "c.JP2", "a/0.pnm"]


def test_links_to_folders_above_end(tmp_path):
    make(tmp_path / "root", {"x": {"a": {"0.jpg": None}, "1.jpg": None}, "y": {"2.jpg": None}})
    for link, target in (("x/a/up", "x"), ("x/self", "x/self"), ("y/all", ""), ("y/x", "x")):
        (tmp_path / "root" / link).symlink_to(tmp_path / "root" / target)
    names = [os.path.relpath(path, tmp_path / "root") for path in as_listing(tmp_path / "root").paths]
    inside = ["x/1.jpg", "x/a/0.jpg"]
    assert names == [*inside, "y/2.jpg", *(f"y/all/{n}" for n in inside), *(f"y/{n}" for n in inside)]
