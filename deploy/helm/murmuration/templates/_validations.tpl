{{/* What the schema can't say. Each message names the value and the cure. */}}
{{- define "murmuration.validations" -}}
{{- $router := .Values.router -}}
{{- if not $router.modelServers.matchLabels -}}
{{- fail "router.modelServers.matchLabels is required: the labels of the model servers' pods, such as app: vllm-qwen3-32b" -}}
{{- end -}}
{{- if and (not $router.inferencePool.create) $router.inferenceObjectives -}}
{{- fail "router.inferenceObjectives belong to a pool: set router.inferencePool.create=true, or leave them out" -}}
{{- end -}}
{{- if and $router.tokenizer.enabled (not $router.tokenizer.modelName) -}}
{{- fail "router.tokenizer.modelName is required where the tokenizer is enabled" -}}
{{- end -}}
{{- if dig "enabled" false ($router.latencyPredictor | default dict) -}}
{{- fail "router.latencyPredictor.enabled: predictors are not supported; set it to false. The default configuration prices choices by itself: docs/price.md" -}}
{{- end -}}
{{- if and $router.proxy.enabled (ne $router.proxy.proxyType "envoy") -}}
{{- fail (printf "router.proxy.proxyType: only `envoy` can stand alone here, not %q; agentgateway works as a Gateway, without router.proxy" $router.proxy.proxyType) -}}
{{- end -}}
{{- if and $router.proxy.enabled (ne .Values.provider.name "none") -}}
{{- fail "provider.name belongs to gateway mode; leave it at none where router.proxy.enabled is set" -}}
{{- end -}}
{{- if and (eq $router.modelServers.protocol "grpc") -}}
{{- fail "router.modelServers.protocol: grpc is not supported yet; use http" -}}
{{- end -}}
{{- $files := include "murmuration.configData" . | fromYaml | keys -}}
{{- if not (has $router.epp.pluginsConfigFile $files) -}}
{{- fail (printf "router.epp.pluginsConfigFile: no file %q; there are %s" $router.epp.pluginsConfigFile ($files | sortAlpha | join ", ")) -}}
{{- end -}}
{{- $instead := dict "grpc-port" "router.epp.extProcPort" "grpc-health-port" "router.epp.grpcHealthPort" "config-file" "router.epp.pluginsConfigFile" "config-text" "router.epp.pluginsCustomConfig" "pool" "a release for each pool" "metrics-port" "9090, which the Services and probes name" "gossip-port" "9004, which the Services and policies name" "peer-port" "9005, which the Services and policies name" -}}
{{- range $flag, $value := $instead -}}
{{- if hasKey $router.epp.flags $flag -}}
{{- fail (printf "router.epp.flags.%s: other objects depend on it; it is %s" $flag $value) -}}
{{- end -}}
{{- end -}}
{{- if and $router.inferencePool.create (hasKey $router.epp.flags "endpoint-selector") -}}
{{- fail "router.epp.flags.endpoint-selector: the pool says which pods are endpoints; set router.inferencePool.create=false, and labels in router.modelServers.matchLabels" -}}
{{- end -}}
{{- range $old, $new := dict "inferenceExtension" "router.epp" "inferencePool" "router.modelServers and router.inferencePool" "experimentalHttpRoute" "httpRoute" "inferenceObjectives" "router.inferenceObjectives" -}}
{{- if hasKey $.Values $old -}}
{{- fail (printf "%s is a value of the charts before llm-d's; write it as %s" $old $new) -}}
{{- end -}}
{{- end -}}
{{- end -}}
