"""Stop the clock, number random ids and sort folders, so that two runs can be compared.

Python imports this module at start when its folder is on `PYTHONPATH`.
"""

import itertools
import os
import random
import secrets
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

_AT = float(os.environ["SAME_AT"])
_numbers: "defaultdict[int, itertools.count[int]]" = defaultdict(lambda: itertools.count(1))


def _token_hex(nbytes: int | None = None) -> str:
    """Count by length: an id keeps its value when ids of another length come before it."""
    size = 32 if nbytes is None else nbytes
    return f"{next(_numbers[size]):0{2 * size}x}"


@contextmanager
def _sorted_scandir(path: str = ".") -> Iterator[Iterator[os.DirEntry[str]]]:
    """List a folder by name: journals are then taken in the same order in every run."""
    with _scandir(path) as entries:
        yield iter(sorted(entries, key=lambda entry: entry.name))


_scandir = os.scandir
os.scandir = _sorted_scandir  # type: ignore[assignment]
time.time = lambda: _AT
secrets.token_hex = _token_hex
random.seed(7)
