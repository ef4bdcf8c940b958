"""Make `compiled.json` from the price files: `python -m livekit_exporter.prices.files.compile`."""

import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from livekit_exporter.prices.compiled import FILE_NAME, CompiledCatalogue
from livekit_exporter.prices.files import located
from livekit_exporter.prices.files.check import SCHEMA_VERSION, CheckedPrices, PriceFile, check
from livekit_exporter.prices.files.located import NoYamlError, PriceFileError, Problem

SOURCES: Final = Path(__file__).parent.parent / "catalogue"
COMPILED: Final = Path(__file__).parent.parent / FILE_NAME


def read(path: Path, name: str | None = None) -> PriceFile:
    """Read one price file.

    Args:
        path: The file.
        name: What messages call it, its path if left out.

    Raises:
        OSError: It cannot be read.
        PriceFileError: It is no YAML, or a key stands in it twice.
    """
    return parse(path.read_bytes(), name or str(path))


def parse(text: str | bytes, name: str) -> PriceFile:
    """Parse the text of a price file; scalars stay text.

    Raises:
        PriceFileError: It is no YAML, or a key stands in it twice.
    """
    try:
        root = located.parse(text, name)
    except NoYamlError as error:
        raise PriceFileError([error.problem]) from error
    if root is None:
        raise PriceFileError([Problem(name, 1, "the file is empty; start with 'schema: 1'")])
    return PriceFile(name, root)


def shipped() -> list[PriceFile]:
    """The price files of this package, by name.

    Raises:
        OSError: One cannot be read.
        PriceFileError: One is no YAML.
    """
    return [read(path, f"{SOURCES.name}/{path.name}") for path in sorted(SOURCES.glob("*.yaml"))]


def compiled(files: Sequence[PriceFile]) -> CompiledCatalogue:
    """Check price files and give them a version: newest check and a digest of the content.

    Raises:
        PriceFileError: There are mistakes; it carries all of them.
    """
    content = check(files)
    return {
        "schema": SCHEMA_VERSION,
        "version": _version(content),
        "providers": content.providers,
        "entries": content.entries,
    }


def _version(content: CheckedPrices) -> str:
    text = json.dumps([content.providers, content.entries], sort_keys=True)
    return f"{content.newest_check}+{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def rendered(catalogue: CompiledCatalogue) -> str:
    """The text of `compiled.json`: one provider or entry per line, for readable diffs."""
    providers = ",\n".join(
        f"  {json.dumps(name)}: {json.dumps(provider)}"
        for name, provider in catalogue["providers"].items()
    )
    entries = ",\n".join(f"  {json.dumps(entry)}" for entry in catalogue["entries"])
    legs = f',\n"legs": {json.dumps(catalogue["legs"])}' if "legs" in catalogue else ""
    return (
        f'{{\n"schema": {catalogue["schema"]},\n"version": {json.dumps(catalogue["version"])},\n'
        f'"providers": {{\n{providers}\n}},\n"entries": [\n{entries}\n]{legs}\n}}\n'
    )


def main() -> int:
    """Rewrite `compiled.json`; the exit status is 1 where the price files have mistakes."""
    try:
        catalogue = compiled(shipped())
    except PriceFileError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    COMPILED.write_text(rendered(catalogue), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
