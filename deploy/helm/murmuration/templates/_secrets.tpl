{{- define "murmuration.gossipSecret" -}}
{{- .Values.murmuration.secrets.gossip.existingSecret | default (printf "%s-gossip" (include "murmuration.name" .)) -}}
{{- end -}}

{{- define "murmuration.peerSecret" -}}
{{- if eq .Values.murmuration.secrets.peers.source "secret" -}}
{{- required "murmuration.secrets.peers.existingSecret: source `secret` needs a name" .Values.murmuration.secrets.peers.existingSecret -}}
{{- else -}}
{{ include "murmuration.peersName" . }}
{{- end -}}
{{- end -}}

{{/* The Secret of the serving certificate; empty where each replica makes its own. */}}
{{- define "murmuration.servingSecret" -}}
{{- $serving := .Values.murmuration.secrets.serving -}}
{{- if or (not (include "murmuration.isSecure" .)) (eq $serving.source "self-signed") -}}
{{- else if eq $serving.source "secret" -}}
{{- required "murmuration.secrets.serving.existingSecret: source `secret` needs a name" $serving.existingSecret -}}
{{- else -}}
{{ include "murmuration.name" . }}-serving
{{- end -}}
{{- end -}}

{{/* Names under which a gateway may reach the picker. */}}
{{- define "murmuration.servingNames" -}}
{{- $name := include "murmuration.name" . -}}
- {{ include "murmuration.host" . }}
- {{ $name }}.{{ .Release.Namespace }}.svc
- {{ $name }}.{{ .Release.Namespace }}
- {{ $name }}
- localhost
{{- end -}}

{{/* The issuer of cert-manager's certificates: the user's, or the chart's own authority. */}}
{{- define "murmuration.issuerRef" -}}
{{- $own := dict "name" (include "murmuration.peersName" .) "kind" "Issuer" "group" "cert-manager.io" -}}
{{- if .Values.murmuration.secrets.issuerRef.name -}}
{{- toYaml (merge (deepCopy .Values.murmuration.secrets.issuerRef) (dict "kind" "Issuer" "group" "cert-manager.io")) -}}
{{- else -}}
{{- toYaml $own -}}
{{- end -}}
{{- end -}}

{{- define "murmuration.secretMetadata" -}}
namespace: {{ .Release.Namespace }}
labels:
  {{- include "murmuration.labels" . | nindent 2 }}
annotations:
  helm.sh/hook: pre-install,pre-upgrade
  helm.sh/hook-weight: "-5"
{{- end -}}

{{/* A new certificate by an authority of its own, whose key is thrown away. Arguments: root, cn, names. */}}
{{- define "murmuration.certificate" -}}
{{- $days := .root.Values.murmuration.secrets.validityDays | int -}}
{{- $authority := genCA (printf "%s authority" .cn) $days -}}
{{- $made := genSignedCert .cn nil .names $days $authority -}}
ca.crt: {{ $authority.Cert | b64enc }}
tls.crt: {{ $made.Cert | b64enc }}
tls.key: {{ $made.Key | b64enc }}
{{- end -}}
