"""The README's way from nothing to a routed request, line by line, on a real API server whose pods are processes.

Of its lines, those that make the image are not run (another part builds one), and the port-forward, which needs a
kubelet: the request goes to a pod's address instead. Runs as root, where KUBE_KIT names a folder whose bin/ has
kube-apiserver, kube-controller-manager and etcd.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

from . import standalone
from .control_plane import ControlPlane

README = pathlib.Path(__file__).resolve().parents[2] / "README.md"
LINES_MAX = 10
# Lines that are not run here, by their first words.
LEFT_OUT = ("cargo build", "deploy/docker/build-image", "skopeo copy", "kubectl -n models port-forward")
PROGRAMS = ["kube-apiserver", "kube-controller-manager", "etcd"]


def run(report, kit):
    """Finds the programs, and runs the rest in the namespace."""
    name = "first use"
    folder = pathlib.Path(os.environ.get("KUBE_KIT") or "/nowhere") / "bin"
    program, helm, envoy, kubectl = kit.murmuration(), kit.program("helm"), kit.envoy(), kit.program("kubectl")
    engine = program and pathlib.Path(program).with_name("engine-sim")
    has_all = helm and envoy and kubectl and engine and engine.exists() and shutil.which("curl") and os.geteuid() == 0
    if not has_all or not all((folder / each).exists() for each in PROGRAMS):
        report.skip(name, f"needs root, curl, built programs, and KUBE_KIT with bin/ of {', '.join(PROGRAMS)}")
        return
    report.check(f"{name}: the README takes at most {LINES_MAX} lines", [] if len(block()) <= LINES_MAX else block())
    with tempfile.TemporaryDirectory(prefix="deploy-") as place:
        words = [place, program, str(engine), envoy, str(folder), kubectl, helm]
        standalone.enter(report, name, "deploy_checks.first_use", words)


def block():
    """The lines of the README's block."""
    section = README.read_text().split("\n## On Kubernetes\n", 1)[1]
    return re.search(r"```sh\n(.*?)```", section, re.DOTALL)[1].splitlines()


def inside(folder, program, engine, envoy, kit, kubectl, helm):
    """Runs in the namespace; prints what is wrong, by the line, as JSON."""
    programs = {
        "REGISTRY/murmuration": lambda container, _: ([program, "serve", *container["args"]], {}),
        "llm-d-inference-sim": lambda container, pod: (
            [engine, "--bind", "0.0.0.0", "--name", pod.name, *container["args"]], {}),
        "envoyproxy/envoy": lambda container, _: ([envoy, *container["args"]], {}),
        "curl": lambda container, _: ([shutil.which(container["command"][0]), *container["command"][1:], *container["args"]], {}),
    }
    found = {}
    with ControlPlane(folder, kit, kubectl, helm, envoy, programs, istio=False) as cluster:
        path = f"{pathlib.Path(kubectl).parent}:{pathlib.Path(helm).parent}:{os.environ['PATH']}"
        environment = {**os.environ, "KUBECONFIG": str(cluster.server.kubeconfig), "PATH": path}
        for line in "\n".join(block()).replace("\\\n", "").splitlines():
            if line.startswith(LEFT_OUT):
                continue
            pods = cluster.pods.named("qwen-epp-")
            if pods:
                line = line.replace("localhost", pods[0].address)
            done = subprocess.run(["bash", "-ec", line], capture_output=True, text=True, env=environment, cwd=README.parent, check=False)
            said = (done.stdout + done.stderr).strip()
            good = done.returncode == 0 and (not line.startswith("curl") or '"choices"' in done.stdout)
            found[" ".join(line.split())[:60]] = [] if good else [said[-2000:]]
        if os.environ.get("KEEP_LOGS"):
            cluster.keep_logs(pathlib.Path(os.environ["KEEP_LOGS"]))
    print(json.dumps(found))


if __name__ == "__main__":
    inside(*sys.argv[1:])
