"""deploy/kubernetes: built with kustomize, held against Kubernetes' and the operator's schemas."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import jsonschema
import pytest
import typer
import yaml

from deploy import prometheus_rule
from deploy.configuration import PORTS, ROOT
from livekit_exporter.cli.app import app

KUBERNETES: Final = ROOT / "deploy" / "kubernetes"
SCHEMAS: Final = Path(__file__).parent / "schemas"
VERSION: Final = "1.33"
"""Native sidecars are stable since then."""
OPERATOR: Final = "monitoring.coreos.com/v1"

KUSTOMIZE: Final = next(
    (
        command
        for command in (("kustomize", "build"), ("kubectl", "kustomize"))
        if shutil.which(command[0])
    ),
    None,
)
needs_kustomize = pytest.mark.skipif(
    KUSTOMIZE is None, reason="neither kustomize nor kubectl is installed"
)
both = pytest.mark.parametrize("folder", ["base", "examples"])


@cache
def built(folder: str) -> list[dict[str, Any]]:
    """Every resource of a kustomization."""
    assert KUSTOMIZE is not None
    result = subprocess.run(
        [*KUSTOMIZE, KUBERNETES / folder], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return list(yaml.safe_load_all(result.stdout))


def one(folder: str, kind: str) -> dict[str, Any]:
    (resource,) = [resource for resource in built(folder) if resource["kind"] == kind]
    return resource


def pod(folder: str) -> dict[str, Any]:
    spec: dict[str, Any] = one(folder, "Deployment")["spec"]["template"]["spec"]
    return spec


def containers(folder: str) -> Mapping[str, dict[str, Any]]:
    spec = pod(folder)
    return {each["name"]: each for each in (*spec["initContainers"], *spec["containers"])}


def crd_schema(kind: str) -> dict[str, Any]:
    """Schema of a resource of the operator, closed as the API server closes it."""
    (path,) = SCHEMAS.glob(f"monitoring.coreos.com_{kind.lower()}s.yaml")
    (version,) = yaml.safe_load(path.read_text("utf-8"))["spec"]["versions"]
    assert version["name"] == "v1"
    schema: dict[str, Any] = version["schema"]["openAPIV3Schema"]
    schema["properties"]["metadata"] = {"type": "object", "required": ["name"]}
    close(schema)
    return schema


def close(schema: object) -> None:
    """Allow no fields but those that are named."""
    if isinstance(schema, dict):
        if isinstance(schema.get("properties"), dict):
            schema.setdefault("additionalProperties", False)
        schema = list(schema.values())
    if isinstance(schema, list):
        for part in schema:
            close(part)


@needs_kustomize
@both
def test_resources_fit_the_schemas_of_kubernetes(folder: str) -> None:
    """Unknown fields are mistakes, too."""
    kubernetes_validate = pytest.importorskip("kubernetes_validate")

    for resource in built(folder):
        if resource["apiVersion"] != OPERATOR:
            kubernetes_validate.validate(resource, VERSION, strict=True)


@needs_kustomize
@both
def test_resources_fit_the_schemas_of_the_operator(folder: str) -> None:
    checked = [resource for resource in built(folder) if resource["apiVersion"] == OPERATOR]

    for resource in checked:
        jsonschema.Draft202012Validator(crd_schema(resource["kind"])).validate(resource)
    assert {resource["kind"] for resource in checked} == {"PodMonitor", "PrometheusRule"}


def test_schema_of_the_operator_finds_a_misspelt_field() -> None:
    """A schema that accepts anything would pass the test above."""
    rule = yaml.safe_load(prometheus_rule.rendered())
    rule["spec"]["groups"][0]["rules"][0]["annotation"] = {}

    with pytest.raises(jsonschema.ValidationError, match="annotation"):
        jsonschema.Draft202012Validator(crd_schema("PrometheusRule")).validate(rule)


def test_prometheus_rule_is_fresh() -> None:
    """What was generated is what would be generated now."""
    assert prometheus_rule.GENERATED.read_text("utf-8") == prometheus_rule.rendered()


def test_prometheus_rule_says_what_the_rule_files_say() -> None:
    """The text was shifted; nothing that it means has changed."""
    files = sorted(prometheus_rule.RULES.glob("*.yml"))
    groups = [
        group for path in files for group in yaml.safe_load(path.read_text("utf-8"))["groups"]
    ]

    assert groups
    assert yaml.safe_load(prometheus_rule.rendered())["spec"]["groups"] == groups


@needs_kustomize
def test_every_dashboard_has_a_config_map() -> None:
    """Grafana's sidecar finds them by the label."""
    maps = [
        resource
        for resource in built("base")
        if resource["metadata"].get("labels", {}).get("grafana_dashboard") == "1"
    ]
    dashboards = {
        path.name: json.loads(path.read_text("utf-8"))
        for path in (ROOT / "grafana" / "dashboards").glob("*.json")
    }

    assert dashboards
    assert {
        name: json.loads(text) for each in maps for name, text in each["data"].items()
    } == dashboards


@needs_kustomize
@both
def test_pod_keeps_to_the_restricted_standard(folder: str) -> None:
    """What Kubernetes' strictest Pod Security Standard asks for, and a read-only root."""
    spec = pod(folder)

    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    for container in containers(folder).values():
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert context["readOnlyRootFilesystem"] is True
        assert context["runAsUser"] > 0
        assert container["resources"]["requests"]
        assert container["resources"]["limits"]["memory"]
        assert not container["image"].endswith(":latest")
        assert ":" in container["image"]


@needs_kustomize
@both
def test_exporter_outlives_the_agent_and_shares_its_directory(folder: str) -> None:
    """A native sidecar, another user, the same group and the same volume."""
    exporter, agent = containers(folder)["exporter"], containers(folder)["agent"]
    (data,) = [volume for volume in pod(folder)["volumes"] if volume["name"] == "data"]
    mounts = [
        next(mount for mount in container["volumeMounts"] if mount["name"] == "data")
        for container in (exporter, agent)
    ]

    assert exporter["restartPolicy"] == "Always"
    assert exporter["securityContext"]["runAsUser"] != agent["securityContext"]["runAsUser"]
    assert pod(folder)["securityContext"]["fsGroup"] == pod(folder)["securityContext"]["runAsGroup"]
    assert "emptyDir" in data
    assert mounts[0] == mounts[1]
    for container in (exporter, agent):
        assert {"name": "LIVEKIT_EXPORTER_DATA_DIR", "value": mounts[0]["mountPath"]} in container[
            "env"
        ]
    assert exporter["readinessProbe"]["httpGet"]["path"] == "/-/ready"
    assert exporter["livenessProbe"]["httpGet"]["path"] == "/-/healthy"


@needs_kustomize
@both
def test_pods_are_scraped_under_the_names_that_the_rules_know(folder: str) -> None:
    """Ports and labels that the pod has, and the jobs of prometheus.yml."""
    monitor, deployment = one(folder, "PodMonitor"), one(folder, "Deployment")
    ports = {
        port["name"]: port["containerPort"]
        for container in containers(folder).values()
        for port in container["ports"]
    }
    jobs = {
        endpoint["relabelings"][-1]["replacement"]: ports[endpoint["port"]]
        for endpoint in monitor["spec"]["podMetricsEndpoints"]
    }
    prometheus = yaml.safe_load((ROOT / "prometheus/prometheus.yml").read_text("utf-8"))

    assert jobs == {"livekit-exporter": PORTS["exporter"], "livekit-worker": PORTS["demo"]}
    assert set(jobs) <= {scrape["job_name"] for scrape in prometheus["scrape_configs"]}
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert monitor["spec"]["selector"]["matchLabels"].items() <= labels.items()


@needs_kustomize
def test_arguments_are_understood() -> None:
    """The command line takes every option that the pod gives."""
    group = typer.main.get_command(app)

    for container in containers("base").values():
        command, *arguments = container["args"]
        subcommand = getattr(group, "commands")[command]  # noqa: B009 - typed as a plain command
        subcommand.make_context(command, arguments)


_ONE_CALL: Final = """
import asyncio
import minimal_agent

async def main():
    server = minimal_agent.server
    started = asyncio.Event()
    server.once("worker_started", started.set)
    serving = asyncio.create_task(server.run(devmode=True, unregistered=True))
    await started.wait()
    await server.simulate_job("room", fake_job=True)
    await asyncio.to_thread(input)
    await server.aclose()
    await serving

if __name__ == "__main__":
    minimal_agent.server._prometheus_port = None
    asyncio.run(main())
"""


async def test_minimal_agent_is_metered(tmp_path: Path) -> None:
    """The example holds a call in a real job process, and the call's journal is there."""
    pytest.importorskip("livekit.agents", reason="needs livekit-agents")
    program = tmp_path / "one_call.py"
    program.write_text(_ONE_CALL, "utf-8")
    nowhere = "127.0.0.1:1"
    environ = {
        "PYTHONPATH": os.pathsep.join([str(KUBERNETES / "examples"), *sys.path]),
        "LIVEKIT_URL": f"ws://{nowhere}",
        "LIVEKIT_INFERENCE_URL": f"http://{nowhere}/v1",
        "LIVEKIT_API_KEY": "key",
        "LIVEKIT_API_SECRET": "not a secret, and long enough to sign with",
        "LIVEKIT_EXPORTER_DATA_DIR": str(tmp_path / "data"),
        "LIVEKIT_AGENTS_PRELOAD_LOCAL_INFERENCE": "0",
    }
    with (tmp_path / "log").open("wb") as log:
        worker = await asyncio.create_subprocess_exec(
            sys.executable,
            str(program),
            stdin=asyncio.subprocess.PIPE,
            stdout=log,
            stderr=log,
            env={**os.environ, **environ},
        )
    try:
        async with asyncio.timeout(60):
            while not (first := _first_record(tmp_path / "data" / "journal")):
                assert worker.returncode is None, (tmp_path / "log").read_text()
                await asyncio.sleep(0.1)
        await worker.communicate(b"\n")
    finally:
        if worker.returncode is None:
            worker.kill()
            await worker.wait()

    assert first["kind"] == "session_started"
    assert first["agent"] == "minimal"
    assert {model["stage"] for model in first["models"]} == {"stt", "llm", "tts"}


def _first_record(journals: Path) -> dict[str, Any] | None:
    for journal in journals.glob("*.jsonl"):
        line, complete, _ = journal.read_text("utf-8").partition("\n")
        if complete:
            record: dict[str, Any] = json.loads(line)
            return record
    return None
