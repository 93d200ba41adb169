"""What the chart writes for Istio, before a real istiod and a stock Envoy: the pool is accepted, requests reach engines
through TLS, and a picker that is killed while its pod still counts as Ready costs next to nothing.

In a network namespace of its own, with pods as objects and their processes on addresses of it. Discovery of engines is by
a file. Runs as root, where KUBE_KIT names a folder whose bin/ has kube-apiserver, kube-controller-manager, etcd and
istiod's pilot-discovery.
"""

import collections
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

from . import standalone
from .standalone import ENGINES, PICKERS, Lab, not_answered, page

GATEWAY = "10.88.0.10"
NODE_ADDRESS = "10.88.0.100"
NAMESPACE = "models"
PROGRAMS = ["kube-apiserver", "kube-controller-manager", "etcd", "pilot-discovery"]
# Requests that may fail of sixty once a picker is dead: those that Envoy had to send to notice.
LOST_MAX = 2
VALUES = {
    "router": {"modelServers": {"matchLabels": {"app": "engine"}}, "inferencePool": {"failureMode": "FailClose"}},
    "provider": {"name": "istio"},
    "httpRoute": {"create": True, "inferenceGatewayName": "front"},
}
MESH = "enableAutoMtls: false\n"
ENVIRONMENT = {
    "POD_NAMESPACE": "istio-system", "POD_NAME": "istiod-0", "REVISION": "default",
    "ENABLE_GATEWAY_API_INFERENCE_EXTENSION": "true",
    # Filters that only Istio's own build of Envoy has, and gateways that nobody could run here.
    "PILOT_ENABLE_METADATA_EXCHANGE": "false", "PILOT_ENABLE_ALPN_FILTER": "false",
    "PILOT_ENABLE_GATEWAY_API_DEPLOYMENT_CONTROLLER": "false",
}
BEFORE = [
    {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "here"}},
    {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "istio-system"}},
    {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
    {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "front", "namespace": NAMESPACE},
        "spec": {"selector": {"gateway.networking.k8s.io/gateway-name": "front"}, "ports": [{"name": "http", "port": 80}]},
    },
    {
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": {"name": "front", "namespace": NAMESPACE},
        "spec": {
            "gatewayClassName": "istio",
            "addresses": [{"type": "Hostname", "value": f"front.{NAMESPACE}.svc.cluster.local"}],
            "listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}],
        },
    },
]


def run(report, kit):
    """Renders here, and runs the rest in the namespace."""
    from . import chart
    from . import objects as kubernetes
    from .server import definitions

    name = "behind Istio"
    folder = pathlib.Path(os.environ.get("KUBE_KIT") or "/nowhere") / "bin"
    program, helm, envoy, kubectl = kit.murmuration(), kit.program("helm"), kit.envoy(), kit.program("kubectl")
    engine = program and pathlib.Path(program).with_name("engine-sim")
    has_all = helm and envoy and kubectl and engine and engine.exists() and shutil.which("ip") and os.geteuid() == 0
    if not has_all or not all((folder / each).exists() for each in PROGRAMS):
        report.skip(name, f"needs root, iproute2, built programs, and KUBE_KIT with bin/ of {', '.join(PROGRAMS)}")
        return
    objects, error = chart.Renderer(helm).render(values=VALUES, words=("--skip-tests",))
    if error:
        report.check(name, [error])
        return
    with tempfile.TemporaryDirectory(prefix="deploy-") as place:
        place = pathlib.Path(place)
        standalone.write(place, objects)
        (place / "objects.json").write_text(json.dumps(objects))
        kinds = kubernetes.CUSTOM_KINDS | {"Gateway", "GatewayClass"}
        (place / "definitions.yaml").write_text("\n---\n".join(definitions(kit, kinds)))
        istio = [path.read_text() for path in kit.crds() if path.name == "crd-all.gen.yaml"]
        (place / "istio.yaml").write_text("\n---\n".join(istio))
        words = [str(place), program, str(engine), envoy, str(folder), kubectl, helm]
        standalone.enter(report, name, "deploy_checks.istio", words)


def bootstrap():
    """Envoy as the proxy of the gateway: everything else comes from istiod."""
    xds = {"socket_address": {"address": "127.0.0.1", "port_value": 15010}}
    options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    return {
        "node": {
            "id": f"router~{GATEWAY}~front-0.{NAMESPACE}~{NAMESPACE}.svc.cluster.local",
            "cluster": f"front.{NAMESPACE}",
            "metadata": {
                "NAMESPACE": NAMESPACE, "CLUSTER_ID": "Kubernetes", "ISTIO_VERSION": "1.31.0", "INSTANCE_IPS": GATEWAY,
                "LABELS": {"gateway.networking.k8s.io/gateway-name": "front"},
            },
        },
        "dynamic_resources": {
            "ads_config": {
                "api_type": "DELTA_GRPC", "transport_api_version": "V3", "set_node_on_first_message_only": True,
                "grpc_services": [{"envoy_grpc": {"cluster_name": "xds-grpc"}}],
            },
            "lds_config": {"ads": {}, "initial_fetch_timeout": "0s", "resource_api_version": "V3"},
            "cds_config": {"ads": {}, "initial_fetch_timeout": "0s", "resource_api_version": "V3"},
        },
        "static_resources": {"clusters": [{
            "name": "xds-grpc", "type": "STATIC", "connect_timeout": "1s",
            "typed_extension_protocol_options": {options: {
                "@type": f"type.googleapis.com/{options}", "explicit_http_config": {"http2_protocol_options": {}}}},
            "load_assignment": {"cluster_name": "xds-grpc", "endpoints": [{"lb_endpoints": [{"endpoint": {"address": xds}}]}]},
        }]},
    }


class Cluster:
    """What the API server is told."""

    def __init__(self, server):
        self.server = server

    def apply(self, *objects, words=()):
        """Applies objects, and raises what the server says against them."""
        listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
        _, error = self.server.ask(self.server.kubectl, "apply", "--server-side", *words, "-f", "-", stdin=listed)
        if error:
            raise RuntimeError(error)

    def pod(self, name, address, labels, ports=()):
        """A pod is an object and the status that a kubelet would have written."""
        spec = {"nodeName": "here", "containers": [{"name": "main", "image": "none", "ports": list(ports)}]}
        metadata = {"name": name, "namespace": NAMESPACE, "labels": labels}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
        self.apply(pod)
        pod["status"] = {
            "phase": "Running", "podIP": address, "podIPs": [{"ip": address}], "hostIP": NODE_ADDRESS,
            "conditions": [{"type": kind, "status": "True"} for kind in ("Ready", "ContainersReady")]}
        self.apply(pod, words=("--subresource=status", "--field-manager=kubelet"))

    def accepted(self):
        """Conditions of the pool that are not True."""
        parents = self.server.get("inferencepool", "vllm").get("status", {}).get("parents", [])
        conditions = [each for parent in parents for each in parent["conditions"]]
        return [str(each) for each in conditions if each["status"] != "True"] or ([] if conditions else ["no condition"])


def inside(folder, program, engine, envoy, kit, kubectl, helm):
    """Runs in the namespace; prints what is wrong, by the name of the check, as JSON."""
    from .server import Server

    folder = pathlib.Path(folder)
    standalone.network(folder, [GATEWAY, NODE_ADDRESS])
    objects = json.loads((folder / "objects.json").read_text())
    lab, found = Lab(folder), {}
    # The namespace has no route from which the server could guess its address.
    with Server(pathlib.Path(kit), kubectl, helm, [f"--advertise-address={NODE_ADDRESS}"]) as server:
        try:
            cluster = Cluster(server)
            _control_plane(lab, server, cluster, folder, kit, objects)
            standalone.start_engines_and_pickers(lab, folder, program, engine)
            found["pickers meet"] = standalone.meet("vllm")
            picker = next(each for each in objects if each["kind"] == "Deployment")["spec"]["template"]
            for at, address in enumerate(ENGINES):
                cluster.pod(f"engine-{at}", address, {"app": "engine"})
            for at, address in enumerate(PICKERS):
                cluster.pod(f"picker-{at}", address, picker["metadata"]["labels"], picker["spec"]["containers"][0]["ports"])
            cluster.pod("front-0", GATEWAY, {"gateway.networking.k8s.io/gateway-name": "front"})
            (folder / "gateway.json").write_text(json.dumps(bootstrap()))
            lab.start("envoy", envoy, "-c", str(folder / "gateway.json"), "--log-level", "warn", "--disable-hot-restart")
            entry = f"http://{GATEWAY}"
            is_answered = lambda: standalone.ask(1, entry=entry) == [200]  # noqa: E731
            found["the first request is answered"] = standalone.until(is_answered, "not answered")
            found["istiod accepts the pool"] = cluster.accepted()
            found["sixty requests through TLS are answered"] = not_answered(standalone.ask(60, entry=entry))
            routed = [page(f"http://{address}:9090/metrics").count("\nllm_d_epp_request_total{") for address in PICKERS]
            found["every picker is asked"] = [] if all(routed) else [f"{routed}"]
            lab.kill("picker-0")
            lost = collections.Counter(standalone.ask(60, entry=entry))
            found[f"a dead picker costs at most {LOST_MAX} of sixty"] = [] if lost[200] >= 60 - LOST_MAX else [f"{dict(lost)}"]
        finally:
            lab.kill(*list(lab.running))
    print(json.dumps(found))


def _control_plane(lab, server, cluster, folder, kit, objects):
    for name in ("definitions.yaml", "istio.yaml"):
        _, error = server.ask(server.kubectl, "apply", "--server-side", "--force-conflicts", "-f", str(folder / name))
        if error:
            raise RuntimeError(error)
    server.ask(server.kubectl, "wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
    cluster.apply(*BEFORE[:3])
    controllers = ["--leader-elect=false", "--secure-port=0", "--controllers=endpointslice-controller"]
    lab.start("controllers", f"{kit}/kube-controller-manager", f"--kubeconfig={server.kubeconfig}", *controllers)
    (folder / "mesh.yaml").write_text(MESH)
    words = ["discovery", f"--kubeconfig={server.kubeconfig}", f"--meshConfig={folder}/mesh.yaml", "--grpcAddr=127.0.0.1:15010"]
    lab.start("istiod", f"{kit}/pilot-discovery", *words, "--namespace=istio-system", **ENVIRONMENT)
    problems = standalone.until(lambda: server.ask(server.kubectl, "get", "gatewayclass", "istio")[1] is None, "no istiod")
    if problems:
        raise RuntimeError((folder / "istiod.log").read_text()[-2000:])
    cluster.apply(*BEFORE[3:], *(each for each in objects if each["kind"] != "Deployment"))


if __name__ == "__main__":
    inside(*sys.argv[1:])
