{{/* Flags of llm-d's picker that have nothing to switch here; docs/helm-values.md says why for each. */}}
{{- define "murmuration.passedOver" -}}
- allow-experimental-plugins
- disable-endpoint-subset-filter
- emit-endpoint-scores
- enable-cert-reload
- enable-grpc-stream-metrics
- enable-pprof
- grpc-max-recv-msg-size
- grpc-max-send-msg-size
- ha-enable-leader-election
- health-checking
- metrics-cert-dir
- metrics-client-ca-file
- metrics-staleness-threshold
- tls-cipher-suites
- tls-min-version
- zap-devel
- zap-encoder
- zap-log-level
- zap-stacktrace-level
- zap-time-encoding
{{- end -}}

{{/* Flags that take no value. */}}
{{- define "murmuration.switches" -}}
- allow-shared-peer-certificate
- gossip-accept-v1
- insecure-gossip
- insecure-peer-streams
{{- end -}}

{{- define "murmuration.isSecure" -}}
{{- if ne (toString (dig "secure-serving" true .Values.router.epp.flags)) "false" -}}yes{{- end -}}
{{- end -}}

{{/* Whether /metrics needs a token: where the chart sets up a collector that has one, unless that is switched off. */}}
{{- define "murmuration.isGuarded" -}}
{{- $own := and .Values.router.monitoring.prometheus.enabled (dig "auth" "enabled" true .Values.router.monitoring.prometheus) -}}
{{- if eq (toString (dig "metrics-endpoint-auth" $own .Values.router.epp.flags)) "true" -}}yes{{- end -}}
{{- end -}}

{{/* The account that may read /metrics, and the Secret with its token. */}}
{{- define "murmuration.readerName" -}}
{{ include "murmuration.name" . }}-metrics-reader
{{- end -}}
{{- define "murmuration.readerSecret" -}}
{{- dig "auth" "secretName" "" .Values.router.monitoring.prometheus | default (include "murmuration.readerName" .) -}}
{{- end -}}

{{/* Seconds of the drain: the flag's, where somebody set it, else the value's. */}}
{{- define "murmuration.drainSeconds" -}}
{{- $flag := dig "drain-timeout" "" .Values.router.epp.flags | toString -}}
{{- if not $flag -}}
{{- .Values.murmuration.drainSeconds -}}
{{- else if regexMatch "^[0-9]+s$" $flag -}}
{{- trimSuffix "s" $flag -}}
{{- else if regexMatch "^[0-9]+m$" $flag -}}
{{- mul 60 (trimSuffix "m" $flag | int) -}}
{{- else -}}
{{- fail (printf "router.epp.flags.drain-timeout: write it as 90s or 2m, not %q: the pod's grace period follows from it" $flag) -}}
{{- end -}}
{{- end -}}

{{/* How long a stopping pod waits before SIGTERM. A proxy beside the picker has to be served until it stops itself. */}}
{{- define "murmuration.preStopSeconds" -}}
{{- $own := .Values.murmuration.preStopSleepSeconds | int -}}
{{- if eq .Values.provider.name "gke" -}}{{- $own = max $own 15 -}}{{- end -}}
{{- if include "murmuration.isSidecar" . -}}{{- $own = max $own (include "murmuration.proxyStopSeconds" . | int) -}}{{- end -}}
{{- $own -}}
{{- end -}}

{{/* The tier's own pods. Watching them finds a new peer at once; the name in DNS needs no right. */}}
{{- define "murmuration.peerSelector" -}}
{{- $labels := list -}}
{{- range $key, $value := include "murmuration.tierLabels" . | fromYaml -}}
{{- $labels = append $labels (printf "%s=%s" $key $value) -}}
{{- end -}}
{{- join "," $labels -}}
{{- end -}}

{{/* All flags as a map: the chart's, with the user's laid over them. */}}
{{- define "murmuration.flags" -}}
{{- $flags := dict -}}
{{- if .Values.router.inferencePool.create -}}
{{- $_ := set $flags "pool-name" .Release.Name -}}
{{- $_ := set $flags "pool-namespace" .Release.Namespace -}}
{{- $_ := set $flags "pool-group" "inference.networking.k8s.io" -}}
{{- else -}}
{{- $labels := list -}}
{{- range $key, $value := .Values.router.modelServers.matchLabels -}}
{{- $labels = append $labels (printf "%s=%s" $key $value) -}}
{{- end -}}
{{- $ports := list -}}
{{- range .Values.router.modelServers.targetPorts -}}{{- $ports = append $ports (toString .number) -}}{{- end -}}
{{- $_ := set $flags "endpoint-selector" (join "," $labels) -}}
{{- $_ := set $flags "endpoint-target-ports" (join "," $ports) -}}
{{- end -}}
{{- $_ := set $flags "config-file" (printf "/config/%s" .Values.router.epp.pluginsConfigFile) -}}
{{- $_ := set $flags "bind" .Values.murmuration.bind -}}
{{- $_ := set $flags "grpc-port" .Values.router.epp.extProcPort -}}
{{- $_ := set $flags "grpc-health-port" .Values.router.epp.grpcHealthPort -}}
{{- $_ := set $flags "response-path" .Values.murmuration.responsePath -}}
{{- $_ := set $flags "tracing" .Values.router.tracing.enabled -}}
{{- $_ := set $flags "metrics-endpoint-auth" (eq (include "murmuration.isGuarded" .) "yes") -}}
{{- $_ := set $flags "peer" (printf "%s.%s.svc.%s:9004" (include "murmuration.peersName" .) .Release.Namespace .Values.router.clusterDomain) -}}
{{- $_ := set $flags "peer-selector" (include "murmuration.peerSelector" .) -}}
{{- $_ := set $flags "gossip-key-file" "/var/run/murmuration/gossip/gossip.key" -}}
{{- $_ := set $flags "peer-cert-path" "/var/run/murmuration/peers" -}}
{{- if ne .Values.murmuration.secrets.peers.source "cert-manager-csi" -}}
{{- $_ := set $flags "allow-shared-peer-certificate" true -}}
{{- end -}}
{{- if and (include "murmuration.isSecure" .) (ne .Values.murmuration.secrets.serving.source "self-signed") -}}
{{- $_ := set $flags "cert-path" "/var/run/murmuration/serving" -}}
{{- end -}}
{{- $passedOver := include "murmuration.passedOver" . | fromYamlArray -}}
{{- range $key, $value := .Values.router.epp.flags -}}
{{- if not (has $key $passedOver) -}}
{{- $_ := set $flags (ternary "verbosity" $key (eq $key "v")) $value -}}
{{- end -}}
{{- end -}}
{{- if eq (toString (dig "insecure-gossip" "" .Values.router.epp.flags)) "true" -}}
{{- $_ := unset $flags "gossip-key-file" -}}
{{- end -}}
{{- if eq (toString (dig "insecure-peer-streams" "" .Values.router.epp.flags)) "true" -}}
{{- $_ := unset $flags "peer-cert-path" -}}
{{- $_ := unset $flags "allow-shared-peer-certificate" -}}
{{- end -}}
{{- $_ := set $flags "drain-timeout" (printf "%ss" (include "murmuration.drainSeconds" .)) -}}
{{- toYaml $flags -}}
{{- end -}}

{{/* The map as a list of arguments. Numbers come from YAML as floats, which %v would write with an exponent. */}}
{{- define "murmuration.args" -}}
{{- $switches := include "murmuration.switches" . | fromYamlArray -}}
{{- range $key, $value := include "murmuration.flags" . | fromYaml }}
{{- if has $key $switches }}
{{- if eq (toString $value) "true" }}
- --{{ $key }}
{{- end }}
{{- else if kindIs "slice" $value }}
{{- range $value }}
- {{ printf "--%s=%v" $key . | quote }}
{{- end }}
{{- else if kindIs "float64" $value }}
- {{ printf "--%s=%s" $key (ternary (toString (int64 $value)) (toString $value) (eq (float64 (int64 $value)) $value)) | quote }}
{{- else }}
- {{ printf "--%s=%v" $key $value | quote }}
{{- end }}
{{- end }}
{{- end -}}
