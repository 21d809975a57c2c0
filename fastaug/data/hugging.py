"""Hugging Face's Dataset as a Listing, without decoding."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import Unrecognised
from .listing import Listing, Names, class_ids


class _Rows(Sequence[bytes]):
    """The encoded images of a Hugging Face column, read when asked for.

    Args:
        table: the data set, with the column's images not decoded and in Arrow's format.
        column: the column's name.
    """

    def __init__(self, table: Any, column: str) -> None:
        self._table, self._column = table, column

    def __len__(self) -> int:
        return len(self._table)

    def __getitem__(self, i: Any) -> Any:
        image = self._table[int(i)][self._column][0]
        data = image["bytes"].as_py()
        if data is None and (path := image["path"].as_py()) is not None:
            try:
                data = Path(path).read_bytes()
            except OSError:
                data = None
        return data or b""


def hugging_face_listing(data: Any) -> Listing:
    """The listing of a Hugging Face ``Dataset`` with one Image column and one of class ids.

    Images are read from Arrow's memory map one by one; a column that holds paths alone is read as files.

    Raises:
        TypeError: for streamed data sets, several splits, or columns that are not these.
        ValueError: where several columns could be meant, or a transform is set.
    """
    from datasets import Dataset, Image

    if isinstance(data, dict):
        raise TypeError(
            f"the data set has the splits {', '.join(map(repr, data))}; give one of them, such "
            f"as dataset[{next(iter(data), 'train')!r}]"
        )
    if not isinstance(data, Dataset):
        raise TypeError(
            f"a Hugging Face {type(data).__name__} has no numbers for its samples, by which "
            "fastaug shuffles and resumes; load it without streaming=True"
        )
    if data.format["type"] == "custom":
        raise Unrecognised("the data set has a set_transform or with_transform")
    if not len(data):
        raise ValueError("the data set is empty; give at least one row")
    shown = data.column_names if data.format["output_all_columns"] else data.format["columns"]
    kinds = {name: type(data.features[name]).__name__ for name in shown}
    image = _column("an image", "an Image", [n for n, kind in kinds.items() if kind == "Image"], kinds)
    if (mode := getattr(data.features[image], "mode", None)) not in (None, "RGB"):
        raise ValueError(
            f"column {image!r} is an Image(mode={mode!r}), and fastaug decodes to RGB; use "
            "dataset.cast_column with Image(), and fastaug.RandomGrayscale(1.0) for gray images"
        )
    named = [n for n, kind in kinds.items() if kind == "ClassLabel"]
    integers = [n for n, kind in kinds.items() if kind == "Value" and "int" in data.features[n].dtype]
    label = _column("the label", "a ClassLabel or whole-number", named or integers, kinds)
    if len(kinds) > 2:
        raise Unrecognised(f"the data set has {len(kinds)} columns, {', '.join(kinds)}")
    labels = data.select_columns([label]).with_format("arrow")[:][label]
    if labels.null_count:
        raise ValueError(
            f"column {label!r} has {labels.null_count} rows without a label; take them out with "
            "dataset.filter"
        )
    plain = data.select_columns([image]).cast_column(image, Image(decode=False)).with_format("arrow")
    classes = getattr(data.features[label], "names", None)
    ids = class_ids(labels.to_numpy(), len(data))
    paths = _paths(plain, image)
    if paths is not None:
        return Listing(ids, classes, paths=Names.of(paths), names=(image, label))
    return Listing(ids, classes, blobs=_Rows(plain, image), names=(image, label))


def _column(what: str, kind: str, found: list[str], columns: dict[str, str]) -> str:
    if len(found) == 1:
        return found[0]
    has = ", ".join(f"{name!r} ({feature})" for name, feature in columns.items())
    if not found:
        raise Unrecognised(
            f"the data set needs {kind} column for {what}, and its columns are {has}; make one "
            "with dataset.cast_column or dataset.class_encode_column"
        )
    raise Unrecognised(
        f"{what} could be in {' or '.join(map(repr, found))}; keep one of them with "
        "dataset.remove_columns or dataset.select_columns"
    )


def _paths(table: Any, column: str) -> list[str] | None:
    """The paths of a column that holds no bytes; None where it holds some."""
    found: list[str] = []
    for begin in range(0, len(table), 1000):
        if table[begin][column][0]["bytes"].is_valid:  # before a thousand images are touched
            return None
        for image in table[begin : begin + 1000][column].to_pylist():
            if image["bytes"] is not None or image["path"] is None:
                return None
            found.append(image["path"])
    return found
