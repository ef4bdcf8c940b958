"""docker-compose.yml and the Dockerfile: valid, complete, and closed where they can be."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import jsonschema
import pytest
import typer
import yaml

from deploy.configuration import PORTS, ROOT
from livekit_exporter import files
from livekit_exporter.cli.app import app
from livekit_exporter.sidecar.config.settings import load

COMPOSE: Final = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
SERVICES: Final[Mapping[str, Any]] = COMPOSE["services"]
DOCKERFILE: Final = (ROOT / "Dockerfile").read_text("utf-8")
SCHEMAS: Final = Path(__file__).parent / "schemas"

every_service = pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)


def stage(name: str) -> str:
    """Instructions of one stage of the Dockerfile, without what it is built on."""
    stages = re.split(r"(?m)^FROM ", DOCKERFILE)
    return next(text for text in stages if text.splitlines()[0].endswith(f" AS {name}"))


def binds() -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, service in SERVICES.items():
        for volume in service.get("volumes", ()):
            if volume["type"] == "bind":
                yield name, volume


def addresses() -> Iterator[tuple[str, str]]:
    """Every address in the mounted configuration, with the file that says it."""
    prometheus = yaml.safe_load((ROOT / "prometheus/prometheus.yml").read_text("utf-8"))
    for scrape in prometheus["scrape_configs"] + prometheus["alerting"]["alertmanagers"]:
        for group in scrape["static_configs"]:
            yield from (("prometheus.yml", target) for target in group["targets"])
    alertmanager = yaml.safe_load((ROOT / "prometheus/alertmanager.yml").read_text("utf-8"))
    for receiver in alertmanager["receivers"]:
        for hook in receiver.get("webhook_configs", ()):
            yield "alertmanager.yml", urlsplit(hook["url"]).netloc
    for name, value in SERVICES["grafana"]["environment"].items():
        if name.endswith("_URL"):
            yield f"grafana {name}", urlsplit(value).netloc


def test_compose_file_fits_its_schema() -> None:
    """The schema of the Compose Specification, as Docker's own library carries it."""
    schema = json.loads((SCHEMAS / "compose-spec.json").read_text("utf-8"))

    jsonschema.Draft202012Validator(schema).validate(COMPOSE)


def test_schema_finds_a_misspelt_key() -> None:
    """A schema that accepts anything would pass the test above."""
    schema = json.loads((SCHEMAS / "compose-spec.json").read_text("utf-8"))
    broken = {"services": {"demo": {**SERVICES["demo"], "read-only": True}}}

    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(schema).validate(broken)


@pytest.mark.parametrize(
    ("name", "volume"), [pytest.param(*bind, id=bind[1]["source"]) for bind in binds()]
)
def test_mounted_path_exists_and_is_read_only(name: str, volume: Mapping[str, Any]) -> None:
    """Docker makes an empty folder of a path that is missing, and programs start without it."""
    source = ROOT / volume["source"]

    assert source.exists(), name
    assert source.is_file() or any(source.iterdir()), f"{name}: {source} is empty"
    assert volume["read_only"]
    assert volume["bind"] == {"create_host_path": False}


def test_named_volumes_are_declared() -> None:
    """What has to outlive a container is in a volume with a name."""
    used = {
        volume["source"]
        for service in SERVICES.values()
        for volume in service.get("volumes", ())
        if volume["type"] == "volume"
    }

    assert used == set(COMPOSE["volumes"])


@every_service
def test_service_is_locked_down(service: Mapping[str, Any]) -> None:
    """No capabilities, no new privileges, nothing to write but volumes and /tmp."""
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert service["mem_limit"]
    assert service["pids_limit"]
    assert not service.get("privileged")


@every_service
def test_service_runs_as_nobody_special(service: Mapping[str, Any]) -> None:
    """Neither image nor compose file lets a process be root."""
    target = service.get("build", {}).get("target")
    user = service.get("user") or re.findall(r"(?m)^USER (\S+)", stage(target))[-1]

    assert re.fullmatch(r"[1-9]\d*:\d+", user)


@every_service
def test_service_has_a_health_check(service: Mapping[str, Any]) -> None:
    target = service.get("build", {}).get("target")

    assert "healthcheck" in service or "HEALTHCHECK" in stage(target)


def test_waited_for_services_exist() -> None:
    for name, service in SERVICES.items():
        assert set(service.get("depends_on", {})) <= set(SERVICES), name


def images() -> list[str]:
    own = {service["image"] for service in SERVICES.values() if "build" in service}
    others = {service["image"] for service in SERVICES.values()} - own
    bases = re.findall(r"(?m)^ARG PYTHON=(\S+)", DOCKERFILE)
    example = (ROOT / "deploy/kubernetes/examples/Dockerfile").read_text("utf-8")
    return sorted({*others, *bases, *re.findall(r"(?m)^FROM (\S+)", example)})


@pytest.mark.parametrize("image", images())
def test_image_is_pinned(image: str) -> None:
    """A full version, and a plain name without a registry's host."""
    assert re.fullmatch(r"(?:[a-z]+/)?[a-z]+:v?\d+\.\d+\.\d+(?:-[a-z-]+)?", image)


def test_one_python_serves_all_images() -> None:
    assert len([image for image in images() if image.startswith("python:")]) == 1


def test_stages_are_built_on_that_python() -> None:
    """Every stage begins with the pinned image or another stage."""
    stages = re.findall(r"(?m)^FROM (\S+) AS (\S+)", DOCKERFILE)

    assert [name for _, name in stages][-1] == "sidecar", "what is built without --target"
    assert {base for base, _ in stages} <= {"${PYTHON}", *(name for _, name in stages)}
    assert re.findall(r"(?m)^ARG (\w+)", DOCKERFILE) == ["PYTHON"]


def test_sidecar_has_no_agents() -> None:
    """What meters does not carry what it meters."""
    assert "[agent]" in stage("demo-packages")
    assert "[agent]" not in stage("sidecar-packages")
    assert "demo" not in stage("sidecar")


def test_agent_and_sidecar_share_a_directory_by_group() -> None:
    """Two users, one group, and the bit that hands the group on to what they create."""
    users = [re.findall(r"(?m)^USER (\d+):(\d+)", stage(name))[-1] for name in ("demo", "sidecar")]
    mounts = [
        [(v["source"], v["target"]) for v in SERVICES[name]["volumes"] if v["type"] == "volume"]
        for name in ("demo", "exporter")
    ]

    assert users[0][0] != users[1][0]
    assert users[0][1] == users[1][1]
    assert mounts[0] == mounts[1]
    directory = mounts[0][0][1]
    assert f"{files.ENVIRONMENT}={directory}" in stage("base")
    assert re.search(rf"install -d -o root -g voice -m 2770 {directory}", stage("base"))


def test_only_grafana_is_reachable_from_other_machines() -> None:
    published = {
        name: port for name, service in SERVICES.items() for port in service.get("ports", ())
    }

    assert [name for name, port in published.items() if not port.startswith("127.0.0.1:")] == [
        "grafana"
    ]
    assert {name: int(port.rpartition(":")[2]) for name, port in published.items()} == {
        name: PORTS[name] for name in published
    }


def test_password_has_to_be_chosen() -> None:
    """Compose refuses to start Grafana with a password that everybody knows."""
    secret = re.compile(r"password|secret|token", re.IGNORECASE)
    settings = [
        value
        for service in SERVICES.values()
        for name, value in service.get("environment", {}).items()
        if secret.search(name)
    ]

    assert len(settings) == 1
    assert re.fullmatch(r"\$\{GRAFANA_ADMIN_PASSWORD:\?.+\}", settings[0])


@pytest.mark.parametrize(("file", "address"), list(addresses()))
def test_configuration_finds_the_service(file: str, address: str) -> None:
    """The files that are mounted call services by their names and ports."""
    host, _, port = address.partition(":")

    assert host in SERVICES, f"{file}: '{address}' is no service of docker-compose.yml"
    assert int(port) == PORTS[host]


def test_grafana_is_given_what_its_provisioning_asks_for() -> None:
    """Grafana reads an unset variable as nothing and starts without data sources."""
    asked = {
        name
        for path in (ROOT / "grafana" / "provisioning").rglob("*.yml")
        for name in re.findall(r"(?<!\$)\$\{(\w+)\}", path.read_text("utf-8"))
    }
    environment = SERVICES["grafana"]["environment"]
    mounts = {volume["target"] for volume in SERVICES["grafana"]["volumes"]}

    assert asked
    assert asked <= set(environment)
    assert environment["LIVEKIT_DASHBOARDS"] in mounts
    home = environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert (ROOT / "grafana" / "dashboards" / home.rpartition("/")[2]).exists()
    assert home.startswith(environment["LIVEKIT_DASHBOARDS"])


@pytest.mark.parametrize("name", ["demo", "exporter"])
def test_command_is_understood(name: str) -> None:
    """The command line takes every option that the compose file and the Dockerfile give."""
    group = typer.main.get_command(app)
    image = json.loads(re.findall(r"(?m)^CMD (.*)", stage(SERVICES[name]["build"]["target"]))[-1])

    for command, *arguments in (SERVICES[name]["command"], image):
        subcommand = getattr(group, "commands")[command]  # noqa: B009 - typed as a plain command
        subcommand.make_context(command, list(arguments))


def test_exemplars_are_stored() -> None:
    assert "--enable-feature=exemplar-storage" in SERVICES["prometheus"]["command"]


def test_build_context_is_what_the_wheel_needs() -> None:
    """Everything else, such as .env and .git, stays out of the images."""
    ignored = (ROOT / ".dockerignore").read_text("utf-8").split("\n")
    copied = re.findall(r"(?m)^COPY (?!--from)(.*) \S+$", DOCKERFILE)

    assert "*" in ignored
    allowed = {line[1:] for line in ignored if line.startswith("!")}
    assert {path for line in copied for path in line.split()} == allowed


@pytest.mark.parametrize("path", ["deploy/exporter.yml", "deploy/kubernetes/base/exporter.yml"])
def test_sidecar_configuration_is_valid(path: str) -> None:
    """The settings that the compose file mounts, and those of the Kubernetes base."""
    assert load(ROOT / path, {}, {}).budget.day_usd
