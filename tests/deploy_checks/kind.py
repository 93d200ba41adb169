"""`deploy/kind/check`, as it is, on a real API server behind a real istiod, with processes as pods.

Takes three minutes.
"""

import json
import os
import pathlib
import re
import subprocess
import sys

from .control_plane import ControlPlane, enter
from .tools import ROOT


def run(report, kit):
    """Finds the programs, and runs the rest in the namespace."""
    enter(report, kit, "on kind", "deploy_checks.kind")


def inside(folder, program, engine, envoy, kit, kubectl, helm):
    """Runs in the namespace; prints what is wrong, by the check's own lines, as JSON."""
    programs = {
        "/murmuration:": lambda container, _: ([program, "serve", *container["args"]], {}),
        "llm-d-inference-sim": lambda container, pod: (
            [engine, "--bind", "0.0.0.0", "--name", pod.name, *container["args"]], {}),
    }
    with ControlPlane(folder, kit, kubectl, helm, envoy, programs) as cluster:
        path = f"{pathlib.Path(kubectl).parent}:{pathlib.Path(helm).parent}:{os.environ['PATH']}"
        environment = {**os.environ, "KUBECONFIG": str(cluster.server.kubeconfig), "PATH": path}
        done = subprocess.run([str(ROOT / "deploy/kind/check")], capture_output=True, text=True, env=environment, check=False)
    lines = re.findall(r"^(ok|FAILED) +(.+)$", done.stdout, re.MULTILINE)
    found = {text: [] if verdict == "ok" else [text] for verdict, text in lines}
    found["the script comes to its end"] = [] if done.returncode == 0 else [(done.stdout + done.stderr)[-3000:]]
    print(json.dumps(found))


if __name__ == "__main__":
    inside(*sys.argv[1:])
