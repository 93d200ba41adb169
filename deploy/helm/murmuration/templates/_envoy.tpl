{{- define "murmuration.isSidecar" -}}
{{- if and .Values.router.proxy.enabled (eq .Values.router.proxy.mode "sidecar") -}}yes{{- end -}}
{{- end -}}

{{/* Envoy ends at once on SIGTERM, and has no shell that could ask it to drain. So it waits first, while the pod leaves
     the Service; half of the drain's time, as answers that begin meanwhile need theirs too. */}}
{{- define "murmuration.proxyStopSeconds" -}}
{{- max 10 (div (include "murmuration.drainSeconds" . | int) 2) -}}
{{- end -}}

{{/* The port where clients enter: that of the extra Service port called `http`. */}}
{{- define "murmuration.proxyPort" -}}
{{- $found := 8081 -}}
{{- range .Values.router.extraServicePorts -}}
{{- if eq .name "http" -}}
{{- $target := .targetPort | default .port -}}
{{- $found = ternary ($target | int) (.port | int) (kindIs "float64" $target | or (kindIs "int64" $target) | or (kindIs "int" $target)) -}}
{{- end -}}
{{- end -}}
{{- $found -}}
{{- end -}}

{{/* The extra ports of a Service, with one called `http` where there is a proxy. */}}
{{- define "murmuration.extraServicePorts" -}}
{{- $ports := .Values.router.extraServicePorts -}}
{{- if .Values.router.proxy.enabled -}}
{{- $names := list -}}
{{- range $ports -}}{{- $names = append $names .name -}}{{- end -}}
{{- if not (has "http" $names) -}}
{{- $ports = append $ports (dict "name" "http" "port" 8081 "targetPort" 8081 "protocol" "TCP" "appProtocol" "http") -}}
{{- end -}}
{{- end -}}
{{- with $ports }}{{ toYaml . }}{{ end -}}
{{- end -}}

{{- define "murmuration.envoyTls" -}}
{{- if include "murmuration.isSecure" . }}
transport_socket:
  name: envoy.transport_sockets.tls
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
    sni: {{ include "murmuration.host" . }}
    common_tls_context:
      alpn_protocols: [h2]
      {{- if include "murmuration.servingSecret" . }}
      validation_context:
        trusted_ca: {filename: /var/run/murmuration/serving-ca/ca.crt}
        match_typed_subject_alt_names:
        - {san_type: DNS, matcher: {exact: {{ include "murmuration.host" . }}}}
      {{- end }}
# The health service speaks in the clear.
transport_socket_matches:
- name: plain
  match: {plain: true}
  transport_socket:
    name: envoy.transport_sockets.raw_buffer
    typed_config: {"@type": type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer}
{{- end }}
{{- end -}}

{{- define "murmuration.envoyPicker" -}}
endpoint:
  address: {socket_address: {address: {{ .address | quote }}, port_value: {{ .root.Values.router.epp.extProcPort }}}}
  health_check_config: {port_value: {{ .root.Values.router.epp.grpcHealthPort }}}
{{- end -}}

{{/* The pickers. Beside a picker its own comes first, and the others when it can't answer. */}}
{{- define "murmuration.envoyPickers" -}}
name: ext_proc
type: STRICT_DNS
dns_refresh_rate: 1s
respect_dns_ttl: false
connect_timeout: 1s
lb_policy: ROUND_ROBIN
# Without a panic threshold no request goes to pickers that are known to be dead: with failOpen it passes at once. Once a
# piece of a body has gone to a picker, Envoy can't pass the request on any more. The default merge window hides a picker
# that is back.
common_lb_config: {healthy_panic_threshold: {value: 0}, update_merge_window: 0s}
# The first connection that fails tells it, before the next health check does.
outlier_detection:
  split_external_local_origin_errors: true
  consecutive_local_origin_failure: 1
  enforcing_consecutive_local_origin_failure: 100
  interval: 1s
  base_ejection_time: 1s
  max_ejection_percent: 100
circuit_breakers: {thresholds: [{max_connections: 100000, max_pending_requests: 100000, max_requests: 100000, max_retries: 100000}]}
typed_extension_protocol_options:
  envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
    "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
    explicit_http_config: {http2_protocol_options: {}}
health_checks:
- timeout: 1s
  interval: 0.5s
  no_traffic_interval: 0.5s
  healthy_threshold: 1
  unhealthy_threshold: 2
  {{- if include "murmuration.isSecure" . }}
  transport_socket_match_criteria: {plain: true}
  {{- end }}
  grpc_health_check: {service_name: readiness, authority: localhost}
{{- include "murmuration.envoyTls" . }}
load_assignment:
  cluster_name: ext_proc
  endpoints:
  {{- if include "murmuration.isSidecar" . }}
  - priority: 0
    lb_endpoints:
    - {{ include "murmuration.envoyPicker" (dict "root" . "address" "127.0.0.1") | nindent 6 | trim }}
  {{- end }}
  - priority: {{ ternary 1 0 (eq (include "murmuration.isSidecar" .) "yes") }}
    lb_endpoints:
    - {{ include "murmuration.envoyPicker" (dict "root" . "address" (printf "%s.%s.svc.%s" (include "murmuration.peersName" .) .Release.Namespace .Values.router.clusterDomain)) | nindent 6 | trim }}
{{- end -}}

{{- define "murmuration.envoyFilter" -}}
{{- $stays := eq .Values.murmuration.responsePath "stay" -}}
name: envoy.filters.http.ext_proc
typed_config:
  "@type": type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor
  failure_mode_allow: {{ .Values.router.proxy.failOpen }}
  grpc_service:
    envoy_grpc: {cluster_name: ext_proc, authority: {{ include "murmuration.host" . }}}
    # Another replica takes what a dead one has not answered, as long as the body fits the retry buffer of 64 KiB.
    retry_policy:
      retry_on: connect-failure,refused-stream,reset-before-request,reset,unavailable,cancelled
      num_retries: 3
      retry_back_off: {base_interval: 0.005s, max_interval: 0.05s}
      retry_host_predicate:
      - name: envoy.retry_host_predicates.previous_hosts
        typed_config: {"@type": type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate}
      host_selection_retry_max_attempts: 5
      {{- if include "murmuration.isSidecar" . }}
      # Not the own picker again.
      retry_priority:
        name: envoy.retry_priorities.previous_priorities
        typed_config: {"@type": type.googleapis.com/envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig, update_frequency: 1}
      {{- end }}
  processing_mode:
    request_header_mode: SEND
    request_body_mode: FULL_DUPLEX_STREAMED
    request_trailer_mode: SEND
    # With --response-path leave the picker has left: Envoy would lose what it sends to a stream that ends.
    response_header_mode: {{ ternary "SEND" "SKIP" $stays }}
    response_body_mode: {{ ternary "FULL_DUPLEX_STREAMED" "NONE" $stays }}
    response_trailer_mode: {{ ternary "SEND" "SKIP" $stays }}
  message_timeout: 1000s
  allow_content_length_header: true
  # The route is chosen again, by the destination that the picker set.
  route_cache_action: CLEAR
  metadata_options:
    receiving_namespaces: {untyped: [envoy.lb]}
    forwarding_namespaces: {untyped: [envoy.lb]}
{{- end -}}

{{- define "murmuration.envoyRoutes" -}}
{{- $route := "timeout: 86400s, idle_timeout: 86400s, retry_policy: {retry_on: \"connect-failure,refused-stream,reset-before-request\", num_retries: 1}" -}}
- match: {prefix: /, headers: [{name: x-gateway-destination-endpoint, present_match: true}]}
  route: {cluster: model_server_picked, {{ $route }}}
{{- if .Values.router.proxy.failOpen }}
# No picker answered.
- match: {prefix: /}
  route: {cluster: model_servers_in_turn, {{ $route }}}
{{- else }}
# Never used, but the picker's filter runs only where a route is found.
- match: {prefix: /}
  direct_response: {status: 503, body: {inline_string: "no endpoint picker answered\n"}}
{{- end }}
{{- end -}}

{{- define "murmuration.envoyModelServers" -}}
{{- $http1 := "{envoy.extensions.upstreams.http.v3.HttpProtocolOptions: {\"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, explicit_http_config: {http_protocol_options: {}}, common_http_protocol_options: {idle_timeout: 4s}}}" -}}
- name: model_server_picked
  type: ORIGINAL_DST
  connect_timeout: 2s
  lb_policy: CLUSTER_PROVIDED
  original_dst_lb_config: {use_http_header: true, http_header_name: x-gateway-destination-endpoint}
  circuit_breakers: {thresholds: [{max_connections: 40000, max_pending_requests: 40000, max_requests: 40000}]}
  # vLLM closes a connection that was idle for 5 s; Envoy has to be first.
  typed_extension_protocol_options: {{ $http1 }}
{{- if .Values.router.proxy.failOpen }}
- name: model_servers_in_turn
  type: STRICT_DNS
  connect_timeout: 2s
  lb_policy: ROUND_ROBIN
  circuit_breakers: {thresholds: [{max_connections: 40000, max_pending_requests: 40000, max_requests: 40000}]}
  typed_extension_protocol_options: {{ $http1 }}
  load_assignment:
    cluster_name: model_servers_in_turn
    endpoints:
    - lb_endpoints:
      - endpoint: {address: {socket_address: {address: {{ include "murmuration.modelServersName" . }}.{{ .Release.Namespace }}.svc.{{ .Values.router.clusterDomain }}, port_value: {{ (first .Values.router.modelServers.targetPorts).number }}}}}
{{- end }}
{{- end -}}

{{- define "murmuration.envoyConfig" -}}
admin: {address: {socket_address: {address: 127.0.0.1, port_value: 19000}}}
static_resources:
  listeners:
  - name: ready
    address: {socket_address: {address: {{ .Values.murmuration.bind | quote }}, port_value: 19001}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: ready
          route_config:
            virtual_hosts:
            - {name: stats, domains: ["*"], routes: [{match: {prefix: /stats/prometheus}, route: {cluster: admin}}]}
          http_filters:
          - name: envoy.filters.http.health_check
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.health_check.v3.HealthCheck
              pass_through_mode: false
              headers: [{name: ":path", string_match: {exact: /ready}}]
          - name: envoy.filters.http.router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
  - name: clients
    address: {socket_address: {address: {{ .Values.murmuration.bind | quote }}, port_value: {{ include "murmuration.proxyPort" . }}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: clients
          use_remote_address: true
          normalize_path: true
          merge_slashes: true
          path_with_escaped_slashes_action: UNESCAPE_AND_REDIRECT
          server_header_transformation: PASS_THROUGH
          stream_idle_timeout: 86400s
          upgrade_configs: [{upgrade_type: websocket, enabled: true}]
          # The destination is the picker's to set: a client's own would reach any address of the cluster.
          early_header_mutation_extensions:
          - name: envoy.http.early_header_mutation.header_mutation
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation
              mutations: [{remove: x-gateway-destination-endpoint}, {remove: x-gateway-destination-endpoint-subset}]
          route_config:
            name: model_servers
            virtual_hosts:
            - name: model_servers
              domains: ["*"]
              routes:
              {{- include "murmuration.envoyRoutes" . | nindent 14 }}
          http_filters:
          - {{ include "murmuration.envoyFilter" . | nindent 12 | trim }}
          - name: envoy.filters.http.router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router, suppress_envoy_headers: true}
  clusters:
  - name: admin
    type: STATIC
    connect_timeout: 1s
    load_assignment:
      cluster_name: admin
      endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: 19000}}}}]}]
  - {{ include "murmuration.envoyPickers" . | nindent 4 | trim }}
  {{- include "murmuration.envoyModelServers" . | nindent 2 }}
{{- end -}}

{{/* The Service's own number for the port where clients enter. */}}
{{- define "murmuration.proxyServicePort" -}}
{{- $found := 8081 -}}
{{- range .Values.router.extraServicePorts -}}{{- if eq .name "http" -}}{{- $found = .port | int -}}{{- end -}}{{- end -}}
{{- $found -}}
{{- end -}}
