"""The conformance tests of the Gateway API Inference Extension, unchanged, with Istio's gateway and this picker.

Their manifests name images: this picker stands for the suite's, and the echo server that the suite uses is built from
its module. The picker's plugins `header-based-testing-filter` and `destination-endpoint-served-verifier` are what the
suite asks of one. Needs Go. Takes a minute.
"""

import json
import os
import pathlib
import re
import subprocess
import sys

from .control_plane import ControlPlane, enter

EXPECTED = 13
# The tests of the suite that no picker passes behind Istio 1.31, with the reason.
LEFT_OUT = {"GatewayWeightedAcrossTwoInferencePools": "Istio 1.31 asks one picker for each rule of a route, and this rule has two pools"}
MINUTES_MAX = 20
CONFIG = """\
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins:
- type: header-based-testing-filter
- type: destination-endpoint-served-verifier
- type: prefill-cost-scorer
- type: max-score-picker
schedulingProfiles:
- name: default
  plugins:
  - pluginRef: header-based-testing-filter
  - pluginRef: prefill-cost-scorer
  - pluginRef: max-score-picker
"""


def run(report, kit):
    """Builds the suite here, and runs the rest in the namespace."""
    suite = kit.kube() and kit.conformance()
    if suite is None:
        report.skip("conformance", "needs KUBE_KIT or --build-kube, and Go to build the suite")
        return
    enter(report, kit, "conformance", "deploy_checks.conformance", [suite])
    for test, why in LEFT_OUT.items():
        report.skip(f"conformance: {test}", why)


def inside(folder, program, _engine, envoy, kit, kubectl, helm, suite):
    """Runs in the namespace; prints what is wrong, by the name of the test, as JSON."""
    folder, suite = pathlib.Path(folder), pathlib.Path(suite)

    def picker(container, _):
        # The suite's Services say h2c, and its picker's flags for logs are llm-d's.
        words = ["serve", *container["args"], "--secure-serving=false", "--config-file=/etc/picker.yaml"]
        return [program, *words], {"/etc/picker.yaml": CONFIG.encode()}

    programs = {"lwepp": picker, "echo-basic": lambda *_: ([str(suite / "echo-basic")], {})}
    with ControlPlane(folder, kit, kubectl, helm, envoy, programs) as cluster:
        words = ["-test.v", f"-test.timeout={MINUTES_MAX}m", "-gateway-class=istio", "-allow-crds-mismatch", "-cleanup-base-resources=false"]
        words.append(f"-skip-tests={','.join(LEFT_OUT)}")
        environment = {**os.environ, "KUBECONFIG": str(cluster.server.kubeconfig)}
        command = [str(suite / "conformance.test"), *words]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder, check=False)
        (folder / "suite.log").write_text(done.stdout + done.stderr)
    print(json.dumps(_judged(done.stdout + done.stderr)))


def _judged(text):
    """Each test of the suite with what went wrong in it."""
    found = {}
    for verdict, name in re.findall(r"^    --- (PASS|FAIL|SKIP): TestConformance/(\w+) ", text, re.MULTILINE):
        if name not in LEFT_OUT:
            found[name] = [] if verdict == "PASS" else _reasons(text, name) or [verdict]
    passed = sum(not problems for problems in found.values())
    short = [] if passed >= EXPECTED else [f"{passed}", text[-3000:]]
    return {f"at least {EXPECTED} tests of the suite ran and passed": short, **found}


def _reasons(text, name):
    """The lines of a test that say why it failed."""
    part = text.split(f"=== RUN   TestConformance/{name}\n", 1)[-1].split("=== RUN   TestConformance/", 1)[0]
    return [line.strip() for line in part.splitlines() if "Error" in line or "FAIL" in line][:10]


if __name__ == "__main__":
    inside(*sys.argv[1:])
