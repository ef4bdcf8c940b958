"""Platform legs: billed by the length of a call, rounded up once, for the calls that have them."""

from dataclasses import replace
from pathlib import Path

import pytest

from livekit_exporter import contract, files
from livekit_exporter.prices import catalogue, legs
from livekit_exporter.record import SessionClosed
from livekit_exporter.sidecar import prices_in_force
from livekit_exporter.sidecar.config.settings import Config, ConfigError, PlatformSettings
from tests.intake import Intake
from tests.records import AT, closed, started, thought

LEGS = {
    "livekit/agent-session": "all",  # 0.01 a minute
    "twilio/us-inbound-local": "channel=phone agent=support",  # 0.0085 a minute
}


def intake_with(data_dir: Path, priced: dict[str, str]) -> Intake:
    """An intake whose configuration has these legs."""
    intake = Intake(data_dir)
    config = Config(data_dir=data_dir, platform=PlatformSettings(legs=priced))
    intake.ingest.configure(config, *prices_in_force.load(config))
    return intake


@pytest.mark.parametrize(
    ("labels", "agent", "seconds", "usd"),
    [
        ({"channel": "phone"}, "support", 60.0, 0.0185),
        ({"channel": "phone"}, "support", 60.5, 0.037),
        ({"channel": "phone"}, "sales", 60.0, 0.01),
        ({"channel": "web"}, "support", 60.0, 0.01),
        ({}, "support", 0.25, 0.01),
    ],
)
def test_a_call_is_billed_for_the_legs_that_it_has(
    data_dir: Path, labels: dict[str, str], agent: str, seconds: float, usd: float
) -> None:
    """Each leg is rounded up by itself; a condition names labels and the agent."""
    intake = intake_with(data_dir, LEGS)

    intake.take(
        replace(started(agent=agent), labels=labels),
        SessionClosed(session="s1", at=AT + seconds, reason="user_initiated"),
    )

    assert intake.counter(contract.COST, stage="platform") == pytest.approx(usd, abs=1e-12)
    assert intake.sum(contract.SESSION_COST) == pytest.approx(usd, abs=1e-12)
    assert intake.figure("SELECT sum(cost_usd) FROM usage WHERE stage = 'platform'") == (
        pytest.approx(usd, abs=1e-12)
    )
    assert intake.counter(contract.REQUESTS) == 0
    assert intake.counter(contract.TURNS) == 0


def test_a_call_that_was_killed_is_billed_to_its_last_word(data_dir: Path) -> None:
    """The vendor bills it too, so nothing would be wrong."""
    intake = intake_with(data_dir, {"livekit/agent-session": "all"})

    intake.take(started(), thought(at=AT + 61))

    assert intake.counter(contract.SESSIONS_CLOSED, reason="lost") == 1
    assert intake.counter(contract.COST, stage="platform") == pytest.approx(0.02, abs=1e-12)


@pytest.mark.parametrize("seconds", [0.0, -5.0])
def test_a_call_without_length_has_no_legs(data_dir: Path, seconds: float) -> None:
    """A clock that was set back bills nobody."""
    intake = intake_with(data_dir, LEGS)

    intake.take(started(), SessionClosed(session="s1", at=AT + seconds, reason="user_initiated"))

    assert intake.counter(contract.COST, stage="platform") == 0


def test_legs_are_billed_once_over_a_restart(data_dir: Path) -> None:
    """The call ends in one transaction."""
    first = intake_with(data_dir, LEGS)
    first.take(started(), closed(at=AT + 30))
    first.ingest.close()

    second = intake_with(data_dir, LEGS)
    second.passes()

    assert second.figure("SELECT count(*) FROM usage WHERE stage = 'platform'") == 1
    assert second.counter(contract.COST, stage="platform") == pytest.approx(0.01, abs=1e-12)


def test_agents_know_the_legs_of_their_calls(data_dir: Path) -> None:
    """They are in the prices that the sidecar leaves in the data directory."""
    intake_with(data_dir, LEGS).passes()
    call = legs.CallLength(
        session="s1", agent="support", labels={"channel": "phone"}, started_at=AT, ended_at=AT + 60
    )

    shared = catalogue.read(files.prices(data_dir))

    assert [record.model for record in legs.usage(shared, call)] == [
        "agent-session",
        "us-inbound-local",
    ]
    assert legs.usage(catalogue.load(), call) == []


@pytest.mark.parametrize(
    ("priced", "message"),
    [
        (
            {"twilio/us-inbond-local": "all"},
            "is no price of stage platform; did you mean 'twilio/us-inbound-local'?",
        ),
        ({"openai/gpt-4.1": "all"}, "platform.legs: 'openai/gpt-4.1' is no price of stage"),
    ],
)
def test_a_leg_without_a_price_is_a_mistake(
    data_dir: Path, priced: dict[str, str], message: str
) -> None:
    """It would be unpriced in every call."""
    with pytest.raises(ConfigError) as caught:
        prices_in_force.load(Config(data_dir=data_dir, platform=PlatformSettings(legs=priced)))

    assert message in str(caught.value)
