"""Makes the README's pictures: python benchmarks/pictures.py. A strip for each augmentation."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from PIL import Image

from fastaug.tools.demo import make_photos
from fastaug.tools.sheet import gallery, strip


def main() -> None:
    """Writes benchmarks/pictures/*.jpg."""
    out = Path(__file__).parent / "pictures"
    out.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        photos = str(make_photos(Path(folder)))
        for title, augment in gallery(112).items():
            name = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
            Image.fromarray(strip(photos, augment, 6, seed=0)).save(out / f"{name}.jpg", quality=85)
            print(out / f"{name}.jpg")


if __name__ == "__main__":
    main()
