{{/* Sluicegate's settings: what the user said, and over it what only the chart can know. */}}

{{- define "sluicegate.settings" -}}
{{- $kafka := dict "group" (include "sluicegate.group" .) "security" (include "sluicegate.security" . | fromYaml) -}}
{{- if not (include "sluicegate.demo" .) -}}
{{- $_ := set $kafka "bootstrap_servers" .Values.kafka.bootstrapServers -}}
{{- end -}}
{{- $owned := dict "kafka" $kafka "topics" (include "sluicegate.topics" . | fromYaml) "engine" (include "sluicegate.engine" . | fromYaml) "ops" (dict "host" (dig "ops" "host" "0.0.0.0" .Values.settings) "port" 8080) -}}
{{- if include "sluicegate.policyConfigMap" . -}}
{{- $_ := set $owned "policy" (dict "path" (printf "/etc/sluicegate/policies/%s" .Values.policy.file)) -}}
{{- end -}}
{{- /* A change of the desk's settings restarts no worker, and none of them is a worker's. */ -}}
{{- $settings := mergeOverwrite (omit (deepCopy .Values.settings) "review" "candidate") $owned -}}
{{- /* Before it may act, no worker is told of a candidate, and none restarts for it. */ -}}
{{- if include "sluicegate.candidateHere" . -}}
{{- $settings = mergeOverwrite $settings (include "sluicegate.candidateSettings" . | fromYaml) -}}
{{- end -}}
{{- toYaml $settings -}}
{{- end -}}

{{/* The desk's: the workers' brokers and topics, and its own. Store, key and the issuer's secret are variables from Secrets. */}}
{{- define "sluicegate.deskSettings" -}}
{{- $settings := include "sluicegate.settings" . | fromYaml -}}
{{- $owned := dict "host" (dig "ops" "host" "0.0.0.0" .Values.settings) "port" 8787 "public_url" (printf "https://%s" .Values.review.host) -}}
{{- $review := mergeOverwrite (get .Values.settings "review" | default dict | deepCopy) $owned -}}
{{- $told := dict "review" $review -}}
{{- if .Values.engine.candidate.experiment -}}
{{- $_ := set $told "candidate" (pick .Values.engine.candidate "experiment" "share") -}}
{{- end -}}
{{- mergeOverwrite (pick $settings "kafka" "topics" "log") $told | toYaml -}}
{{- end -}}

{{/* The cycle's: the workers', from which a candidate's are written, and the topic that it reads. No engine runs there. */}}
{{- define "sluicegate.cycleSettings" -}}
{{- mergeOverwrite (include "sluicegate.settings" . | fromYaml) (dict "topics" (include "sluicegate.deskTopics" . | fromYaml)) | toYaml -}}
{{- end -}}

{{/* Of the namespace and the full name: no other release of the cluster has it. */}}
{{- define "sluicegate.own" -}}
{{- printf "%s.%s" .Release.Namespace (include "sluicegate.fullname" .) -}}
{{- end -}}

{{- define "sluicegate.group" -}}
{{- default (include "sluicegate.own" .) .Values.settings.kafka.group -}}
{{- end -}}

{{/* Names of topics by their settings. */}}
{{- define "sluicegate.topics" -}}
{{- mergeOverwrite (dict "control" (printf "%s.control" (include "sluicegate.own" .))) .Values.settings.topics | toYaml -}}
{{- end -}}

{{/* Those of the desk beside the workers', under Sluicegate's own names where none are given. */}}
{{- define "sluicegate.deskTopics" -}}
{{- pick (mergeOverwrite (dict "resolutions" "resolutions" "feedback" "feedback") .Values.settings.topics) "resolutions" "feedback" | toYaml -}}
{{- end -}}

{{/* Those of an experiment, in the same way. */}}
{{- define "sluicegate.candidateTopics" -}}
{{- pick (mergeOverwrite (dict "shadow" "verdicts.shadow" "comparisons" "comparisons" "candidates" "candidates" "resolutions" "resolutions") .Values.settings.topics) "shadow" "comparisons" "candidates" "resolutions" | toYaml -}}
{{- end -}}

{{- define "sluicegate.security" -}}
{{- $security := .Values.kafka.security -}}
protocol: {{ $security.protocol }}
{{- if $security.ca.existingSecret }}
ca_file: /etc/sluicegate/kafka/ca/ca.crt
{{- end }}
{{- if $security.certificate.existingSecret }}
certificate_file: /etc/sluicegate/kafka/client/client.crt
key_file: /etc/sluicegate/kafka/client/client.key
{{- end }}
{{- if hasPrefix "SASL" $security.protocol }}
password_file: /etc/sluicegate/kafka/sasl/password
{{- end }}
{{- end -}}

{{- define "sluicegate.engine" -}}
bundle: /bundles/guard
{{- if has .Values.profile (list "cpu" "demo") }}
backend: llama_cpp
{{- else if include "sluicegate.inProcess" . }}
backend: tensorrt_llm
{{- else }}
backend: completions
{{- end }}
{{- if include "sluicegate.sidecar" . }}
url: http://127.0.0.1:8000
dialect: {{ include "sluicegate.engineDialect" . }}
{{- else if eq .Values.profile "external" }}
url: {{ .Values.engine.url | quote }}
dialect: {{ .Values.engine.dialect }}
{{- end }}
{{- end -}}
