"""The chart behind a real istiod and a stock Envoy, as `helm install` leaves it there: a gateway that istiod deploys, a
pool, an HTTPRoute, three pickers with the chart's keys, probes and DestinationRule, and emulated engines.

Under load a picker is frozen, another is killed, and the Deployment is rolled. Takes three minutes.
"""

import json
import pathlib
import signal
import sys
import time

from . import chart, standalone
from .control_plane import ControlPlane, enter
from .load import Load
from .standalone import not_answered, page

NAMESPACE = "models"
RATE = 100
LOST_SECONDS = 20
FROZEN_SECONDS = 30
# What a picker's death may cost beyond what it held: the requests that Envoy had to send to notice.
LOST_MAX = 2
# One per cent in the mean; chance decides when the last probe before was, and who meets the frozen one.
FROZEN_SHARE_MAX = 0.015
VALUES = {
    "murmuration": {"image": {"registry": "registry.example"}},
    "router": {
        "modelServers": {"matchLabels": {"app": "engine"}}, "inferencePool": {"failureMode": "FailClose"},
        "epp": {"replicas": 3},
    },
    "provider": {"name": "istio"},
    "httpRoute": {"create": True, "inferenceGatewayName": "front"},
}
ENGINE = {"name": "engine", "image": "engine-sim", "readinessProbe": {"httpGet": {"path": "/health", "port": 8000}, "periodSeconds": 1}}
AROUND = [
    {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
    {
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": {"name": "front", "namespace": NAMESPACE},
        "spec": {"gatewayClassName": "istio", "listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}]},
    },
    {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "engine", "namespace": NAMESPACE},
        "spec": {
            "replicas": 4, "selector": {"matchLabels": {"app": "engine"}},
            "template": {"metadata": {"labels": {"app": "engine"}}, "spec": {"containers": [ENGINE]}},
        },
    },
]


def run(report, kit):
    """Finds the programs, and runs the rest in the namespace."""
    enter(report, kit, "behind Istio", "deploy_checks.istio")


def inside(folder, program, engine, envoy, kit, kubectl, helm):
    """Runs in the namespace; prints what is wrong, by the name of the check, as JSON."""
    folder = pathlib.Path(folder)
    programs = {
        "murmuration": lambda container, _: ([program, "serve", *container["args"]], {}),
        "engine-sim": lambda _, pod: ([engine, "--bind", "0.0.0.0", "--port", "8000", "--name", pod.name], {}),
    }
    with ControlPlane(folder, kit, kubectl, helm, envoy, programs) as cluster:
        found = _installed(cluster, folder)
        if all(not problems for problems in found.values()):
            entry = _entry(cluster)
            found |= _answered(cluster, entry)
            with Load(entry, RATE) as load:
                # A killed picker stays ejected for a minute, and each of two gets more than each of three.
                found |= _frozen(cluster, load) | _killed(cluster, load) | _rolled(cluster, load)
    print(json.dumps(found))


def _installed(cluster, folder):
    """The chart, as a user installs it."""
    server = cluster.server
    cluster.apply(AROUND)
    (folder / "values.json").write_text(json.dumps(VALUES))
    words = ["vllm", str(chart.CHART), "--namespace", NAMESPACE, "--values", str(folder / "values.json")]
    _, error = server.ask(server.helm, "install", *words)
    wait = ["rollout", "status", "-n", NAMESPACE, "--timeout=60s"]
    late = [server.ask(server.kubectl, *wait, f"deployment/{name}")[1] for name in ("engine", "vllm-epp", "front-istio")]
    pickers = lambda: all("\nmurmuration_peers 2\n" in each for each in _pages(cluster))  # noqa: E731
    return {
        "helm installs": [error] if error else [],
        "engines, pickers and the gateway become available": [each for each in late if each],
        "pickers meet": standalone.until(pickers, "not all see two peers"),
        "istiod accepts the pool": _accepted(server),
    }


def _pages(cluster):
    return [page(f"http://{pod.address}:9090/metrics") for pod in cluster.pods.named("vllm-epp-")]


def _accepted(server):
    """Conditions of the pool that are not True."""
    parents = server.get("inferencepool", "vllm").get("status", {}).get("parents", [])
    conditions = [each for parent in parents for each in parent["conditions"]]
    return [str(each) for each in conditions if each["status"] != "True"] or ([] if conditions else ["no condition"])


def _entry(cluster):
    balanced = cluster.server.get("service", "front-istio")["status"]["loadBalancer"]["ingress"]
    return f"http://{balanced[0]['ip']}"


def _answered(cluster, entry):
    is_answered = lambda: standalone.ask(1, entry=entry) == [200]  # noqa: E731
    found = {"the first request is answered": standalone.until(is_answered, "not answered")}
    found["sixty requests through TLS are answered"] = not_answered(standalone.ask(60, entry=entry))
    routed = [each.count("\nllm_d_epp_request_total{") for each in _pages(cluster)]
    found["every picker is asked"] = [] if all(routed) else [f"{routed}"]
    return found


def _frozen(cluster, load):
    """A picker stands still: whoever asks it gets no answer, until its pod is no longer Ready."""
    time.sleep(5)
    pod = cluster.pods.named("vllm-epp-")[1]
    began = time.monotonic()
    pod.kill(signal.SIGSTOP)
    time.sleep(FROZEN_SECONDS)
    pod.kill(signal.SIGCONT)
    asked, failed = load.settled(began, time.monotonic())
    name = f"a picker is frozen for {FROZEN_SECONDS} s: {failed} of {asked} failed or hung, at most {FROZEN_SHARE_MAX:.1%}"
    return {name: [] if failed <= asked * FROZEN_SHARE_MAX else [load.failures(began)]}


def _killed(cluster, load):
    """A picker dies, and for a while its pod still counts as Ready, as on a node that is lost. Envoy tries an ejected
    picker again after a time, and needs a second to leave it alone again."""
    time.sleep(5)
    pod = cluster.pods.named("vllm-epp-")[0]
    pod.is_reported = False
    began = time.monotonic()
    pod.kill()
    time.sleep(LOST_SECONDS)
    pod.is_reported = True
    asked, failed = load.settled(began, time.monotonic())
    name = f"a picker is killed at {RATE} requests a second: {failed} of {asked} that came after it failed, at most {LOST_MAX}"
    return {name: [] if failed <= LOST_MAX else [load.failures(began)]}


def _rolled(cluster, load):
    """Every picker is replaced, as an upgrade does it."""
    server, began = cluster.server, time.monotonic()
    for words in (["restart"], ["status", "--timeout=180s"]):
        _, error = server.ask(server.kubectl, "rollout", *words, "-n", NAMESPACE, "deployment/vllm-epp")
        if error:
            return {"a rolling update": [error]}
    seconds = time.monotonic() - began
    asked, failed = load.settled(began, time.monotonic() + 5)
    name = f"a rolling update ({seconds:.0f} s): {failed} of {asked} failed, none may"
    return {name: [] if not failed else [load.failures(began)]}


if __name__ == "__main__":
    inside(*sys.argv[1:])
