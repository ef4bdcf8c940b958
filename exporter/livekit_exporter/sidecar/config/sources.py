"""Sources of settings: a YAML file, the environment, the command line.

Each becomes a layer: settings by dotted key, with the place they were read from,
so that a mistake can be reported where it was made.  What the settings are and
which values they take is `config`.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Final, TypeAlias

from livekit_exporter.prices.files import located
from livekit_exporter.prices.files.located import Items, Located, NoYamlError, Table, Text

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
        root = located.parse(text, name)
    except NoYamlError as error:
        raise ConfigError(str(error)) from error
    return {} if root is None else dict(_settings(root, name, keys))


def _settings(
    node: Located, name: str, keys: Keys, prefix: str = ""
) -> Iterator[tuple[str, Given]]:
    if _is_empty(node):
        return
    if not isinstance(node, Table):
        what = f"{prefix.rstrip('.')}: " if prefix else ""
        raise ConfigError(f"{name}:{node.line}: {what}expected settings, 'name: value'")
    for own, value in node.values.items():
        key, where = prefix + own, f"{name}:{node.lines[own]}"
        if not prefix and key in keys.sections:
            yield from _settings(value, name, keys, f"{key}.")
        elif key not in keys:
            raise ConfigError(f"{where}: {key}: no such setting{keys.meant(key)}")
        elif not _is_empty(value):
            yield key, _given(key, value, name)


def _given(key: str, node: Located, name: str) -> Given:
    where = f"{name}:{node.line}"
    if isinstance(node, Text):
        return Given(node.value, where)
    named = node.values.items() if isinstance(node, Table) else enumerate(node.values)
    parts: dict[str | int, Located] = dict(named)
    for part in parts.values():
        if not isinstance(part, Text):
            raise ConfigError(f"{name}:{part.line}: {key}: expected a single value")
    texts = {at: part.value for at, part in parts.items() if isinstance(part, Text)}
    places = {at: f"{name}:{part.line}" for at, part in parts.items()}
    if isinstance(node, Items):
        return Given(tuple(texts.values()), where, places)
    return Given({str(at): text for at, text in texts.items()}, where, places)


def _is_empty(node: Located) -> bool:
    """True for a value that was left out: `budget:` with nothing behind it."""
    return isinstance(node, Text) and not node.quoted and node.value in {"", "~", "null"}
