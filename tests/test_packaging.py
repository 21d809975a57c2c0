from __future__ import annotations

import configparser
from fnmatch import fnmatch
from pathlib import Path

from fastaug.machine.library import library, library_file

ROOT = Path(__file__).parent.parent


def test_every_package_and_kernel_source_is_installed():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    packages = set(config["options"]["packages"].split())
    found = {".".join(p.parent.relative_to(ROOT).parts) for p in ROOT.glob("fastaug/**/__init__.py")}
    assert packages == found | {"fastaug.kernels"}
    patterns = config["options.package_data"]["fastaug.kernels"].replace(",", " ").split()
    sources = [p.name for p in (ROOT / "kernels").iterdir() if p.suffix in (".h", ".cu", ".cpp")]
    assert len(sources) >= 5
    for name in sources:
        assert any(fnmatch(name, pattern) for pattern in patterns), name


def test_the_library_has_one_name_for_every_python():
    """It is built by one Python and loaded by another: ctypes asks for no version."""
    assert library_file().name == "_native.abi3.so"
    assert library() is not None
