"""The data directory: its parts, the modes of its files, and how a whole file is written.

Agents and the sidecar share it, so this module needs the standard library only.  Modes
follow the directory: private to its owner, or shared with one group where the directory
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
    """Return the platform's folder for state that a program keeps between runs."""
    home = Path.home()
    if sys.platform == "darwin":
        return home / "Library" / "Application Support" / "livekit-exporter"
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else home / ".local" / "state") / "livekit-exporter"


def resolve(explicit: str | os.PathLike[str] | None = None) -> Path:
    """Return the data directory in force: the argument, the environment or the default.

    Raises:
        OSError: None is given, and this user has no home directory for the default.
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
    """Compiled prices in force, there only if they differ from the shipped ones."""
    return root / "prices.json"


def calibration(root: Path) -> Path:
    """Sizes of the requests in the ledger, for the estimates that agents make."""
    return root / "calibration.json"


def calls(root: Path) -> Path:
    """Folder of the exported calls: one folder per day, one file per call."""
    return root / "calls"


def redaction_key(root: Path) -> Path:
    """Secret key for the hashes that replace people's names in exports."""
    return root / "redaction.key"


def lock(root: Path) -> Path:
    """File that the one sidecar of this directory holds locked."""
    return root / "sidecar.lock"


def sidecar_address(root: Path) -> str | None:
    """Read the URL that the sidecar of this directory listens at; `None` if there is none."""
    try:
        said = json.loads(lock(root).read_text(encoding="utf-8"))
        return str(said["address"]) or None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _instance(root: Path) -> Path:
    return root / "instance"


def read_instance(root: Path) -> str | None:
    """Read the id that tells this directory from others in the same database.

    Returns:
        `None` when the directory has no id yet.

    Raises:
        OSError: The file cannot be read.
    """
    try:
        return _instance(root).read_text(encoding="utf-8").strip() or None
    except FileNotFoundError:
        return None


def write_instance(root: Path, instance: str) -> None:
    """Give this directory its id, unless it has one.

    Raises:
        OSError: The file cannot be written.
    """
    if read_instance(root) is None:
        write_atomically(_instance(root), f"{instance}\n".encode())


def write_atomically(path: Path, data: bytes, *, mode: int | None = None) -> None:
    """Replace a file as a whole: a reader, or a crash, never sees half of it.

    Args:
        path: The file; its folder must exist.
        data: Its new content.
        mode: Permission bits; those that the folder asks for by default.

    Raises:
        OSError: The file cannot be written; an earlier one stays as it was.
    """
    hidden = path.with_name(f".{path.name}.tmp")
    try:
        # Private until the mode is set, because the content may be a secret.
        descriptor = os.open(hidden, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, file_mode(path.parent) if mode is None else mode)
            file.write(data)
            file.flush()
            # Without it a power cut may leave the new name on an empty file.
            os.fsync(descriptor)
        hidden.replace(path)
    except OSError:
        hidden.unlink(missing_ok=True)
        raise


def _shared(directory: Path) -> bool:
    return bool(directory.stat().st_mode & stat.S_ISGID)


def make(directory: Path) -> None:
    """Create a directory and its parents, with the mode of the nearest one that exists.

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
    """Return the mode of files in a directory: 0660 where a group shares it, else 0600."""
    return 0o660 if _shared(directory) else 0o600
