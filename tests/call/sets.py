"""Data sets of a user's own."""

from __future__ import annotations

import os
import random
import signal
import time

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset


def photo(i: int, height: int = 40, width: int = 48) -> np.ndarray:
    """Sample i's pixels: uint8 [H, W, 3]."""
    y, x = np.mgrid[:height, :width]
    rng = np.random.default_rng(i)
    waves = np.stack([np.sin(y / rng.uniform(3, 9) + x / rng.uniform(3, 9) + k) for k in range(3)], 2)
    return (127 + 120 * waves).astype(np.uint8)


class Photos(Dataset):
    """(PIL image, label); ``give`` makes another sample of (i, pixels)."""

    def __init__(self, n=24, transform=None, give=None, classes=None):
        self.n, self.transform, self.give = n, transform, give
        if classes:
            self.classes = classes

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        pixels = photo(i)
        if self.give is not None:
            return self.give(i, pixels)
        image = Image.fromarray(pixels)
        if self.transform is not None:
            image = self.transform(image)
        return image, i % 4


class Noisy(Photos):
    """Random code of the user's own, of all three kinds."""

    def __getitem__(self, i):
        pixels = photo(i)
        pixels[:8] = np.random.randint(0, 256, 3)
        pixels[8:16] = random.randrange(256)
        pixels[16:24] = int(torch.randint(0, 256, ()))
        return Image.fromarray(pixels), random.random()


class Troubled(Photos):
    """Does something at one sample, where a file says so."""

    def __init__(self, what, at, switch, n=24):
        super().__init__(n)
        self.what, self.at, self.switch = what, at, switch

    def __getitem__(self, i):
        if i == self.at and os.path.exists(self.switch):
            if self.what == "raise":
                return {}["missing"]
            if self.what == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if self.what == "exit":
                os._exit(3)
            if self.what == "hang":
                time.sleep(600)
        return super().__getitem__(i)
