{{/* One alert: takes (list . name severity for expr summary). Its labels say whose it is, where the query sums that away. */}}
{{- define "sluicegate.alert" -}}
{{- $root := index . 0 -}}
- alert: Sluicegate{{ index . 1 }}
  expr: >-
    {{ index . 4 }}
  for: {{ index . 3 }}
  labels: {severity: {{ index . 2 }}, namespace: {{ $root.Release.Namespace | quote }}, release: {{ $root.Release.Name | quote }}}
  annotations:
    summary: {{ printf "%s/%s: %s" $root.Release.Namespace $root.Release.Name (index . 5) | quote }}
    {{- with $root.Values.prometheusRule.runbooks }}
    runbook_url: {{ . }}/Sluicegate{{ index $ 1 }}.md
    {{- end }}
{{- end -}}

{{/* Seconds of lag at which too little is left of the topic's retention; empty where it keeps everything. A worker tells no
     age above seven days. */}}
{{- define "sluicegate.lagLimit" -}}
{{- $retention := int64 (dig "posts" "retention.ms" "604800000" .Values.topics.config) -}}
{{- if gt $retention 0 -}}
{{- min 518400 (mulf (divf $retention 1000) .Values.prometheusRule.retentionShare | int64) -}}
{{- end -}}
{{- end -}}

{{/* The same of the desk's, which are a job of their own; a selector of yours is for both. */}}
{{- define "sluicegate.deskSeries" -}}
{{- default (printf "job=%q" (printf "%s/%s" .Release.Namespace (include "sluicegate.deskName" .))) .Values.prometheusRule.selector -}}
{{- end -}}

{{/* The same of the comparator's. */}}
{{- define "sluicegate.compareSeries" -}}
{{- default (printf "job=%q" (printf "%s/%s" .Release.Namespace (include "sluicegate.candidateName" (list . "compare")))) .Values.prometheusRule.selector -}}
{{- end -}}

{{/* Labels of this release's series: a PodMonitor's job is its namespace and name. */}}
{{- define "sluicegate.series" -}}
{{- default (printf "job=%q" (printf "%s/%s" .Release.Namespace (include "sluicegate.fullname" .))) .Values.prometheusRule.selector -}}
{{- end -}}
