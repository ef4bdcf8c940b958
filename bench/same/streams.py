"""Recorded session events that `replay` reads: every event, and what no version may choke on."""

import json
import random
from collections.abc import Iterator, Mapping
from typing import Final, TypeAlias

Event: TypeAlias = dict[str, object]

_AT: Final = 1_795_000_000.0


def _metrics(kind: str, at: float, provider: str, model: str, **fields: object) -> Event:
    metadata = {"model_provider": provider, "model_name": model}
    return {"type": kind, "timestamp": at, "metadata": metadata, "label": f"x.{kind}", **fields}


def metrics(chance: random.Random, at: float) -> Iterator[Event]:
    """Metrics of every kind, well measured and not."""
    speech = f"speech-{chance.randrange(9)}"
    asked, said = chance.randrange(1, 5000), chance.randrange(0, 300)
    provider, model = chance.choice(
        (
            ("api.openai.com", "gpt-4.1-mini"),
            ("api.anthropic.com", "claude-sonnet-4-6"),
            ("example.com", "house"),
        )
    )
    yield _metrics(
        "llm_metrics", at, provider, model, request_id=f"r{asked}", speech_id=speech,
        prompt_tokens=asked, prompt_cached_tokens=asked // 3, completion_tokens=said,
        total_tokens=asked + said, ttft=chance.choice((0.4, -1.0)), duration=1.5,
        tokens_per_second=80.5, cancelled=chance.random() < 0.2,
    )  # fmt: skip
    yield _metrics("decision_metrics", at, provider, model, request_id="d", input_tokens=30,
                   output_tokens=None, duration=0.4)  # fmt: skip
    yield _metrics(
        "stt_metrics", at, "Deepgram", "nova-3", request_id="s", duration=0.0,
        audio_duration=chance.uniform(0, 20), streamed=True, input_tokens=0, output_tokens=0,
    )  # fmt: skip
    yield _metrics("stt_metrics", at, "Deepgram", "nova-3", request_id="", audio_duration=0.0,
                   acquire_time=0.05, streamed=True)  # fmt: skip
    yield _metrics(
        "tts_metrics", at, "Cartesia", "sonic-3", request_id="t", speech_id=speech,
        ttfb=chance.choice((0.1, -1.0)), duration=0.8, audio_duration=2.0, cancelled=False,
        characters_count=chance.randrange(1, 200),
    )  # fmt: skip
    yield _metrics(
        "realtime_model_metrics", at, "api.openai.com", "gpt-realtime", request_id="rt",
        ttft=0.5, duration=2.0, input_tokens=300, output_tokens=120, total_tokens=420,
        tokens_per_second=60.0, session_duration=chance.choice((0.0, 12.0)),
        input_token_details={"audio_tokens": 200, "cached_tokens": 64, "image_tokens": 0,
                             "cached_tokens_details": {"audio_tokens": 32, "image_tokens": 0}},
        output_token_details={"audio_tokens": 100, "image_tokens": 0},
    )  # fmt: skip
    yield _metrics("realtime_model_metrics", at, "x", "y", request_id="session_close",
                   session_duration=31.0)  # fmt: skip
    yield _metrics("eou_metrics", at, "livekit", "multilingual", speech_id=speech,
                   end_of_utterance_delay=chance.choice((0.4, 0.0, -1.0)),
                   transcription_delay=0.2, on_user_turn_completed_delay=0.01)  # fmt: skip
    yield _metrics("eot_inference_metrics", at, "livekit", "turn-detector", num_requests=4,
                   total_duration=0.2)  # fmt: skip
    yield _metrics("interruption_metrics", at, "livekit", "adaptive", num_requests=0)
    yield _metrics("interruption_metrics", at, "livekit", "adaptive", num_requests=3)
    yield _metrics("vad_metrics", at, "silero", "vad")
    yield _metrics("llm_metrics", at + 99999, provider, model, prompt_tokens=5, duration="long")
    yield _metrics("llm_metrics", at, provider, model, prompt_tokens=-5)
    yield _metrics("llm_metrics", at, provider, "m" * 300, prompt_tokens=True)
    yield _metrics("stranger_metrics", at, provider, model)


def _others(chance: random.Random, at: float) -> Iterator[tuple[str, Event]]:
    component = {"provider": "api.openai.com", "model": "gpt-4.1-mini", "label": "x.LLM"}
    for kind in ("llm", "stt", "tts"):
        yield f"{kind}_availability_changed", {**component, "available": chance.random() < 0.5}
        error = {"type": f"{kind}_error", "recoverable": True, "label": f"x.{kind}"}
        yield "error", {"error": error, "source": component, "created_at": at}
    yield "error", {"error": {"type": "odd_error"}, "created_at": at}
    tools = [{"call_id": "a", "name": "stock"}, {"call_id": "b", "name": "calendar"}]
    outputs = [{"call_id": "b", "is_error": True}]
    yield "function_tools_executed", {"function_calls": tools, "function_call_outputs": outputs}
    yield "function_tools_executed", {"function_calls": 3}
    for item in (
        {"type": "agent_handoff", "new_agent_id": chance.choice(("billing", "reception"))},
        {"type": "message", "role": "user", "id": "u", "content": ["Hello?", {"image": 1}]},
        {"type": "message", "role": "user", "id": "e", "content": [], "metrics": {}},
        {"type": "message", "role": "assistant", "id": "a", "content": ["Hello."],
         "interrupted": chance.random() < 0.5,
         "metrics": {"e2e_latency": 0.9, "llm_node_ttft": 0.4, "tts_node_ttfb": -0.5,
                     "started_speaking_at": at, "stopped_speaking_at": at + 2,
                     "provider_request_ids": ["rt", 4]}},
        {"type": "message", "role": "system", "content": ["x"]},
        {"type": "function_call"},
        {"type": "letter"},
    ):  # fmt: skip
        yield "conversation_item_added", {"item": item, "created_at": at}
    yield "agent_state_changed", {"old_state": "listening", "new_state": "speaking"}


def generated() -> bytes:
    """A stream of several sessions."""
    chance = random.Random(3)
    lines: list[str] = ["", "no json", "[]", '{"event": 3}', '{"event": "close"}']
    at = _AT
    for session in range(6):
        for _ in range(session):
            at += 5.0
            for each in metrics(chance, at):
                event: Mapping[str, object] = {"metrics": each, "created_at": at}
                lines.append(json.dumps({"event": "metrics_collected", "data": event}))
            for name, data in _others(chance, at):
                lines.append(json.dumps({"event": name, "data": data}))
        closing = {"reason": chance.choice(("user_initiated", None)), "created_at": at + 1}
        lines.append(json.dumps({"event": "close", "data": closing}))
    return "\n".join(lines).encode() + b"\n"


def quoted() -> bytes:
    """Metrics for `prices quote`, one object a line."""
    chance = random.Random(4)
    lines = ["", "no json", "[]", '{"type": "llm_metrics", "at": "soon"}']
    for number in range(8):
        lines += [json.dumps(each) for each in metrics(chance, _AT + number * 86400.0)]
    for at in ("2025-06-01", "2026-10-21T12:00Z", "2027-02-01T23:30:00+02:00"):
        for provider, model in (
            ("api.openai.com", "gpt-5.4"),
            ("api.deepseek.com", "deepseek-chat"),
            ("Gemini", "gemini-3.5-flash"),
            ("api.groq.com", "llama-3.3-70b-versatile"),
            ("api.x.ai", "grok-4"),
        ):
            for asked in (10, 280_000):
                lines.append(
                    json.dumps(
                        {
                            **_metrics("llm_metrics", _AT, provider, model),
                            "at": at,
                            "prompt_tokens": asked,
                            "prompt_cached_tokens": 4,
                            "completion_tokens": 55,
                        }
                    )
                )
    return "\n".join(lines).encode() + b"\n"
