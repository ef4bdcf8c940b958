"""Journals of generated calls: every kind of record, and everything that goes wrong.

Written as JSON, without the package, so that both versions read the same bytes.
"""

import json
import random
from collections.abc import Iterator, Mapping
from typing import Final, TypeAlias

Line: TypeAlias = dict[str, object]

BEGIN: Final = 1_794_700_000.0
"""2026-11-15T00:26Z: the calls last until the clock of `version.AT` and cross two midnights."""

_LLMS: Final = (
    ("api.openai.com", "gpt-4.1-mini", "livekit.plugins.openai.llm.LLM"),
    ("api.openai.com", "gpt-5.4", "livekit.plugins.openai.llm.LLM"),
    ("api.anthropic.com", "claude-sonnet-4-6", "livekit.plugins.anthropic.llm.LLM"),
    ("api.groq.com", "llama-3.3-70b-versatile", "livekit.plugins.groq.services.LLM"),
    ("Gemini", "gemini-3.5-flash", "livekit.plugins.google.llm.LLM"),
    ("example.com", "house-model", "livekit.plugins.openai.llm.LLM"),
    ("unknown", "unknown", "livekit.plugins.groq.services.LLM"),
)
_STTS: Final = (
    ("Deepgram", "nova-3", "livekit.plugins.deepgram.stt.STT"),
    ("api.openai.com", "whisper-1", "livekit.plugins.openai.stt.STT"),
    ("AssemblyAI", "u3-rt-pro", "livekit.plugins.assemblyai.stt.STT"),
)
_TTSS: Final = (
    ("Cartesia", "sonic-3", "livekit.plugins.cartesia.tts.TTS"),
    ("ElevenLabs", "eleven_flash_v2_5", "livekit.plugins.elevenlabs.tts.TTS"),
    ("api.openai.com", "gpt-4o-mini-tts", "livekit.plugins.openai.tts.TTS"),
)
_REALTIME: Final = (
    "api.openai.com",
    "gpt-realtime",
    "livekit.plugins.openai.realtime.RealtimeModel",
)
LATE: Final = (2, 4)
"""Calls that get more records after their end."""


class Script:
    """The records of one call, in their order.

    Args:
        number: Chooses everything that is random about the call.
    """

    def __init__(self, number: int) -> None:
        self.chance = random.Random(number)
        self.session = f"call{number:04d}"
        self.now = BEGIN + number * 7000.0
        self.agent = self.chance.choice(("support", "sales", "night shift"))
        self.persona: str | None = None
        self.llm = self.chance.choice(_LLMS)
        self.stt = self.chance.choice(_STTS)
        self.tts = self.chance.choice(_TTSS)
        self.lines: list[Line] = []

    def add(self, kind: str, seconds: float = 0.5, /, **fields: object) -> None:
        """Add a record some time after the one before."""
        self.now += seconds * self.chance.uniform(0.5, 1.5)
        line: Line = {"v": 1, "kind": kind, "session": self.session, "at": self.now}
        if self.persona is not None and kind not in {"session_closed", "budget_reached"}:
            line["persona"] = self.persona
        self.lines.append({**line, **fields})

    def begin(self) -> None:
        """Declare the call and its models."""
        chance = self.chance
        models = [
            _model("stt", self.stt),
            _model("llm", self.llm),
            _model("tts", self.tts),
        ]
        more: Line = {}
        if chance.random() < 0.8:
            more["user"] = f"user-{chance.randrange(6)}"
        if chance.random() < 0.9:
            more["labels"] = {
                "tenant": chance.choice(("acme", "initech", "hooli", "umbrella")),
                "channel": chance.choice(("phone", "web")),
            }
        if chance.random() < 0.5:
            more["budgets"] = ["session", "user_day"]
        self.add(
            "session_started",
            agent=self.agent,
            room=f"room-{self.session}",
            job=f"job-{self.session}",
            trace=f"{chance.getrandbits(128):032x}",
            host="host-1",
            sdk="1.5.1",
            exporter="0.9",
            models=models,
            **more,
        )

    def turn(self, number: int) -> None:
        """Add a question and its answer, with any of the faults."""
        chance, speech = self.chance, f"{self.session}-speech-{number}"
        self._listened(speech)
        if chance.random() < 0.15:
            self._failure()
        thrown = chance.random() < 0.15
        request = f"{self.session}-r{number}"
        if thrown:
            self._thought(f"{self.session}-thrown-{number}", f"{request}p", cancelled=True)
            self._estimated("speculative", f"{self.session}-thrown-{number}")
        self._thought(speech, request, cancelled=chance.random() < 0.1)
        if chance.random() < 0.3:
            self.add(
                "tool_call",
                tool=chance.choice(("stock", "calendar")),
                speech=speech,
                failed=chance.random() < 0.2,
            )
            self._thought(speech, f"{request}t", cancelled=False)
        self._traced(speech, request)
        interrupted = chance.random() < 0.2
        self._spoke(speech, cancelled=interrupted)
        if interrupted:
            self._estimated("interrupted", speech)
        measured = chance.random() < 0.7
        self.add(
            "message",
            role="assistant",
            message=f"{self.session}-m{number}a",
            speech=None if chance.random() < 0.1 else speech,
            characters=chance.randrange(5, 300),
            interrupted=interrupted,
            spoken_seconds=chance.uniform(0.5, 9),
            measured=measured,
            **({"latency_seconds": chance.uniform(0.3, 4)} if measured else {}),
            first_token_seconds=chance.uniform(0.1, 1),
            first_byte_seconds=chance.uniform(0.1, 0.5),
        )

    def _listened(self, speech: str) -> None:
        chance = self.chance
        provider, model, label = self.stt
        self.add(
            "usage",
            4,
            stage="stt",
            provider=provider,
            model=model,
            label=label,
            streamed=chance.random() < 0.8,
            request=f"stt-{self.now:.0f}",
            usage={"audio_seconds": round(chance.uniform(0.5, 12), 2)},
            acquire_seconds=0.03,
        )
        delay: Line = {"rejected": ["end_of_speech_unknown"]}
        if chance.random() < 0.9:
            delay = {
                "eou_delay_seconds": chance.uniform(0.1, 2),
                "transcription_delay_seconds": chance.uniform(0, 0.6),
                "callback_seconds": chance.uniform(0, 0.2),
            }
        self.add("turn_committed", provider="livekit", model="multilingual", speech=speech, **delay)
        # A message without text is no question of the caller.
        self.add(
            "message",
            0.1,
            role="user",
            message=f"{speech}-u",
            characters=0 if chance.random() < 0.05 else chance.randrange(1, 120),
        )

    def _thought(self, speech: str, request: str, *, cancelled: bool) -> None:
        chance = self.chance
        provider, model, label = self.llm
        asked, cached, answered = chance.randrange(50, 9000), chance.randrange(0, 50), 0
        if not cancelled:
            answered = chance.randrange(1, 400)
        times: Line = (
            {"rejected": ["no_first_token"]}
            if cancelled
            else {
                "first_seconds": chance.uniform(0.1, 2),
                "request_seconds": chance.uniform(1, 4),
                "tokens_per_second": chance.uniform(20, 200),
            }
        )
        self.add(
            "usage",
            stage="llm",
            provider=provider,
            model=model,
            label=label,
            request=request,
            speech=speech,
            cancelled=cancelled,
            usage={
                "input_tokens": asked,
                "cached_input_tokens": cached,
                "cache_write_tokens": chance.choice((0, 0, cached)),
                "output_tokens": answered,
                "total_tokens": asked + answered + chance.choice((0, 0, 17)),
            },
            **times,
        )

    def _spoke(self, speech: str, *, cancelled: bool) -> None:
        chance = self.chance
        provider, model, label = self.tts
        used: Line = {
            "characters": chance.randrange(5, 300),
            "audio_seconds": round(chance.uniform(0.4, 15), 2),
        }
        if model == "gpt-4o-mini-tts":
            used |= {"input_tokens": 40, "output_tokens": 300, "output_audio_tokens": 300}
        self.add(
            "usage",
            stage="tts",
            provider=provider,
            model=model,
            label=label,
            speech=speech,
            cancelled=cancelled,
            usage=used,
            first_seconds=chance.uniform(0.05, 0.6),
            request_seconds=None if cancelled else chance.uniform(0.3, 2),
        )

    def _traced(self, speech: str, request: str) -> None:
        chance = self.chance
        provider, model, label = self.llm
        self.add(
            "request_traced",
            0.05,
            stage="llm",
            provider=provider,
            model=model,
            label=label,
            request=request,
            speech=speech,
            recovery_probe=chance.random() < 0.1,
            prompt_characters=chance.randrange(200, 9000),
            reply_characters=chance.randrange(10, 900),
            input_tokens=chance.randrange(50, 3000),
            cached_input_tokens=12,
            output_tokens=chance.randrange(3, 300),
            first_seconds=chance.uniform(0.1, 1),
            answering_seconds=chance.uniform(0.2, 3),
        )
        provider, model, label = self.tts
        self.add(
            "request_traced",
            0.05,
            stage="tts",
            provider=provider,
            model=model,
            label=label,
            speech=speech,
            prompt_characters=80,
            characters=78,
        )

    def _estimated(self, reason: str, speech: str | None) -> None:
        chance = self.chance
        provider, model, label = self.llm
        basis = chance.choice((None, "call", "ledger"))
        used = {
            "input_tokens": chance.randrange(40, 4000),
            "output_tokens": chance.randrange(1, 90),
        }
        self.add(
            "usage_estimated",
            0.1,
            stage="llm",
            provider=provider,
            model=model,
            label=label,
            request=f"e-{self.now:.3f}",
            speech=speech,
            reason=reason,
            basis=basis,
            usage=used if basis else {},
            prompt_characters=3000,
            reply_characters=70,
            request_seconds=1.3,
        )

    def _failure(self) -> None:
        chance = self.chance
        stage, (provider, model, label) = chance.choice(
            (("llm", self.llm), ("tts", self.tts), ("stt", self.stt))
        )
        self.add(
            "request_failed",
            stage=stage,
            provider=provider,
            model=model,
            label=label,
            recoverable=chance.random() < 0.7,
            error=chance.choice(("APITimeoutError", "")),
        )
        self._estimated("failed", None)
        for available in (False, True):
            self.add(
                "availability",
                stage=stage,
                provider=provider,
                model=model,
                label=label,
                available=available,
            )
        self._estimated("recovery_probe", None)

    def handed_off(self) -> None:
        """Hand the call to another agent, with a model of its own."""
        self.persona = self.chance.choice(("billing", "reception"))
        self.llm = self.chance.choice(_LLMS)
        self.add("models_declared", models=[_model("llm", self.llm)])

    def spoke_realtime(self, number: int) -> None:
        """Add a reply of a speech-to-speech model."""
        chance, request = self.chance, f"{self.session}-rt{number}"
        provider, model, label = _REALTIME
        speech = f"{self.session}-rts-{number}"
        self.add(
            "usage",
            stage="realtime",
            provider=provider,
            model=model,
            label=label,
            request="",
            connection=True,
            acquire_seconds=0.4,
            requests=0,
        )
        heard, said = chance.randrange(100, 900), chance.randrange(50, 500)
        self.add(
            "usage",
            stage="realtime",
            provider=provider,
            model=model,
            label=label,
            request=request,
            speech=speech,
            usage={
                "input_tokens": heard + 300,
                "cached_input_tokens": 128,
                "input_audio_tokens": heard,
                "cached_audio_tokens": 64,
                "output_tokens": said + 20,
                "output_audio_tokens": said,
                "total_tokens": heard + said + 320,
            },
            first_seconds=chance.uniform(0.2, 1),
            request_seconds=2.2,
        )
        self.add("message", role="user", message=f"{request}u", characters=33)
        self.add(
            "message",
            role="assistant",
            message=f"{request}a",
            requests=[request],
            characters=60,
            latency_seconds=0.8,
            spoken_seconds=2.0,
        )

    def budgeted(self) -> None:
        """Cross budget thresholds, with one request that the sidecar does not answer."""
        self.add("budget_reached", scope="session", threshold="warn", limit_usd=0.5, spend_usd=0.41)
        self.add("budget_lookup_failed", error="ConnectionRefusedError")
        self.add(
            "budget_reached",
            scope="user_day",
            threshold="limit",
            limit_usd=2.0,
            spend_usd=2.01,
            stale=True,
        )
        self.add("budget_reached", scope="session", threshold="unpriced", spend_usd=0.1)

    def complained(self) -> None:
        """Record that the writer dropped and rejected some."""
        self.add("collector", dropped={"queue_full": 3}, rejected={"unknown_metrics": 2})

    def odd(self) -> None:
        """Add usage of rare stages and kinds."""
        self.add(
            "usage",
            stage="turn_detection",
            provider="livekit",
            model="turn-detector",
            requests=5,
            request_seconds=0.02,
        )
        self.add(
            "usage",
            stage="avatar",
            provider="tavus",
            model="phoenix",
            usage={"connection_seconds": 63.5},
        )
        self.add("usage", stage="custom", provider="house", model="search", requests=2)
        self.add(
            "usage",
            stage="llm",
            provider=self.llm[0],
            model=self.llm[1],
            label=self.llm[2],
            request=f"{self.session}-nothing",
        )

    def close(self) -> None:
        """End the call with its last record."""
        reason = self.chance.choice(("user_initiated", "participant_disconnected", "error"))
        self.add("session_closed", reason=reason, error="APIError" if reason == "error" else "")


def _model(stage: str, model: tuple[str, str, str]) -> Line:
    provider, name, label = model
    return {"stage": stage, "provider": provider, "model": name, "label": label}


def _call(number: int) -> list[Line]:
    script = Script(number)
    script.begin()
    for turn in range(script.chance.randrange(0, 9)):
        script.turn(turn)
        if script.chance.random() < 0.1:
            script.handed_off()
    if number % 4 == 0:
        script.spoke_realtime(1)
    if number % 5 == 0:
        script.budgeted()
    if number % 6 == 0:
        script.complained()
    if number % 7 == 0:
        script.odd()
    if number % 9:
        script.close()  # every ninth call is lost
    return script.lines


_SPOILT: Final = (
    b"no json at all",
    b"[1, 2]",
    b'{"v": 1, "kind": "usage", "session": "x"}',
    b'{"v": 2, "kind": "usage", "session": "x", "at": 1795000000}',
    b'{"v": 1, "kind": "dance", "session": "x", "at": 1795000000}',
    b'{"v": 1, "kind": "message", "session": "x", "at": 12, "role": "user"}',
    b'{"v": 1, "kind": "message", "session": "x", "at": 1795000000, "role": "nobody"}',
    b'{"v": 1, "kind": "message", "session": "", "at": 1795000000, "role": "user"}',
    b'{"v": 1, "kind": "tool_call", "session": "x", "at": 1795000000, "tool": "\\u0000"}',
    b'{"v": 1, "kind": "tool_call", "session": "x", "at": 1795000000, "tool": "'
    + b"t" * 300
    + b'"}',
    (
        b'{"v": 1, "kind": "usage", "session": "x", "at": 1795000000, "stage": "llm",'
        b' "provider": "p", "model": "m", "usage": {"input_tokens": -4}}'
    ),
    (
        b'{"v": 1, "kind": "usage", "session": "x", "at": 1795000000, "stage": "llm",'
        b' "provider": "p", "model": "m", "usage": {"input_tokens": 1e15}}'
    ),
    b'{"v": 1, "kind": "usage", "session": "x", "at": NaN, "stage": "llm"}',
    (
        b'{"v": 1, "kind": "message", "session": "call0001", "at": 1794707100, "role": "user",'
        b' "unheard_of": 1, "characters": 4}'
    ),
    b'"' + b"x" * (1024 * 1024 + 5) + b'"',
    b"",
)


def _bytes(lines: list[Line]) -> bytes:
    return b"".join(json.dumps(line, separators=(",", ":")).encode() + b"\n" for line in lines)


def finished(calls: int) -> Iterator[tuple[str, bytes]]:
    """Names and contents of journals that nobody writes any more."""
    for number in range(calls):
        lines = _call(number)
        if number % 8 == 3:
            # Two writers of one call: the second file holds its end, and a line of the first again.
            half = len(lines) // 2
            yield f"{lines[0]['session']}-aa", _bytes(lines[:half])
            yield f"{lines[0]['session']}-bb", _bytes(lines[half - 1 :])
        elif number % 8 == 5:
            yield f"{lines[0]['session']}-aa", _bytes(lines)[:-9]  # torn
        else:
            yield f"{lines[0]['session']}-aa", _bytes(lines)
    yield "spoilt-aa", b"\n".join(_SPOILT) + b"\n"
    yield "empty-aa", b""


def growing(first: int, calls: int) -> Iterator[tuple[str, bytes, bytes]]:
    """Names of journals with what stands in them at first, and what follows later."""
    for number in range(first, first + calls):
        content = _bytes(_call(number))
        cut = len(content) * 3 // 5  # in the middle of a line
        yield f"call{number:04d}-aa", content[:cut], content[cut:]


def late() -> tuple[str, bytes]:
    """Records of calls that are over, written when their exports are."""
    again = [
        [line for line in _call(number) if line["kind"] in {"usage", "message"}][:4]
        for number in LATE
    ]
    return "late-aa", _bytes([line for lines in again for line in lines])


def kinds(journals: Mapping[str, bytes]) -> frozenset[str]:
    """Kinds of the records in journals."""
    found = set()
    for content in journals.values():
        for line in content.splitlines():
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if isinstance(record, dict):
                found.add(str(record.get("kind")))
    return frozenset(found)
