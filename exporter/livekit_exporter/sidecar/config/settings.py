"""The sidecar's settings: one frozen model, from a YAML file, the environment and flags.

Flags win over the environment, the environment over the file, the file over the
defaults; the sidecar starts without any.  Every setting is text until the model
reads it, whichever way it came, so that `0.1` in a file and `0.1` in the
environment are the same price, and `no` is never a boolean.

Adding a setting is one field here and `make generate`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Final, Literal, TypeAlias
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    SecretStr,
    ValidationError,
)

from livekit_exporter import files
from livekit_exporter.export.document import Redaction
from livekit_exporter.sidecar.config.sources import (
    ConfigError,
    Given,
    Keys,
    Layer,
    from_environment,
    from_flags,
    from_yaml,
    hint,
    variable,
)
from livekit_exporter.sidecar.config.values import (
    CONTRACT_LABELS,
    ListenAddress,
    absolute,
    conditions,
    distinct,
    extra_label,
    file_with_ledger_url,
    file_with_secret,
    ledger_url,
    listed,
    mapped,
    parsed_address,
    secret_ledger_url,
    time_zone,
    webhook_secret,
    webhook_url,
)
from livekit_exporter.sidecar.webhook import signature

__all__ = [
    "SETTINGS",
    "BudgetSettings",
    "Config",
    "ConfigError",
    "ExportSettings",
    "LedgerSettings",
    "ListenAddress",
    "LogSettings",
    "MetricsSettings",
    "PlatformSettings",
    "Setting",
    "WebhookSettings",
    "load",
    "markdown_table",
    "merge",
]

_Usd: TypeAlias = Annotated[Decimal, Field(gt=0, le=1_000_000_000)]


class _Section(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )


class LogSettings(_Section):
    """Log of the sidecar on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe line that is written."""
    format: Literal["text", "json"] = "text"
    """`text` for people, `json` for a log pipeline: one object per line."""


class PricesSettings(_Section):
    """Prices of usage."""

    file: Annotated[Path, AfterValidator(absolute)] | None = None
    """Prices of your own, merged over the shipped ones by `id`; `livekit-exporter prices check`
    tells its mistakes."""


class MetricsSettings(_Section):
    """Number of series, and how long they stay."""

    labels: Annotated[
        tuple[Annotated[str, AfterValidator(extra_label)], ...],
        BeforeValidator(listed),
        AfterValidator(distinct),
    ] = ()
    """Labels given to `attach(labels=…)` that become metric labels, for example `tenant`. Each of
    its values multiplies the series of every agent metric."""
    label_values: Annotated[int, Field(ge=1)] = 200
    """Values that a label may have; further ones become `other` and are counted."""
    label_values_of: Annotated[
        Mapping[str, Annotated[int, Field(ge=1)]], BeforeValidator(mapped)
    ] = Field(default_factory=dict)
    """The same for single labels, for example `tenant: 1000`."""
    idle_days: Annotated[float, Field(gt=0)] = 30.0
    """Days after which a series that nothing touched leaves the page; the ledger keeps its sums."""

    def cap(self, label: str) -> int:
        """Number of values that a label may have."""
        return self.label_values_of.get(label, self.label_values)


class LedgerSettings(_Section):
    """Place of the ledger, and for how long it keeps single calls."""

    url: Annotated[SecretStr, AfterValidator(secret_ledger_url)] | None = None
    """`postgresql://user:password@host:5432/database`, a database that several sidecars may
    share. Without it the ledger is the file `ledger.db` in the data directory."""
    url_file: Annotated[Path, AfterValidator(file_with_ledger_url)] | None = None
    """A file with that URL and nothing else, in place of `ledger.url`; read when the ledger is
    opened."""
    keep_days: Annotated[float, Field(gt=0, le=36_500)] | None = None
    """Days after which a call that is over is deleted with its turns and usage. Sums by day,
    model and user stay for ever, and the current month stays whole."""

    def where(self, data_dir: Path) -> Path | str:
        """The ledger's file, or its URL.

        Raises:
            ConfigError: The file with the URL cannot be read, or says something else.
        """
        if self.url is not None:
            return self.url.get_secret_value()
        if self.url_file is None:
            return files.ledger(data_dir)
        try:
            return ledger_url(self.url_file.read_text(encoding="utf-8").strip())
        except OSError as error:
            raise ConfigError(
                f"ledger.url_file: cannot read '{self.url_file}': {error.strerror}"
            ) from error
        except UnicodeDecodeError as error:
            raise ConfigError(f"ledger.url_file: '{self.url_file}' is not UTF-8 text") from error
        except ValueError as error:
            raise ConfigError(f"ledger.url_file: '{self.url_file}': {error}") from error


class BudgetSettings(_Section):
    """Budgets in US dollars, served beside the spend."""

    day_usd: _Usd | None = None
    """Spend allowed per day of the configured time zone."""
    month_usd: _Usd | None = None
    """Spend allowed per month of the configured time zone."""


class ExportSettings(_Section):
    """The JSON file that is written of every call when it ends."""

    enabled: bool = True
    """Whether `calls/<day>/<session>.json` is written in the data directory."""
    redaction: Redaction = "none"
    """What becomes of user, room and job there: `none` keeps them, `hash` puts a keyed hash in
    their place, the same for the same name, `drop` leaves them out."""
    keep_days: Annotated[float, Field(gt=0)] | None = 30.0
    """Days that files are kept; the ledger keeps the call."""


class WebhookSettings(_Section):
    """Address that every call is sent to when it ends; see `docs/webhooks.md`."""

    url: Annotated[str, AfterValidator(webhook_url)] | None = None
    """`https://host/path` that takes the export of each call that ends from then on. It needs a
    secret."""
    secret: Annotated[SecretStr, AfterValidator(webhook_secret)] | None = None
    """What deliveries are signed with: `whsec_` and base64, or any text of 16 bytes or more."""
    secret_file: Annotated[Path, AfterValidator(file_with_secret)] | None = None
    """A file with that secret, in place of `webhook.secret`; two lines are two secrets, each of
    which signs, while the receiver changes from one to the other. Read at start and on SIGHUP."""
    timeout_seconds: Annotated[float, Field(gt=0, le=300)] = 15.0
    """Time in which the receiver has to answer."""
    retry_seconds: Annotated[float, Field(gt=0, le=3600)] = 5.0
    """Pause after the first attempt that fails; doubled after each further one, at most an hour,
    and up to half of it shorter by chance."""
    give_up_after_hours: Annotated[float, Field(gt=0, le=8760)] = 72.0
    """Hours from the first attempt after which a delivery that still fails is a dead letter."""
    redaction: Redaction | None = None
    """What becomes of user, room and job in what is sent, as in `export.redaction`."""

    def keys(self) -> tuple[bytes, ...]:
        """Keys that sign deliveries, at least one where there is a URL.

        Raises:
            ConfigError: There is none, or its file cannot be read or says something else.
        """
        if self.secret is not None:
            return (signature.key(self.secret.get_secret_value()),)
        if self.secret_file is None:
            if self.url is None:
                return ()
            raise ConfigError(
                "webhook.url: a secret to sign with is missing; set webhook.secret_file or"
                " webhook.secret, made with: openssl rand -base64 32"
            )
        try:
            lines = self.secret_file.read_text(encoding="utf-8").split("\n")
            keys = tuple(signature.key(line.strip()) for line in lines if line.strip())
        except OSError as error:
            raise ConfigError(
                f"webhook.secret_file: cannot read '{self.secret_file}': {error.strerror}"
            ) from error
        except UnicodeDecodeError as error:
            raise ConfigError(
                f"webhook.secret_file: '{self.secret_file}' is not UTF-8 text"
            ) from error
        except ValueError as error:
            raise ConfigError(f"webhook.secret_file: '{self.secret_file}': {error}") from error
        if not keys:
            raise ConfigError(f"webhook.secret_file: '{self.secret_file}' is empty")
        return keys


class PlatformSettings(_Section):
    """Costs of calls by their length: hosting, transport, telephony, a fee per minute."""

    legs: Annotated[Mapping[str, str], BeforeValidator(mapped), AfterValidator(conditions)] = Field(
        default_factory=dict
    )
    """Ids of platform prices with the calls that they are charged for: `all`, or labels of the
    call as `channel=phone`, several with blanks between; `agent` is the agent's name. Rounded up
    once per call."""


class Config(_Section):
    """All settings of the sidecar."""

    data_dir: Annotated[Path, AfterValidator(absolute)] = Field(default_factory=files.default)
    """Directory that agents and the sidecar share: journals, ledger, lock."""
    listen_address: Annotated[ListenAddress, PlainValidator(parsed_address)] = ListenAddress(
        "127.0.0.1", 7889
    )
    """`host:port` of the HTTP server; `0.0.0.0:7889` for every interface, `[::1]:7889` for IPv6,
    port 0 for any free one."""
    timezone: Annotated[str, AfterValidator(time_zone)] = "UTC"
    """IANA name of the zone in which days and months of spend begin, for example
    `Europe/Berlin`."""
    poll_seconds: Annotated[float, Field(gt=0, le=60)] = 0.1
    """Pause between two looks at the journals."""
    log: LogSettings = LogSettings()
    metrics: MetricsSettings = MetricsSettings()
    ledger: LedgerSettings = LedgerSettings()
    prices: PricesSettings = PricesSettings()
    budget: BudgetSettings = BudgetSettings()
    platform: PlatformSettings = PlatformSettings()
    export: ExportSettings = ExportSettings()
    webhook: WebhookSettings = WebhookSettings()

    @property
    def zone(self) -> ZoneInfo:
        """The configured time zone."""
        return ZoneInfo(self.timezone)


@dataclass(frozen=True, slots=True)
class Setting:
    """One documented setting: a leaf of the model.

    Args:
        key: Dotted name, as in the file's nesting.
        default: What holds when nobody sets it, as a user would write it.
        meaning: One or two sentences of Markdown.
    """

    key: str
    default: str
    meaning: str

    @property
    def variable(self) -> str:
        """Name of the environment variable."""
        return variable(self.key)


_DEFAULT_IN_WORDS: Final = {
    "data_dir": "the platform's state directory",
    "metrics.labels": "none",
    "ledger.url": "none",
    "ledger.url_file": "none",
    "ledger.keep_days": "for ever",
    "prices.file": "none",
    "metrics.label_values_of": "none",
    "platform.legs": "none",
    "budget.day_usd": "not set",
    "budget.month_usd": "not set",
    "webhook.url": "none",
    "webhook.secret": "none",
    "webhook.secret_file": "none",
    "webhook.redaction": "as `export.redaction`",
}


def _leaves(model: type[_Section], prefix: str = "") -> Iterator[Setting]:
    for name, info in model.model_fields.items():
        key = prefix + name
        if isinstance(info.annotation, type) and issubclass(info.annotation, _Section):
            yield from _leaves(info.annotation, f"{key}.")
        else:
            default = _DEFAULT_IN_WORDS.get(key) or f"`{info.default}`"
            yield Setting(key, default, " ".join((info.description or "").split()))


SETTINGS: Final[Sequence[Setting]] = tuple(_leaves(Config))
_KEYS: Final = Keys(setting.key for setting in SETTINGS)


def markdown_table() -> str:
    """Render the table of settings that `docs/configuration.md` carries."""
    rows = ["| Setting | Environment | Default | Meaning |", "| --- | --- | --- | --- |"]
    rows += [f"| `{s.key}` | `{s.variable}` | {s.default} | {s.meaning} |" for s in SETTINGS]
    return "\n".join(rows) + "\n"


def merge(*layers: Layer) -> Config:
    """Build the configuration; later layers win, setting by setting.

    Raises:
        ConfigError: A value does not fit its setting.
    """
    given: dict[str, Given] = {}
    for layer in layers:
        given.update(layer)
    nested: dict[str, object] = {}
    for key, setting in given.items():
        section, dot, name = key.rpartition(".")
        if dot:
            inner = nested.setdefault(section, {})
            assert isinstance(inner, dict)  # noqa: S101 - a section is never a setting itself
            inner[name] = setting.value
        else:
            nested[name] = setting.value
    try:
        config = Config.model_validate(nested)
    except ValidationError as error:
        raise _explained(error, given) from error
    except RuntimeError as error:
        # A container user without a home; pathlib says no more than that.
        raise ConfigError(
            "data_dir: cannot find a home directory; set data_dir, --data-dir or"
            f" {variable('data_dir')} to an absolute path"
        ) from error
    _check_caps(config, given)
    return config


def _check_caps(config: Config, given: Layer) -> None:
    """Refuse a cap on a label that does not exist: it would hold nothing back."""
    known = CONTRACT_LABELS | set(config.metrics.labels)
    for label in config.metrics.label_values_of:
        if label not in known:
            origin = given["metrics.label_values_of"]
            where = origin.items.get(label, origin.where)
            raise ConfigError(
                f"{where}: metrics.label_values_of: no label '{label}'"
                f"{hint(label, known) or ', list it in metrics.labels first'}"
            )


def _explained(error: ValidationError, given: Layer) -> ConfigError:
    """Say the first mistake in one line: where, which setting, what, what to do."""
    first = error.errors(include_url=False)[0]
    location = first["loc"]
    key, rest = str(location[0]), location[1:]
    if key in _KEYS.sections and rest:
        key, rest = f"{key}.{rest[0]}", rest[1:]
    origin = given[key]
    where = next((origin.items[part] for part in rest if part in origin.items), origin.where)
    if first["type"] == "value_error":
        return ConfigError(f"{where}: {key}: {first['ctx']['error']}")
    value = first["input"]
    if not isinstance(value, str):
        shape = "mapping" if isinstance(value, Mapping) else "list"
        return ConfigError(f"{where}: {key}: cannot be a {shape}")
    message = first["msg"][:1].lower() + first["msg"][1:]
    meant = ""
    if first["type"] == "literal_error":
        meant = hint(value, re.findall(r"'(\w+)'", first["ctx"]["expected"]))
    return ConfigError(f"{where}: {key}: {message}, not '{value}'{meant}")


def load(path: Path | None, environ: Mapping[str, str], flags: Mapping[str, str | None]) -> Config:
    """Read all settings.

    Args:
        path: Configuration file, if there is one.
        environ: The process environment.
        flags: Settings from the command line by dotted key; `None` where not given.

    Raises:
        ConfigError: The file cannot be read, or a setting is wrong.
    """
    file: Layer = {}
    if path is not None:
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            reason = error.strerror or error
            raise ConfigError(f"{path}: cannot read the configuration: {reason}") from error
        except UnicodeDecodeError as error:
            raise ConfigError(f"{path}:1: not valid YAML: the file is not UTF-8 text") from error
        file = from_yaml(text, str(path), _KEYS)
    return merge(file, from_environment(environ, _KEYS), from_flags(flags))
