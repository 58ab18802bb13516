{{/* A PodMonitor of a component's pods, and so a job of its own: takes (list . suffix port component). */}}
{{- define "sluicegate.podMonitor" -}}
{{- $root := index . 0 -}}
apiVersion: monitoring.coreos.com/v1
kind: PodMonitor
metadata:
  name: {{ printf "%s%s" (include "sluicegate.fullname" $root) (index . 1) | quote }}
  namespace: {{ $root.Release.Namespace | quote }}
  labels:
    {{- include "sluicegate.labels" $root | nindent 4 }}
    {{- with $root.Values.podMonitor.labels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  selector:
    matchLabels:
      {{- include "sluicegate.selectorLabels" $root | nindent 6 }}
      app.kubernetes.io/component: {{ index . 3 }}
  podMetricsEndpoints:
    - port: {{ index . 2 }}
      path: /metrics
      interval: {{ $root.Values.podMonitor.interval }}
      {{- with $root.Values.podMonitor.scrapeTimeout }}
      scrapeTimeout: {{ . }}
      {{- end }}
      {{- with $root.Values.podMonitor.relabelings }}
      relabelings:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $root.Values.podMonitor.metricRelabelings }}
      metricRelabelings:
        {{- toYaml . | nindent 8 }}
      {{- end }}
{{- end -}}
