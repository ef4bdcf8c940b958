"""The command that runs simulated calls."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Annotated, Final

import typer

from livekit_exporter.cli.errors import fail
from livekit_exporter.cli.parameters import ListenAddress

_CALLS: Final = 20

_WorkerMetrics = Annotated[
    str | None, typer.Option(help="Serve LiveKit's own worker metrics on this host:port.")
]
_DemoDir = Annotated[
    str | None,
    typer.Option(
        help="Data directory.", show_default="a temporary one; with --no-sidecar that of the agents"
    ),
]


def demo(  # noqa: PLR0913, PLR0917 - options, given by name
    calls: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Number of calls to run before the demo exits.",
            show_default=f"{_CALLS}, or with --duration no limit",
        ),
    ] = None,
    concurrency: Annotated[int, typer.Option(min=1, help="Calls at the same time.")] = 4,
    duration: Annotated[
        float | None, typer.Option(min=0, help="Start no call after this many seconds.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Random seed; the same seed runs the same calls.")] = 1,
    speed: Annotated[float, typer.Option(min=0.1, help="Speed relative to real time.")] = 1.0,
    llm_delay: Annotated[
        float,
        typer.Option(min=0, help="Simulated seconds to add to every answer of a language model."),
    ] = 0.0,
    sidecar: Annotated[
        bool,
        typer.Option(help="Run a sidecar too, or only the calls, for a sidecar that runs already."),
    ] = True,
    listen_address: ListenAddress = None,
    worker_metrics_address: _WorkerMetrics = None,
    log: Annotated[bool, typer.Option("--log", help="Show the turn logs of the calls.")] = False,
    data_dir: _DemoDir = None,
) -> None:
    """Run simulated calls with real AgentSessions and serve their metrics."""
    if not sidecar and listen_address is not None:
        fail("--listen-address is the sidecar's; leave it out with --no-sidecar")
    worker_metrics = None
    if worker_metrics_address:
        worker_metrics = _host_and_port("--worker-metrics-address", worker_metrics_address)
    with _livekit():
        from livekit_exporter.demo.run import Options, run

    options = Options(
        calls=_CALLS if calls is None and duration is None else calls,
        concurrency=concurrency,
        duration=duration,
        seed=seed,
        speed=speed,
        listen_address=listen_address,
        data_dir=data_dir,
        llm_delay=llm_delay,
        sidecar=sidecar,
        worker_metrics=worker_metrics,
        log=log,
    )
    raise typer.Exit(run(options))


def _host_and_port(option: str, text: str) -> tuple[str, int]:
    """Read an address to scrape; its port must be known beforehand."""
    from livekit_exporter.sidecar.config.settings import ListenAddress as Address

    try:
        address = Address.parse(text)
    except ValueError as error:
        fail(f"{option}: '{text}': {error}")
    if not address.port:
        fail(f"{option}: '{text}': port 0 is any port, state one")
    return address.host, address.port


@contextmanager
def _livekit() -> Iterator[None]:
    """Exit with one line where LiveKit's agents are missing or too old for an import."""
    if not _has_livekit():
        fail(
            "the demo needs LiveKit's agents; install them with:"
            " pip install 'livekit-exporter[agent]'"
        )
    try:
        yield
    except ImportError as error:
        fail(f"the demo needs a newer livekit-agents than the one installed: {error}")


def _has_livekit() -> bool:
    try:
        return find_spec("livekit.agents") is not None
    except (ModuleNotFoundError, ValueError):
        return False
