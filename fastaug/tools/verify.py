"""``fastaug verify``: decodes every image of a folder and names the files that are bad.

More is found than by loading: whole images are decoded, not boxes, and JPEGs with damage in the middle, which
libjpeg decodes with no more than a warning, are named too. Sequential JPEGs are the box decoder's, which
reads past nothing. The rest is DALI's: its libjpeg's warnings go to the standard error output of the process,
so it runs in a process of its own, which keeps that output. Should a file end that process, it is named, and
another process goes on. What DALI refuses is bad where Pillow refuses it too.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import IO

import numpy as np
import numpy.typing as npt

from ..data.cache import FORMAT
from ..data.listing import Names, images_under
from ..data.pillow import extensions
from ..data.progress import progress
from ..data.scanned import described_files
from ..data.source import OF_KIND, FilePath, Kind
from ..decode.graphs import Decode, built, crops_graph
from ..decode.jpeg import DAMAGE, FAULTS, JpegDecoder, table_of, whole_jobs
from ..decode.pillow import whole_image
from ..files import load_cached, replacing, save_cached
from ..machine.library import library

_CHUNK = 256  # files at a time
_PIXELS = 1 << 26  # decoded at a time, unless one image has more
_RECORD = 1 << 32  # bytes of a record: half a billion files
_SAVE = 30.0  # seconds between two records of what is done
# Of what decoders print: these are damage, others remarks, such as on colour profiles.
_DAMAGE = re.compile(r"Corrupt JPEG data.*|Premature end of JPEG.*|Inconsistent progression.*")
_COLOUR = re.compile(rb"\x1b\[[0-9;]*m")


def verify(folder: str, fix_list: str | None = None) -> int:
    """Checks every image under a folder; prints each bad file with its reason.

    What was found good is kept under the user's cache folder: a second run goes on where the first was
    stopped, and looks again only at files of another size or time, and at bad ones.

    Args:
        folder: any folder with images, in folders of their own or not.
        fix_list: a file for the bad files' absolute paths, each ended by a NUL byte, as ``xargs -0`` takes
            them; names with line breaks or without meaning as text are safe in it.

    Returns:
        The exit status: 0 all is well, 1 bad files were found, 130 stopped by the user.

    Raises:
        OSError, ValueError: when there is no such folder or no image in it.
        OSError, RuntimeError: for faults of the machine, which no file is blamed for.
    """
    root = os.path.abspath(folder)
    if not os.path.isdir(root):
        raise NotADirectoryError(f"{folder!r} is no folder; give one that holds images")
    names = Names.of(sorted(images_under(root)))
    if not len(names):
        raise ValueError(f"{folder!r} holds no image ({', '.join(extensions())}); give a folder that does")
    record, checker = Record(root), Checker()
    bad: list[str] = []
    try:
        for path, reason in progress(_checked(names, record, checker), "Decoding", len(names)):
            if reason:
                bad.append(path)
                print(f"{path!r}: {reason}", flush=True)
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return 130
    finally:
        checker.close()
        record.save()
    if fix_list is not None:
        with replacing(fix_list) as file:
            file.write(b"".join(os.fsencode(path) + b"\0" for path in bad))
    print(f"{len(names)} images, {record.known} of them found good before; {len(bad)} are bad")
    return 1 if bad else 0


def _checked(names: Names, record: Record, checker: Checker) -> Iterator[tuple[str, str]]:
    """Each path with its reason, "" where it is good."""
    for first in range(0, len(names), _CHUNK):
        paths = names[first : first + _CHUNK]
        digests = np.array([_digest(path) for path in paths], np.uint64)
        todo = np.flatnonzero(~record.has(digests))
        reasons = [""] * len(paths)
        if todo.size:
            for k, reason in zip(todo, checker.reasons([paths[k] for k in todo]), strict=True):
                reasons[k] = reason
        record.add(digests[[k for k in todo if not reasons[k]]])
        yield from zip(paths, reasons, strict=True)


def _digest(path: str) -> int:
    """A file's name, size and time of change as one number."""
    text = os.fsencode(path)
    try:
        found = os.stat(text)
        text = b"%b\0%d\0%d" % (text, found.st_size, found.st_mtime_ns)
    except OSError:
        pass
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


class Record:
    """Which files were found good, eight bytes each, in a file of the user's cache folder.

    Attributes:
        known: how many files needed no second look.
    """

    def __init__(self, root: str) -> None:
        key = hashlib.blake2b(b"%d\0" % FORMAT + os.fsencode(root), digest_size=16).hexdigest()
        self._name, self.known = f"{key}.verified", 0
        self._saved = time.monotonic()
        self._new: list[npt.NDArray[np.uint64]] = []
        content = load_cached(self._name, _RECORD)
        fits = content is not None and len(content) % 8 == 0
        self._good = np.frombuffer(content if content and fits else b"", "<u8").astype(np.uint64)

    def has(self, digests: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
        """Which files were good and are as they were."""
        places = np.searchsorted(self._good, digests).clip(max=max(len(self._good) - 1, 0))
        found = self._good[places] == digests if len(self._good) else np.zeros(len(digests), bool)
        self.known += int(found.sum())
        return found

    def add(self, digests: npt.NDArray[np.uint64]) -> None:
        """Remembers good files; written from time to time."""
        self._new.append(digests)
        if time.monotonic() - self._saved > _SAVE:
            self.save()

    def save(self) -> None:
        """Writes it."""
        self._good = np.unique(np.concatenate([self._good, *self._new]))
        self._new, self._saved = [], time.monotonic()
        save_cached(self._name, self._good.astype("<u8").tobytes())


class Checker:
    """Decodes sequential JPEGs; for the rest asks a process that decodes, and starts another when a file ends
    it. Faults of the machine in that process are raised here.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._jpeg = JpegDecoder(Decode(), os.cpu_count() or 1) if library() is not None else None

    def reasons(self, paths: Sequence[str]) -> list[str]:
        """Why each file is bad; "" where it is good."""
        found = self._of_jpegs(paths) if self._jpeg else {}
        rest = [k for k in range(len(paths)) if k not in found]
        if rest:
            found |= dict(zip(rest, self._of_others([paths[k] for k in rest]), strict=True))
        return [found[k] for k in range(len(paths))]

    def _of_jpegs(self, paths: Sequence[str]) -> dict[int, str]:
        """What the box decoder says of whole files; what it leaves to others is left out."""
        assert self._jpeg
        names = Names.of(paths)
        ours, jobs = whole_jobs(names, described_files(names))
        table, _held = table_of(jobs)
        table["whole"] = True
        self._jpeg.run(table)
        faults = dict(zip(ours.tolist(), table["fault"].tolist(), strict=True))
        return {k: FAULTS[fault] for k, fault in faults.items() if not fault or fault >= DAMAGE}

    def _of_others(self, paths: Sequence[str]) -> list[str]:
        answer = self._ask(paths)
        if isinstance(answer, list):
            return answer
        if answer == -signal.SIGKILL:
            raise RuntimeError(
                "the process that decodes was killed (SIGKILL), which the system does when memory is short; "
                "no file is to blame: free memory, or allow more"
            )
        if len(paths) == 1:
            return [f"ends the decoder's process (status {answer})"]
        return [reason for path in paths for reason in self._of_others([path])]

    def close(self) -> None:
        """Ends the process, and the threads."""
        if self._jpeg:
            self._jpeg.close()
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _ask(self, paths: Sequence[str]) -> list[str] | int:
        if self._process is None:
            command = [sys.executable, "-m", "fastaug.tools.verify"]
            pipe = subprocess.PIPE
            self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
        assert self._process.stdin
        assert self._process.stdout
        try:
            print(json.dumps(paths), file=self._process.stdin, flush=True)
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if line:
            answer = json.loads(line)
            if isinstance(answer, dict):
                raise OSError(answer["errno"], answer["text"], answer["file"])
            return [str(reason) for reason in answer]
        status = self._process.wait()
        self._process = None
        return status


# ---- the process that decodes ----


class Decoding:
    """Decodes whole images with all CPU threads, and reads what the decoders print about them.

    Args:
        log: what the process's standard error output goes to.
    """

    def __init__(self, log: IO[bytes]) -> None:
        self._log = log
        self._pipe = built(crops_graph(files=True, batch_size=_CHUNK, threads=os.cpu_count() or 1))

    def reasons(self, paths: Sequence[str]) -> list[str]:
        """Why each file is bad; "" where it is good."""
        names = Names.of(paths)
        described = described_files(names)
        found = [described.faults.get(i, "") for i in range(len(paths))]
        box = np.zeros((len(paths), 4), np.int32)
        box[:, 2], box[:, 3] = described.height, described.width
        usable = [i for i, reason in enumerate(found) if not reason]
        for i in [i for i in usable if described.kind[i] & OF_KIND == Kind.OTHER]:
            found[i] = _by_pillow(names, i)
        for part in _parts([i for i in usable if described.kind[i] & OF_KIND != Kind.OTHER], box):
            if self._decode(names, box, part):
                for i in part:
                    found[i] = self._decode(names, box, [i])
        return found

    def _decode(self, names: Names, box: npt.NDArray[np.int32], rows: list[int]) -> str:
        """Why some files are not good, all together; "" when they are."""
        self._log.seek(0)
        self._log.truncate()
        try:
            self._pipe.run(data=[names.raw(i) for i in rows], box=box[rows])
        except RuntimeError:
            return "refused" if len(rows) > 1 else _by_pillow(names, rows[0])
        self._log.seek(0)
        printed = _COLOUR.sub(b"", self._log.read()).decode("utf-8", "replace")
        message = _DAMAGE.search(printed)
        return f"decodes with a warning: {message[0].strip()}" if message else ""


def _by_pillow(names: Names, i: int) -> str:
    """Why Pillow does not decode a file, which DALI does not; "" when it does."""
    image = whole_image(FilePath(names.raw(i)), Decode())
    return image if isinstance(image, str) else ""


def _parts(rows: list[int], box: npt.NDArray[np.int32]) -> Iterator[list[int]]:
    """Rows in groups that need not too much memory together."""
    part: list[int] = []
    pixels = 0
    for i in rows:
        size = int(box[i, 2]) * int(box[i, 3])
        if part and pixels + size > _PIXELS:
            yield part
            part, pixels = [], 0
        part.append(i)
        pixels += size
    if part:
        yield part


def _serve() -> None:
    """Answers each line of paths on stdin with a line of reasons on stdout, as JSON."""
    answers = os.fdopen(os.dup(1), "w")
    with tempfile.TemporaryFile() as log:
        os.dup2(log.fileno(), 2)
        os.dup2(log.fileno(), 1)
        decoding = None
        for line in sys.stdin:
            answer: list[str] | dict[str, object]
            try:
                decoding = decoding or Decoding(log)
                answer = decoding.reasons(json.loads(line))
            except OSError as error:
                file = os.fsdecode(error.filename) if error.filename else None
                answer = {"errno": error.errno, "text": error.strerror, "file": file}
            print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    _serve()
