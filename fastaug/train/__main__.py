"""``python -m fastaug.train DATA``, also under torchrun."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from torch.distributed.elastic.multiprocessing.errors import record

from .config import parse
from .loop import train
from .signals import Interrupted


def main(arguments: Sequence[str] | None = None) -> int:
    """Parses flags and trains; the exit status: 0 done, 2 wrong input or a failure that is explained, 128 + n
    after signal n (143: SIGTERM), with all saved."""
    try:
        config = parse(arguments)
        record(train)(config)  # under torchrun: leaves this process's reason for its summary
        return 0
    except Interrupted as stop:
        print(f"fastaug train: {stop}", file=sys.stderr)
        return 128 + stop.number
    except (ValueError, TypeError, OSError, ImportError, RuntimeError, FloatingPointError) as error:
        rank = f" (rank {os.environ['RANK']})" if "RANK" in os.environ else ""
        print(f"fastaug train{rank}: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
