"""The image script: the same input gives the same bytes, and tools that know nothing of it read what it writes."""

import json
import pathlib
import re
import subprocess
import tempfile

from .tools import ROOT

SCRIPT = ROOT / "deploy/docker/build-image"
# Of a release; other builds are larger.
BYTES_MAX = 40_000_000


def run(report, kit):
    """All checks of the image."""
    program = kit.murmuration()
    if not program:
        report.skip("the image", "no murmuration is built; cure: cargo build --release -p murmuration-actors")
        return
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        first, second = folder / "first.tar", folder / "second.tar"
        for path in (first, second):
            done = subprocess.run([str(SCRIPT), program, str(path)], capture_output=True, text=True, check=False)
            if done.returncode:
                report.check("the image is written", [done.stderr])
                return
        print(f"        {done.stdout.strip()}")
        report.check("the image is the same each time", [] if first.read_bytes() == second.read_bytes() else ["bytes differ"])
        size = first.stat().st_size
        report.check("the image is below 40 MB", [] if size < BYTES_MAX else [f"{size} bytes"])
        _skopeo(report, kit, first)
        _umoci(report, kit, first, folder)


def _skopeo(report, kit, archive):
    skopeo = kit.program("skopeo")
    if not skopeo:
        report.skip("skopeo reads the image", "no skopeo; cure: apt-get install skopeo")
        return
    command = [skopeo, "inspect", "--config", f"oci-archive:{archive}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    problems = [done.stderr] if done.returncode else []
    if not problems:
        config = json.loads(done.stdout)["config"]
        dockerfile = (ROOT / "deploy/docker/Dockerfile").read_text()
        environment = re.findall(r"^ENV (MALLOC\S+)$", dockerfile, re.MULTILINE)
        wanted = {"User": "65532:65532", "Env": environment, "Entrypoint": ["/murmuration", "serve"]}
        problems = [f"{key} is {config.get(key)}" for key, value in wanted.items() if config.get(key) != value]
    report.check("skopeo reads the image", problems)


def _umoci(report, kit, archive, folder):
    """Unpacks the image and runs it, with nothing else in its root."""
    umoci, skopeo = kit.program("umoci"), kit.program("skopeo")
    if not umoci or not skopeo:
        report.skip("umoci unpacks the image", "no umoci; cure: apt-get install umoci")
        return
    layout, bundle = folder / "layout", folder / "bundle"
    for command in (
        [skopeo, "copy", "--quiet", f"oci-archive:{archive}", f"oci:{layout}:image"],
        [umoci, "unpack", "--rootless", "--image", f"{layout}:image", str(bundle)],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            report.check("umoci unpacks the image", [done.stderr])
            return
    report.check("umoci unpacks the image", [])
    command = ["unshare", "--user", "--map-root-user", "--root", str(bundle / "rootfs"), "/murmuration", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "unshare" in done.stderr and done.returncode:
        report.skip("the program runs in the image's root", "no user namespaces here")
    else:
        report.check("the program runs in the image's root", [] if done.returncode == 0 else [done.stdout + done.stderr])
