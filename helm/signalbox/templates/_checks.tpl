{{/* Refuses values that no schema can refuse. */}}
{{- define "signalbox.checks" -}}
{{- $first := int (include "signalbox.firstPoolPort" .) -}}
{{- $last := int .Values.epp.extProcPort -}}
{{- if lt $first 1024 -}}
{{- fail (printf "epp.poolPorts: %d ports that end at epp.extProcPort (%d) would begin at %d; the first must be at least 1024" (int .Values.epp.poolPorts) $last $first) -}}
{{- end -}}
{{- range $name := list "grpcHealthPort" "accessLogPort" "metricsPort" -}}
{{- $port := int (index $.Values.epp $name) -}}
{{- if and (ge $port $first) (le $port $last) -}}
{{- fail (printf "epp.%s: %d is one of the pool ports %d-%d; choose another, or fewer epp.poolPorts" $name $port $first $last) -}}
{{- end -}}
{{- end -}}
{{- $secrets := .Values.tls.existingSecrets -}}
{{- $given := compact (list $secrets.aggregator $secrets.collector $secrets.epp) -}}
{{- if and $given (ne (len $given) 3) -}}
{{- fail "tls.existingSecrets: name the Secrets of all three services: aggregator, collector and epp; they may be the same" -}}
{{- end -}}
{{- if and $given .Values.tls.certManager.enabled -}}
{{- fail "tls.existingSecrets and tls.certManager.enabled exclude each other" -}}
{{- end -}}
{{- if and .Values.watchAllNamespaces .Values.watchNamespaces -}}
{{- fail "watchNamespaces and watchAllNamespaces exclude each other" -}}
{{- end -}}
{{- if and (eq .Values.mode "standalone") (not .Values.pools) -}}
{{- fail "mode: standalone needs at least one entry in pools, because the proxy has a port for each of them" -}}
{{- end -}}
{{- if and (eq .Values.mode "standalone") .Values.httpRoute.create -}}
{{- fail "httpRoute.create: a proxy of the chart (mode: standalone) has no HTTPRoutes; use mode: gateway" -}}
{{- end -}}
{{- $seen := dict -}}
{{- range .Values.pools -}}
{{- $port := include "signalbox.poolPort" (list $ .) -}}
{{- if or (lt (int $port) $first) (gt (int $port) $last) -}}
{{- fail (printf "pools: %s has port %s, but the Service opens %d-%d; choose one of them, or raise epp.poolPorts" .name $port $first $last) -}}
{{- end -}}
{{- $keys := list (printf "name %s" .name) (printf "port %s" $port) -}}
{{- if eq $.Values.mode "standalone" -}}
{{- $keys = append $keys (printf "proxyPort %s" (include "signalbox.proxyPort" (list $ .))) -}}
{{- end -}}
{{- range $key := $keys -}}
{{- if hasKey $seen $key -}}
{{- fail (printf "pools: two entries have the %s; each needs its own" $key) -}}
{{- end -}}
{{- $_ := set $seen $key true -}}
{{- end -}}
{{- if and (dig "inferencePool" "create" true .) (not (dig "modelServers" "matchLabels" nil .)) -}}
{{- fail (printf "pools: %s needs modelServers.matchLabels, the labels of its model servers' pods (or inferencePool.create: false)" .name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
