"""The examples in docstrings give what they say."""

from __future__ import annotations

import doctest
import importlib
import inspect

import pytest

import fastaug as fa

from .test_house import modules

NAMES = [name for name, path in modules() if ">>> " in path.read_text()]


@pytest.mark.parametrize("name", NAMES)
def test_the_examples_of_a_module(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(f"fastaug.{name}" if name else "fastaug")
    failed, tried = doctest.testmod(module, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert tried
    assert not failed


def test_every_public_class_and_function_has_an_example():
    without = [
        name
        for name in fa.__all__
        if (inspect.isclass(found := getattr(fa, name)) or inspect.isfunction(found))
        and ">>> " not in (found.__doc__ or "")
    ]
    assert without == []
