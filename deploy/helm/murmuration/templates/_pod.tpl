{{- define "murmuration.probes" -}}
{{- $port := .Values.router.epp.grpcHealthPort -}}
# `liveness` says only that the process answers: a restart would lose what a replica knows, and mend nothing.
startupProbe:
  grpc: {port: {{ $port }}, service: liveness}
  periodSeconds: 1
  failureThreshold: 60
livenessProbe:
  grpc: {port: {{ $port }}, service: liveness}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
# A picker that stands still is asked until it is no longer Ready, and each such request hangs.
readinessProbe:
  grpc: {port: {{ $port }}, service: readiness}
  periodSeconds: 1
  timeoutSeconds: 1
  failureThreshold: 2
{{- end -}}

{{- define "murmuration.env" -}}
- name: NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
- name: POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
- name: POD_IP
  valueFrom: {fieldRef: {fieldPath: status.podIP}}
# Kubernetes 1.35 and later copy the node's zone to its pods; before, it is empty unless `podLabels` sets it.
- name: ZONE
  valueFrom: {fieldRef: {fieldPath: "metadata.labels['topology.kubernetes.io/zone']"}}
{{- if .Values.router.tracing.enabled }}
- name: OTEL_SERVICE_NAME
  value: murmuration/epp
- name: OTEL_EXPORTER_OTLP_ENDPOINT
  value: {{ .Values.router.tracing.otelExporterEndpoint | quote }}
- name: OTEL_TRACES_SAMPLER_ARG
  value: {{ .Values.router.tracing.sampling.samplerArg | quote }}
{{- end }}
{{- with .Values.router.epp.env }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "murmuration.pickerContainer" -}}
name: epp
image: {{ include "murmuration.image" . | quote }}
imagePullPolicy: {{ include "murmuration.pullPolicy" . }}
# The image's entrypoint is `murmuration serve`.
args:
{{- include "murmuration.args" . }}
env:
{{ include "murmuration.env" . }}
ports:
- {name: grpc, containerPort: {{ .Values.router.epp.extProcPort }}}
- {name: grpc-health, containerPort: {{ .Values.router.epp.grpcHealthPort }}}
- {name: metrics, containerPort: 9090}
- {name: gossip, containerPort: 9004, protocol: UDP}
- {name: peers, containerPort: 9005}
{{- with .Values.router.epp.extraContainerPorts }}
{{ toYaml . }}
{{- end }}
{{ include "murmuration.probes" . }}
{{- with include "murmuration.preStopSeconds" . | int }}
lifecycle:
  preStop: {sleep: {seconds: {{ . }}}}
{{- end }}
resources:
  {{- toYaml .Values.router.epp.resources | nindent 2 }}
securityContext:
  {{- include "murmuration.securityContext" . | nindent 2 }}
volumeMounts:
- {name: config, mountPath: /config, readOnly: true}
- {name: gossip-key, mountPath: /var/run/murmuration/gossip, readOnly: true}
- {name: peer-certificate, mountPath: /var/run/murmuration/peers, readOnly: true}
{{- if hasKey (include "murmuration.flags" . | fromYaml) "cert-path" }}
{{- if eq (include "murmuration.servingSecret" .) "" }}{{ else }}
- {name: serving-certificate, mountPath: /var/run/murmuration/serving, readOnly: true}
{{- end }}
{{- end }}
{{- with .Values.router.epp.volumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "murmuration.tokenizerContainer" -}}
{{- $tokenizer := .Values.router.tokenizer -}}
name: vllm-render
image: {{ $tokenizer.image.registry }}/{{ $tokenizer.image.repository }}:{{ $tokenizer.image.tag }}
imagePullPolicy: {{ $tokenizer.image.pullPolicy }}
command: {{ $tokenizer.command | default (list "vllm" "launch" "render") | toJson }}
args: {{ concat ($tokenizer.args | default (list $tokenizer.modelName (printf "--port=%d" ($tokenizer.port | int)))) $tokenizer.extraArgs | toJson }}
ports:
- {name: render-http, containerPort: {{ $tokenizer.port }}}
{{- with $tokenizer.readinessProbe }}
readinessProbe:
  {{- toYaml . | nindent 2 }}
{{- end }}
env:
- {name: HF_HOME, value: /model-cache}
{{- with $tokenizer.env }}
{{ toYaml . }}
{{- end }}
resources:
  {{- toYaml $tokenizer.resources | nindent 2 }}
volumeMounts:
- {name: model-cache, mountPath: /model-cache}
{{- with $tokenizer.volumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "murmuration.peerVolume" -}}
{{- $peers := .Values.murmuration.secrets.peers -}}
name: peer-certificate
{{- if eq $peers.source "cert-manager-csi" }}
csi:
  driver: csi.cert-manager.io
  readOnly: true
  volumeAttributes:
    csi.cert-manager.io/issuer-name: {{ (include "murmuration.issuerRef" . | fromYaml).name }}
    csi.cert-manager.io/issuer-kind: {{ (include "murmuration.issuerRef" . | fromYaml).kind }}
    csi.cert-manager.io/issuer-group: {{ (include "murmuration.issuerRef" . | fromYaml).group }}
    csi.cert-manager.io/dns-names: murmuration-peer,${POD_NAME}
    csi.cert-manager.io/key-usages: server auth,client auth
    {{- with (include "murmuration.podSecurityContext" . | fromYaml).fsGroup }}
    csi.cert-manager.io/fs-group: {{ . | int64 | quote }}
    {{- end }}
{{- else }}
secret: {secretName: {{ include "murmuration.peerSecret" . }}, defaultMode: 0440}
{{- end }}
{{- end -}}

{{- define "murmuration.volumes" -}}
- name: config
  configMap: {name: {{ include "murmuration.name" . }}}
- name: gossip-key
  secret: {secretName: {{ include "murmuration.gossipSecret" . }}, defaultMode: 0440}
- {{ include "murmuration.peerVolume" . | nindent 2 | trim }}
{{- with include "murmuration.servingSecret" . }}
- name: serving-certificate
  secret: {secretName: {{ . }}, defaultMode: 0440}
{{- end }}
{{- if .Values.router.tokenizer.enabled }}
- name: model-cache
  emptyDir: {}
{{- with .Values.router.tokenizer.volumes }}
{{ toYaml . }}
{{- end }}
{{- end }}
{{- if include "murmuration.isSidecar" . }}
{{ include "murmuration.proxyVolumes" . }}
{{- end }}
{{- with .Values.router.epp.volumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}
