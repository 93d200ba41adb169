"""Properties that every rendering has to have, whatever its values: what docs/kubernetes.md promises.

Each function takes the objects of one rendering and yields what is wrong. Must not know Helm or Kustomize.
"""

import json
import re

from .objects import fits, of_kind, one
from .tools import ROOT


def pickers(objects):
    """The picker's workload."""
    found = [each for each in of_kind(objects, "Deployment") if _container(each, "epp")]
    if len(found) != 1:
        raise AssertionError(f"{len(found)} deployments of pickers")
    return found[0]


def _pod(workload):
    return workload["spec"]["template"]["spec"]


def _labels(workload):
    return workload["spec"]["template"]["metadata"]["labels"]


def _container(workload, name):
    return next((each for each in _pod(workload)["containers"] if each["name"] == name), None)


def flags(workload):
    """The picker's arguments as a map."""
    words = _container(workload, "epp")["args"]
    return dict(word[2:].split("=", 1) if "=" in word else (word[2:], True) for word in words)


def nothing_insecure(objects):
    """No argument, and no field but the one that Istio needs for certificates that nobody signed."""
    for each in objects:
        text = json.dumps(each)
        if each["kind"] == "DestinationRule":
            text = text.replace('"insecureSkipVerify": true', "")
        if re.search("insecure", text, re.IGNORECASE):
            yield f"{each['kind']} {each['metadata']['name']} says `insecure`"


def flags_exist(objects):
    """Every flag is one of `murmuration serve`."""
    reference = (ROOT / "docs/reference/flags.md").read_text().split("## `murmuration serve`")[1].split("\n## ")[0]
    known = set(re.findall(r"`(?:-\w, )?--([a-z0-9-]+)", reference))
    for flag in flags(pickers(objects)):
        if flag not in known:
            yield f"--{flag} is no flag of murmuration serve"


def rolls_without_a_gap(objects):
    """A rolling update that takes nothing away before its successor is Ready, and time to drain."""
    workload = pickers(objects)
    strategy = workload["spec"]["strategy"]
    if strategy.get("type") != "RollingUpdate" or strategy["rollingUpdate"]["maxUnavailable"] != 0:
        yield f"the strategy is {strategy}"
    drain = int(flags(workload)["drain-timeout"].rstrip("s"))
    sleep = _container(workload, "epp").get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    grace = _pod(workload)["terminationGracePeriodSeconds"]
    if grace < drain + sleep + 5:
        yield f"a grace period of {grace} s is too short for {sleep} s and a drain of {drain} s"
    for name in ("startupProbe", "livenessProbe", "readinessProbe"):
        probe = _container(workload, "epp")[name]["grpc"]
        expected = "readiness" if name == "readinessProbe" else "liveness"
        if probe["service"] != expected or str(probe["port"]) != flags(workload)["grpc-health-port"]:
            yield f"{name} asks for {probe}"


def spreads(objects):
    """Over zones and nodes, and a budget that a drain of nodes heeds."""
    workload = pickers(objects)
    keys = [each["topologyKey"] for each in _pod(workload)["topologySpreadConstraints"]]
    if "topology.kubernetes.io/zone" not in keys:
        yield f"spreads over {keys} only"
    if "podAntiAffinity" not in _pod(workload).get("affinity", {}):
        yield "no anti-affinity"
    for each in of_kind(objects, "Deployment"):
        budgets = of_kind(objects, "PodDisruptionBudget")
        fitting = [budget for budget in budgets if fits(budget["spec"]["selector"]["matchLabels"], _labels(each))]
        if len(fitting) != 1 or "maxUnavailable" not in fitting[0]["spec"]:
            yield f"{len(fitting)} disruption budgets for {each['metadata']['name']}"


def is_restricted(objects):
    """Restricted Pod Security, read-only roots and requests, for all containers but the tokenizer's, whose image is
    another project's."""
    for workload in of_kind(objects, "Deployment") + of_kind(objects, "Pod"):
        pod = workload["spec"] if workload["kind"] == "Pod" else _pod(workload)
        if pod.get("securityContext", {}).get("seccompProfile", {}).get("type") != "RuntimeDefault":
            yield f"{workload['metadata']['name']}: no seccomp profile"
        for container in pod["containers"]:
            if container["name"] == "vllm-render":
                continue
            context = container.get("securityContext", {})
            wanted = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "runAsNonRoot": True}
            if any(context.get(key) != value for key, value in wanted.items()) or context["capabilities"]["drop"] != ["ALL"]:
                yield f"{container['name']}: securityContext is {context}"
            if not {"cpu", "memory"} <= set(container["resources"].get("requests", {})):
                yield f"{container['name']}: no requests"


def selectors_select(objects):
    """Every selector of ours fits the pods of one workload, and every target port is one of theirs."""
    workloads = of_kind(objects, "Deployment")
    for each in workloads:
        if not fits(each["spec"]["selector"]["matchLabels"], _labels(each)):
            yield f"Deployment {each['metadata']['name']} does not select its own pods"
    for service in of_kind(objects, "Service"):
        if service["metadata"]["labels"].get("app.kubernetes.io/component") == "model-servers":
            continue
        fitting = [each for each in workloads if fits(service["spec"]["selector"], _labels(each))]
        if len(fitting) != 1:
            yield f"Service {service['metadata']['name']} selects {len(fitting)} workloads"
            continue
        ports = [port for container in _pod(fitting[0])["containers"] for port in container["ports"]]
        known = {port["name"] for port in ports} | {port["containerPort"] for port in ports}
        for port in service["spec"]["ports"]:
            if port.get("targetPort", port["port"]) not in known:
                yield f"Service {service['metadata']['name']}: no container has the port {port}"
            is_said = port.get("appProtocol") or port.get("protocol") == "UDP"
            if not is_said and not re.match("(http|http2|grpc|tcp|tls)(-|$)", port["name"]):
                yield f"Service {service['metadata']['name']}: the port {port} does not say its protocol"
    for policy in of_kind(objects, "NetworkPolicy"):
        if not any(fits(policy["spec"]["podSelector"]["matchLabels"], _labels(each)) for each in workloads):
            yield f"NetworkPolicy {policy['metadata']['name']} selects nothing"


def monitors_select(objects):
    """A monitor finds the Service and its port."""
    for monitor in of_kind(objects, "ServiceMonitor"):
        services = of_kind(objects, "Service")
        selector = monitor["spec"]["selector"]["matchLabels"]
        fitting = [each for each in services if fits(selector, each["metadata"]["labels"])]
        ports = [port["name"] for each in fitting for port in each["spec"]["ports"]]
        if len(fitting) != 1 or monitor["spec"]["endpoints"][0]["port"] not in ports:
            yield f"ServiceMonitor selects {len(fitting)} services with the ports {ports}"


def pool_names_the_picker(objects):
    """The pool's picker is a Service of this rendering, at a port of it."""
    for pool in of_kind(objects, "InferencePool"):
        picker = pool["spec"]["endpointPickerRef"]
        ports = [port["port"] for port in one(objects, "Service", picker["name"])["spec"]["ports"]]
        if picker["port"]["number"] not in ports:
            yield f"the pool asks for port {picker['port']}; the Service has {ports}"
        if flags(pickers(objects)).get("pool-name") != pool["metadata"]["name"]:
            yield "--pool-name is not the pool's"
        if picker["failureMode"] not in ("FailOpen", "FailClose"):
            yield f"failureMode {picker['failureMode']}"


def volumes_exist(objects, elsewhere=()):
    """Every mount has its volume, and every volume its object; `elsewhere` are Secrets that somebody else makes."""
    made = {(each["kind"], each["metadata"]["name"]) for each in objects}
    made |= {("Secret", each["spec"]["secretName"]) for each in of_kind(objects, "Certificate")}
    made |= {("Secret", name) for name in elsewhere}
    for workload in of_kind(objects, "Deployment"):
        volumes = {each["name"]: each for each in _pod(workload)["volumes"]}
        if len(volumes) != len(_pod(workload)["volumes"]):
            yield f"{workload['metadata']['name']}: two volumes of one name"
        for container in _pod(workload)["containers"]:
            for mount in container.get("volumeMounts", []):
                if mount["name"] not in volumes:
                    yield f"{container['name']}: no volume {mount['name']}"
        for volume in volumes.values():
            name = volume.get("secret", {}).get("secretName") or volume.get("configMap", {}).get("name")
            kind = "Secret" if "secret" in volume else "ConfigMap"
            if name and (kind, name) not in made:
                yield f"nothing makes the {kind} {name}"


def rules(objects, account):
    """The rules of the roles that are bound to an account, as (group, resources, verbs)."""
    found = set()
    for binding in of_kind(objects, "RoleBinding") + of_kind(objects, "ClusterRoleBinding"):
        role = one(objects, binding["roleRef"]["kind"], binding["roleRef"]["name"])
        if account not in {each["name"] for each in binding["subjects"]}:
            continue
        for rule in role["rules"]:
            for group in rule.get("apiGroups", ["URL"]):
                names = rule.get("resources", rule.get("nonResourceURLs"))
                found.add((group, ",".join(sorted(names)), ",".join(sorted(rule["verbs"]))))
    return found


def _listed(mark):
    """The rules of a table of docs/kubernetes.md."""
    table = (ROOT / "docs/kubernetes.md").read_text().split(f"<!-- {mark} -->")[1].split("<!-- end -->")[0]
    rows = re.findall(r"^\| `([^`]*)` \| `([^`]*)` \| `([^`]*)` \|", table, re.MULTILINE)
    return {(group if group != "core" else "", resources, verbs) for group, resources, verbs in rows}


def may_only_what_the_docs_say(objects):
    """The rules equal the tables of docs/kubernetes.md, or are a part of them without a pool; and are bound."""
    picker = _pod(pickers(objects))["serviceAccountName"]
    guarded = flags(pickers(objects)).get("metrics-endpoint-auth") == "true"
    listed = _listed("rbac")
    expected = listed if of_kind(objects, "InferencePool") else {each for each in listed if each[1] == "pods"}
    expected |= _listed("reviews") if guarded else set()
    found = rules(objects, picker)
    if found != expected:
        yield f"the docs list {sorted(expected)}, the objects say {sorted(found)}"
    if not guarded and (of_kind(objects, "ClusterRole") or of_kind(objects, "ClusterRoleBinding")):
        yield "a rule for the whole cluster"
    reader = f"{picker}-metrics-reader"
    if guarded and rules(objects, reader) != {("URL", "/metrics", "get")}:
        yield f"the reader of metrics may {sorted(rules(objects, reader))}"
    for monitor in of_kind(objects, "ServiceMonitor") + of_kind(objects, "PodMonitoring"):
        credentials = monitor["spec"]["endpoints"][0].get("authorization", {}).get("credentials", {})
        name = credentials.get("name") or credentials.get("secret", {}).get("name")
        if guarded != bool(name):
            yield f"{monitor['kind']}: guarded is {guarded}, its token is of {name}"
        if guarded and one(objects, "Secret", name)["metadata"]["annotations"]["kubernetes.io/service-account.name"] != reader:
            yield f"Secret {name} is not the reader's"
    loose = {each["metadata"]["name"] for each in of_kind(objects, "Role") + of_kind(objects, "ClusterRole")}
    loose -= {each["roleRef"]["name"] for each in of_kind(objects, "RoleBinding") + of_kind(objects, "ClusterRoleBinding")}
    if loose:
        yield f"roles that nothing binds: {sorted(loose)}"


ALL = [
    nothing_insecure, flags_exist, rolls_without_a_gap, spreads, is_restricted, selectors_select, monitors_select,
    pool_names_the_picker, may_only_what_the_docs_say,
]
