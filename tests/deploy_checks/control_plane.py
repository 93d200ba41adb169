"""A cluster without nodes: an API server, the controllers that workloads need, istiod, and pods as processes.

Runs in a network namespace of its own. istiod also makes the Deployments and Services of Gateways, by a template that
stands for Istio's own; a stock Envoy, with a bootstrap that names istiod, stands for its proxy.
"""

import json
import os
import pathlib
import shutil
import tempfile

from . import pods as pods_module
from . import standalone
from .pods import BRIDGE, NODE, Pods
from .server import Server

CONTROLLERS = [
    "deployment-controller", "replicaset-controller", "endpointslice-controller", "serviceaccount-controller",
    "namespace-controller", "garbage-collector-controller",
]
XDS_PORT = 15010
# No agent fetches certificates for the proxies here; without them, mutual TLS would keep every listener waiting.
MESH = "enableAutoMtls: false\n"
ENVIRONMENT = {
    "POD_NAMESPACE": "istio-system", "POD_NAME": "istiod-0", "REVISION": "default",
    "ENABLE_GATEWAY_API_INFERENCE_EXTENSION": "true",
    # Filters that only Istio's own build of Envoy has.
    "PILOT_ENABLE_METADATA_EXCHANGE": "false", "PILOT_ENABLE_ALPN_FILTER": "false",
}
GATEWAY_TEMPLATE = """
apiVersion: v1
kind: ServiceAccount
metadata: {name: {{.ServiceAccount | quote}}, namespace: {{.Namespace | quote}}}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{.DeploymentName | quote}}
  namespace: {{.Namespace | quote}}
  labels: {gateway.networking.k8s.io/gateway-name: {{.Name | quote}}}
spec:
  selector: {matchLabels: {gateway.networking.k8s.io/gateway-name: {{.Name | quote}}}}
  template:
    metadata: {labels: {gateway.networking.k8s.io/gateway-name: {{.Name | quote}}}}
    spec:
      serviceAccountName: {{.ServiceAccount | quote}}
      containers: [{name: istio-proxy, image: {{.ProxyImage | quote}}}]
---
apiVersion: v1
kind: Service
metadata:
  name: {{.DeploymentName | quote}}
  namespace: {{.Namespace | quote}}
  labels: {gateway.networking.k8s.io/gateway-name: {{.Name | quote}}}
spec:
  type: {{.ServiceType | quote}}
  selector: {gateway.networking.k8s.io/gateway-name: {{.Name | quote}}}
  ports:
  {{- range .Ports}}
  - {name: {{.Name | quote}}, port: {{.Port}}, protocol: {{.Protocol}}, appProtocol: {{.AppProtocol}}}
  {{- end}}
"""


def enter(report, kit, name, module, further=()):
    """Runs a module's checks in a network namespace of its own, in a new folder with the definitions of custom resources.
    The module gets that folder, the programs, and what is `further`. Where programs are missing, the check is skipped."""
    program, helm, envoy, kubectl, kube = kit.murmuration(), kit.program("helm"), kit.envoy(), kit.program("kubectl"), kit.kube()
    engine = program and pathlib.Path(program).with_name("engine-sim")
    wanted = {
        "root": os.geteuid() == 0, "iproute2": shutil.which("ip"), "curl": shutil.which("curl"), "helm": helm, "Envoy": envoy,
        "built murmuration and engine-sim": engine and engine.exists(), "KUBE_KIT or --build-kube": kube and kubectl,
        "Go, for definitions of custom resources": shutil.which("go"),
    }
    lacking = [each for each, found in wanted.items() if not found]
    if lacking:
        report.skip(name, f"needs {', '.join(lacking)}")
        return
    with tempfile.TemporaryDirectory(prefix="deploy-") as place:
        _write_definitions(pathlib.Path(place), kit)
        words = [place, program, str(engine), envoy, str(kube), kubectl, helm, *map(str, further)]
        standalone.enter(report, name, module, words)


def _write_definitions(place, kit):
    """Definitions of all custom resources that a gateway of Istio's needs, as two files."""
    from . import objects as kubernetes
    from .server import definitions

    kinds = kubernetes.CUSTOM_KINDS | {"Gateway", "GatewayClass"}
    (place / "definitions.yaml").write_text("\n---\n".join(definitions(kit, kinds)))
    istio = [path.read_text() for path in kit.crds() if path.name == "crd-all.gen.yaml"]
    (place / "istio.yaml").write_text("\n---\n".join(istio))


class ControlPlane:
    """Everything but the pods' programs: those are `programs`, as [`Pods`] takes them, without Istio's proxy."""

    def __init__(self, folder, kit, kubectl, helm, envoy, programs, istio=True):
        self.folder, self.kit, self.envoy = pathlib.Path(folder), pathlib.Path(kit), envoy
        self.lab, self.istio = standalone.Lab(self.folder), istio
        self.server = Server(self.kit, kubectl, helm, host=BRIDGE)
        self.programs = {"proxyv2": self._proxy, **programs}

    def __enter__(self):
        standalone.network(self.folder, [])
        pods_module.bridge()
        self.server.__enter__()
        api = (BRIDGE, self.server.port)
        (self.folder / "pods").mkdir()
        self.pods = Pods(self.server, self.folder / "pods", self.programs, api)
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if os.environ.get("KEEP_LOGS"):
            self._keep_logs(pathlib.Path(os.environ["KEEP_LOGS"]))
        if self.pods.loop.ident:
            self.pods.__exit__()
        self.lab.kill(*list(self.lab.running))
        self.server.__exit__()

    def apply(self, text):
        """Applies manifests, and raises what the server says against them."""
        text = text if isinstance(text, str) else json.dumps({"apiVersion": "v1", "kind": "List", "items": text})
        words = ("apply", "--server-side", "--force-conflicts", "-f", "-")
        _, error = self.server.ask(self.server.kubectl, *words, stdin=text)
        if error:
            raise RuntimeError(error)

    def _keep_logs(self, place):
        """Copies what istiod, the controllers, all containers and the checks themselves wrote."""
        place.mkdir(parents=True, exist_ok=True)
        for log in self.folder.glob("*.log"):
            shutil.copy(log, place)
        for pod in self.pods.all:
            for container in pod.containers:
                (place / f"{pod.name}-{container}.log").write_text(pod.log(container))

    def _start(self):
        for name in ("definitions.yaml", "istio.yaml") if self.istio else ():
            self.apply((self.folder / name).read_text())
        self.server.ask(self.server.kubectl, "wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
        self.apply([
            {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}},
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "istio-system"}},
        ])
        config = f"--kubeconfig={self.server.kubeconfig}"
        words = ["--leader-elect=false", "--secure-port=0", f"--controllers={','.join(CONTROLLERS)}"]
        self.lab.start("controllers", str(self.kit / "kube-controller-manager"), config, *words)
        self.pods.__enter__()
        if self.istio:
            self._istiod(config)

    def _istiod(self, config):
        (self.folder / "mesh.yaml").write_text(MESH)
        # istiod looks for its templates below its working directory.
        templates = self.folder / "var/lib/istio/inject"
        templates.mkdir(parents=True)
        (templates / "config").write_text(json.dumps({"policy": "enabled", "templates": {"kube-gateway": GATEWAY_TEMPLATE}}))
        image = {"hub": "istio", "tag": "1.31.0", "proxy": {"image": "proxyv2"}}
        (templates / "values").write_text(json.dumps({"global": image}))
        words = ["discovery", config, f"--meshConfig={self.folder}/mesh.yaml", f"--grpcAddr={BRIDGE}:{XDS_PORT}"]
        self.lab.start("istiod", str(self.kit / "pilot-discovery"), *words, "--namespace=istio-system", **ENVIRONMENT)
        is_there = lambda: self.server.ask(self.server.kubectl, "get", "gatewayclass", "istio")[1] is None  # noqa: E731
        if standalone.until(is_there, "no GatewayClass"):
            raise RuntimeError((self.folder / "istiod.log").read_text()[-2000:])

    def _proxy(self, _, pod):
        bootstrap = json.dumps(_bootstrap(pod)).encode()
        words = ["-c", "/etc/envoy-bootstrap.json", "--log-level", "warn", "--disable-hot-restart", "--concurrency", "1"]
        return [self.envoy, *words], {"/etc/envoy-bootstrap.json": bootstrap}


def _bootstrap(pod):
    """Envoy as the proxy of a gateway: everything else comes from istiod."""
    labels = pod.object["metadata"]["labels"]
    xds = {"socket_address": {"address": BRIDGE, "port_value": XDS_PORT}}
    options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    return {
        "node": {
            "id": f"router~{pod.address}~{pod.name}.{pod.namespace}~{pod.namespace}.svc.cluster.local",
            "cluster": f"{pod.name}.{pod.namespace}",
            "metadata": {
                "NAMESPACE": pod.namespace, "CLUSTER_ID": "Kubernetes", "ISTIO_VERSION": "1.31.0",
                "INSTANCE_IPS": pod.address, "LABELS": labels,
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
