"""One version of the project: a checked out tree, and programs started from it."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

AT: Final = 1_795_435_200.0
"""Moment at which all programs run: 2026-11-23T12:00Z."""

_HERE: Final = Path(__file__).resolve().parent
_PATIENCE_SECONDS: Final = 600.0


@dataclass(frozen=True)
class Answer:
    """Output of a command, and its exit status."""

    status: int
    out: bytes
    err: bytes


@dataclass(frozen=True)
class Version:
    """A tree of the project and a folder for what it writes.

    Args:
        name: Short name, as long as that of the other version: paths appear in tables.
        root: The checked out tree.
        place: Folder for data directories.
    """

    name: str
    root: Path
    place: Path

    def environment(self, at: float = AT) -> Mapping[str, str]:
        """Variables that choose this tree, stop the clock and fix the language."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.place),
            "LANG": "C.UTF-8",
            "TZ": "UTC",
            "PYTHONHASHSEED": "0",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": os.pathsep.join([str(_HERE / "fixed"), str(self.root / "exporter")]),
            "SAME_AT": str(at),
        }

    def data_dir(self, name: str) -> Path:
        """A data directory of this version."""
        return self.place / name

    def neutral(self, text: bytes) -> bytes:
        """The same text without the paths of this version."""
        return text.replace(str(self.place).encode(), b"PLACE").replace(
            str(self.root).encode(), b"ROOT"
        )

    def run(self, commands: Sequence[Sequence[str]], stdin: bytes = b"") -> list[Answer]:
        """Run commands of `livekit-exporter`, all in one process."""
        asked = {"commands": commands, "stdin": stdin.decode()}
        done = subprocess.run(
            [sys.executable, str(_HERE / "runner.py")],
            input=json.dumps(asked).encode(),
            capture_output=True,
            check=False,
            env=self.environment(),
            cwd=self.place,
            timeout=_PATIENCE_SECONDS,
        )
        if done.returncode != 0:
            raise RuntimeError(f"{self.name}: the runner failed: {done.stderr.decode()}")
        return [
            Answer(
                each["status"],
                self.neutral(bytes.fromhex(each["out"])),
                self.neutral(bytes.fromhex(each["err"])),
            )
            for each in json.loads(done.stdout)
        ]

    def serve(self, data_dir: Path, config: Path, log: Path, at: float) -> subprocess.Popen[bytes]:
        """Start a sidecar on a free port, its clock at a Unix time."""
        with log.open("wb") as errors:
            return subprocess.Popen(
                [
                    *(sys.executable, "-m", "livekit_exporter", "serve"),
                    *("--data-dir", str(data_dir), "--config", str(config)),
                    *("--listen-address", "127.0.0.1:0"),
                ],
                env=self.environment(at),
                stderr=errors,
                stdout=subprocess.DEVNULL,
                cwd=self.place,
            )
