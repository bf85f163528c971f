{{/*
The configuration of the proxy: docs/envoy/retrying.yaml for each pool, which explains every setting, with the replicas from DNS,
and a drain. A test compares the two.
*/}}
{{- define "signalbox.envoy" -}}
admin: { address: { socket_address: { address: 127.0.0.1, port_value: 19000 } } }
static_resources:
  listeners:
  {{- include "signalbox.envoyAdmin" (list . "admin" 19001) | nindent 2 }}
  {{- include "signalbox.envoyAdmin" (list . "metrics" 19002) | nindent 2 }}
  {{- range $index, $pool := .Values.pools }}
  {{- include "signalbox.envoyListeners" (list $ $pool (add 19100 $index)) | nindent 2 }}
  {{- end }}
  clusters:
  - name: admin
    type: STATIC
    connect_timeout: 1s
    load_assignment:
      cluster_name: admin
      endpoints:
      - lb_endpoints: [{ endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: 19000 } } } }]
  {{- range $index, $pool := .Values.pools }}
  {{- include "signalbox.envoyClusters" (list $ $pool (add 19100 $index)) | nindent 2 }}
  {{- end }}
  {{- if eq .Values.proxy.responses "access-log" }}
  - name: access-log
    {{- include "signalbox.envoyReplicas" (list . .Values.epp.accessLogPort .Values.epp.grpcHealthPort "access-log") | nindent 4 }}
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: { http2_protocol_options: {} }
  {{- end }}
  - name: picked
    type: ORIGINAL_DST
    connect_timeout: 2s
    lb_policy: CLUSTER_PROVIDED
    original_dst_lb_config: { use_http_header: true, http_header_name: x-gateway-destination-endpoint }
    circuit_breakers: { thresholds: [{ max_connections: 10000, max_pending_requests: 10000, max_requests: 10000 }] }
{{- end -}}

{{/* "signalbox.envoyAddress" (list . PORT): a listen address that others reach */}}
{{- define "signalbox.envoyAddress" -}}
{ socket_address: { address: "{{ include "signalbox.anyAddress" (index . 0) }}", port_value: {{ index . 1 }}{{ if (index . 0).Values.ipv6 }}, ipv4_compat: true{{ end }} } }
{{- end -}}

{{/* "signalbox.envoyReplicas" (list . PORT HEALTH_PORT CLUSTER): all replicas, of which only healthy ones are used */}}
{{- define "signalbox.envoyReplicas" -}}
{{- $root := index . 0 -}}
{{- $port := int (index . 1) -}}
{{- $healthPort := int (index . 2) -}}
cluster_type:
  name: envoy.cluster.dns
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.clusters.dns.v3.DnsCluster
    dns_refresh_rate: 1s
    dns_lookup_family: {{ ternary "V6_ONLY" "V4_PREFERRED" $root.Values.ipv6 }}
connect_timeout: 2s
lb_policy: ROUND_ROBIN
common_lb_config: { healthy_panic_threshold: { value: 0 } }
health_checks:
- timeout: 1s
  interval: 0.5s
  no_traffic_interval: 0.5s
  unhealthy_threshold: 1
  healthy_threshold: 1
  grpc_health_check: { service_name: envoy.service.ext_proc.v3.ExternalProcessor }
load_assignment:
  cluster_name: {{ index . 3 }}
  endpoints:
  - lb_endpoints:
    - endpoint:
        address: { socket_address: { address: {{ include "signalbox.name" (list $root "proxy") }}-replicas.{{ $root.Release.Namespace }}.svc.{{ $root.Values.clusterDomain }}, port_value: {{ $port }} } }
        {{- if ne $port $healthPort }}
        health_check_config: { port_value: {{ $healthPort }} }
        {{- end }}
{{- end -}}
