"""Make `compiled.json` from the price files: `python -m livekit_exporter.prices.files.compile`.

The only module of the catalogue that knows YAML.
"""

import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import yaml

from livekit_exporter.prices.compiled import FILE_NAME, CompiledCatalogue
from livekit_exporter.prices.files.located import (
    Items,
    Located,
    PriceFileError,
    Problem,
    Table,
    Text,
)
from livekit_exporter.prices.files.schema import SCHEMA_VERSION, Checked, PriceFile, check

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
        node = yaml.compose(text, Loader=yaml.BaseLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark is not None else 1
        raise PriceFileError([Problem(name, line, f"no YAML: {error.problem}")]) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise PriceFileError([Problem(name, 1, f"no YAML: {error}")]) from error
    if node is None:
        raise PriceFileError([Problem(name, 1, "the file is empty; start with 'schema: 1'")])
    return PriceFile(name, _located(node, name, frozenset()))


def _located(node: yaml.Node, name: str, above: frozenset[int]) -> Located:
    line = node.start_mark.line + 1
    if id(node) in above:
        raise PriceFileError([Problem(name, line, "an anchor contains itself; write it out")])
    above |= {id(node)}
    if isinstance(node, yaml.SequenceNode):
        return Items(tuple(_located(item, name, above) for item in node.value), line)
    if isinstance(node, yaml.MappingNode):
        values: dict[str, Located] = {}
        lines: dict[str, int] = {}
        for key, value in node.value:
            at = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise PriceFileError([Problem(name, at, "a key must be text")])
            if key.value in values:
                raise PriceFileError(
                    [
                        Problem(
                            name,
                            at,
                            f"key '{key.value}' already stands on line {lines[key.value]};"
                            " remove one",
                        )
                    ]
                )
            values[key.value] = _located(value, name, above)
            lines[key.value] = at
        return Table(values, lines, line)
    return Text(str(node.value), line)


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


def _version(content: Checked) -> str:
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
