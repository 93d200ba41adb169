"""Kubernetes objects as data: read, found by kind and name, and held to the schemas of their kinds.

Must not know what the objects are for.
"""

import copy
import re

import jsonschema
import kubernetes_validate
import yaml

# Kinds without a published definition that could be fetched.
WITHOUT_SCHEMA = {"HealthCheckPolicy", "GCPBackendPolicy", "PodMonitoring"}
# Kinds whose definitions are read; to read all would take minutes.
CUSTOM_KINDS = {
    "BackendTLSPolicy", "BackendTrafficPolicy", "Certificate", "DestinationRule", "EnvoyExtensionPolicy", "HTTPRoute",
    "InferenceObjective", "InferencePool", "Issuer", "PrometheusRule", "ScaledObject", "ServiceMonitor",
}


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    """Reads `=` as the text that it is."""


_Loader.add_constructor("tag:yaml.org,2002:value", lambda loader, node: node.value)


def read(text):
    """All objects of a YAML stream."""
    return [each for each in yaml.safe_load_all(text) if each]


def of_kind(objects, kind):
    """The objects of one kind."""
    return [each for each in objects if each["kind"] == kind]


def one(objects, kind, name):
    """The object of this kind and name; an error where it is missing."""
    found = [each for each in of_kind(objects, kind) if each["metadata"]["name"] == name]
    if len(found) != 1:
        raise AssertionError(f"{len(found)} objects {kind} {name}")
    return found[0]


def fits(selector, labels):
    """Whether a selector of labels, all of them equalities, selects an object with these labels."""
    return bool(selector) and all(labels.get(key) == value for key, value in selector.items())


class Schemas:
    """The schemas of built-in kinds, and of those that definitions of custom resources describe."""

    def __init__(self, crd_files):
        self.custom = {}
        for path in crd_files:
            text = path.read_text()
            # Templates of charts can't be read as YAML, and their conditions stand in lines of their own.
            text = "\n".join(line for line in text.splitlines() if not line.strip().startswith("{{"))
            for part in text.split("\n---"):
                kind = re.search(r"^    kind: (\w+)$", part, re.MULTILINE)
                if kind and kind[1] in CUSTOM_KINDS:
                    self._add(yaml.load(part.split("\n", 1)[1] if part.startswith(" ") else part, Loader=_Loader))

    def _add(self, crd):
        for version in crd["spec"]["versions"]:
            key = (f"{crd['spec']['group']}/{version['name']}", crd["spec"]["names"]["kind"])
            schema = version.get("schema", {}).get("openAPIV3Schema")
            if schema:
                self.custom[key] = _strict(copy.deepcopy(schema), is_root=True)

    def tell_missing(self, report, part):
        """Reports kinds whose definitions could not be had as a check that was skipped."""
        if self.missing():
            cure = "no definition; cure: Go, to fetch modules, and ../shared"
            report.skip(f"{part}: schemas of {', '.join(self.missing())}", cure)

    def missing(self):
        """Kinds whose definitions could not be had."""
        return sorted(CUSTOM_KINDS - {kind for _, kind in self.custom})

    def problems(self, found, version):
        """What the schemas of this Kubernetes version say against an object; one text without a schema for its kind."""
        name = f"{found['kind']} {found['metadata']['name']}"
        key = (found["apiVersion"], found["kind"])
        if key in self.custom:
            errors = jsonschema.Draft7Validator(self.custom[key]).iter_errors(found)
            return [f"{name}: {'.'.join(map(str, error.path))}: {error.message}" for error in errors]
        if found["kind"] in self.missing():
            return []
        if "." in found["apiVersion"].split("/")[0] and not found["apiVersion"].split("/")[0].endswith("k8s.io"):
            return [] if found["kind"] in WITHOUT_SCHEMA else [f"{name}: no schema for {found['apiVersion']}"]
        try:
            kubernetes_validate.validate(found, version, strict=True)
            return []
        except (kubernetes_validate.ValidationError, kubernetes_validate.SchemaNotFoundError) as error:
            return [f"{name}: {'.'.join(map(str, getattr(error, 'path', [])))}: {error.message}"]


def _strict(schema, is_root=False):
    """A definition's schema in which fields that it does not name are errors, as in a strict API server."""
    if not isinstance(schema, dict):
        return schema
    if schema.pop("x-kubernetes-int-or-string", False):
        return {}
    properties = schema.get("properties")
    if properties is not None:
        if is_root:
            properties.update({"apiVersion": {}, "kind": {}, "metadata": {}})
        for name in list(properties):
            properties[name] = _strict(properties[name])
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            schema.setdefault("additionalProperties", False)
    for name in ("items", "additionalProperties"):
        if name in schema:
            schema[name] = _strict(schema[name])
    # Messages of these are about rules that properties above repeat.
    for name in ("format", "oneOf", "anyOf", "allOf", "not"):
        schema.pop(name, None)
    if schema.pop("nullable", False):
        schema["type"] = [schema["type"], "null"] if "type" in schema else None
    return schema
