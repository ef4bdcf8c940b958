"""The section `webhook` of the configuration, and what is said of mistakes in it."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from livekit_exporter.cli.app import app
from livekit_exporter.sidecar.config.settings import ConfigError, load
from livekit_exporter.sidecar.webhook.endpoint import configured
from livekit_exporter.sidecar.webhook.signature import key
from tests.receivers import SECRET

URL = "https://billing.example.com/hooks/token"


def set_to(tmp_path: Path, text: str) -> Path:
    """A configuration file with this section."""
    file = tmp_path / "exporter.yaml"
    file.write_text(f"webhook: {{{text}}}\n")
    return file


def test_without_a_url_there_is_no_webhook() -> None:
    assert configured(load(None, {}, {})) is None


def test_everything_can_be_set(tmp_path: Path) -> None:
    file = set_to(
        tmp_path,
        f"url: {URL}, secret: {SECRET}, timeout_seconds: 3, retry_seconds: 1,"
        " give_up_after_hours: 0.5, redaction: drop",
    )

    webhook = configured(load(file, {}, {}))

    assert webhook is not None
    assert (webhook.url, webhook.origin) == (URL, "https://billing.example.com")
    assert (webhook.keys, webhook.timeout_seconds) == ((key(SECRET),), 3)
    assert (webhook.retry.retry_seconds, webhook.retry.give_up_seconds) == (1, 1800)
    assert webhook.redaction == "drop"


def test_names_are_treated_as_in_files_unless_said_otherwise() -> None:
    """Whoever drops them there does not expect them to leave the house."""
    environ = {
        "LIVEKIT_EXPORTER_WEBHOOK_URL": URL,
        "LIVEKIT_EXPORTER_WEBHOOK_SECRET": SECRET,
        "LIVEKIT_EXPORTER_EXPORT_REDACTION": "hash",
    }

    webhook = configured(load(None, environ, {}))

    assert webhook is not None
    assert webhook.redaction == "hash"


def test_a_file_may_hold_the_secret_and_its_successor(tmp_path: Path) -> None:
    secrets = tmp_path / "secret"
    secrets.write_text(f"{SECRET}\n\n  the next one, in plain text \n")
    webhook = configured(load(set_to(tmp_path, f"url: {URL}, secret_file: {secrets}"), {}, {}))

    assert webhook is not None
    assert webhook.keys == (key(SECRET), b"the next one, in plain text")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("url: ftp://x/y", "webhook.url: expected 'https://host/path'"),
        ("url: /hooks", "webhook.url: expected 'https://host/path'"),
        ("url: 'https://'", "webhook.url: expected 'https://host/path'"),
        ("url: 'https://host:99999/'", "webhook.url: it is no URL"),
        ("url: 'https://[::1/'", "webhook.url: it is no URL"),
        ("url: 'https://me:hunter22@host/'", "webhook.url: user and password do not belong"),
        ("url: 'https://host/a b'", "webhook.url: there are blanks"),
        ("url: 'https://host/#part'", "webhook.url: there are blanks or a '#'"),
        ("secret: hunter22", "webhook.secret: the secret has 8 bytes, at least 16"),
        (f"secret: {SECRET}, secret_file: /x", "webhook.secret_file: webhook.secret is given, too"),
        ("timeout_seconds: 0", "webhook.timeout_seconds: input should be greater than 0"),
        ("redaction: hide", "webhook.redaction: input should be 'none', 'hash' or 'drop'"),
        ("uri: x", "webhook.uri: no such setting; did you mean 'webhook.url'?"),
    ],
)
def test_a_mistake_is_said_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    """And without what may be secret in it."""
    with pytest.raises(ConfigError) as refused:
        load(set_to(tmp_path, text), {}, {})

    assert f"exporter.yaml:1: {said}" in str(refused.value)
    assert "hunter22" not in str(refused.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot read '{file}': No such file or directory"),
        (b"", "'{file}' is empty"),
        (b"hunter22\n", "'{file}': the secret has 8 bytes"),
        (b"\xff\xfe", "'{file}' is not UTF-8 text"),
    ],
)
def test_a_secret_that_cannot_be_read_is_a_mistake(
    tmp_path: Path, content: bytes | None, said: str
) -> None:
    """Found by `config check`, at the start and at a reload."""
    secret = tmp_path / "secret"
    if content is not None:
        secret.write_bytes(content)
    file = set_to(tmp_path, f"url: {URL}, secret_file: {secret}")

    result = CliRunner().invoke(app, ["config", "check", str(file)])

    assert result.exit_code == 1
    assert f"webhook.secret_file: {said.format(file=secret)}" in result.stderr
    assert "hunter22" not in result.stderr


def test_a_url_needs_a_secret(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["config", "check", str(set_to(tmp_path, f"url: {URL}"))])

    assert result.exit_code == 1
    assert "webhook.url: a secret to sign with is missing; set webhook.secret_file" in result.stderr
