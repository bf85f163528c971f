{{/* Names, labels and addresses. */}}

{{- define "signalbox.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- $full | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* "signalbox.selectorLabels" (list . COMPONENT) */}}
{{- define "signalbox.selectorLabels" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ default $root.Chart.Name $root.Values.nameOverride }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{/* "signalbox.labels" (list . COMPONENT) */}}
{{- define "signalbox.labels" -}}
{{- $root := index . 0 -}}
{{ include "signalbox.selectorLabels" . }}
app.kubernetes.io/part-of: signalbox
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{- with $root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* "signalbox.metadata" (list . COMPONENT NAME): name, namespace and labels of an object */}}
{{- define "signalbox.metadata" -}}
{{- $root := index . 0 -}}
name: {{ index . 2 }}
namespace: {{ $root.Release.Namespace }}
labels:
  {{- include "signalbox.labels" (list $root (index . 1)) | nindent 2 }}
{{- end -}}

{{/* "signalbox.name" (list . COMPONENT): the name of the objects of a component */}}
{{- define "signalbox.name" -}}
{{ include "signalbox.fullname" (index . 0) }}-{{ index . 1 }}
{{- end -}}

{{- define "signalbox.image" -}}
{{ with .Values.image.registry }}{{ . }}/{{ end }}{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}

{{/* The listen address of the pods. */}}
{{- define "signalbox.anyAddress" -}}
{{ ternary "::" "0.0.0.0" .Values.ipv6 }}
{{- end -}}

{{/* First port of the range of pool ports. The last is epp.extProcPort. */}}
{{- define "signalbox.firstPoolPort" -}}
{{ add1 (sub (int .Values.epp.extProcPort) (int .Values.epp.poolPorts)) }}
{{- end -}}

{{/* "signalbox.poolPort" (list . POOL) */}}
{{- define "signalbox.poolPort" -}}
{{ int (default (index . 0).Values.epp.extProcPort (index . 1).port) }}
{{- end -}}

{{/* "signalbox.proxyPort" (list . POOL) */}}
{{- define "signalbox.proxyPort" -}}
{{ int (default (index . 0).Values.proxy.port (index . 1).proxyPort) }}
{{- end -}}

{{/* The namespaces whose pools are served, as YAML list; empty means all. */}}
{{- define "signalbox.watchNamespaces" -}}
{{- if not .Values.watchAllNamespaces -}}
{{ toYaml (default (list .Release.Namespace) .Values.watchNamespaces | uniq) }}
{{- end -}}
{{- end -}}

{{/* "signalbox.tlsName" (list . COMPONENT): the name in the certificate of a component */}}
{{- define "signalbox.tlsName" -}}
{{- $root := index . 0 -}}
{{ default (printf "%s.%s.svc" (include "signalbox.name" .) $root.Release.Namespace) (index $root.Values.tls.names (index . 1)) }}
{{- end -}}

{{/* "signalbox.tlsDnsNames" (list . COMPONENT): the DNS names in the certificate of a component, as YAML list */}}
{{- define "signalbox.tlsDnsNames" -}}
{{- $root := index . 0 -}}
{{- $name := include "signalbox.tlsName" . -}}
{{- $names := ternary list (list $name) (contains "://" $name) -}}
{{- if and (eq (index . 1) "aggregator") (include "signalbox.autoscales" $root) -}}
{{- $names = append $names (include "signalbox.autoscalingHost" $root) -}}
{{- end -}}
{{ toYaml $names }}
{{- end -}}

{{/* The components with a certificate, and KEDA, as YAML list */}}
{{- define "signalbox.tlsComponents" -}}
{{- $components := list "aggregator" "collector" "epp" -}}
{{ toYaml (ternary (append $components "autoscaler") $components .Values.autoscaling.keda.enabled) }}
{{- end -}}

{{/* "signalbox.tlsSecret" (list . COMPONENT): the Secret with the certificate of a component */}}
{{- define "signalbox.tlsSecret" -}}
{{ default (printf "%s-tls" (include "signalbox.name" .)) (index (index . 0).Values.tls.existingSecrets (index . 1)) }}
{{- end -}}

{{/* Whether the certificates are made by the chart, as opposed to cert-manager or the user: "chart", "cert-manager", "existing" or "none". */}}
{{- define "signalbox.tlsSource" -}}
{{- if not .Values.tls.enabled }}none
{{- else if .Values.tls.existingSecrets.aggregator }}existing
{{- else if .Values.tls.certManager.enabled }}cert-manager
{{- else }}chart
{{- end -}}
{{- end -}}
