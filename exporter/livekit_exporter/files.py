"""Where agents and the sidecar meet: the data directory, its parts and their modes.

A leaf on the standard library, because both sides must agree on it.  Modes follow
the directory: private to its owner, or shared with one group where the directory
carries the setgid bit, as Kubernetes' `fsGroup` sets it.
"""

import json
import os
import stat
import sys
from pathlib import Path
from typing import Final

ENVIRONMENT: Final = "LIVEKIT_EXPORTER_DATA_DIR"


def default() -> Path:
    """The platform's place for state that a program keeps between runs."""
    home = Path.home()
    if sys.platform == "darwin":
        return home / "Library" / "Application Support" / "livekit-exporter"
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else home / ".local" / "state") / "livekit-exporter"


def resolve(explicit: str | os.PathLike[str] | None = None) -> Path:
    """The data directory in force: argument, then environment, then the default.

    Raises:
        OSError: Nobody chose one, and this user has no home to put the default in.
    """
    chosen = explicit or os.environ.get(ENVIRONMENT)
    try:
        return Path(chosen).expanduser().absolute() if chosen else default()
    except RuntimeError as error:
        raise OSError(f"cannot find a home directory; set {ENVIRONMENT}") from error


def journals(root: Path) -> Path:
    """Folder of the journals, one file per call."""
    return root / "journal"


def ledger(root: Path) -> Path:
    """The embedded ledger."""
    return root / "ledger.db"


def prices(root: Path) -> Path:
    """Compiled prices in force, where the sidecar has others than the shipped ones."""
    return root / "prices.json"


def calibration(root: Path) -> Path:
    """Sizes of requests in the ledger, which estimates in agents are calibrated on."""
    return root / "calibration.json"


def calls(root: Path) -> Path:
    """Folder of the calls that ended, a folder a day and a file a call."""
    return root / "calls"


def redaction_key(root: Path) -> Path:
    """Secret that names of people are hashed with in exports."""
    return root / "redaction.key"


def lock(root: Path) -> Path:
    """File that the one sidecar of this directory holds locked."""
    return root / "sidecar.lock"


def sidecar_address(root: Path) -> str | None:
    """URL at which the sidecar of this directory said that it listens, `None` when none did."""
    try:
        said = json.loads(lock(root).read_text(encoding="utf-8"))
        return str(said["address"]) or None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _instance(root: Path) -> Path:
    """File with the id of this directory, which several of them in one database tell apart."""
    return root / "instance"


def read_instance(root: Path) -> str | None:
    """Id of this directory, `None` when it has none yet.

    Raises:
        OSError: It cannot be read.
    """
    try:
        return _instance(root).read_text(encoding="utf-8").strip() or None
    except FileNotFoundError:
        return None


def write_instance(root: Path, instance: str) -> None:
    """Give this directory an id, for good.

    Raises:
        OSError: It cannot be written.
    """
    if read_instance(root) is not None:
        return
    path = _instance(root)
    # Renamed when it is whole and on the disk: half an id would be another one.
    written = path.with_suffix(".tmp")
    with written.open("w", encoding="utf-8") as file:
        file.write(f"{instance}\n")
        file.flush()
        os.fsync(file.fileno())
    written.chmod(file_mode(root))
    written.rename(path)


def _shared(directory: Path) -> bool:
    return bool(directory.stat().st_mode & stat.S_ISGID)


def make(directory: Path) -> None:
    """Create a directory and its parents; the mode follows the nearest one that exists.

    Raises:
        OSError: It cannot be created.
    """
    if directory.is_dir():
        return
    make(directory.parent)
    shared = _shared(directory.parent)
    try:
        directory.mkdir()
    except FileExistsError:
        return
    directory.chmod(0o2770 if shared else 0o700)


def file_mode(directory: Path) -> int:
    """Mode of a file in this directory: 0660 where a group shares it, else 0600."""
    return 0o660 if _shared(directory) else 0o600
