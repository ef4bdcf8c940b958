"""Where settings come from: a YAML file, the environment, the command line.

Each becomes a layer: settings by dotted key, with the place they were read from,
so that a mistake can be reported where it was made.  What the settings are and
which values they take is `config`.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Final, TypeAlias

import yaml

ENVIRONMENT_PREFIX: Final = "LIVEKIT_EXPORTER_"


class ConfigError(Exception):
    """A setting that cannot be used; the message says where it stands and what to write."""


def hint(word: str, known: Iterable[str]) -> str:
    """End of an error message that names the known word closest to a misspelt one, or nothing."""
    close = get_close_matches(word, list(known), n=1)
    return f"; did you mean '{close[0]}'?" if close else ""


class Keys(frozenset[str]):
    """Dotted keys of all settings; the part before the dot is a section of the file."""

    __slots__ = ()

    @property
    def sections(self) -> frozenset[str]:
        """Names that hold settings instead of a value."""
        return frozenset(key.partition(".")[0] for key in self if "." in key)

    def meant(self, key: str) -> str:
        """Hint at the setting that a wrong key comes closest to, with its section."""
        last = key.rpartition(".")[2]
        for known in sorted(self):
            if known.rpartition(".")[2] == last:
                return f"; did you mean '{known}'?"
        return hint(key, [*sorted(self), *sorted(self.sections)])


@dataclass(frozen=True, slots=True)
class Given:
    """A setting that somebody gave.

    Args:
        value: Text, or a list or a mapping of texts.
        where: Where it stands, for the error message.
        items: Where its items stand, by position or key.
    """

    value: str | tuple[str, ...] | Mapping[str, str]
    where: str
    items: Mapping[str | int, str] = field(default_factory=dict)


Layer: TypeAlias = Mapping[str, Given]
"""Settings from one origin, by dotted key."""


def variable(key: str) -> str:
    """Name of the environment variable of a setting."""
    return ENVIRONMENT_PREFIX + key.upper().replace(".", "_")


def from_environment(environ: Mapping[str, str], keys: Keys) -> Layer:
    """Pick the settings out of the environment.

    Other variables with our prefix are left alone: beside a Kubernetes service
    named `livekit-exporter` every container gets `LIVEKIT_EXPORTER_PORT` and more.
    """
    return {
        key: Given(environ[name], f"environment: {name}")
        for key, name in ((key, variable(key)) for key in keys)
        if environ.get(name)
    }


def from_flags(flags: Mapping[str, str | None]) -> Layer:
    """Settings from the command line by dotted key; `None` is a flag that was not given."""
    return {
        key: Given(text, f"command line: --{key.replace('.', '-').replace('_', '-')}")
        for key, text in flags.items()
        if text is not None
    }


def from_yaml(text: str, name: str, keys: Keys) -> Layer:
    """Read a configuration file.

    Args:
        text: The file's content.
        name: The file's name, for the error message.
        keys: The settings that there are.

    Raises:
        ConfigError: It is no YAML, or says something that no setting is called.
    """
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(f"{name}:{line}: not valid YAML: {error.problem}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{name}:1: not valid YAML: {' '.join(str(error).split())}") from error
    return {} if root is None else dict(_FileReader(name, keys).settings(root))


class _FileReader:
    """Walks a YAML document along the settings, never deeper, so that no document can be too deep.

    Args:
        name: The file's name, for the error message.
        keys: The settings that there are.
    """

    def __init__(self, name: str, keys: Keys) -> None:
        self._name = name
        self._keys = keys

    def settings(self, node: yaml.Node, prefix: str = "") -> Iterator[tuple[str, Given]]:
        if _is_empty(node):
            return
        if not isinstance(node, yaml.MappingNode):
            what = f"{prefix.rstrip('.')}: " if prefix else ""
            raise self._error(node, f"{what}expected settings, 'name: value'")
        for name, value in self._pairs(node, prefix):
            key = prefix + name
            if not prefix and key in self._keys.sections:
                yield from self.settings(value, f"{key}.")
            elif key not in self._keys:
                raise self._error_of_key(
                    node, name, f"{key}: no such setting{self._keys.meant(key)}"
                )
            elif not _is_empty(value):
                yield key, self._given(key, value)

    def _pairs(self, node: yaml.MappingNode, prefix: str) -> Iterator[tuple[str, yaml.Node]]:
        lines: dict[str, int] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise self._error(key, f"{prefix.rstrip('.') or 'file'}: a name must be text")
            line = key.start_mark.line + 1
            if key.value in lines:
                twice = f"{prefix}{key.value}: given twice, first on line {lines[key.value]}"
                raise self._error(key, twice)
            lines[key.value] = line
            yield key.value, value

    def _given(self, key: str, node: yaml.Node) -> Given:
        where = self._where(node)
        if isinstance(node, yaml.ScalarNode):
            return Given(node.value, where)
        if isinstance(node, yaml.SequenceNode):
            texts = tuple(self._text(key, item) for item in node.value)
            return Given(texts, where, {i: self._where(n) for i, n in enumerate(node.value)})
        if isinstance(node, yaml.MappingNode):
            pairs = dict(self._pairs(node, f"{key}."))
            texts_by_name = {name: self._text(key, item) for name, item in pairs.items()}
            return Given(texts_by_name, where, {n: self._where(v) for n, v in pairs.items()})
        raise self._error(node, f"{key}: expected a value")

    def _text(self, key: str, node: yaml.Node) -> str:
        if not isinstance(node, yaml.ScalarNode):
            raise self._error(node, f"{key}: expected a single value")
        return str(node.value)

    def _where(self, node: yaml.Node) -> str:
        return f"{self._name}:{node.start_mark.line + 1}"

    def _error(self, node: yaml.Node, message: str) -> ConfigError:
        return ConfigError(f"{self._where(node)}: {message}")

    def _error_of_key(self, node: yaml.MappingNode, name: str, message: str) -> ConfigError:
        key = next(key for key, _ in node.value if key.value == name)
        return self._error(key, message)


def _is_empty(node: yaml.Node) -> bool:
    """Whether a value was left out: `budget:` with nothing behind it."""
    return (
        isinstance(node, yaml.ScalarNode) and node.style is None and node.value in {"", "~", "null"}
    )
