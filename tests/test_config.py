"""Settings from file, environment and flags, and what is said about mistakes."""

import os
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livekit_exporter.sidecar.config.settings import (
    SETTINGS,
    Config,
    ConfigError,
    ListenAddress,
    load,
    markdown_table,
)

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A place for a configuration file."""
    return tmp_path / "exporter.yaml"


def test_no_configuration_is_needed() -> None:
    """The sidecar starts on defaults, on the loopback interface."""
    config = load(None, {}, {})

    assert str(config.listen_address) == "127.0.0.1:7889"
    assert config.timezone == "UTC"
    assert config.poll_seconds == 0.1
    assert config.metrics.labels == ()
    assert config.metrics.cap("model") == 200
    assert config.metrics.idle_days == 30
    assert config.budget.day_usd is None
    assert config.data_dir.is_absolute()


def test_file_sets_everything(file: Path) -> None:
    """Every setting can stand in the file."""
    file.write_text("""
data_dir: /var/lib/x
listen_address: "[::1]:0"
timezone: Europe/Berlin
poll_seconds: 0.5
log: {level: debug, format: json}
metrics:
  labels: [tenant, persona]
  label_values: 50
  label_values_of: {tenant: 1000, model: 20}
  idle_days: 7
budget:
  day_usd: 0.1
  month_usd: 2000
platform:
  legs: {livekit/agent-session: all, twilio/us-inbound-local: channel=phone agent=support}
""")

    config = load(file, {}, {})

    assert config.data_dir == Path("/var/lib/x")
    assert config.listen_address == ListenAddress("::1", 0)
    assert config.zone.key == "Europe/Berlin"
    assert (config.log.level, config.log.format) == ("debug", "json")
    assert config.metrics.labels == ("tenant", "persona")
    assert [config.metrics.cap(label) for label in ("tenant", "model", "tool")] == [1000, 20, 50]
    assert config.budget.day_usd == Decimal("0.1")
    assert config.platform.legs["livekit/agent-session"] == "all"


def test_flags_win_over_environment_over_file(file: Path) -> None:
    """Each origin overrides single settings, not whole sections."""
    file.write_text("timezone: Asia/Tokyo\nlog: {level: error, format: json}\npoll_seconds: 1\n")
    environ = {"LIVEKIT_EXPORTER_LOG_LEVEL": "warning", "LIVEKIT_EXPORTER_POLL_SECONDS": "2"}

    config = load(file, environ, {"poll_seconds": "3", "log.format": None})

    assert config.timezone == "Asia/Tokyo"
    assert (config.log.level, config.log.format) == ("warning", "json")
    assert config.poll_seconds == 3


def test_environment_holds_lists_and_mappings() -> None:
    """A container can be configured without a file."""
    environ = {
        "LIVEKIT_EXPORTER_METRICS_LABELS": "tenant, persona",
        "LIVEKIT_EXPORTER_METRICS_LABEL_VALUES_OF": "tenant=9,model=8",
        "LIVEKIT_EXPORTER_BUDGET_DAY_USD": "12.34",
    }

    config = load(None, environ, {})

    assert config.metrics.labels == ("tenant", "persona")
    assert config.metrics.label_values_of == {"tenant": 9, "model": 8}
    assert config.budget.day_usd == Decimal("12.34")


def test_what_kubernetes_adds_to_the_environment_is_no_mistake() -> None:
    """A service named livekit-exporter puts these into every container beside it."""
    environ = {
        "LIVEKIT_EXPORTER_PORT": "tcp://10.0.0.1:7889",
        "LIVEKIT_EXPORTER_SERVICE_HOST": "10.0.0.1",
    }

    assert load(None, environ, {}) == load(None, {}, {})


@pytest.mark.parametrize("text", ["", "# nothing\n", "budget:\nlog: ~\n", "log:\n  level:\n"])
def test_what_is_left_empty_keeps_its_default(file: Path, text: str) -> None:
    """A key with nothing behind it, as templates leave it, sets nothing."""
    file.write_text(text)

    assert load(file, {}, {}) == load(None, {}, {})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("metrcs: {}\n", "1: metrcs: no such setting; did you mean 'metrics'?"),
        (
            "\nlisten_adress: x\n",
            "2: listen_adress: no such setting; did you mean 'listen_address'?",
        ),
        ("level: info\n", "1: level: no such setting; did you mean 'log.level'?"),
        ("log:\n  levle: info\n", "2: log.levle: no such setting; did you mean 'log.level'?"),
        (
            "log:\n  format: jsn\n",
            "2: log.format: input should be 'text' or 'json', not 'jsn'; did you mean 'json'?",
        ),
        (
            "timezone: Europe/Berln\n",
            "1: timezone: 'Europe/Berln' is not an IANA time zone; did you mean 'Europe/Berlin'?",
        ),
        ("timezone: no\n", "1: timezone: 'no' is not an IANA time zone"),
        (
            "timezone: ../../etc/passwd\n",
            "1: timezone: '../../etc/passwd' is not an IANA time zone",
        ),
        ("listen_address: 7889\n", "1: listen_address: the port is missing, write 'host:port'"),
        (
            "listen_address: ':7889'\n",
            "1: listen_address: the host is missing, write '0.0.0.0:7889' for every interface",
        ),
        (
            "listen_address: ::1:7889\n",
            "1: listen_address: an IPv6 address needs brackets, write '[::1]:7889'",
        ),
        (
            "listen_address: localhost:70000\n",
            "1: listen_address: the port must be a number from 0 to 65535",
        ),
        ("listen_address: {a: b}\n", "1: listen_address: expected 'host:port'"),
        ("poll_seconds: 0\n", "1: poll_seconds: input should be greater than 0, not '0'"),
        ("poll_seconds: nan\n", "1: poll_seconds: input should be a finite number, not 'nan'"),
        ("poll_seconds: [1]\n", "1: poll_seconds: cannot be a list"),
        ("budget:\n  day_usd: -1\n", "2: budget.day_usd: input should be greater than 0, not '-1'"),
        (
            "platform:\n  legs:\n    livekit/agent-session: phone\n",
            "3: platform.legs: 'phone' says no calls; write 'all' or 'label=value'",
        ),
        ("budget: 5\n", "1: budget: expected settings, 'name: value'"),
        ("- a\n", "1: expected settings, 'name: value'"),
        (
            "log:\n  level: info\n  level: info\n",
            "3: key 'level' already stands on line 2; remove one",
        ),
        (
            "metrics:\n  labels:\n    - tenant\n    - model\n",
            "4: metrics.labels: 'model' is one of the exporter's own labels, choose another name",
        ),
        ("metrics:\n  labels: [a, a]\n", "2: metrics.labels: 'a' is listed twice"),
        (
            "metrics:\n  labels: [1a]\n",
            "2: metrics.labels: '1a' is no label name; use letters, digits and '_', no digit first",
        ),
        ("metrics:\n  labels: [[a]]\n", "2: metrics.labels: expected a single value"),
        (
            "metrics:\n  labels: [tenant]\n  label_values_of:\n    tenent: 4\n",
            "4: metrics.label_values_of: no label 'tenent'; did you mean 'tenant'?",
        ),
        (
            "metrics:\n  label_values_of:\n    zone: 4\n",
            "3: metrics.label_values_of: no label 'zone', list it in metrics.labels first",
        ),
        ("a: &a [*a]\n", "1: an anchor contains itself; write it out"),
        ("? [a]\n: b\n", "1: a key must be text"),
        ("x: [\n", "2: not valid YAML: expected the node content, but found '<stream end>'"),
        ('data_dir: "a\\0b"\n', "1: data_dir: a path has no null characters"),
    ],
)
def test_mistake_in_the_file_is_named_with_its_line(file: Path, text: str, message: str) -> None:
    """Where it stands, which setting, what is wrong, what to write."""
    file.write_text(text)

    with pytest.raises(ConfigError) as caught:
        load(file, {}, {})

    assert str(caught.value) == f"{file}:{message}"


def test_mistake_elsewhere_is_named_with_its_origin() -> None:
    """An environment variable and a flag are named as one types them."""
    with pytest.raises(ConfigError, match=r"^environment: LIVEKIT_EXPORTER_TIMEZONE: timezone: "):
        load(None, {"LIVEKIT_EXPORTER_TIMEZONE": "Mars"}, {})
    with pytest.raises(ConfigError, match=r"^command line: --listen-address: listen_address: "):
        load(None, {}, {"listen_address": "x"})


def test_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """A missing file, a directory and bytes that are no text each get one line."""
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")

    for path in (tmp_path / "missing.yaml", tmp_path, tmp_path / "binary.yaml"):
        with pytest.raises(ConfigError) as caught:
            load(path, {}, {})
        assert str(caught.value).startswith(str(path))


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container's numeric user has no home directory; pathlib alone says only that."""
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 2_000_000_000)

    with pytest.raises(ConfigError, match="set data_dir, --data-dir or LIVEKIT_EXPORTER_DATA_DIR"):
        load(None, {}, {})


@given(text=st.text() | st.from_regex(r"(log|metrics|budget|timezone)[:{}\[\] a-z&*\n]{0,20}"))
def test_no_file_is_fatal(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whatever stands in the file, the answer is a configuration or one line about a mistake."""
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))

    try:
        load(path, {}, {})
    except ConfigError as error:
        said = str(error)
    else:
        said = ""

    assert "\n" not in said


@given(host=st.sampled_from(["127.0.0.1", "::1", "host.example"]), port=st.integers(0, 65535))
def test_listen_address_round_trips(host: str, port: int) -> None:
    """What is printed can be read again."""
    address = ListenAddress(host, port)

    assert ListenAddress.parse(str(address)) == address


LEDGER_URL = "postgresql://meter:s3cr3t%40@db.example:5432/ledger?sslmode=require"


def test_the_ledger_is_a_file_or_what_its_url_names(tmp_path: Path) -> None:
    """By the setting, or by a file that is read when it is needed."""
    file = tmp_path / "url"

    assert load(None, {}, {}).ledger.where(tmp_path) == tmp_path / "ledger.db"
    given = load(None, {"LIVEKIT_EXPORTER_LEDGER_URL": LEDGER_URL}, {})
    assert given.ledger.where(tmp_path) == LEDGER_URL
    assert "s3cr3t" not in repr(given)
    by_file = load(None, {"LIVEKIT_EXPORTER_LEDGER_URL_FILE": str(file)}, {})
    for content in (None, b"", b"\xff", b"s3cr3t"):
        if content is not None:
            file.write_bytes(content)
        with pytest.raises(ConfigError, match=r"^ledger\.url_file: .*url'") as caught:
            by_file.ledger.where(tmp_path)
        assert "s3cr3t" not in str(caught.value)
    file.write_text(f"{LEDGER_URL}\n")
    assert by_file.ledger.where(tmp_path) == LEDGER_URL


@pytest.mark.parametrize(
    "url",
    [
        "s3cr3t",
        "mysql://meter:s3cr3t@db/ledger",
        "postgresql://meter:s3cr3t@db",
        "postgresql://meter:s3cr3t@db:port/ledger",
        "postgresql://meter:s3/cr3t@db/ledger",
        "postgresql://meter:5/cr3t@db/ledger",
        "[s3cr3t",
    ],
)
def test_a_ledger_url_that_is_none_is_not_repeated(url: str) -> None:
    """There is a password in it, and logs are read by many."""
    with pytest.raises(ConfigError) as caught:
        load(None, {"LIVEKIT_EXPORTER_LEDGER_URL": url}, {})

    said = str(caught.value)
    assert said.startswith("environment: LIVEKIT_EXPORTER_LEDGER_URL: ledger.url: expected")
    assert "cr3t" not in said


def test_one_ledger_has_one_place(tmp_path: Path) -> None:
    """Which of the two holds would be a guess."""
    both = {
        "LIVEKIT_EXPORTER_LEDGER_URL": LEDGER_URL,
        "LIVEKIT_EXPORTER_LEDGER_URL_FILE": str(tmp_path / "url"),
    }
    with pytest.raises(ConfigError, match=r"ledger\.url_file: ledger\.url is given, too"):
        load(None, both, {})


def test_configuration_cannot_be_changed() -> None:
    """One frozen model: nobody turns a setting while the sidecar runs."""
    config = Config()

    with pytest.raises(ValueError, match="frozen"):
        config.timezone = "Asia/Tokyo"


def test_every_setting_is_documented() -> None:
    """The document shows the model as it is; `make generate` writes it."""
    assert len(SETTINGS) >= 12
    assert all(setting.meaning for setting in SETTINGS)
    assert markdown_table() in (ROOT / "docs" / "configuration.md").read_text("utf-8")
