"""Signatures that any library for Standard Webhooks accepts."""

import time

import pytest

from livekit_exporter.sidecar.webhook.signature import headers, key
from tests.receivers import SECRET, documented_check


def test_a_signature_is_the_one_of_the_specification() -> None:
    """The example that its libraries test themselves with."""
    made = headers(
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        b'{"test": 2432232314}',
        [key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")],
    )

    assert made == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


@pytest.mark.parametrize("secret", [SECRET, "sixteen or more bytes", "ключ, который подходит"])
def test_the_documented_check_accepts_what_we_sign(secret: str) -> None:
    """Whichever form the secret has."""
    signed = headers("call_1", int(time.time()), b'{"type": "x"}', [key(secret)])

    assert documented_check(secret)(signed, b'{"type": "x"}') == {"type": "x"}


def test_the_documented_check_refuses_everything_else() -> None:
    """Another body, id, time or secret; and what is right, but old."""
    now = int(time.time())
    signed = headers("call_1", now, b"{}", [key(SECRET)])
    for broken, body in (
        (signed, b"{} "),
        ({**signed, "webhook-id": "call_2"}, b"{}"),
        ({**signed, "webhook-timestamp": str(now + 1)}, b"{}"),
        (headers("call_1", now, b"{}", [b"another"]), b"{}"),
        ({**signed, "webhook-signature": ""}, b"{}"),
    ):
        with pytest.raises(ValueError, match="the signature is wrong"):
            documented_check()(broken, body)
    with pytest.raises(ValueError, match="long ago"):
        documented_check()(headers("call_1", now - 1000, b"{}", [key(SECRET)]), b"{}")


def test_two_secrets_sign_while_one_follows_the_other() -> None:
    """The receiver may know either."""
    signed = headers("call_1", int(time.time()), b"{}", [key(SECRET), key("the new secret, long")])

    for secret in (SECRET, "the new secret, long"):
        assert documented_check(secret)(signed, b"{}") == {}


@pytest.mark.parametrize(
    ("secret", "said"),
    [
        ("", "has 0 bytes, at least 16"),
        ("short", "has 5 bytes, at least 16"),
        ("whsec_c2hvcnQ=", "has 5 bytes, at least 16"),
        ("whsec_not base64!", "what follows 'whsec_' is not base64"),
        ("whsec_ключ", "what follows 'whsec_' is not base64"),
    ],
)
def test_what_is_no_secret_is_refused(secret: str, said: str) -> None:
    """And not repeated."""
    with pytest.raises(ValueError, match=said) as refused:
        key(secret)

    assert len(secret) < 5 or secret.removeprefix("whsec_") not in str(refused.value)
