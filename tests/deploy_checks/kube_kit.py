"""Kubernetes' and Istio's own programs, for the parts that need a cluster: no package has them ready-made, but Go builds
them from their modules. Once, in ten to fifteen minutes on two cores, with 6 GB of modules and caches.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

KUBERNETES = "v1.36.1"
# The libraries that Kubernetes is made of have the same release under another number.
LIBRARIES = "v0.36.1"
MODULES = {
    "k8s.io/kubernetes": KUBERNETES,
    "go.etcd.io/etcd/server/v3": "v3.6.8",
    "istio.io/istio": "v0.0.0-20260827124520-eed52ebb66ad",
}
PROGRAMS = {
    "etcd": "go.etcd.io/etcd/server/v3",
    "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
    "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
    "kubectl": "k8s.io/kubernetes/cmd/kubectl",
    "pilot-discovery": "istio.io/istio/pilot/cmd/pilot-discovery",
}


def find(folder):
    """The folder whose bin/ has all programs: KUBE_KIT, else the one that [`build`] made; `None` if there is none."""
    folder = pathlib.Path(os.environ.get("KUBE_KIT") or folder)
    return folder if all((folder / "bin" / name).exists() for name in PROGRAMS) else None


def build(folder):
    """Builds what is missing. What Go says goes to standard error."""
    if not shutil.which("go"):
        raise RuntimeError("--build-kube needs Go 1.26 or later")
    mark, wanted = folder / "built", json.dumps(MODULES)
    if folder.exists() and (not mark.exists() or mark.read_text() != wanted):
        shutil.rmtree(folder)
    (folder / "bin").mkdir(parents=True, exist_ok=True)
    mark.write_text(wanted)
    if not (folder / "go.sum").exists():
        (folder / "go.mod").write_text(_module(folder))
        _go(folder, "get", *(f"{module}@{version}" for module, version in MODULES.items()))
    version = "k8s.io/component-base/version"
    # Otherwise the API server would call itself v0.0.0-master.
    stamp = f"-X {version}.gitVersion={KUBERNETES} -X {version}.gitMajor=1 -X {version}.gitMinor={KUBERNETES.split('.')[1]}"
    for name, package in PROGRAMS.items():
        if not (folder / "bin" / name).exists():
            print(f"deploy: building {name}", file=sys.stderr)
            # The tags are those of Istio's own builds; without them the programs share less.
            _go(folder, "build", "-trimpath", "-tags=vtprotobuf,disable_pgv", f"-ldflags=-s -w {stamp}", "-o", f"bin/{name}", package)


def _module(folder):
    """A module that may use Kubernetes' own: its libraries are folders there, and modules for everybody else."""
    words = ["go", "mod", "download", "-json", f"k8s.io/kubernetes@{KUBERNETES}"]
    found = subprocess.run(words, cwd=folder, check=True, capture_output=True, text=True)
    text = pathlib.Path(json.loads(found.stdout)["GoMod"]).read_text()
    libraries = re.findall(r"^\s*(k8s\.io/\S+) => \./staging/", text, re.MULTILINE)
    replaced = [f"\t{library} => {library} {LIBRARIES}" for library in libraries]
    return "\n".join(["module murmuration.test/kube", "", "go 1.26.0", "", "replace (", *replaced, ")", ""])


def _go(folder, *words):
    environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=mod"}
    subprocess.run(["go", *words], cwd=folder, env=environment, stdout=sys.stderr, check=True)
