"""Values of settings: text in, a value out, or a ValueError that says what to write instead."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, available_timezones

from pydantic import SecretStr, ValidationInfo

from livekit_exporter import contract
from livekit_exporter.sidecar.config.sources import hint
from livekit_exporter.sidecar.webhook import signature

CONTRACT_LABELS: Final = frozenset(
    {label for family in contract.FAMILIES for label in family.labels} | {"le", "quantile"}
)
"""Label names that an operator's own label cannot have."""

_LABEL_NAME: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_HIGHEST_PORT: Final = 65535
_LEDGER_SCHEMES: Final = ("postgres", "postgresql", "postgresql+psycopg")


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """Address that the sidecar listens on.

    Args:
        host: Name or IP address, an IPv6 address without its brackets.
        port: TCP port; 0 lets the system choose a free one.
    """

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `host:port` or `[IPv6]:port`.

        Raises:
            ValueError: The text is something else.
        """
        host, colon, port = text.rpartition(":")
        if not colon:
            raise ValueError("the port is missing, write 'host:port'")
        if not host:
            raise ValueError(f"the host is missing, write '0.0.0.0:{port}' for every interface")
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
        elif ":" in host:
            raise ValueError(f"an IPv6 address needs brackets, write '[{host}]:{port}'")
        if not (port.isascii() and port.isdigit() and int(port) <= _HIGHEST_PORT):
            raise ValueError(f"the port must be a number from 0 to {_HIGHEST_PORT}")
        return cls(host, int(port))

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def parsed_address(value: object) -> ListenAddress:
    """Read `host:port` text, or take an address as it is."""
    if isinstance(value, ListenAddress):
        return value
    if not isinstance(value, str):
        raise ValueError("expected 'host:port'")  # noqa: TRY004 - pydantic reports ValueErrors
    return ListenAddress.parse(value)


def absolute(path: Path) -> Path:
    """Make a path absolute, from the home directory where it begins with `~`."""
    if "\0" in str(path):
        raise ValueError("a path has no null characters")
    return path.expanduser().absolute()


def time_zone(name: str) -> str:
    """Check that a name is an IANA time zone."""
    try:
        ZoneInfo(name)
    except (KeyError, OSError, ValueError) as error:
        meant = hint(name, available_timezones())
        raise ValueError(f"'{name}' is not an IANA time zone{meant}") from error
    return name


def extra_label(name: str) -> str:
    """Check that a name can become a metric label beside those of the contract."""
    if not _LABEL_NAME.fullmatch(name) or name.startswith("__"):
        raise ValueError(f"'{name}' is no label name; use letters, digits and '_', no digit first")
    if name in CONTRACT_LABELS:
        raise ValueError(f"'{name}' is one of the exporter's own labels, choose another name")
    return name


def distinct(names: tuple[str, ...]) -> tuple[str, ...]:
    """Check that no name stands twice."""
    for position, name in enumerate(names):
        if name in names[:position]:
            raise ValueError(f"'{name}' is listed twice")
    return names


def listed(value: object) -> object:
    """Read `a, b` as a list: how a list looks in an environment variable."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def mapped(value: object) -> object:
    """Read `a=1, b=2` as a mapping: how a mapping looks in an environment variable."""
    if not isinstance(value, str):
        return value
    pairs = {}
    for part in value.split(","):
        name, equals, text = part.partition("=")
        if not equals:
            raise ValueError(f"'{part.strip()}' is not of the form 'name=value'")
        pairs[name.strip()] = text.strip()
    return pairs


def condition(calls: str) -> dict[str, str]:
    """Labels that a call must have, from `channel=phone agent=support`; none for `all`.

    Raises:
        ValueError: It says something else.
    """
    when: dict[str, str] = {}
    for word in [] if calls.strip() == "all" else calls.split() or [calls]:
        label, equals, value = word.partition("=")
        if not (label and equals and value):
            raise ValueError(f"'{word}' says no calls; write 'all' or 'label=value'")
        when[label] = value
    return when


def conditions(legs: Mapping[str, str]) -> Mapping[str, str]:
    """Check every condition of platform legs."""
    for calls in legs.values():
        condition(calls)
    return legs


def ledger_url(url: str) -> str:
    """Check the URL of a PostgreSQL database, without repeating its password."""
    try:
        parts = urlsplit(url)
        # Reading the port checks it; an '@' in the path is the rest of a password.
        known = (
            parts.scheme in _LEDGER_SCHEMES
            and parts.port != 0
            and len(parts.path) > 1
            and "@" not in parts.path
        )
    except ValueError:
        known = False
    if not known:
        # The URL itself is not repeated: there is a password in it.
        raise ValueError(
            "expected 'postgresql://user:password@host:5432/database'; in a password write '%40'"
            " for '@', '%2F' for '/' and '%3A' for ':'"
        )
    return url


def secret_ledger_url(url: SecretStr) -> SecretStr:
    """Check a ledger URL that is kept as a secret."""
    return SecretStr(ledger_url(url.get_secret_value()))


def webhook_url(url: str) -> str:
    """Check the address that calls are sent to."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ValueError("it is no URL") from error
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0:
        raise ValueError("expected 'https://host/path' or 'http://host:port/path'")
    if "@" in parts.netloc:
        # The URL itself is not repeated: there is a password in it.
        raise ValueError(
            "user and password do not belong into it; the receiver knows us by the signature"
        )
    if parts.fragment or any(letter.isspace() or not letter.isprintable() for letter in url):
        raise ValueError("there are blanks or a '#' in it, which are not sent; leave them out")
    return url


def webhook_secret(secret: SecretStr) -> SecretStr:
    """Check that deliveries can be signed with a secret."""
    signature.key(secret.get_secret_value())
    return secret


def file_with_secret(path: Path, info: ValidationInfo) -> Path:
    """Take a file in place of `webhook.secret`, never beside it."""
    if info.data.get("secret") is not None:
        raise ValueError("webhook.secret is given, too; choose one")
    return absolute(path)


def file_with_ledger_url(path: Path, info: ValidationInfo) -> Path:
    """Take a file in place of `ledger.url`, never beside it."""
    if info.data.get("url") is not None:
        raise ValueError("ledger.url is given, too; choose one")
    return absolute(path)
