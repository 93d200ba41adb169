{{/* Names are llm-d's, so that a release moves over in place: the pool has the release's name, all else NAME-epp. */}}
{{- define "murmuration.base" -}}
{{- .Release.Name | lower | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "murmuration.name" -}}
{{ include "murmuration.base" . }}-epp
{{- end -}}

{{- define "murmuration.proxyName" -}}
{{ include "murmuration.base" . }}-proxy
{{- end -}}

{{- define "murmuration.peersName" -}}
{{ include "murmuration.name" . }}-peers
{{- end -}}

{{- define "murmuration.modelServersName" -}}
{{ include "murmuration.base" . }}-model-servers
{{- end -}}

{{- define "murmuration.host" -}}
{{ include "murmuration.name" . }}.{{ .Release.Namespace }}.svc.{{ .Values.router.clusterDomain }}
{{- end -}}

{{- define "murmuration.labels" -}}
app.kubernetes.io/name: {{ include "murmuration.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: murmuration
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{/* llm-d's labels: a Deployment's selector can't be changed, so an upgrade from llm-d's chart needs the same. */}}
{{- define "murmuration.selectorLabels" -}}
{{- if .Values.router.inferencePool.create -}}
llm-d-router-gateway: {{ include "murmuration.name" . }}
{{- else -}}
llm-d-router-standalone: {{ include "murmuration.name" . }}
{{- end -}}
{{- end -}}

{{/* Labels that pods of ours have and llm-d's do not, for what must not select those during a move. */}}
{{- define "murmuration.tierLabels" -}}
{{ include "murmuration.selectorLabels" . }}
app.kubernetes.io/part-of: murmuration
app.kubernetes.io/component: endpoint-picker
{{- end -}}

{{- define "murmuration.proxyLabels" -}}
llm-d-router-proxy: {{ include "murmuration.proxyName" . }}
{{- end -}}

{{/* The image: `router.epp.image` where it is given and not llm-d's own, else `murmuration.image`. */}}
{{- define "murmuration.image" -}}
{{- $image := .Values.murmuration.image -}}
{{- $theirs := .Values.router.epp.image -}}
{{- if and $theirs.repository (not (include "murmuration.isLlmdImage" .)) -}}
{{- $image = merge (deepCopy $theirs) (dict "tag" "" "registry" "" "digest" "") -}}
{{- end -}}
{{- with $image.registry }}{{ . }}/{{ end }}{{ $image.repository }}
{{- if $image.digest }}@{{ $image.digest }}{{ else }}:{{ $image.tag | default .Chart.AppVersion }}{{ end }}
{{- end -}}

{{- define "murmuration.pullPolicy" -}}
{{- if include "murmuration.isLlmdImage" . -}}
{{ .Values.murmuration.image.pullPolicy }}
{{- else -}}
{{ .Values.router.epp.image.pullPolicy | default .Values.murmuration.image.pullPolicy }}
{{- end -}}
{{- end -}}

{{- define "murmuration.isLlmdImage" -}}
{{- if regexMatch "(^|/)(llm-d-router-endpoint-picker|llm-d-inference-scheduler|epp)$" (.Values.router.epp.image.repository | default "") -}}yes{{- end -}}
{{- end -}}

{{- define "murmuration.isOpenShift" -}}
{{- if .Capabilities.APIVersions.Has "security.openshift.io/v1" -}}yes{{- end -}}
{{- end -}}

{{/* What the chart's pods and containers need for restricted Pod Security. A tokenizer's image may need more, so user and
     group are said for each container. OpenShift chooses them, and the group of volumes, itself. */}}
{{- define "murmuration.podSecurityContext" -}}
seccompProfile: {type: RuntimeDefault}
{{- if not (include "murmuration.isOpenShift" .) }}
{{- with .Values.murmuration.runAs.fsGroup }}
fsGroup: {{ . | int64 }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "murmuration.securityContext" -}}
allowPrivilegeEscalation: false
capabilities: {drop: [ALL]}
readOnlyRootFilesystem: true
runAsNonRoot: true
{{- if not (include "murmuration.isOpenShift" .) }}
{{- with .Values.murmuration.runAs.user }}
runAsUser: {{ . | int64 }}
{{- end }}
{{- with .Values.murmuration.runAs.group }}
runAsGroup: {{ . | int64 }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "murmuration.spread" -}}
{{- if .Values.murmuration.topologySpreadConstraints -}}
{{- toYaml .Values.murmuration.topologySpreadConstraints -}}
{{- else -}}
{{ include "murmuration.spreadOf" (include "murmuration.selectorLabels" .) }}
{{- end -}}
{{- end -}}

{{/* A skew of one over zones and nodes, for pods with these labels. */}}
{{- define "murmuration.spreadOf" -}}
{{- $constraints := list -}}
{{- range $key := list "topology.kubernetes.io/zone" "kubernetes.io/hostname" -}}
{{- $selector := dict "matchLabels" ($ | fromYaml) -}}
{{- $constraints = append $constraints (dict "maxSkew" 1 "topologyKey" $key "whenUnsatisfiable" "ScheduleAnyway" "labelSelector" $selector "matchLabelKeys" (list "pod-template-hash")) -}}
{{- end -}}
{{- toYaml $constraints -}}
{{- end -}}

{{/* The chart's anti-affinity with the user's affinity laid over it. */}}
{{- define "murmuration.affinity" -}}
{{- $labels := include "murmuration.selectorLabels" . | fromYaml -}}
{{- $term := dict "topologyKey" "kubernetes.io/hostname" "labelSelector" (dict "matchLabels" $labels) -}}
{{- $ours := dict "preferredDuringSchedulingIgnoredDuringExecution" (list (dict "weight" 100 "podAffinityTerm" $term)) -}}
{{- $theirs := deepCopy .Values.router.epp.affinity -}}
{{- if not (hasKey $theirs "podAntiAffinity") -}}
{{- $_ := set $theirs "podAntiAffinity" $ours -}}
{{- end -}}
{{- toYaml $theirs -}}
{{- end -}}

{{/* The pod of `helm test`, as a peer of a NetworkPolicy. */}}
{{- define "murmuration.testPods" -}}
- podSelector:
    matchLabels:
      app.kubernetes.io/instance: {{ .Release.Name }}
      app.kubernetes.io/component: test
{{- end -}}
