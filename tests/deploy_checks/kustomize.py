"""The Kustomize overlays: built, held to schemas and properties, and the base to what the chart renders."""

import copy
import subprocess

from . import chart
from . import objects as kubernetes
from . import properties
from .tools import ROOT

FOLDER = ROOT / "deploy/kustomize"
# Labels of the chart alone.
CHART_LABELS = ["app.kubernetes.io/instance", "app.kubernetes.io/managed-by", "app.kubernetes.io/version", "helm.sh/chart"]
NAMESPACE = "models"


def run(report, kit):
    """All checks of the overlays."""
    kustomize = kit.program("kustomize") or _kubectl(kit)
    if not kustomize:
        report.skip("overlays", "neither kustomize nor kubectl; cure: install one, or Go to build it")
        return
    schemas = kubernetes.Schemas(kit.crds())
    schemas.tell_missing(report, "overlays")
    made = kubernetes.read(_run([str(FOLDER / "make-secrets")])[0])
    for folder in sorted((FOLDER / "overlays").iterdir()):
        text, error = build(kustomize, folder)
        if not report.check(f"overlay {folder.name}: builds", [error] if error else []):
            continue
        objects = kubernetes.read(text)
        for version in chart.VERSIONS:
            problems = [problem for found in objects for problem in schemas.problems(found, version)]
            report.check(f"overlay {folder.name}: schemas of Kubernetes {version}", problems)
        ours = [each for each in objects if each["metadata"]["name"].startswith("murmuration")]
        for each in properties.ALL:
            report.check(f"overlay {folder.name}: {each.__name__.replace('_', ' ')}", each(ours))
        report.check(f"overlay {folder.name}: volumes exist", properties.volumes_exist(ours + made))
    _base_is_the_chart(report, kit, kustomize)
    _envoy_is_the_charts(report, kit)
    _documented(report)
    _secrets_work(report, made)


def _kubectl(kit):
    kubectl = kit.program("kubectl")
    return [kubectl, "kustomize"] if kubectl else None


def build(kustomize, folder):
    """What an overlay says, and nothing; or nothing, and the error."""
    words = kustomize if isinstance(kustomize, list) else [kustomize, "build"]
    return _run([*words, str(folder)])


def _run(command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout, None if done.returncode == 0 else done.stderr.strip()


def _base_is_the_chart(report, kit, kustomize):
    """What the base says is what the chart says, but for names of the namespace and labels of the chart."""
    helm = kit.program("helm")
    if not helm:
        report.skip("the base is the chart", "no helm")
        return
    text, error = build(kustomize, FOLDER / "base")
    rendered, why = _rendered(helm, "--skip-tests")
    if error or why:
        report.check("the base is the chart", [error or why])
        return
    base = {_key(each): _plain(each) for each in kubernetes.read(text)}
    theirs = {_key(each): _plain(each) for each in kubernetes.read(rendered) if each["kind"] != "Secret"}
    problems = [f"only in one: {key}" for key in set(base) ^ set(theirs)]
    problems += [f"{key}: {_difference(base[key], theirs[key])}" for key in set(base) & set(theirs) if base[key] != theirs[key]]
    report.check("the base is the chart", problems)


def _rendered(helm, *words):
    """What the chart says for the pool that the base has."""
    labels = ["--set", "router.modelServers.matchLabels.app=model-server"]
    return _run([helm, "template", "murmuration", str(chart.CHART), "--namespace", NAMESPACE, *labels, *words])


def _key(found):
    name = found["metadata"]["name"]
    # A generated ConfigMap has a hash behind its name.
    return found["kind"], "murmuration-epp" if found["kind"] == "ConfigMap" else name


def _plain(found):
    """An object without what differs by design."""
    found = copy.deepcopy(found)
    found["metadata"].pop("namespace", None)
    for name in CHART_LABELS:
        found["metadata"].get("labels", {}).pop(name, None)
    if found["kind"] == "ConfigMap":
        return found["data"]
    for subject in found.get("subjects", []):
        subject.pop("namespace", None)
    if found["kind"] == "Deployment":
        template = found["spec"]["template"]
        template["metadata"]["annotations"] = {
            key: value for key, value in template["metadata"]["annotations"].items() if not key.startswith("checksum/")}
        container = template["spec"]["containers"][0]
        words = [word.replace(f"-peers.{NAMESPACE}.svc.cluster.local:", "-peers:") for word in container["args"]]
        container["args"] = [word for word in words if not word.startswith("--pool-namespace=")]
        for volume in template["spec"]["volumes"]:
            if "configMap" in volume:
                volume["configMap"]["name"] = "murmuration-epp"
    return found


def _difference(ours, theirs, path=""):
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in sorted(set(ours) | set(theirs)):
            if ours.get(key) != theirs.get(key):
                return _difference(ours.get(key), theirs.get(key), f"{path}.{key}")
    return f"{path}: {ours} in the base, {theirs} in the chart"


def _envoy_is_the_charts(report, kit):
    """The component's Envoy configuration is the chart's, with short names."""
    helm = kit.program("helm")
    if not helm:
        return
    rendered, error = _rendered(helm, "--set", "router.proxy.enabled=true")
    if error:
        report.check("the component's Envoy configuration is the chart's", [error])
        return
    data = kubernetes.one(kubernetes.read(rendered), "ConfigMap", "murmuration-proxy")["data"]
    theirs = data["envoy.yaml"].replace(f".{NAMESPACE}.svc.cluster.local", "")
    ours = (FOLDER / "components/envoy/envoy.yaml").read_text()
    report.check("the component's Envoy configuration is the chart's", [] if ours.strip() == theirs.strip() else ["they differ"])


def _documented(report):
    text = (FOLDER / "README.md").read_text()
    names = [folder.name for folder in (FOLDER / "overlays").iterdir()]
    report.check("every overlay is in the README", [name for name in names if f"| `{name}` |" not in text])


def _secrets_work(report, made):
    names = {each["metadata"]["name"]: sorted(each["data"]) for each in made}
    certificate = ["ca.crt", "tls.crt", "tls.key"]
    wanted = {
        "murmuration-epp-gossip": ["gossip.key"], "murmuration-epp-peers": certificate,
        "murmuration-epp-serving": certificate,
    }
    report.check("make-secrets", [] if names == wanted else [f"{names}"])
