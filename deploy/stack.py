"""The topology of docker-compose.yml from installed programs, on the loopback interface.

    python -m deploy.stack [--ports auto] [--seconds 60] [--scrape-interval 1s] [--data-dir DIR]

Demo, sidecar, Prometheus, Alertmanager, the webhook receiver and, if it is installed, Grafana run
with the repository's own configuration; `deploy/configuration.py` says what is replaced in it.
Ctrl-C ends them, and only them.  Tests use `Stack`.
"""

import argparse
import json
import secrets
import shutil
import signal
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlencode

import yaml

from deploy.configuration import PORTS, ROOT, Pace, write_copy
from deploy.ports import LOOPBACK, PortError, Ports
from deploy.programs import Program, StackError, found
from deploy.received import ReceivedAlert, received

_POLL_SECONDS: Final = 0.2
_GRAFANA_HOME: Final = Path("/usr/share/grafana")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Options of a stack.

    Args:
        data_dir: Folder for everything that is written: data, logs, configuration in force.
        free_ports: Take any free ports instead of the usual ones.
        pace: Durations to shorten.
        demo: Arguments of `livekit-exporter demo`, for example `--speed 4 --llm-delay 10`.
        exporter: Settings of the sidecar beside those of `deploy/exporter.yml`, by section,
            for example `{"budget": {"day_usd": 0.01}}`.
        grafana: Whether to start Grafana where it is installed.
    """

    data_dir: Path
    free_ports: bool = False
    pace: Pace = field(default_factory=Pace)
    demo: Sequence[str] = ("--duration", "inf")
    exporter: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    grafana: bool = True


class Stack:
    """The running stack.  Entering waits until every program answers; leaving ends them all.

    Raises (on entering):
        PortError: A usual port is taken.
        StackError: A program is not installed, or does not start.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        self._exporter_settings: Mapping[str, Mapping[str, object]] = options.exporter
        self._ports: dict[str, int] = {}
        self._programs: dict[str, Program] = {}
        self._grafana: str | None = None
        self._open = ExitStack()
        self.grafana_password = secrets.token_urlsafe(12)
        """Of Grafana's user `admin`; of this run only."""

    def __enter__(self) -> Self:
        with ExitStack() as opening:
            ports = opening.enter_context(Ports())
            opening.callback(self._stop_all)
            self._grafana = found("grafana", "grafana-server") if self._options.grafana else None
            for name, usual in PORTS.items():
                if name != "grafana" or self._grafana:
                    self._ports[name] = ports.hold(name, 0 if self._options.free_ports else usual)
            self._write_configuration()
            self._start_all()
            self._open = opening.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.close()

    @property
    def data_dir(self) -> Path:
        """The exporter's data directory."""
        return self._options.data_dir / "agents"

    @property
    def logs(self) -> Path:
        """Folder of the programs' logs."""
        return self._options.data_dir / "log"

    @property
    def exporter_url(self) -> str:
        """Address of the sidecar."""
        return self._url("exporter")

    @property
    def worker_metrics_url(self) -> str:
        """Address at which the demo's worker serves LiveKit's own metrics."""
        return f"{self._url('demo')}/metrics"

    @property
    def prometheus_url(self) -> str:
        """Address of Prometheus."""
        return self._url("prometheus")

    @property
    def alertmanager_url(self) -> str:
        """Address of Alertmanager."""
        return self._url("alertmanager")

    @property
    def receiver_url(self) -> str:
        """Address of the webhook receiver."""
        return self._url("receiver")

    @property
    def grafana_url(self) -> str | None:
        """Address of Grafana, if it runs."""
        return self._url("grafana") if self._grafana else None

    def check(self) -> None:
        """Raise an error unless every program still runs.

        Raises:
            StackError: A program has ended.
        """
        for program in self._programs.values():
            program.check()

    def prometheus(self, path: str, **parameters: str) -> Any:  # noqa: ANN401 - any JSON
        """Answer of Prometheus's API: its `data`; `path` is without `/api/v1/`.

        Raises:
            OSError: It does not answer, or not with success.
        """
        query = f"?{urlencode(parameters)}" if parameters else ""
        return _json(f"{self.prometheus_url}/api/v1/{path}{query}")["data"]

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Result of an instant query, samples as Prometheus writes them."""
        result: list[dict[str, Any]] = self.prometheus("query", query=expression)["result"]
        return result

    def received(self) -> list[ReceivedAlert]:
        """Notifications that Alertmanager has sent to the receiver so far, oldest first."""
        return received((self.logs / "receiver.log").read_text("utf-8"))

    def wait_until_up(self, seconds: float = 60.0) -> None:
        """Wait until every target has been scraped with success.

        Raises:
            StackError: A program has ended, or there is a target that is not up in time.
        """
        deadline = time.monotonic() + seconds
        while down := self._targets_down():
            self.check()
            if time.monotonic() > deadline:
                raise StackError(f"targets not up after {seconds:.0f} s: {'; '.join(down)}")
            time.sleep(_POLL_SECONDS)

    def restart_demo(self, *arguments: str) -> None:
        """Hang up, then run other simulated calls: the arguments replace those of the options."""
        self._programs.pop("demo").stop()
        self._start_demo(arguments)

    def reconfigure_exporter(self, settings: Mapping[str, Mapping[str, object]]) -> None:
        """Make the sidecar load other settings instead of those of the options."""
        self._exporter_settings = settings
        self._write_exporter_settings()
        self._programs["exporter"].reload()

    def _url(self, name: str) -> str:
        return f"http://{LOOPBACK}:{self._ports[name]}"

    def _file(self, name: str) -> Path:
        """A file of the configuration in force."""
        return self._options.data_dir / "etc" / name

    def _targets_down(self) -> list[str]:
        targets = self.prometheus("targets", state="active")["activeTargets"]
        return [
            f"{target['scrapePool']} {target['scrapeUrl']} {target['lastError']}".rstrip()
            for target in targets
            if target["health"] != "up"
        ] or ([] if targets else ["none known"])

    def _write_configuration(self) -> None:
        """Write the configuration in force, anew each time, to the folder `etc`."""
        etc = self._options.data_dir / "etc"
        shutil.rmtree(etc, ignore_errors=True)
        addresses = {name: f"{LOOPBACK}:{port}" for name, port in self._ports.items()}
        write_copy(etc, addresses, self._options.pace)
        self._write_exporter_settings()

    def _write_exporter_settings(self) -> None:
        settings = yaml.safe_load((ROOT / "deploy" / "exporter.yml").read_text("utf-8"))
        for section, values in self._exporter_settings.items():
            settings[section] = {**settings.get(section, {}), **values}
        self._file("exporter.yml").write_text(yaml.safe_dump(settings), "utf-8")

    def _start_all(self) -> None:
        state = self._options.data_dir
        self._start(
            "receiver",
            [
                *(sys.executable, str(ROOT / "prometheus" / "webhook_printer.py")),
                *("--listen-address", f"{LOOPBACK}:{self._ports['receiver']}"),
            ],
            ready="/",
        )
        self._start(
            "alertmanager",
            [
                _required("alertmanager", "prometheus-alertmanager"),
                f"--config.file={self._file('alertmanager.yml')}",
                f"--web.listen-address={LOOPBACK}:{self._ports['alertmanager']}",
                f"--storage.path={state / 'alertmanager'}",
                "--cluster.listen-address=",
            ],
            ready="/-/ready",
        )
        self._start_exporter()
        self._start_demo(self._options.demo)
        self._start(
            "prometheus",
            [
                _required("prometheus"),
                f"--config.file={self._file('prometheus.yml')}",
                f"--web.listen-address={LOOPBACK}:{self._ports['prometheus']}",
                f"--storage.tsdb.path={state / 'prometheus'}",
                "--enable-feature=exemplar-storage",
            ],
            ready="/-/ready",
        )
        self._start_grafana()

    def _start_exporter(self) -> None:
        self._start(
            "exporter",
            [
                *(sys.executable, "-m", "livekit_exporter", "serve"),
                *("--config", str(self._file("exporter.yml"))),
                *("--data-dir", str(self.data_dir)),
                *("--listen-address", f"{LOOPBACK}:{self._ports['exporter']}"),
            ],
            ready="/-/ready",
        )

    def _start_demo(self, arguments: Sequence[str]) -> None:
        self._start(
            "demo",
            [
                *(sys.executable, "-m", "livekit_exporter", "demo", "--no-sidecar"),
                *("--data-dir", str(self.data_dir)),
                *("--worker-metrics-address", f"{LOOPBACK}:{self._ports['demo']}"),
                *arguments,
            ],
            ready="/metrics",
        )

    def _start_grafana(self) -> None:
        if self._grafana is None:
            return
        state = self._options.data_dir / "grafana"
        server = ["server"] if Path(self._grafana).name == "grafana" else []
        self._start(
            "grafana",
            [self._grafana, *server, "--homepath", str(_GRAFANA_HOME)],
            ready="/api/health",
            environ={
                "GF_SERVER_HTTP_ADDR": LOOPBACK,
                "GF_SERVER_HTTP_PORT": str(self._ports["grafana"]),
                "GF_SECURITY_ADMIN_PASSWORD": self.grafana_password,
                "GF_PATHS_DATA": str(state),
                "GF_PATHS_LOGS": str(state / "log"),
                "GF_PATHS_PLUGINS": str(state / "plugins"),
                "GF_PATHS_PROVISIONING": str(ROOT / "grafana" / "provisioning"),
                "PROMETHEUS_URL": self.prometheus_url,
                "ALERTMANAGER_URL": self.alertmanager_url,
                "LIVEKIT_DASHBOARDS": str(ROOT / "grafana" / "dashboards"),
                "GF_ANALYTICS_REPORTING_ENABLED": "false",
                "GF_ANALYTICS_CHECK_FOR_UPDATES": "false",
            },
        )

    def _start(
        self,
        name: str,
        command: Sequence[str],
        *,
        ready: str,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        program = Program(name, command, self.logs / f"{name}.log", environ)
        self._programs[name] = program
        program.wait_until_answers(f"{self._url(name)}{ready}")

    def _stop_all(self) -> None:
        # Calls end first, so that the sidecar still takes in how they ended.
        for name in sorted(self._programs, key=lambda name: name != "demo"):
            self._programs.pop(name).stop()


def _required(*names: str) -> str:
    program = found(*names)
    if program is None:
        raise StackError(
            f"{names[0]} is not installed; Debian: apt-get install prometheus"
            " prometheus-alertmanager, elsewhere: prometheus.io/download"
        )
    return program


def _json(url: str) -> Any:  # noqa: ANN401 - any JSON
    with urllib.request.urlopen(url, timeout=30) as response:  # noqa: S310 - our own http
        return json.load(response)


def _arguments(given: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make stack ARGS=...",
        description="Run demo, sidecar, Prometheus, Alertmanager and Grafana on this machine.",
    )
    parser.add_argument(
        "--ports", choices=("usual", "auto"), default="usual", help="auto: any free ones"
    )
    parser.add_argument("--seconds", type=float, help="stop after so long, else with Ctrl-C")
    parser.add_argument("--scrape-interval", help="such as 1s, else as prometheus.yml says")
    parser.add_argument(
        "--data-dir", type=Path, help="folder that stays, else a temporary one that is removed"
    )
    parser.add_argument("--speed", type=float, default=1.0, help="of the demo's calls")
    parser.add_argument(
        "--llm-delay", type=float, default=0.0, help="seconds that language models answer later"
    )
    return parser.parse_args(given)


@contextmanager
def _folder(chosen: Path | None) -> Iterator[Path]:
    if chosen is not None:
        yield chosen.expanduser().absolute()
        return
    with tempfile.TemporaryDirectory(prefix="livekit-stack-") as directory:
        yield Path(directory)


def _run(arguments: argparse.Namespace, data_dir: Path) -> None:
    options = Options(
        data_dir=data_dir,
        free_ports=arguments.ports == "auto",
        pace=Pace(scrape_interval=arguments.scrape_interval),
        demo=(
            *("--duration", "inf"),
            *("--speed", str(arguments.speed)),
            *("--llm-delay", str(arguments.llm_delay)),
        ),
    )
    until = time.monotonic() + (arguments.seconds or float("inf"))
    with Stack(options) as stack:
        sys.stdout.write(f"{_welcome(stack)}\n")
        sys.stdout.flush()
        while time.monotonic() < until:
            stack.check()
            time.sleep(_POLL_SECONDS)


def _welcome(stack: Stack) -> str:
    grafana = (
        f"{stack.grafana_url}   user admin, password {stack.grafana_password}"
        if stack.grafana_url
        else "not installed; the rest runs without"
    )
    places = {
        "Grafana": grafana,
        "Prometheus": f"{stack.prometheus_url}/alerts",
        "Alertmanager": stack.alertmanager_url,
        "Exporter": stack.exporter_url,
        "LiveKit's worker": stack.worker_metrics_url,
        "Alerts received": str(stack.logs / "receiver.log"),
        "Data, logs": str(stack.logs.parent),
    }
    lines = [f"{name + ':':<18}{place}" for name, place in places.items()]
    return "\n".join([*lines, "Ctrl-C ends everything."])


def main(given: Sequence[str]) -> int:
    """Run until Ctrl-C, SIGTERM or the time given; the exit status."""
    arguments = _arguments(given)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with _folder(arguments.data_dir) as data_dir:
            _run(arguments, data_dir)
    except (PortError, StackError) as error:
        sys.stderr.write(f"stack: {error}\n")
        return 1
    except KeyboardInterrupt:
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
