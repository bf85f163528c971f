{{/* What the pods of all components have in common. */}}

{{/* A value as text. Helm reads numbers as floating-point, which templates print as 1e+07. */}}
{{- define "signalbox.exact" -}}
{{ kindIs "string" . | ternary . (toJson .) }}
{{- end -}}

{{/* "signalbox.deployment" (list . COMPONENT): the beginning of a Deployment, up to the pod's annotations */}}
{{- define "signalbox.deployment" -}}
{{- $root := index . 0 -}}
{{- $component := index . 1 -}}
{{- $values := index $root.Values $component -}}
replicas: {{ include "signalbox.exact" $values.replicas }}
{{- if or (ne $component "epp") (ne $root.Values.mode "standalone") }}
minReadySeconds: {{ include "signalbox.exact" $values.minReadySeconds }}
{{- end }}
revisionHistoryLimit: 3
strategy:
  type: RollingUpdate
  rollingUpdate: { maxUnavailable: 0, maxSurge: 1 }
selector:
  matchLabels:
    {{- include "signalbox.selectorLabels" . | nindent 4 }}
{{- end -}}

{{/* "signalbox.podMetadata" (list . COMPONENT ANNOTATIONS METRICS_PORT) */}}
{{- define "signalbox.podMetadata" -}}
{{- $root := index . 0 -}}
{{- $values := index $root.Values (index . 1) -}}
{{- $annotations := index . 2 -}}
{{- if and $root.Values.monitoring.prometheus.enabled (eq $root.Values.monitoring.provider.name "annotations") -}}
{{- $annotations = merge (dict "prometheus.io/scrape" "true" "prometheus.io/port" (toString (index . 3)) "prometheus.io/path" "/metrics") $annotations -}}
{{- end -}}
{{- $annotations = merge (deepCopy $values.podAnnotations) $annotations -}}
labels:
  {{- include "signalbox.labels" (list $root (index . 1)) | nindent 2 }}
  {{- with $values.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with $annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* "signalbox.podSpec" (list . COMPONENT): the fields of a pod besides its containers and volumes */}}
{{- define "signalbox.podSpec" -}}
{{- $root := index . 0 -}}
{{- $values := index $root.Values (index . 1) -}}
serviceAccountName: {{ include "signalbox.name" . }}
automountServiceAccountToken: {{ eq (index . 1) "aggregator" }}
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  seccompProfile: { type: RuntimeDefault }
{{- with $root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
topologySpreadConstraints:
  {{- if $values.topologySpreadConstraints }}
  {{- toYaml $values.topologySpreadConstraints | nindent 2 }}
  {{- else }}
  {{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
  - topologyKey: {{ . }}
    maxSkew: 1
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "signalbox.selectorLabels" $ | nindent 8 }}
    matchLabelKeys: [pod-template-hash]
  {{- end }}
  {{- end }}
{{- range $field := list "affinity" "nodeSelector" "tolerations" }}
{{- with index $values $field }}
{{ $field }}:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- end -}}

{{/* The restrictions of every container. */}}
{{- define "signalbox.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: { drop: [ALL] }
{{- end -}}

{{/* "signalbox.container" (list . COMPONENT): the fields of a container of Signalbox before its args */}}
{{- define "signalbox.container" -}}
{{- $root := index . 0 -}}
{{- $values := index $root.Values (index . 1) -}}
name: {{ index . 1 }}
image: {{ include "signalbox.image" $root }}
imagePullPolicy: {{ $root.Values.image.pullPolicy }}
command: [signalbox-{{ index . 1 }}]
{{ include "signalbox.containerSecurity" $root }}
resources:
  {{- toYaml $values.resources | nindent 2 }}
{{- end -}}

{{/* "signalbox.env" (list . COMPONENT): the names of the pod, then the user's variables */}}
{{- define "signalbox.env" -}}
{{- range $name, $field := dict "POD_NAME" "metadata.name" "POD_IP" "status.podIP" }}
- name: {{ $name }}
  valueFrom: { fieldRef: { fieldPath: {{ $field }} } }
{{- end }}
{{- with (index (index . 0).Values (index . 1)).env }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* "signalbox.commonArgs" (list . COMPONENT PEERS): name, logs, TLS towards PEERS, and the user's flags */}}
{{- define "signalbox.commonArgs" -}}
{{- $root := index . 0 -}}
- --name=$(POD_NAME)
- --log-format={{ $root.Values.logFormat }}
{{- if $root.Values.tls.enabled }}
- --tls-ca=/etc/signalbox/tls/ca.crt
- --tls-cert=/etc/signalbox/tls/tls.crt
- --tls-key=/etc/signalbox/tls/tls.key
{{- range index . 2 }}
- --tls-peer={{ . }}={{ include "signalbox.tlsName" (list $root .) }}
{{- end }}
{{- else }}
- --plaintext
{{- end }}
{{- range $flag, $value := (index $root.Values (index . 1)).flags }}
{{- range kindIs "slice" $value | ternary $value (list $value) }}
- {{ printf "--%s=%s" $flag (include "signalbox.exact" .) | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{/* The configuration, which replicas and aggregators read when they start: a change of it replaces their pods. */}}
{{- define "signalbox.configAnnotations" -}}
{{- with .Values.epp.pluginsConfig -}}
checksum/config: {{ toYaml . | sha256sum }}
{{- end -}}
{{- end -}}

{{- define "signalbox.configArgs" -}}
{{- if .Values.epp.pluginsConfig -}}
- --config-file=/etc/signalbox/config/config.yaml
{{- end -}}
{{- end -}}

{{- define "signalbox.configVolumes" -}}
{{- if .Values.epp.pluginsConfig -}}
- { name: config, configMap: { name: {{ include "signalbox.name" (list . "epp") }} } }
{{- end -}}
{{- end -}}

{{- define "signalbox.configVolumeMounts" -}}
{{- if .Values.epp.pluginsConfig -}}
- { name: config, mountPath: /etc/signalbox/config, readOnly: true }
{{- end -}}
{{- end -}}

{{/* "signalbox.volumes" (list . COMPONENT): the certificate and the user's volumes */}}
{{- define "signalbox.volumes" -}}
{{- $root := index . 0 -}}
{{- if $root.Values.tls.enabled }}
- name: tls
  secret:
    secretName: {{ include "signalbox.tlsSecret" . }}
    defaultMode: 0440
    items: [{ key: ca.crt, path: ca.crt }, { key: tls.crt, path: tls.crt }, { key: tls.key, path: tls.key }]
{{- end }}
{{- with (index $root.Values (index . 1)).volumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* "signalbox.volumeMounts" (list . COMPONENT) */}}
{{- define "signalbox.volumeMounts" -}}
{{- $root := index . 0 -}}
{{- if $root.Values.tls.enabled }}
- { name: tls, mountPath: /etc/signalbox/tls, readOnly: true }
{{- end }}
{{- with (index $root.Values (index . 1)).volumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Where replicas and collectors find the aggregators. */}}
{{- define "signalbox.aggregatorAddress" -}}
{{ include "signalbox.name" (list . "aggregator") }}.{{ .Release.Namespace }}.svc:{{ .Values.aggregator.port }}
{{- end -}}
