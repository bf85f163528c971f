{{/*
"signalbox.envoyAdmin" (list . NAME PORT): a listener that exposes a few paths of Envoy's admin port, which itself listens on loopback.
The listener "admin" is for the node, "metrics" for Prometheus; a NetworkPolicy can tell them apart by their ports.
*/}}
{{- define "signalbox.envoyAdmin" -}}
{{- $root := index . 0 -}}
{{- $name := index . 1 -}}
- name: {{ $name }}
  address: {{ include "signalbox.envoyAddress" (list $root (index . 2)) }}
  filter_chains:
  - filters:
    - name: envoy.filters.network.http_connection_manager
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
        stat_prefix: {{ $name }}
        stream_idle_timeout: 0s
        route_config:
          name: {{ $name }}
          virtual_hosts:
          - name: {{ $name }}
            domains: ["*"]
            routes:
            {{- if eq $name "metrics" }}
            - { match: { path: /stats/prometheus }, route: { cluster: admin } }
            # Where Prometheus looks by default.
            - { match: { path: /metrics }, route: { cluster: admin, prefix_rewrite: /stats/prometheus } }
            {{- else }}
            - { match: { path: /ready }, route: { cluster: admin } }
            # Begins a graceful drain, and answers when it is over. A preStop hook can only GET, and the admin port wants a POST.
            - match: { path: /drain }
              route: { cluster: admin, prefix_rewrite: /ready, timeout: 0s }
              typed_per_filter_config:
                envoy.filters.http.lua:
                  "@type": type.googleapis.com/envoy.extensions.filters.http.lua.v3.LuaPerRoute
                  name: drain
                envoy.filters.http.fault:
                  "@type": type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault
                  delay: { fixed_delay: {{ include "signalbox.exact" $root.Values.proxy.drainSeconds }}s, percentage: { numerator: 100 } }
            {{- end }}
        http_filters:
        {{- if eq $name "admin" }}
        - name: envoy.filters.http.lua
          typed_config:
            "@type": type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua
            source_codes:
              drain:
                inline_string: |
                  function envoy_on_request(request)
                    request:httpCall("admin", { [":method"] = "POST", [":path"] = "/drain_listeners?graceful&skip_exit", [":authority"] = "admin" }, nil, 1000)
                  end
        - name: envoy.filters.http.fault
          typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault }
        {{- end }}
        - name: envoy.filters.http.router
          typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }
{{- end -}}
