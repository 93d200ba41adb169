"""Runs the pods of an API server without containers: what a kubelet and a load balancer do, as far as checks need it.

Each pod has a network namespace with an address of its own on a bridge. Each container is a program of this machine, by
a table of images, in a root file system of its own: an overlay over the machine's, with volumes and the account's token
as files. Readiness, restarts and graceful ends are a kubelet's, and names of Services lead to pods. Left out: liveness,
users, limits, addresses of Services, and what kubectl asks a kubelet for (logs, exec, port-forward).
"""

import base64
import contextlib
import datetime
import http.client
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

BRIDGE = "10.89.0.1"
NODE = "here"
ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
# Where Kubernetes' defaults are not written into objects.
GRACE_SECONDS = 30
TICK_SECONDS = 0.25
RESTART_SECONDS = 1
# Arguments: the pod's folder, the files of the container, the program's folder, the command.
CONTAINER = """set -e
mount -t tmpfs pod "$1" && mkdir "$1/own" "$1/scratch" "$1/whole" && cp -a "$2/." "$1/own/"
mount -t overlay pod -o "lowerdir=/,upperdir=$1/own,workdir=$1/scratch" "$1/whole"
mkdir -p "$1/whole$3" && mount --bind "$3" "$1/whole$3"
for each in proc dev sys; do mount --rbind "/$each" "$1/whole/$each"; done
whole="$1/whole"; shift 3; exec chroot "$whole" "$@"
"""


def bridge():
    """The network of pods; this side has its first address."""
    for words in (
        ("link", "add", "pods", "type", "bridge"), ("address", "add", f"{BRIDGE}/16", "dev", "pods"), ("link", "set", "pods", "up"),
    ):
        subprocess.run(["ip", *words], check=True)


class Pods:
    """All pods, each with a thread of its own. `programs` maps a part of an image's name to a function of the container
    and its pod that gives the command and further files, by their paths."""

    def __init__(self, server, folder, programs, api):
        self.server, self.folder, self.programs, self.api = server, pathlib.Path(folder), programs, api
        self.running, self.count, self.over, self.services = {}, 1, threading.Event(), []
        # All that ever ran, for their logs.
        self.all = []
        self.loop = threading.Thread(target=self._loop, daemon=True)

    def __enter__(self):
        self.loop.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.loop.join()
        for pod in self.running.values():
            pod.grace = 0
            pod.leaving.set()
        for pod in self.running.values():
            pod.join()

    def named(self, beginning):
        """The running pods whose names begin so, in order."""
        found = [pod for pod in list(self.running.values()) if pod.name.startswith(beginning)]
        return sorted(found, key=lambda pod: pod.name)

    def _loop(self):
        while not self.over.wait(TICK_SECONDS):
            try:
                self._turn()
            # The server may be restarting, or have changed an object meanwhile: the next turn sees what this one missed.
            except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
                print(f"pods: {error!r}", file=sys.stderr)

    def _turn(self):
        listed = self.server.call("GET", "/api/v1/pods")["items"]
        for pod in listed:
            self._follow(pod)
        there = {pod["metadata"]["uid"] for pod in listed}
        for uid in [uid for uid in self.running if uid not in there]:
            # Deleted by force: nobody waits for its end.
            self.running[uid].grace = 0
            self.running[uid].leaving.set()
            if not self.running[uid].is_alive():
                del self.running[uid]
        self.services = self.server.call("GET", "/api/v1/services")["items"]
        for service in self.services:
            self._balance(service)

    def _follow(self, pod):
        metadata, uid = pod["metadata"], pod["metadata"]["uid"]
        path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"
        known = self.running.get(uid)
        if "deletionTimestamp" in metadata:
            if known:
                known.grace = metadata.get("deletionGracePeriodSeconds", GRACE_SECONDS)
                known.leaving.set()
            else:
                self.server.call("DELETE", f"{path}?gracePeriodSeconds=0")
        elif not pod["spec"].get("nodeName"):
            target = {"apiVersion": "v1", "kind": "Node", "name": NODE}
            binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": metadata["name"]}, "target": target}
            self.server.call("POST", f"{path}/binding", binding)
        elif known is None:
            self.count += 1
            address = f"10.89.{self.count // 250}.{self.count % 250 + 2}"
            self.running[uid] = Pod(self, pod, path, address, self.count)
            self.all.append(self.running[uid])
            self.running[uid].start()

    def _balance(self, service):
        metadata, spec = service["metadata"], service["spec"]
        if spec.get("type") != "LoadBalancer" or service["status"].get("loadBalancer"):
            return
        for pod in self._behind(service):
            path = f"/api/v1/namespaces/{metadata['namespace']}/services/{metadata['name']}/status"
            self.server.call("PATCH", path, {"status": {"loadBalancer": {"ingress": [{"ip": pod.address}]}}})
            return

    def _behind(self, service):
        """The pods that a Service selects."""
        wanted, namespace = (service["spec"].get("selector") or {}).items(), service["metadata"]["namespace"]
        for pod in list(self.running.values()):
            if wanted and pod.namespace == namespace and wanted <= pod.object["metadata"].get("labels", {}).items():
                yield pod

    def hosts(self, namespace):
        """What DNS would tell the pods of a namespace, as a file of hosts: all pods of a headless Service, one of others."""
        lines = ["127.0.0.1 localhost"]
        for service in self.services:
            name, of = service["metadata"]["name"], service["metadata"]["namespace"]
            headless = service["spec"].get("clusterIP") == "None"
            pods = [pod for pod in self._behind(service) if pod.ready or headless]
            names = f"{name}.{of}.svc.cluster.local {name}.{of}" + (f" {name}" if of == namespace else "")
            lines += [f"{pod.address} {names}" for pod in (pods if headless else pods[:1])]
        return "\n".join(lines) + "\n"


class Pod(threading.Thread):
    """One pod's life."""

    def __init__(self, pods, pod, path, address, number):
        super().__init__(daemon=True)
        self.pods, self.object, self.path, self.address, self.number = pods, pod, path, address, number
        self.name, self.namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
        self.folder = pods.folder / pod["metadata"]["uid"]
        self.leaving, self.grace = threading.Event(), GRACE_SECONDS
        self.containers, self.restarts, self.ready, self.named = {}, 0, False, ""
        # A node that is lost or slow: its pods keep the status that they had.
        self.is_reported = True

    def run(self):
        """From its start to its end."""
        began, failures, next_probe = now(), 0, 0.0
        try:
            self._network()
            for container in self.object["spec"]["containers"]:
                self._start(container)
            self._report(began)
            while not self.leaving.wait(0.1):
                if not self.is_reported:
                    continue
                self._name_services()
                if self._is_done():
                    return
                if self._restarted(began):
                    failures = 0
                if time.monotonic() < next_probe:
                    continue
                probed = time.monotonic()
                probes = [each["readinessProbe"] for each in self.object["spec"]["containers"] if "readinessProbe" in each]
                failures = 0 if all(self._answers(probe) for probe in probes) else failures + 1
                allowed = min((probe.get("failureThreshold", 3) for probe in probes), default=1)
                ready = failures == 0 or (self.ready and failures < allowed)
                period = min((probe.get("periodSeconds", 10) for probe in probes), default=10)
                next_probe = probed + (period if self.ready else min(period, 0.3))
                if ready != self.ready:
                    self.ready = ready
                    self._report(began)
            self._stop()
        finally:
            self._end()

    def _is_done(self):
        """Whether a pod that is not started again ran to its end; then it is told, and stays until it is deleted."""
        codes = [process.poll() for process in self.containers.values()]
        if self.object["spec"].get("restartPolicy") != "Never" or None in codes:
            return False
        status = {"phase": "Failed" if any(codes) else "Succeeded"}
        self.pods.server.call("PATCH", f"{self.path}/status", {"status": status})
        self.leaving.wait()
        return True

    def _name_services(self):
        """Writes the names of Services into the containers' file systems."""
        text = self.pods.hosts(self.namespace)
        if text == self.named:
            return
        for process in self.containers.values():
            root = pathlib.Path(f"/proc/{process.pid}/root")
            # A container that has just ended has no file system any more, and one that has just begun still this one's.
            with contextlib.suppress(OSError):
                if root.samefile("/"):
                    return
                (root / "etc/hosts").write_text(text)
        self.named = text

    def kill(self, number=signal.SIGKILL):
        """A signal for all containers."""
        for process in self.containers.values():
            process.send_signal(number)

    def log(self, container):
        """What a container wrote, of all its starts."""
        return (self.folder / f"{container}.log").read_text(errors="replace")

    def _network(self):
        self.folder.mkdir()
        words = ["unshare", "--net", "sh", "-c", "echo; exec sleep infinity"]
        self.pause = subprocess.Popen(words, stdout=subprocess.PIPE)
        self.pause.stdout.readline()
        inside = ["nsenter", "--target", str(self.pause.pid), "--net"]
        outer = f"pod{self.number}"
        for words in (
            ["ip", "link", "add", outer, "type", "veth", "peer", "name", "eth0", "netns", str(self.pause.pid)],
            ["ip", "link", "set", outer, "master", "pods", "up"],
            [*inside, "ip", "link", "set", "lo", "up"],
            [*inside, "ip", "address", "add", f"{self.address}/16", "dev", "eth0"],
            [*inside, "ip", "link", "set", "eth0", "up"],
            [*inside, "ip", "route", "add", "default", "via", BRIDGE],
        ):
            subprocess.run(words, check=True)

    def _start(self, container):
        place, files = self.folder / container["name"], self.folder / f"{container['name']}-files"
        place.mkdir(exist_ok=True)
        command, further = self._program(container)
        for path, content in {**self._volumes(container), **self._account(), **further}.items():
            # As everywhere, /var/run is a link to /run.
            target = files / re.sub("^/var/run/", "/run/", path).lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        enter = ["nsenter", "--target", str(self.pause.pid), "--net", "unshare", "--mount", "sh", "-c", CONTAINER, "container"]
        words = [*enter, str(place), str(files), str(pathlib.Path(command[0]).parent), *command]
        with open(self.folder / f"{container['name']}.log", "ab") as log:
            self.containers[container["name"]] = subprocess.Popen(
                words, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=self._environment(container))

    def _program(self, container):
        for part, program in self.pods.programs.items():
            if part in container["image"]:
                return program(container, self)
        raise RuntimeError(f"{self.name}: nothing stands for the image {container['image']}")

    def _environment(self, container):
        host, port = self.pods.api
        found = {"PATH": os.environ["PATH"], "KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": str(port)}
        for each in container.get("env", []):
            field = each.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath")
            found[each["name"]] = self._field(field) if field else each.get("value", "")
        return found

    def _field(self, path):
        label = re.fullmatch(r"metadata\.labels\['(.+)'\]", path)
        if label:
            return self.object["metadata"].get("labels", {}).get(label[1], "")
        return {"metadata.name": self.name, "metadata.namespace": self.namespace, "status.podIP": self.address}[path]

    def _volumes(self, container):
        volumes = {each["name"]: each for each in self.object["spec"].get("volumes", [])}
        found = {}
        for mount in container.get("volumeMounts", []):
            for key, content in self._content(volumes[mount["name"]]).items():
                found[f"{mount['mountPath']}/{key}"] = content
        return found

    def _content(self, volume):
        base = f"/api/v1/namespaces/{self.namespace}"
        if "secret" in volume:
            data = self.pods.server.call("GET", f"{base}/secrets/{volume['secret']['secretName']}")["data"]
            return {key: base64.b64decode(value) for key, value in data.items()}
        if "configMap" in volume:
            data = self.pods.server.call("GET", f"{base}/configmaps/{volume['configMap']['name']}")["data"]
            return {key: value.encode() for key, value in data.items()}
        return {}

    def _account(self):
        account = self.object["spec"].get("serviceAccountName", "default")
        wanted = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
        path = f"/api/v1/namespaces/{self.namespace}/serviceaccounts/{account}/token"
        token = self.pods.server.call("POST", path, wanted)["status"]["token"]
        return {
            f"{ACCOUNT}/token": token.encode(), f"{ACCOUNT}/namespace": self.namespace.encode(),
            f"{ACCOUNT}/ca.crt": self.pods.server.authority.read_bytes(),
        }

    def _restarted(self, began):
        ended = [name for name, process in self.containers.items() if process.poll() is not None]
        if self.object["spec"].get("restartPolicy") == "Never":
            return []
        if ended:
            self.ready = False
            self._report(began)
        for container in self.object["spec"]["containers"]:
            if container["name"] in ended:
                self.restarts, self.named = self.restarts + 1, ""
                time.sleep(RESTART_SECONDS)
                self._start(container)
        return ended

    def _answers(self, probe):
        """Whether a probe succeeds. Pickers tell on a page what they tell over gRPC."""
        port, path = probe.get("httpGet", {}).get("port"), probe.get("httpGet", {}).get("path", "/")
        for container in self.object["spec"]["containers"]:
            port = next((each["containerPort"] for each in container.get("ports", []) if each.get("name") == port), port)
        if "grpc" in probe:
            port, path = 9090, "/healthz" if probe["grpc"].get("service") == "liveness" else "/readyz"
        try:
            with urllib.request.urlopen(f"http://{self.address}:{port}{path}", timeout=probe.get("timeoutSeconds", 1)):
                return True
        except OSError:
            return False

    def _report(self, began):
        truth = "True" if self.ready else "False"
        conditions = [{"type": kind, "status": truth, "lastTransitionTime": now()} for kind in ("Ready", "ContainersReady")]
        statuses = [
            {
                "name": each["name"], "image": each["image"], "imageID": "", "ready": self.ready, "started": True,
                "restartCount": self.restarts, "state": {"running": {"startedAt": began}},
            } for each in self.object["spec"]["containers"]
        ]
        status = {
            "phase": "Running", "podIP": self.address, "podIPs": [{"ip": self.address}], "hostIP": BRIDGE, "startTime": began,
            "conditions": conditions, "containerStatuses": statuses,
        }
        # It may have been deleted a moment ago.
        with contextlib.suppress(urllib.error.HTTPError):
            self.pods.server.call("PATCH", f"{self.path}/status", {"status": status})

    def _stop(self):
        began = time.monotonic()
        hooks = [each.get("lifecycle", {}).get("preStop", {}) for each in self.object["spec"]["containers"]]
        time.sleep(min(max((hook.get("sleep", {}).get("seconds", 0) for hook in hooks), default=0), self.grace))
        self.kill(signal.SIGTERM if self.grace else signal.SIGKILL)
        # The grace may shrink meanwhile: then somebody deletes the pod by force.
        while time.monotonic() < began + self.grace and any(process.poll() is None for process in self.containers.values()):
            time.sleep(0.05)

    def _end(self):
        for process in [*self.containers.values(), self.pause]:
            process.kill()
            process.wait()
        with contextlib.suppress(OSError):
            self.pods.server.call("DELETE", f"{self.path}?gracePeriodSeconds=0")


def now():
    """The time as Kubernetes writes it."""
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
