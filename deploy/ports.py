"""TCP ports that are ours before a program listens on them."""

import socket
from contextlib import ExitStack
from types import TracebackType
from typing import Final, Self

LOOPBACK: Final = "127.0.0.1"


class PortError(Exception):
    """A port is not free; the message says which and what to do."""


class Ports:
    """Ports of the loopback interface, held until the context ends.

    A port that is merely looked up can be somebody else's a moment later.  Bound sockets that
    never listen keep it: the system gives it to nobody else, and a program that sets
    `SO_REUSEADDR`, as servers do, can still listen on it.
    """

    def __init__(self) -> None:
        self._held = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._held.close()

    def hold(self, name: str, port: int = 0) -> int:
        """Hold a port, 0 for any free one, and return its number.

        Raises:
            PortError: Somebody else listens on it.
        """
        holder = self._held.enter_context(socket.socket())
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            holder.bind((LOOPBACK, port))
        except OSError as error:
            raise PortError(
                f"port {port} for {name} is taken: {error.strerror};"
                " end what listens there, or take any free ports with --ports auto"
            ) from error
        return int(holder.getsockname()[1])
