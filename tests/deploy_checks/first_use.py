"""The README's way from nothing to a routed request, line by line, on a real API server whose pods are processes.

Of its lines, those that make the image are not run (another part builds one), and the port-forward, which needs a
kubelet: the request goes to a pod's address instead. Takes a minute and a half.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

from .control_plane import ControlPlane, enter

README = pathlib.Path(__file__).resolve().parents[2] / "README.md"
LINES_MAX = 10
# Lines that are not run here, by their first words.
LEFT_OUT = ("cargo build", "deploy/docker/build-image", "skopeo copy", "kubectl -n models port-forward")


def run(report, kit):
    """Finds the programs, and runs the rest in the namespace."""
    report.check(f"first use: the README takes at most {LINES_MAX} lines", [] if len(block()) <= LINES_MAX else block())
    enter(report, kit, "first use", "deploy_checks.first_use")


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
    print(json.dumps(found))


if __name__ == "__main__":
    inside(*sys.argv[1:])
