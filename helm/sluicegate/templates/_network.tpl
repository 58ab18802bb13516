{{/* Where pods of this chart may go. */}}

{{/* Names and brokers, which a demo has none of outside: egress rules of every pod. */}}
{{- define "sluicegate.kafkaEgress" -}}
{{- $ports := list -}}
{{- range splitList "," .Values.kafka.bootstrapServers | compact -}}
{{- $ports = append $ports (splitList ":" . | last | int) -}}
{{- end -}}
{{- range .Values.networkPolicy.kafkaPorts -}}
{{- $ports = append $ports (int .) -}}
{{- end -}}
- ports: [{port: 53, protocol: UDP}, {port: 53, protocol: TCP}]
{{- if $ports }}
- ports:
    {{- range uniq $ports }}
    - {port: {{ . }}, protocol: TCP}
    {{- end }}
  {{- with .Values.networkPolicy.kafkaTo }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* Servers that the settings name: adapters' engines and the trace collector. */}}
{{- define "sluicegate.settingsEgress" -}}
{{- $urls := list (dig "tracing" "endpoint" "" .Values.settings) -}}
{{- range dig "engine" "adapters" dict .Values.settings -}}
{{- $urls = append $urls .url -}}
{{- end -}}
{{- $ports := list -}}
{{- range compact $urls -}}
{{- $ports = append $ports (include "sluicegate.urlPort" .) -}}
{{- end -}}
{{- with uniq $ports -}}
- ports:
    {{- range . }}
    - {port: {{ . }}, protocol: TCP}
    {{- end }}
{{- end -}}
{{- end -}}

{{/* Port of an address; 443 where there is none. */}}
{{- define "sluicegate.urlPort" -}}
{{- regexFind ":[0-9]+$" (urlParse .).host | trimPrefix ":" | default (ternary "80" "443" (hasPrefix "http://" .)) -}}
{{- end -}}
