"""How the code lies: rooms that know only those before them, modules that can be read at a sitting."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import fastaug as fa

ROOT = Path(fa.__file__).parent
# Each room may import those before it, and itself. What lies at the top comes after the rooms of the line.
ROOMS = (
    "basics",
    "machine",
    "sampling",
    "data",
    "ops",
    "plan",
    "decode",
    "call",
    "execute",
    "top",
    "train",
    "tools",
)
BASICS = {"checks", "errors", "files"}
MOST_MODULES, MOST_LINES, MOST_PARAMETERS, MOST_ENTERED = 16, 400, 12, 23


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(ROOT.rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        yield name.removesuffix(".__init__") if name != "__init__" else "", path


def room(name: str) -> str:
    first, _, rest = name.partition(".")
    if first in BASICS and not rest:
        return "basics"
    return first if first in ROOMS else "top"


@cache
def imports() -> dict[str, set[str]]:
    """The modules of fastaug that each imports when it is imported, or inside a function."""
    known = {name for name, _ in modules()}
    found: dict[str, set[str]] = {}
    for name, path in modules():
        here = found.setdefault(name, set())
        tree = ast.parse(path.read_text())
        package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
        package = [part for part in package if part]
        skipped = {
            id(node)
            for block in ast.walk(tree)
            if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
            for node in ast.walk(block)
        }
        for node in ast.walk(tree):
            if not isinstance(node, ast.ImportFrom) or not node.level or id(node) in skipped:
                continue
            base = package[: len(package) - node.level + 1] + (node.module.split(".") if node.module else [])
            for alias in node.names:
                longer = ".".join([*base, alias.name])
                here.add(longer if longer in known else ".".join(base))
    return {name: there - {name} for name, there in found.items()}


def test_no_room_imports_one_behind_it():
    order = {name: k for k, name in enumerate(ROOMS)}
    upwards = [
        f"{name} imports {other}"
        for name, there in imports().items()
        for other in there
        if name and order[room(other)] > order[room(name)]
    ]
    assert upwards == []


def test_no_import_goes_round():
    state: dict[str, int] = {}

    def walk(name: str, way: tuple[str, ...]) -> None:
        assert state.get(name) != 1, " -> ".join((*way, name))
        if name in state:
            return
        state[name] = 1
        for other in imports()[name]:
            walk(other, (*way, name))
        state[name] = 2

    for name in imports():
        if name:
            walk(name, ())


def test_modules_can_be_read_at_a_sitting():
    long = {name: n for name, path in modules() if (n := len(path.read_text().splitlines())) > MOST_LINES}
    assert long == {}


def test_few_modules_lie_at_the_top():
    assert len(list(ROOT.glob("*.py"))) <= MOST_MODULES


def test_functions_that_are_not_public_have_few_parameters():
    public = {"__init__"}  # of Loader, which has DataLoader's parameters and our own
    found = []
    for name, path in modules():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                a = node.args
                count = len(a.posonlyargs + a.args + a.kwonlyargs)
                if count > MOST_PARAMETERS and not (name == "loader" and node.name in public):
                    found.append(f"{name}.{node.name}: {count}")
    assert found == []


ENTERED = """
import os, sys, threading
import fastaug as fa
root, entered = os.path.dirname(fa.__file__) + os.sep, set()
def note(frame, event, argument):
    if event == "call" and frame.f_code.co_filename.startswith(root) and frame.f_code.co_name != "<module>":
        entered.add(frame.f_code.co_filename.removeprefix(root))
augment = [fa.RandomResizedCrop(32), fa.RandomHorizontalFlip(), fa.Normalize()]
loader = fa.loader(sys.argv[1], 4, True, augment=augment, seed=0)
batches = iter(loader)
threading.setprofile(note)
sys.setprofile(note)
next(batches)
sys.setprofile(None)
loader.close()
print(*sorted(entered), sep="\\n")
"""


def test_the_line_is_short(photos):
    """What a reader has to open to follow a batch from ``iter`` to the first images."""
    pytest.importorskip("nvidia.dali")
    done = subprocess.run(
        [sys.executable, "-c", ENTERED, str(photos)],
        capture_output=True,
        text=True,
        env=os.environ,
        check=True,
    )
    entered = done.stdout.split()
    assert "loader.py" in entered
    assert len(entered) <= MOST_ENTERED, entered
