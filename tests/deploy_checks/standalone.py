"""What the chart writes for standalone mode, run for real: its keys and certificates, its arguments and its Envoy
configuration, with pickers and emulated engines of this repository on loopback in a network namespace of their own.

Discovery is by a file here, for there is no API server. Needs root (unshare, ip, mount) and built programs.
"""

import base64
import http.client
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

PICKERS = ["10.88.0.1", "10.88.0.2", "10.88.0.3"]
ENGINES = ["10.88.0.21", "10.88.0.22"]
ENTRY = f"http://{PICKERS[0]}:8081"
SECONDS_MAX = 60
NAMES = {"vllm-epp-peers.models.svc.cluster.local": PICKERS, "vllm-model-servers.models.svc.cluster.local": ENGINES}
# Flags of discovery by Kubernetes, and those that this place sets itself.
LEFT_OUT = {"endpoint-selector", "endpoint-target-ports", "peer-selector", "pool-namespace", "pool-group", "config-file", "bind"}
SECRETS = {"vllm-epp-gossip": "gossip", "vllm-epp-peers": "peers", "vllm-epp-serving": "serving"}


def run(report, kit):
    """Renders here, and runs the rest in the namespace."""
    from . import chart

    program, helm, envoy = kit.murmuration(), kit.program("helm"), kit.envoy()
    engine = program and pathlib.Path(program).with_name("engine-sim")
    is_able = os.geteuid() == 0 and shutil.which("unshare") and shutil.which("ip")
    if not (helm and envoy and engine and engine.exists() and is_able):
        report.skip("standalone mode, run", "needs root, iproute2, Envoy, and murmuration and engine-sim built side by side")
        return
    objects, error = chart.Renderer(helm).render(chart.VALUES / "standalone.yaml")
    if error:
        report.check("standalone mode, run", [error])
        return
    with tempfile.TemporaryDirectory(prefix="deploy-") as folder:
        folder = pathlib.Path(folder)
        write(folder, objects)
        prometheus = kit.program("prometheus") or ""
        if not prometheus:
            report.skip("every query of the dashboards gives data", "no prometheus; cure: apt-get install prometheus")
        words = [str(folder), program, str(engine), envoy, prometheus]
        enter(report, "standalone mode, run", "deploy_checks.standalone", words)


def enter(report, name, module, words):
    """Runs a module in a network namespace of its own, and reports the checks that it prints."""
    # With a process namespace nothing that runs in it outlives its first process, however that ends.
    alone = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    command = [*alone, sys.executable, "-m", module, *words]
    environment = {**os.environ, "PYTHONPATH": str(pathlib.Path(__file__).parents[1])}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        report.check(name, [done.stderr[-3000:]])
        return
    for check, problems in json.loads(done.stdout).items():
        report.check(f"{name}: {check}", problems)


def write(folder, objects):
    """The chart's Secrets, configurations and arguments as files."""
    import yaml

    from . import objects as kubernetes
    from . import properties

    for name, place in SECRETS.items():
        (folder / place).mkdir()
        for key, value in kubernetes.one(objects, "Secret", name)["data"].items():
            (folder / place / key).write_bytes(base64.b64decode(value))
    for proxy in (each for each in objects if each["kind"] == "ConfigMap" and "envoy.yaml" in each["data"]):
        text = proxy["data"]["envoy.yaml"].replace("/var/run/murmuration/serving-ca", str(folder / "serving"))
        # Pods share a loopback with their proxy; here the first picker stands for it.
        text = text.replace('"127.0.0.1", port_value: 9002', f'"{PICKERS[0]}", port_value: 9002')
        (folder / "envoy.yaml").write_text(text)
    config = yaml.safe_load(kubernetes.one(objects, "ConfigMap", "vllm-epp")["data"]["default-plugins.yaml"])
    config["plugins"].append({"type": "file-discovery", "parameters": {"path": str(folder / "endpoints.yaml")}})
    config["dataLayer"]["discovery"] = {"pluginRef": "file-discovery"}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    endpoints = [{"name": f"engine-{at}", "address": address, "port": 8000} for at, address in enumerate(ENGINES)]
    (folder / "endpoints.yaml").write_text(yaml.safe_dump({"endpoints": endpoints}))
    flags = properties.flags(properties.pickers(objects))
    for name in LEFT_OUT:
        flags.pop(name, None)
    words = [f"--{name}" if value is True else f"--{name}={value}" for name, value in flags.items()]
    words = [word.replace("/var/run/murmuration", str(folder)) for word in words]
    (folder / "arguments").write_text(json.dumps([*words, f"--config-file={folder / 'config.yaml'}"]))


class Lab:
    """The processes in the namespace."""

    def __init__(self, folder):
        self.folder, self.running = folder, {}

    def start(self, name, *command, **environment):
        """Starts a process with a log of its own."""
        with open(self.folder / f"{name}.log", "wb") as log:
            self.running[name] = subprocess.Popen(
                command, stdout=log, stderr=log, env={**os.environ, **environment}, cwd=self.folder)

    def kill(self, *names):
        """SIGKILL, and waits for the end."""
        for name in names:
            process = self.running.pop(name)
            process.send_signal(signal.SIGKILL)
            process.wait()


def ask(count, headers=None, stream=False, entry=ENTRY):
    """Statuses of so many completions through Envoy."""
    statuses = []
    for number in range(count):
        body = {"model": "tiny", "prompt": f"question {number} {time.monotonic()}", "max_tokens": 4}
        if stream:
            body |= {"max_tokens": 16, "stream": True, "stream_options": {"include_usage": True}}
        sent = {"content-type": "application/json", **(headers or {})}
        request = urllib.request.Request(f"{entry}/v1/completions", json.dumps(body).encode(), sent)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                answer.read()
                statuses.append(answer.status)
        except urllib.error.HTTPError as error:
            statuses.append(error.code)
        # An answer that is cut in the middle is the latter.
        except (OSError, http.client.HTTPException) as error:
            statuses.append(type(error).__name__)
    return statuses


def page(url):
    """A page's text, empty if nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return answer.read().decode()
    except OSError:
        return ""


def not_answered(statuses):
    """What is wrong with these statuses: all but 200."""
    return [] if set(statuses) == {200} else [f"statuses {statuses}"]


def inside(folder, program, engine, envoy, prometheus):
    """Runs in the namespace; prints what is wrong, by the name of the check, as JSON."""
    folder = pathlib.Path(folder)
    network(folder, [])
    lab, found = Lab(folder), {}
    try:
        start_engines_and_pickers(lab, folder, program, engine)
        lab.start("envoy", envoy, "-c", str(folder / "envoy.yaml"), "--disable-hot-restart", "--log-level", "warn")
        if prometheus:
            from . import live_queries

            (folder / "prometheus.json").write_text(live_queries.configuration(PICKERS))
            lab.start("prometheus", *live_queries.command(prometheus, folder))
        found["pickers meet with the chart's key and certificates, and find the engines"] = meet("default")
        found["Envoy is ready"] = until(_is_ready, "not ready")
        found["requests are answered"] = not_answered(ask(20))
        models = page(f"{ENTRY}/v1/models")
        found["a request without a body is answered"] = [] if '"tiny"' in models else [f"/v1/models: {models}"]
        stolen = ask(4, {"x-gateway-destination-endpoint": f"{PICKERS[2]}:9090"})
        found["a client's own destination is not obeyed"] = not_answered(stolen)
        if prometheus:
            found["every query of the dashboards gives data"] = _queried(live_queries)
        lab.kill("picker-0")
        found["the own picker dies: others take over at once"] = not_answered(ask(20))
        lab.kill("picker-1", "picker-2")
        time.sleep(2)
        found["no picker is left: model servers in turn"] = not_answered(ask(20))
    finally:
        lab.kill(*list(lab.running))
    print(json.dumps(found))


def _queried(live_queries):
    """Requests for some seconds, streamed ones too, so that rates and histograms have values."""
    began = time.monotonic()
    while time.monotonic() - began < 8:
        ask(4, stream=True)
        ask(4)
        time.sleep(0.2)
    return list(live_queries.problems())


def network(folder, further):
    """Addresses of all pods, and names for those that DNS would know."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for address in PICKERS + ENGINES + further:
        subprocess.run(["ip", "address", "add", f"{address}/32", "dev", "lo"], check=True)
    hosts = ["127.0.0.1 localhost", *(f"{address} {name}" for name, all_of in NAMES.items() for address in all_of)]
    (folder / "hosts").write_text("\n".join(hosts) + "\n")
    subprocess.run(["mount", "--bind", str(folder / "hosts"), "/etc/hosts"], check=True)


def start_engines_and_pickers(lab, folder, program, engine):
    """The processes of pods: two engines, and three pickers with the chart's arguments."""
    words = json.loads((folder / "arguments").read_text())
    for at, address in enumerate(ENGINES):
        lab.start(f"engine-{at}", engine, "--bind", address, "--port", "8000", "--name", f"engine-{at}")
    for at, address in enumerate(PICKERS):
        lab.start(f"picker-{at}", program, "serve", *words, f"--bind={address}", POD_NAME=f"picker-{at}", POD_IP=address)


def meet(pool):
    """Waits until every picker sees two peers and two engines."""

    def all_see():
        pages = [page(f"http://{address}:9090/metrics") for address in PICKERS]
        ready = f'llm_d_epp_ready_endpoints{{name="{pool}"}} 2'
        return all("\nmurmuration_peers 2\n" in each and ready in each for each in pages)

    return until(all_see, "not all see two peers and two engines")


def _is_ready():
    try:
        with urllib.request.urlopen(f"http://{PICKERS[0]}:19001/ready", timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False


def until(ask_whether, problem):
    """Waits for an answer; what is wrong if none comes."""
    began = time.monotonic()
    while time.monotonic() - began < SECONDS_MAX:
        if ask_whether():
            return []
        time.sleep(0.1)
    return [f"{problem} within {SECONDS_MAX} s"]


if __name__ == "__main__":
    inside(*sys.argv[1:])
