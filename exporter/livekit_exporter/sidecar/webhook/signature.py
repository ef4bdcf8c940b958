"""Signs messages to the webhook, so that its receiver knows that we sent them.  Pure.

The signatures follow Standard Webhooks:
https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Final

_PREFIX: Final = "whsec_"
_SHORTEST_BYTES: Final = 16


def key(secret: str) -> bytes:
    """Read the key from a secret: base64 behind `whsec_`, or any text, whose bytes are the key.

    Raises:
        ValueError: The secret is empty, too short, or not base64.
    """
    if not secret.startswith(_PREFIX):
        made = secret.encode()
    else:
        try:
            made = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
        except (binascii.Error, ValueError) as error:
            # The message does not repeat the secret: it goes into logs.
            raise ValueError(f"what follows '{_PREFIX}' is not base64") from error
    if len(made) < _SHORTEST_BYTES:
        raise ValueError(
            f"the secret has {len(made)} bytes, at least {_SHORTEST_BYTES} are needed; make one"
            " with: openssl rand -base64 32"
        )
    return made


def headers(message: str, at: int, body: bytes, keys: Sequence[bytes]) -> Mapping[str, str]:
    """Return the three headers that sign a message.

    Args:
        message: Id of the message, the same in every attempt.
        at: Time of the attempt, Unix seconds.
        body: The body, byte for byte as it is sent.
        keys: Keys to sign with, all of them: while a key is replaced, the receiver may know
            either.
    """
    signed = f"{message}.{at}.".encode() + body
    return {
        "webhook-id": message,
        "webhook-timestamp": str(at),
        "webhook-signature": " ".join(
            f"v1,{base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()}"
            for key in keys
        ),
    }
