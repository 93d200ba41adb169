{{- define "murmuration.proxyConfigName" -}}
{{- dig "name" "" .Values.router.proxy.configMap | default (include "murmuration.proxyName" .) -}}
{{- end -}}

{{- define "murmuration.proxyVolumes" -}}
- name: envoy-config
  configMap: {name: {{ include "murmuration.proxyConfigName" . }}}
{{- with include "murmuration.servingSecret" . }}
- name: serving-ca
  secret: {secretName: {{ . }}, defaultMode: 0440, items: [{key: ca.crt, path: ca.crt}]}
{{- end }}
{{- with .Values.router.proxy.volumes }}
{{ tpl (toYaml .) $ }}
{{- end }}
{{- end -}}

{{- define "murmuration.proxyContainer" -}}
{{- $proxy := .Values.router.proxy -}}
name: {{ $proxy.name | default "envoy-proxy" }}
image: {{ $proxy.image | quote }}
imagePullPolicy: {{ $proxy.imagePullPolicy }}
command: [{{ $proxy.command | default "envoy" | quote }}]
args: {{ $proxy.args | default (list "-c" "/etc/envoy/envoy.yaml" "--service-node" "envoy-proxy" "--service-cluster" "envoy-proxy" "--log-level" "warn" "--cpuset-threads" "--disable-hot-restart") | toJson }}
{{- with $proxy.env }}
env:
{{ toYaml . }}
{{- end }}
ports:
{{- if $proxy.ports }}
{{ toYaml $proxy.ports }}
{{- else }}
- {name: http, containerPort: {{ include "murmuration.proxyPort" . }}}
- {name: envoy-metrics, containerPort: 19001}
{{- end }}
readinessProbe:
{{- if $proxy.readinessProbe }}
  {{- toYaml $proxy.readinessProbe | nindent 2 }}
{{- else }}
  httpGet: {path: /ready, port: 19001}
  periodSeconds: 5
  failureThreshold: 1
{{- end }}
startupProbe:
{{- if $proxy.startupProbe }}
  {{- toYaml $proxy.startupProbe | nindent 2 }}
{{- else }}
  httpGet: {path: /ready, port: 19001}
  periodSeconds: 1
  failureThreshold: 60
{{- end }}
{{- with $proxy.livenessProbe }}
livenessProbe:
  {{- toYaml . | nindent 2 }}
{{- end }}
lifecycle:
  preStop: {sleep: {seconds: {{ include "murmuration.proxyStopSeconds" . }}}}
resources:
  {{- toYaml $proxy.resources | nindent 2 }}
securityContext:
  {{- toYaml (merge (deepCopy $proxy.securityContext) (include "murmuration.securityContext" . | fromYaml)) | nindent 2 }}
volumeMounts:
- {name: envoy-config, mountPath: /etc/envoy, readOnly: true}
{{- if include "murmuration.servingSecret" . }}
- {name: serving-ca, mountPath: /var/run/murmuration/serving-ca, readOnly: true}
{{- end }}
{{- with $proxy.volumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}
