{{/* "signalbox.envoyListeners" (list . POOL PICKING_PORT): the outer listener, which retries, and the inner one, which asks a replica */}}
{{- define "signalbox.envoyListeners" -}}
{{- $root := index . 0 -}}
{{- $pool := index . 1 -}}
{{- $hidesResponses := eq $root.Values.proxy.responses "access-log" -}}
- name: gateway-{{ $pool.name }}
  address: {{ include "signalbox.envoyAddress" (list $root (include "signalbox.proxyPort" (list $root $pool))) }}
  filter_chains:
  - filters:
    - name: envoy.filters.network.http_connection_manager
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
        stat_prefix: gateway-{{ $pool.name }}
        stream_idle_timeout: 0s
        route_config:
          name: gateway
          virtual_hosts:
          - name: gateway
            domains: ["*"]
            request_body_buffer_limit: 67108864
            routes:
            - match: { prefix: / }
              route:
                cluster: picking-{{ $pool.name }}
                timeout: 0s
                retry_policy:
                  retry_on: gateway-error,connect-failure,refused-stream
                  num_retries: 6
                  retry_back_off: { base_interval: 0.05s, max_interval: 1s }
        http_filters:
        - name: envoy.filters.http.router
          typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }
- name: picking-{{ $pool.name }}
  address: { socket_address: { address: 127.0.0.1, port_value: {{ index . 2 }} } }
  per_connection_buffer_limit_bytes: 32768
  filter_chains:
  - filters:
    - name: envoy.filters.network.http_connection_manager
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
        stat_prefix: picking-{{ $pool.name }}
        stream_idle_timeout: 0s
        {{- if $hidesResponses }}
        access_log:
        - name: envoy.access_loggers.http_grpc
          typed_config:
            "@type": type.googleapis.com/envoy.extensions.access_loggers.grpc.v3.HttpGrpcAccessLogConfig
            common_config:
              log_name: signalbox
              transport_api_version: V3
              grpc_service: { envoy_grpc: { cluster_name: access-log } }
              buffer_flush_interval: 0.01s
              buffer_size_bytes: 0
            additional_request_headers_to_log: [x-signalbox-booking]
        {{- end }}
        route_config:
          name: pool
          virtual_hosts:
          - name: pool
            domains: ["*"]
            routes: [{ match: { prefix: / }, route: { cluster: picked, timeout: 0s } }]
        http_filters:
        - name: envoy.filters.http.ext_proc
          typed_config:
            "@type": type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor
            grpc_service: { envoy_grpc: { cluster_name: epp-{{ $pool.name }} } }
            message_timeout: 1000s
            status_on_error: { code: BadGateway }
            processing_mode:
              request_header_mode: SEND
              request_body_mode: FULL_DUPLEX_STREAMED
              request_trailer_mode: SEND
              response_header_mode: {{ ternary "SKIP" "SEND" $hidesResponses }}
              response_body_mode: {{ ternary "NONE" "FULL_DUPLEX_STREAMED" $hidesResponses }}
              response_trailer_mode: {{ ternary "SKIP" "SEND" $hidesResponses }}
        - name: envoy.filters.http.router
          typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }
{{- end -}}

{{/* "signalbox.envoyClusters" (list . POOL PICKING_PORT): the inner listener and the replicas, at the port of the pool */}}
{{- define "signalbox.envoyClusters" -}}
{{- $root := index . 0 -}}
{{- $pool := index . 1 -}}
{{- $port := include "signalbox.poolPort" (list $root $pool) -}}
- name: picking-{{ $pool.name }}
  type: STATIC
  connect_timeout: 2s
  typed_extension_protocol_options:
    envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
      "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
      explicit_http_config: { http2_protocol_options: {} }
  circuit_breakers: { thresholds: [{ max_connections: 10000, max_pending_requests: 10000, max_requests: 10000, max_retries: 10000 }] }
  load_assignment:
    cluster_name: picking-{{ $pool.name }}
    endpoints:
    - lb_endpoints: [{ endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: {{ index . 2 }} } } } }]
- name: epp-{{ $pool.name }}
  # The health of this pool is asked at its own port.
  {{- include "signalbox.envoyReplicas" (list $root $port $port (printf "epp-%s" $pool.name)) | nindent 2 }}
  circuit_breakers: { thresholds: [{ max_connections: 10000, max_pending_requests: 10000, max_requests: 10000 }] }
  typed_extension_protocol_options:
    envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
      "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
      {{- if eq $root.Values.proxy.responses "access-log" }}
      explicit_http_config: { http2_protocol_options: { connection_keepalive: { interval: 1s, timeout: 2s } } }
      {{- else }}
      explicit_http_config: { http2_protocol_options: {} }
      {{- end }}
  {{- if $root.Values.epp.secureServing }}
  transport_socket:
    name: envoy.transport_sockets.tls
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
  {{- end }}
{{- end -}}
