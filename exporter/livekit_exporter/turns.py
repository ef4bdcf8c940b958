"""What a turn is: user speech and its answer.  One definition for agent and sidecar."""

from dataclasses import dataclass

from livekit_exporter.record import MessageAdded


@dataclass(slots=True)
class Conversation:
    """Where a call stands between question and answer.

    Args:
        waiting: The user said something that nobody has answered yet.
        answered: Speech id of the last answer; a reply with a tool call in the middle
            is several messages under one speech id, and one turn.
    """

    waiting: bool = False
    answered: str | None = None

    def hear(self, message: MessageAdded) -> bool:
        """Take a message in; `True` when it is the first message of an answer.

        A greeting or an announcement answers nobody.  A realtime model may answer
        speech that was never transcribed, so its replies count without a question.
        """
        if message.role == "user":
            # LiveKit may add an empty user message while a session closes.
            self.waiting = self.waiting or message.characters > 0
            return False
        expected = self.waiting or message.latency_seconds is not None or bool(message.requests)
        if not expected or (message.speech is not None and message.speech == self.answered):
            return False
        self.waiting = False
        self.answered = message.speech
        return True
