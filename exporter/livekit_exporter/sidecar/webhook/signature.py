"""How a webhook's receiver knows that we sent it: signatures after Standard Webhooks.  Pure.

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
    """Key of a secret: `whsec_` and base64, or any text, whose bytes are the key.

    Raises:
        ValueError: It is empty, too short to be secret, or no base64.
    """
    if not secret.startswith(_PREFIX):
        made = secret.encode()
    else:
        try:
            made = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
        except (binascii.Error, ValueError) as error:
            # The secret is not repeated.
            raise ValueError(f"what follows '{_PREFIX}' is not base64") from error
    if len(made) < _SHORTEST_BYTES:
        raise ValueError(
            f"the secret has {len(made)} bytes, at least {_SHORTEST_BYTES} are needed; make one"
            " with: openssl rand -base64 32"
        )
    return made


def headers(message: str, at: int, body: bytes, keys: Sequence[bytes]) -> Mapping[str, str]:
    """The three headers of a message.

    Args:
        message: Its id, the same each time that it is sent.
        at: When it is sent, Unix seconds.
        body: Its body as it is sent.
        keys: Signed with each of them, so that a receiver may know either while they change.
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
