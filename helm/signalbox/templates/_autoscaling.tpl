{{/* Autoscaling of the model servers. docs/AUTOSCALING.md says why the objects are as they are. */}}

{{- define "signalbox.autoscales" -}}
{{- if or .Values.autoscaling.keda.enabled .Values.autoscaling.hpa.enabled }}true{{ end -}}
{{- end -}}

{{/* The name at which autoscalers reach the aggregators that are ready. */}}
{{- define "signalbox.autoscalingHost" -}}
{{ include "signalbox.name" (list . "autoscaling") }}.{{ .Release.Namespace }}.svc
{{- end -}}

{{/* The signal is steady already: it does not fall before a lower number was enough for five minutes. So the autoscaler follows it, and
 takes servers away one by one, so that their caches are not lost all at once. The default tolerance of 10 % would swallow a step of one
 server from ten on. */}}
{{- define "signalbox.scalingBehavior" -}}
scaleUp:
  stabilizationWindowSeconds: 0
  tolerance: 0
  policies: [{ type: Percent, value: 100, periodSeconds: 15 }, { type: Pods, value: 4, periodSeconds: 15 }]
scaleDown:
  stabilizationWindowSeconds: 0
  tolerance: 0
  policies: [{ type: Pods, value: 1, periodSeconds: 30 }]
{{- end -}}

{{/* "signalbox.apiServices" (list . CA_BUNDLE ANNOTATIONS): says that the aggregators serve the metrics APIs */}}
{{- define "signalbox.apiServices" -}}
{{- $root := index . 0 -}}
{{- $bundle := index . 1 -}}
{{- $annotations := index . 2 -}}
{{- $versions := list (list "custom.metrics.k8s.io" "v1beta2" 200) (list "custom.metrics.k8s.io" "v1beta1" 100) -}}
{{- if $root.Values.autoscaling.hpa.externalMetrics -}}
{{- $versions = append $versions (list "external.metrics.k8s.io" "v1beta1" 100) -}}
{{- end -}}
{{- range $versions }}
---
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata:
  name: {{ index . 1 }}.{{ index . 0 }}
  labels:
    {{- include "signalbox.labels" (list $root "aggregator") | nindent 4 }}
  {{- with $annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  group: {{ index . 0 }}
  version: {{ index . 1 }}
  groupPriorityMinimum: 100
  versionPriority: {{ index . 2 }}
  service:
    namespace: {{ $root.Release.Namespace }}
    name: {{ include "signalbox.name" (list $root "autoscaling") }}
    port: {{ $root.Values.autoscaling.hpa.port }}
  {{- with $bundle }}
  caBundle: {{ . }}
  {{- end }}
{{- end }}
{{- end -}}
