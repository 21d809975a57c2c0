"""Files that are whole or not there: written under a temporary name, then renamed. And the cache folder,
which nobody depends on."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

_DIGEST = 32  # bytes
_OLD = 86400.0  # seconds after which a temporary file has no writer any more


def cache_folder() -> Path | None:
    """Where indices and compiled kernels are kept: $XDG_CACHE_HOME/fastaug, usually ~/.cache/fastaug; None
    where the user has no home."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(given):  # others are to be ignored, says the XDG specification
        return Path(given) / "fastaug"
    home = os.path.expanduser("~")
    return Path(home) / ".cache" / "fastaug" if os.path.isabs(home) else None


def load_cached(name: str, largest: int) -> bytes | None:
    """The content of a cached file; None where there is none, or one that is not as it was written.

    Args:
        name: the file's.
        largest: bytes; larger files are not read.
    """
    folder = cache_folder()
    if folder is None:
        return None
    try:
        number = os.open(folder / name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe would wait
    except OSError:
        return None
    try:
        found = os.fstat(number)
        if not stat.S_ISREG(found.st_mode) or not _DIGEST <= found.st_size <= largest + _DIGEST:
            return None
        with open(number, "rb", closefd=False) as file:
            content = file.read(found.st_size)
    except OSError:
        return None
    finally:
        os.close(number)
    digest, content = content[:_DIGEST], content[_DIGEST:]
    return content if digest == _digest(content) else None


def save_cached(name: str, content: bytes) -> Path | None:
    """Keeps a file in the cache folder, a digest before its content.

    Returns:
        Its place; None where it cannot be written.
    """
    folder = cache_folder()
    if folder is None:
        return None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        sweep(folder, older=_OLD)
        with replacing(folder / name) as out:
            out.write(_digest(content) + content)
    except OSError:
        return None
    return folder / name


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=_DIGEST).digest()


@contextmanager
def replacing(path: str | os.PathLike[str], *more: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """A file to write that takes ``path``'s place at the end; when anything fails, path stays as it was.

    Args:
        path: the file.
        more: others of the same content, in the same folder; ``path`` is replaced when they are there.
    """
    folder = os.path.dirname(os.fspath(path))
    # Not named after the pid: containers that share a disk have the same ones.
    names = [os.path.join(folder, f"{_TEMPORARY}{secrets.token_hex(8)}") for _ in (path, *more)]
    try:
        with open(names[0], "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())  # or a power cut could leave the new name with no bytes
        for name in names[1:]:
            _copied(names[0], name)
        for temporary, place in reversed(list(zip(names, (path, *more), strict=True))):
            os.replace(temporary, place)
    finally:
        for name in names:
            with suppress(OSError):
                os.unlink(name)


def _copied(path: str, copy: str) -> None:
    """A copy, no link: a user may write over one of the two."""
    shutil.copyfile(path, copy)
    with open(copy, "rb") as file:
        os.fsync(file.fileno())


_TEMPORARY = ".fastaug-tmp-"


def sweep(folder: Path, older: float = 0.0) -> None:
    """Removes what writers left behind that were killed.

    Args:
        folder: where they wrote.
        older: seconds; younger files may still have a writer.
    """
    with suppress(OSError):
        for entry in os.scandir(folder):
            if entry.name.startswith(_TEMPORARY):
                with suppress(OSError):
                    if time.time() - entry.stat(follow_symlinks=False).st_mtime >= older:
                        os.unlink(entry.path)
