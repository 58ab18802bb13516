{{/* Names, labels and images. */}}

{{- define "sluicegate.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 46 | trimSuffix "-" -}}
{{- end -}}

{{/* 46 characters: with the longest suffix, "-test-dead-letter", a name still is a host name, of at most 63. */}}
{{- define "sluicegate.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 46 | trimSuffix "-" -}}
{{- else if contains (include "sluicegate.name" .) .Release.Name -}}
{{- .Release.Name | trunc 46 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "sluicegate.name" .) | trunc 46 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "sluicegate.serviceAccountName" -}}
{{- default (ternary (include "sluicegate.fullname" .) "default" .Values.serviceAccount.create) .Values.serviceAccount.name -}}
{{- end -}}

{{/* All that a selector may hold: these never change over upgrades. */}}
{{- define "sluicegate.selectorLabels" -}}
app.kubernetes.io/name: {{ include "sluicegate.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- define "sluicegate.labels" -}}
{{ include "sluicegate.selectorLabels" . }}
app.kubernetes.io/part-of: sluicegate
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Of every pod: without versions, so that a chart which changes nothing else restarts no engine. */}}
{{- define "sluicegate.podLabels" -}}
{{- with .Values.podLabels -}}
{{ toYaml . }}
{{ end -}}
{{ include "sluicegate.selectorLabels" . }}
app.kubernetes.io/part-of: sluicegate
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* An image from global.imageRegistry, where one is given, in place of its own registry: takes (list . image). */}}
{{- define "sluicegate.mirrored" -}}
{{- $parts := splitList "/" (index . 1) -}}
{{- $own := first $parts -}}
{{- $named := and (gt (len $parts) 1) (or (contains "." $own) (contains ":" $own) (eq $own "localhost")) -}}
{{- with get ((index . 0).Values.global | default dict) "imageRegistry" -}}
{{- printf "%s/%s" . (ternary (rest $parts) $parts $named | join "/") -}}
{{- else -}}
{{- index . 1 -}}
{{- end -}}
{{- end -}}

{{- define "sluicegate.repository" -}}
{{- $image := .Values.image -}}
{{- $registry := default $image.registry (get (.Values.global | default dict) "imageRegistry") -}}
{{- ternary (printf "%s/%s" $registry $image.repository) $image.repository (ne $registry "") -}}
{{- end -}}

{{- define "sluicegate.image" -}}
{{- $image := .Values.image -}}
{{- $repository := include "sluicegate.repository" . -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository (default .Chart.AppVersion $image.tag) -}}
{{- end -}}
{{- end -}}

{{/* The one place where the drain's budget becomes the pod's grace period. */}}
{{- define "sluicegate.graceSeconds" -}}
{{- add (int (ceil .Values.settings.drain.budget_s)) (int .Values.graceMarginSeconds) -}}
{{- end -}}

{{/* Posts that may wait for each worker: a worker's posts a second, times the seconds of lag that are in order. */}}
{{- define "sluicegate.lagThreshold" -}}
{{- mulf .Values.autoscaling.postsPerSecond .Values.autoscaling.lagSeconds | ceil | int -}}
{{- end -}}

{{- define "sluicegate.demo" -}}
{{- if eq .Values.profile "demo" -}}yes{{- end -}}
{{- end -}}

{{/* Pods of `helm test`, which cannot reach the broker of a demo. */}}
{{- define "sluicegate.testPods" -}}
{{- if and .Values.tests.enabled (not (include "sluicegate.demo" .)) -}}yes{{- end -}}
{{- end -}}

{{- define "sluicegate.policyConfigMap" -}}
{{- if .Values.policy.existingConfigMap -}}
{{- .Values.policy.existingConfigMap -}}
{{- else if .Values.policy.files -}}
{{- include "sluicegate.fullname" . }}-policies
{{- end -}}
{{- end -}}
