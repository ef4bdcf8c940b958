"""YAML whose texts, lists and tables know the line they stand on.

Price files and the sidecar's configuration are read into these: every scalar stays text, so
that no price passes through a float, and every mistake can be shown where it is.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TypeAlias

import yaml


@dataclass(frozen=True, slots=True)
class Text:
    """A scalar, as it was written.

    Args:
        value: The text.
        line: Its line.
        quoted: It stands in quotes, so that an empty one was meant to be empty.
    """

    value: str
    line: int
    quoted: bool = False


@dataclass(frozen=True, slots=True)
class Items:
    """A list."""

    values: tuple["Located", ...]
    line: int


@dataclass(frozen=True, slots=True)
class Table:
    """A mapping; `lines` has the line of each key."""

    values: Mapping[str, "Located"]
    lines: Mapping[str, int]
    line: int


Located: TypeAlias = Text | Items | Table
Path: TypeAlias = tuple[str | int, ...]
"""Keys and positions that lead from a node to one below it."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A mistake in a file, with the place and the remedy."""

    file: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}"


class PriceFileError(Exception):
    """Price files cannot be used.

    Args:
        problems: Every mistake that was found.
    """

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


class NoYamlError(Exception):
    """A text that cannot be read as YAML.

    Args:
        problem: Where, and why.
    """

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


def parse(text: str | bytes, name: str) -> Located | None:
    """Parse YAML; `None` where nothing is in it.

    Args:
        text: The file's content.
        name: What messages call the file.

    Raises:
        NoYamlError: It is no YAML, a key is no text or stands twice, or an anchor contains
            itself.
    """
    try:
        node = yaml.compose(text, Loader=yaml.BaseLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark is not None else 1
        raise NoYamlError(Problem(name, line, f"not valid YAML: {error.problem}")) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise NoYamlError(Problem(name, 1, f"not valid YAML: {reason}")) from error
    except RecursionError as error:
        raise NoYamlError(Problem(name, 1, "not valid YAML: it is nested too deeply")) from error
    return None if node is None else _Reader(name).located(node)


class _Reader:
    """Turns nodes of YAML into located ones.

    An anchor is read once however often it is named: a short text of anchors that name
    anchors would not fit into memory otherwise.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._read: dict[int, Located | None] = {}

    def located(self, node: yaml.Node) -> Located:
        line = node.start_mark.line + 1
        if id(node) not in self._read:
            self._read[id(node)] = None
            self._read[id(node)] = self._new(node, line)
        found = self._read[id(node)]
        if found is None:
            raise self._error(line, "an anchor contains itself; write it out")
        return found

    def _new(self, node: yaml.Node, line: int) -> Located:
        if isinstance(node, yaml.SequenceNode):
            return Items(tuple(self.located(item) for item in node.value), line)
        if not isinstance(node, yaml.MappingNode):
            return Text(str(node.value), line, getattr(node, "style", None) is not None)
        values: dict[str, Located] = {}
        lines: dict[str, int] = {}
        for key, value in node.value:
            at = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise self._error(at, "a key must be text")
            if key.value in values:
                first = lines[key.value]
                raise self._error(
                    at, f"key '{key.value}' already stands on line {first}; remove one"
                )
            values[key.value] = self.located(value)
            lines[key.value] = at
        return Table(values, lines, line)

    def _error(self, line: int, message: str) -> NoYamlError:
        return NoYamlError(Problem(self._name, line, message))


def plain(node: Located) -> object:
    """Return the dictionaries, lists and texts of a node without their lines."""
    if isinstance(node, Table):
        return {key: plain(value) for key, value in node.values.items()}
    if isinstance(node, Items):
        return [plain(value) for value in node.values]
    return node.value


def line_at(node: Located, path: Path) -> int:
    """Line of what a path leads to, or of the last node on it that exists."""
    return node_at(node, path).line


def key_line(node: Located, path: Path) -> int:
    """Line on which the key at the end of a path stands."""
    above, last = node_at(node, path[:-1]), path[-1]
    if isinstance(above, Table) and isinstance(last, str):
        return above.lines.get(last, above.line)
    return above.line


def node_at(node: Located, path: Path) -> Located:
    """Node that a path leads to, or the last one on it that exists."""
    for part in path:
        below: Located | None = None
        if isinstance(node, Table) and isinstance(part, str):
            below = node.values.get(part)
        elif isinstance(node, Items) and isinstance(part, int):
            below = node.values[part]
        if below is None:
            break
        node = below
    return node


def closest(word: str, known: Iterable[str]) -> str | None:
    """The known word that a misspelt one comes closest to, `None` where none is close."""
    close = get_close_matches(word.lower(), list(known), n=1, cutoff=0.6)
    return close[0] if close else None
