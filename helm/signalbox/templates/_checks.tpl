{{/* Refuses two equal ports of one pod. Takes a list of (list NAME PORT). */}}
{{- define "signalbox.checkPorts" -}}
{{- $seen := dict -}}
{{- range . -}}
{{- $port := toString (int (index . 1)) -}}
{{- if hasKey $seen $port -}}
{{- fail (printf "%s: %s is %s already; choose another port" (index . 0) $port (get $seen $port)) -}}
{{- end -}}
{{- $_ := set $seen $port (index . 0) -}}
{{- end -}}
{{- end -}}

{{/* Refuses two equal ports of one pod in all components. */}}
{{- define "signalbox.checkAllPorts" -}}
{{- $ports := list (list "aggregator.port" .Values.aggregator.port) (list "aggregator.metricsPort" .Values.aggregator.metricsPort) -}}
{{- range $name := list "keda" "hpa" -}}
{{- $served := index $.Values.autoscaling $name -}}
{{- if $served.enabled -}}
{{- $ports = append $ports (list (printf "autoscaling.%s.port" $name) $served.port) -}}
{{- end -}}
{{- end -}}
{{- include "signalbox.checkPorts" $ports -}}
{{- $ports = list -}}
{{- range $name := list "grpcHealthPort" "accessLogPort" "metricsPort" -}}
{{- $ports = append $ports (list (printf "epp.%s" $name) (index $.Values.epp $name)) -}}
{{- end -}}
{{- include "signalbox.checkPorts" $ports -}}
{{- if eq .Values.mode "standalone" -}}
{{- $ports = list (list "Envoy's admin port" 19000) (list "the proxy's health port" 19001) (list "the proxy's metrics port" 19002) -}}
{{- range $index, $pool := .Values.pools -}}
{{- $ports = append $ports (list (printf "the inner port of pool %s" $pool.name) (add 19100 $index)) -}}
{{- end -}}
{{- range .Values.pools -}}
{{- $ports = append $ports (list (ternary (printf "pools: proxyPort of %s" .name) "proxy.port" (hasKey . "proxyPort")) (include "signalbox.proxyPort" (list $ .))) -}}
{{- end -}}
{{- include "signalbox.checkPorts" $ports -}}
{{- end -}}
{{- end -}}

{{/* Refuses autoscaling that cannot work. */}}
{{- define "signalbox.checkAutoscaling" -}}
{{- $keda := .Values.autoscaling.keda -}}
{{- $hpa := .Values.autoscaling.hpa -}}
{{- $source := include "signalbox.tlsSource" . -}}
{{- if and $hpa.enabled (eq $source "none") -}}
{{- fail "autoscaling.hpa: the API server connects over TLS; set tls.enabled" -}}
{{- end -}}
{{- if and $hpa.enabled (eq $source "existing") (not $hpa.caBundle) -}}
{{- fail "autoscaling.hpa.caBundle: with tls.existingSecrets, the chart does not know who signed the certificate of the aggregators; set it to the ca.crt of that Secret" -}}
{{- end -}}
{{- if and $keda.enabled (eq $source "existing") (not .Values.tls.existingSecrets.autoscaler) -}}
{{- fail "tls.existingSecrets.autoscaler: name the Secret that KEDA connects with; it may be one of the others" -}}
{{- end -}}
{{- $seen := dict -}}
{{- range $pool := .Values.pools -}}
{{- range $target := $pool.autoscaling -}}
{{- if not (include "signalbox.autoscales" $) -}}
{{- fail (printf "pools: %s has autoscaling, but neither autoscaling.keda nor autoscaling.hpa is enabled" $pool.name) -}}
{{- end -}}
{{- if gt (int (default 0 $target.minReplicas)) (int $target.maxReplicas) -}}
{{- fail (printf "pools: %s: minReplicas of Deployment %s is above its maxReplicas" $pool.name $target.deployment) -}}
{{- end -}}
{{- if hasKey $seen $target.deployment -}}
{{- fail (printf "pools: two entries scale Deployment %s; two autoscalers would fight over it" $target.deployment) -}}
{{- end -}}
{{- $_ := set $seen $target.deployment true -}}
{{- end -}}
{{- end -}}
{{- end -}}

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
{{- include "signalbox.checkAutoscaling" . -}}
{{- if eq (include "signalbox.tlsSource" .) "chart" -}}
{{- range $component, $name := .Values.tls.names -}}
{{- if contains "://" $name -}}
{{- fail (printf "tls.names.%s: the chart cannot make a certificate for the URI %s; use a DNS name, or tls.certManager or tls.existingSecrets" $component $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and (eq .Values.mode "gateway") (eq .Values.provider.name "gke") (not .Values.pools) -}}
{{- fail "provider.name: gke makes policies for the entries of pools, and there are none; add one per InferencePool, with inferencePool.create: false for those that you create yourself" -}}
{{- end -}}
{{- if and .Values.watchAllNamespaces .Values.watchNamespaces -}}
{{- fail "watchNamespaces and watchAllNamespaces exclude each other" -}}
{{- end -}}
{{- if and .Values.pools .Values.watchNamespaces (not (has .Release.Namespace .Values.watchNamespaces)) -}}
{{- fail (printf "watchNamespaces: the entries of pools are in namespace %s, which would not be watched; add it" .Release.Namespace) -}}
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
{{- include "signalbox.checkAllPorts" . -}}
{{- end -}}
