"""The trainer: a classifier trained on what the loader gives, by published advice.

``fastaug train DATA`` on the command line, ``train(Config(...))`` in Python. Needs ``fastaug[train]``.
"""

from .config import Config
from .loop import train
from .signals import Interrupted

__all__ = ["Config", "Interrupted", "train"]
