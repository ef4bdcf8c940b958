"""Units that are counted and billed: token buckets, billing bases, and exact arithmetic."""

from decimal import ROUND_HALF_EVEN, Context, DivisionByZero, InvalidOperation, Overflow
from typing import Final, Literal, TypeAlias, get_args

Kind: TypeAlias = Literal["input", "cached_input", "cache_write", "output"]
Modality: TypeAlias = Literal["text", "audio", "image"]
Bucket: TypeAlias = tuple[Kind, Modality]
"""Tokens of one price; buckets exclude one another."""

Basis: TypeAlias = Literal[
    "tokens", "audio_time", "characters", "session_time", "call_time", "request_time"
]
"""What an entry bills.  An entry has one, because plugins fill more than one usage field."""

Confidence: TypeAlias = Literal["high", "medium", "low"]
"""How far a price can be trusted: `medium` and `low` where its sources disagree or are weak."""

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
MODALITIES: Final[tuple[Modality, ...]] = get_args(Modality)
BASES: Final[tuple[Basis, ...]] = get_args(Basis)
CONFIDENCES: Final[tuple[Confidence, ...]] = get_args(Confidence)

BASIS_UNIT: Final[dict[Basis, str]] = {
    "audio_time": "audio_second",
    "characters": "character",
    "session_time": "connection_second",
    "call_time": "connection_second",
    "request_time": "request_second",
}

TOKEN_UNIT: Final[dict[Bucket, str]] = {
    (kind, modality): f"{kind}_token" if modality == "text" else f"{kind}_{modality}_token"
    for kind in KINDS
    for modality in MODALITIES
}

# A context of our own: the agent's program may have set another precision or other
# traps for its thread.  Products of usage and list prices have fewer than 40 digits
# and stay exact; only a price per hour or minute that does not divide evenly is
# rounded, at the fortieth digit.
EXACT: Final = Context(
    prec=40,
    rounding=ROUND_HALF_EVEN,
    Emin=-999_999,
    Emax=999_999,
    capitals=1,
    clamp=0,
    flags=[],
    traps=[DivisionByZero, InvalidOperation, Overflow],
)
