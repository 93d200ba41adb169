{{/* The engine type for core-metrics-extractor, where it is not vLLM. */}}
{{- define "murmuration.engine" -}}
{{- if ne .Values.router.modelServers.type "vllm" }}
  parameters: {defaultEngine: {{ .Values.router.modelServers.type }}}
{{- end }}
{{- end -}}

{{- define "murmuration.metricsSource" -}}
- type: metrics-data-source
  parameters: {scheme: {{ .Values.router.epp.metricsDataSource.scheme }}, path: {{ .Values.router.epp.metricsDataSource.path | quote }}}
- type: core-metrics-extractor
{{- include "murmuration.engine" . }}
{{- end -}}

{{- define "murmuration.parsers" -}}
{{- with .Values.router.epp.parsers }}
requestHandler:
  parsers:
  {{- range . }}
  - pluginRef: {{ . }}
  {{- end }}
{{- end }}
{{- end -}}

{{- define "murmuration.parserPlugins" -}}
{{- range .Values.router.epp.parsers }}
- type: {{ . }}
{{- end }}
{{- end -}}

{{- define "murmuration.dataLayer" -}}
dataLayer:
  sources:
  - pluginRef: metrics-data-source
    extractors:
    - pluginRef: core-metrics-extractor
{{- end -}}

{{/* deploy/config/default.yaml with the values of `metricsDataSource`, `type` and `parsers`. */}}
{{- define "murmuration.default-plugins.yaml" -}}
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins:
- type: prefill-cost-scorer
{{ include "murmuration.metricsSource" . }}
{{- include "murmuration.parserPlugins" . }}
schedulingProfiles:
- name: default
  plugins:
  - pluginRef: prefill-cost-scorer
    weight: 1
{{ include "murmuration.dataLayer" . }}
{{- include "murmuration.parsers" . }}
{{- end -}}

{{/* deploy/config/llm-d-default.yaml, the same way. */}}
{{- define "murmuration.llm-d-default-plugins.yaml" -}}
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins:
- type: queue-scorer
- type: kv-cache-utilization-scorer
- type: prefix-cache-scorer
{{ include "murmuration.metricsSource" . }}
{{- include "murmuration.parserPlugins" . }}
schedulingProfiles:
- name: default
  plugins:
  - pluginRef: queue-scorer
    weight: 2
  - pluginRef: kv-cache-utilization-scorer
    weight: 2
  - pluginRef: prefix-cache-scorer
    weight: 3
{{ include "murmuration.dataLayer" . }}
{{- include "murmuration.parsers" . }}
{{- end -}}

{{/* For bodies that no parser reads: the load alone, and sessions that stay. */}}
{{- define "murmuration.payload-agnostic.yaml" -}}
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins:
- type: passthrough-parser
- type: active-request-scorer
- type: session-affinity-scorer
{{ include "murmuration.metricsSource" . }}
requestHandler:
  parsers:
  - pluginRef: passthrough-parser
schedulingProfiles:
- name: default
  plugins:
  - pluginRef: active-request-scorer
    weight: 1
  - pluginRef: session-affinity-scorer
    weight: 1
{{ include "murmuration.dataLayer" . }}
{{- end -}}

{{- define "murmuration.configData" -}}
{{- $data := dict -}}
{{- range list "default-plugins.yaml" "llm-d-default-plugins.yaml" "payload-agnostic.yaml" -}}
{{- $_ := set $data . (printf "%s\n" (include (printf "murmuration.%s" .) $)) -}}
{{- end -}}
{{- toYaml (merge (deepCopy .Values.router.epp.pluginsCustomConfig) $data) -}}
{{- end -}}
