"""The files in deploy/ name only what exists: settings, ports, paths and times."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from frontend.config import Settings

ROOT = Path(__file__).parent.parent.parent
DEPLOY = ROOT / "deploy"
FILES = sorted(path for path in DEPLOY.rglob("*") if path.is_file())
OURS = {"NACELLE_MODEL", "NACELLE_BIND"}  # of the compose file
VARIABLES = {f"NACELLE_{name.upper()}" for name in Settings.__struct_fields__}
ENDPOINTS = ("/health", "/ready", "/metrics")


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((DEPLOY / name).read_text()))


def kind(name: str, wanted: str) -> dict[str, Any]:
    [found] = [document for document in documents(name) if document["kind"] == wanted]
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_variable_is_a_setting(path):
    named = set(re.findall(r"\bNACELLE_[A-Z_]+\b", path.read_text()))
    assert named <= VARIABLES | OURS


def test_variables_of_the_compose_file_are_in_the_example_and_back():
    compose = (DEPLOY / "docker" / "docker-compose.yml").read_text()
    example = (DEPLOY / "docker" / ".env.example").read_text()
    used = set(re.findall(r"\$\{(\w+)", re.sub(r"^ *#.*$", "", compose, flags=re.MULTILINE)))
    assert used == set(re.findall(r"^(\w+)=", example, re.MULTILINE))


def test_services_of_the_compose_file_reach_each_other():
    services = yaml.safe_load((DEPLOY / "docker" / "docker-compose.yml").read_text())["services"]
    nacelle = services["nacelle"]
    assert (DEPLOY / "docker" / nacelle["build"]["context"]).resolve() == ROOT
    assert (ROOT / nacelle["build"]["dockerfile"]).is_file()
    assert services["open-webui"]["environment"]["OPENAI_API_BASE_URL"] == "http://nacelle:8000/v1"
    assert nacelle["environment"]["NACELLE_SESSION_STORE"].startswith("redis://redis:")
    assert {"nacelle", "open-webui", "redis"} == services.keys()


def test_the_image_takes_all_that_the_package_needs_and_runs_as_nobody():
    dockerfile = (DEPLOY / "docker" / "Dockerfile").read_text()
    ignored = (DEPLOY / "docker" / "Dockerfile.dockerignore").read_text().splitlines()
    kept = {line[1:] for line in ignored if line.startswith("!")}
    assert kept >= {"frontend", "host", "ipc", "bench", "pyproject.toml", "README.md", "LICENSE"}
    assert all((ROOT / name).exists() for name in kept)
    for line in ("USER 10001", "STOPSIGNAL SIGTERM", "EXPOSE 8000", "VOLUME /var/lib/nacelle"):
        assert f"\n{line}\n" in dockerfile
    assert "/health" in dockerfile
    assert "NACELLE_TLS_CERTIFICATE" in dockerfile  # with HTTPS, the health check asks by HTTPS
    assert "--start-interval" not in dockerfile  # engines before Docker 25, such as Debian 12's, reject it


def test_probes_ask_what_the_server_answers_and_grace_covers_the_drain():
    pod = kind("kubernetes/nacelle.yaml", "Deployment")["spec"]["template"]["spec"]
    [container] = pod["containers"]
    probes = [container[name] for name in ("startupProbe", "readinessProbe", "livenessProbe")]
    assert {probe["httpGet"]["path"] for probe in probes} <= set(ENDPOINTS)
    assert {probe["httpGet"]["port"] for probe in probes} == {"http"}
    values = {variable["name"]: variable.get("value") for variable in container["env"]}
    needed = float(values["NACELLE_DRAIN_SECONDS"]) + float(values["NACELLE_TERM_SECONDS"])
    needed += float(container["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod["terminationGracePeriodSeconds"] > needed + 5
    assert container["ports"] == [{"name": "http", "containerPort": Settings().port}]
    assert pod["securityContext"]["runAsNonRoot"]


def test_the_pool_of_the_gateway_finds_pods_and_picker():
    pods = kind("kubernetes/nacelle.yaml", "Deployment")["spec"]["template"]["metadata"]["labels"]
    pool = kind("kubernetes/inference-pool.yaml", "InferencePool")
    assert pool["apiVersion"] == "inference.networking.k8s.io/v1"
    assert pool["spec"]["selector"]["matchLabels"].items() <= pods.items()
    assert pool["spec"]["targetPorts"] == [{"number": Settings().port}]
    service = kind("kubernetes/endpoint-picker.yaml", "Service")
    reference = pool["spec"]["endpointPickerRef"]
    assert (reference["name"], reference["port"]["number"]) == (
        service["metadata"]["name"],
        service["spec"]["ports"][0]["port"],
    )
    picker = kind("kubernetes/endpoint-picker.yaml", "Deployment")["spec"]["template"]["spec"]
    assert f"--pool-name={pool['metadata']['name']}" in picker["containers"][0]["args"]
    route = kind("kubernetes/inference-pool.yaml", "HTTPRoute")["spec"]["rules"][0]
    assert route["backendRefs"][0]["name"] == pool["metadata"]["name"]


def test_the_unit_waits_as_long_as_a_shutdown_takes():
    unit = (DEPLOY / "systemd" / "nacelle.service").read_text()
    environment = (DEPLOY / "systemd" / "nacelle.env").read_text()
    values = dict(re.findall(r"^(\w+)=(.*)$", unit, re.MULTILINE))
    drain, term = (
        float(re.findall(rf"^NACELLE_{name}_SECONDS=(\d+)$", environment, re.MULTILINE)[0])
        for name in ("DRAIN", "TERM")
    )
    assert float(values["TimeoutStopSec"]) > drain + term + 5
    assert (values["Type"], values["KillMode"], values["OOMPolicy"]) == ("notify", "mixed", "continue")
    listening = (DEPLOY / "systemd" / "nacelle.socket").read_text()
    assert f"ListenStream=127.0.0.1:{Settings().port}\n" in listening
