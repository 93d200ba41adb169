"""The same objects before a real API server: every rendering as a dry run, and a release that is installed, upgraded,
scaled and taken away. There is no kubelet: pods are never made.

Its programs are those of `kube_kit.py`.
"""

import base64
import contextlib
import json
import pathlib
import secrets
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.request

import yaml

from . import chart
from . import objects as kubernetes
from .kustomize import FOLDER, build


NAMESPACE = "models"
SECONDS_MAX = 120


def run(report, kit):
    """Starts the server, asks it, and stops it."""
    folder, kubectl, helm = kit.kube(), kit.program("kubectl"), kit.program("helm")
    if not folder or not kubectl or not helm:
        report.skip("a real API server", "needs helm, and KUBE_KIT or --build-kube")
        return
    with Server(folder, kubectl, helm) as server:
        _dry_runs(report, kit, server)
        _release(report, server)


class Server:
    """etcd on loopback and an API server at `host`, in a folder that ends with them."""

    def __init__(self, programs, kubectl, helm, host="127.0.0.1"):
        self.programs, self.kubectl, self.helm, self.host = programs, kubectl, helm, host
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="deploy-"))
        self.running = []

    def __enter__(self):
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for process in reversed(self.running):
            process.kill()
            process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self):
        token = secrets.token_hex(16)
        store, peers, api = (_free_port() for _ in range(3))
        (self.folder / "tokens").write_text(f"{token},admin,admin,system:masters\n")
        key = ["openssl", "genrsa", "-out", str(self.folder / "sa.key"), "2048"]
        subprocess.run(key, check=True, capture_output=True)
        at, near = f"http://127.0.0.1:{store}", f"http://127.0.0.1:{peers}"
        self._run(
            "etcd", "--data-dir=etcd", "--unsafe-no-fsync", "--log-level=warn", f"--listen-client-urls={at}",
            f"--advertise-client-urls={at}", f"--listen-peer-urls={near}", f"--initial-advertise-peer-urls={near}",
            f"--initial-cluster=default={near}")
        self._run(
            "kube-apiserver", f"--etcd-servers={at}", f"--bind-address={self.host}", f"--secure-port={api}", "--cert-dir=pki",
            "--token-auth-file=tokens", "--authorization-mode=RBAC", "--service-cluster-ip-range=10.96.0.0/24",
            "--service-account-issuer=https://kubernetes.default.svc", "--service-account-key-file=sa.key",
            "--service-account-signing-key-file=sa.key", "--endpoint-reconciler-type=none",
            # No controller makes service accounts' tokens here.
            "--disable-admission-plugins=ServiceAccount", f"--advertise-address={self.host}")
        self._wait(f"https://{self.host}:{api}/readyz")
        self.token, self.port, self.authority = token, api, self.folder / "pki/apiserver.crt"
        self.kubeconfig = self.folder / "kubeconfig"
        self.kubeconfig.write_text(json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "it",
            "clusters": [{"name": "it", "cluster": {
                "server": f"https://{self.host}:{api}", "certificate-authority": str(self.authority)}}],
            "users": [{"name": "it", "user": {"token": token}}],
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}]}))

    def _run(self, name, *words):
        with open(self.folder / f"{name}.log", "wb") as log:
            self.running.append(
                subprocess.Popen([str(self.programs / name), *words], cwd=self.folder, stdout=log, stderr=log))

    def _wait(self, url):
        began = time.monotonic()
        while time.monotonic() - began < SECONDS_MAX:
            with contextlib.suppress(OSError):
                # The server made its certificate a moment ago.
                with urllib.request.urlopen(url, timeout=2, context=ssl._create_unverified_context()) as answer:
                    if answer.read() == b"ok":
                        return
            time.sleep(0.2)
        raise RuntimeError("the API server did not start: " + (self.folder / "kube-apiserver.log").read_text()[-2000:])

    def ask(self, program, *words, stdin=None):
        """Runs kubectl or helm; its output, or its error."""
        command = [program, *words, "--kubeconfig", str(self.kubeconfig)]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
        return (done.stdout, None) if done.returncode == 0 else (None, done.stderr.strip())

    def call(self, method, path, body=None):
        """One call of the API, as the administrator; its answer as an object. Changes are merged."""
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        headers = {"authorization": f"Bearer {self.token}", "content-type": kind}
        url, data = f"https://{self.host}:{self.port}{path}", json.dumps(body).encode() if body else None
        request = urllib.request.Request(url, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=10, context=ssl._create_unverified_context()) as answer:
            return json.load(answer)

    def get(self, kind, name):
        """An object as it is stored."""
        text, error = self.ask(self.kubectl, "get", kind, name, "-n", NAMESPACE, "-o", "json")
        if error:
            raise RuntimeError(error)
        return json.loads(text)


def _free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def definitions(kit, kinds=kubernetes.CUSTOM_KINDS):
    for path in kit.crds():
        text = "\n".join(line for line in path.read_text().splitlines() if not line.strip().startswith("{{"))
        for part in text.split("\n---"):
            if any(f"\n    kind: {kind}\n" in part for kind in kinds) and "\nkind: CustomResourceDefinition" in part:
                yield part.split("\n", 1)[1] if part.startswith(" ") else part


def _dry_runs(report, kit, server):
    every = "\n---\n".join(definitions(kit))
    _, error = server.ask(server.kubectl, "apply", "--server-side", "--force-conflicts", "-f", "-", stdin=every)
    report.check("API server: takes the definitions of custom resources", [error] if error else [])
    server.ask(server.kubectl, "wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
    server.ask(server.kubectl, "create", "namespace", NAMESPACE)
    # Kubernetes warns about, or refuses, what the strictest Pod Security would not run.
    server.ask(server.kubectl, "label", "namespace", NAMESPACE, "pod-security.kubernetes.io/warn=restricted")
    renderer = chart.Renderer(server.helm)
    for file in sorted(chart.VALUES.glob("*.yaml")):
        objects, _ = renderer.render(file)
        # The tokenizer's image is another project's and needs more.
        report.check(f"API server: {file.name}", _dry_run(server, objects, is_restricted="tokenizer" not in file.read_text()))
    for folder in sorted((FOLDER / "overlays").iterdir()):
        text, _ = build(kit.program("kustomize") or [server.kubectl, "kustomize"], folder)
        report.check(f"API server: overlay {folder.name}", _dry_run(server, kubernetes.read(text), True))


def _dry_run(server, objects, is_restricted):
    objects = [each for each in objects if each["kind"] not in kubernetes.WITHOUT_SCHEMA]
    command = [server.kubectl, "apply", "--dry-run=server", "-n", NAMESPACE, "-f", "-", "--kubeconfig", str(server.kubeconfig)]
    done = subprocess.run(command, input=yaml.safe_dump_all(objects), capture_output=True, text=True, check=False)
    if done.returncode:
        yield done.stderr
    if is_restricted and "PodSecurity" in done.stderr:
        yield done.stderr


def _release(report, server):
    """A release's life. Its Secrets outlive upgrades, and its Deployment's selector never changes."""
    words = ["vllm", str(chart.CHART), "--namespace", NAMESPACE, "--values", str(chart.VALUES / "istio.yaml")]
    _, error = server.ask(server.helm, "install", *words)
    if not report.check("helm install", [error] if error else []):
        return
    names = ("vllm-epp-gossip", "vllm-epp-peers", "vllm-epp-serving")
    # As somebody who rotates keys does it.
    rotated = base64.b64encode(b"new\nold\n").decode()
    patch = ["patch", "secret", names[0], "-n", NAMESPACE, "--type=merge", "-p", json.dumps({"data": {"gossip.key": rotated}})]
    server.ask(server.kubectl, *patch)
    before = {name: server.get("secret", name)["data"] for name in names}
    _, error = server.ask(server.helm, "upgrade", *words, "--set", "router.epp.replicas=5")
    report.check("helm upgrade", [error] if error else [])
    after = {name: server.get("secret", name)["data"] for name in names}
    problems = [name for name in names if before[name] != after[name]]
    problems += [] if after[names[0]]["gossip.key"] == rotated else ["the key is not the rotated one"]
    report.check("an upgrade keeps the Secrets, and a key that was rotated", problems)
    deployment = server.get("deployment", "vllm-epp")
    report.check("an upgrade scales", [] if deployment["spec"]["replicas"] == 5 else [str(deployment["spec"]["replicas"])])
    _, error = server.ask(server.helm, "rollback", "vllm", "1", "--namespace", NAMESPACE)
    report.check("helm rollback", [error] if error else [])
    kept = server.get("secret", names[0])["data"]["gossip.key"] == rotated
    report.check("a rollback keeps a key that was rotated", [] if kept else ["it is back at the old key"])
    report.check("the pool outlives all of it", [] if server.get("inferencepool", "vllm") else ["it is gone"])
    _may(report, server)
    _, error = server.ask(server.helm, "uninstall", "vllm", "--namespace", NAMESPACE)
    report.check("helm uninstall", [error] if error else [])
    report.check("the Secrets outlive the release", [name for name in names if not server.get("secret", name)])
    _, error = server.ask(server.helm, "install", *words)
    report.check("helm install, with Secrets that are there", [error] if error else [])


def _may(report, server):
    """What the picker's account may and may not, by the server's own judgement."""
    account = f"--as=system:serviceaccount:{NAMESPACE}:vllm-epp"
    problems = []
    for verb, resource, expected in (
        ("watch", "pods", "yes"), ("list", "inferencepools.inference.networking.k8s.io", "yes"),
        ("watch", "inferenceobjectives.llm-d.ai", "yes"), ("get", "secrets", "no"), ("delete", "pods", "no"),
        ("create", "leases.coordination.k8s.io", "no"), ("list", "nodes", "no"),
        ("patch", "inferencepools.inference.networking.k8s.io", "no"),
        ("patch", "inferenceobjectives.llm-d.ai", "no"), ("patch", "inferenceobjectives.llm-d.ai/status", "yes"),
    ):
        resource, _, part = resource.partition("/")
        words = ["auth", "can-i", verb, resource, f"--subresource={part}", "-n", NAMESPACE, account, "--kubeconfig", str(server.kubeconfig)]
        command = [server.kubectl, *words]
        answer = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
        problems += [] if answer == expected else [f"{verb} {resource} {part}: {answer}"]
    report.check("what the picker's account may", problems)
