{{/* Parts that pods of this chart share. */}}

{{/* All that a client of Kafka needs: variables, mounts, and volumes, which take (list . settingsConfigMap). */}}
{{- define "sluicegate.clientEnv" -}}
- name: SLUICEGATE_SETTINGS
  value: {{ ternary "/demo/settings.yaml" "/etc/sluicegate/settings/settings.yaml" (eq (include "sluicegate.demo" .) "yes") }}
- name: HOME
  value: /tmp
{{- if hasPrefix "SASL" .Values.kafka.security.protocol }}
# Variables rather than lines of the settings: KEDA reads the name from here, which may come from a Secret, and
# pods with a login of their own have the same settings.
- name: SLUICEGATE_KAFKA__SECURITY__MECHANISM
  value: {{ .Values.kafka.security.sasl.mechanism }}
- name: SLUICEGATE_KAFKA__SECURITY__USERNAME
{{- with .Values.kafka.security.sasl }}
{{- if .username }}
  value: {{ .username | quote }}
{{- else }}
  valueFrom:
    secretKeyRef: {name: {{ .existingSecret | quote }}, key: {{ .usernameKey | quote }}}
{{- end }}
{{- end }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "sluicegate.envFrom" -}}
{{- with .Values.extraEnvFrom }}
envFrom:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "sluicegate.clientMounts" -}}
- name: settings
  mountPath: /etc/sluicegate/settings
  readOnly: true
{{- with .Values.kafka.security }}
{{- if .ca.existingSecret }}
- name: kafka-ca
  mountPath: /etc/sluicegate/kafka/ca
  readOnly: true
{{- end }}
{{- if .certificate.existingSecret }}
- name: kafka-client
  mountPath: /etc/sluicegate/kafka/client
  readOnly: true
{{- end }}
{{- if hasPrefix "SASL" .protocol }}
- name: kafka-sasl
  mountPath: /etc/sluicegate/kafka/sasl
  readOnly: true
{{- end }}
{{- end }}
- name: tmp
  mountPath: /tmp
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "sluicegate.clientVolumes" -}}
{{- $root := index . 0 -}}
- name: settings
  configMap:
    name: {{ index . 1 | quote }}
{{- with $root.Values.kafka.security }}
{{- if .ca.existingSecret }}
- name: kafka-ca
  secret:
    secretName: {{ .ca.existingSecret | quote }}
    items: [{key: {{ .ca.key | quote }}, path: ca.crt}]
{{- end }}
{{- if .certificate.existingSecret }}
- name: kafka-client
  secret:
    secretName: {{ .certificate.existingSecret | quote }}
    defaultMode: 0440
    items:
      - {key: {{ .certificate.certificateKey | quote }}, path: client.crt}
      - {key: {{ .certificate.keyKey | quote }}, path: client.key}
{{- end }}
{{- if hasPrefix "SASL" .protocol }}
- name: kafka-sasl
  secret:
    secretName: {{ .sasl.existingSecret | quote }}
    defaultMode: 0440
    items: [{key: {{ .sasl.passwordKey | quote }}, path: password}]
{{- end }}
{{- end }}
- name: tmp
  emptyDir: {}
{{- with $root.Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Without service links: a Service named sluicegate would set variables that the settings refuse as unknown. */}}
{{- define "sluicegate.podBase" -}}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with concat .Values.imagePullSecrets (get (.Values.global | default dict) "imagePullSecrets" | default list) | uniq }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.schedulerName }}
schedulerName: {{ . | quote }}
{{- end }}
{{- with .Values.dnsPolicy }}
dnsPolicy: {{ . }}
{{- end }}
{{- with .Values.dnsConfig }}
dnsConfig:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.hostAliases }}
hostAliases:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- end -}}

{{- define "sluicegate.containerBase" -}}
image: {{ include "sluicegate.image" . | quote }}
{{ include "sluicegate.imageRights" . }}
{{- end -}}

{{- define "sluicegate.imageRights" -}}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  {{- toYaml .Values.securityContext | nindent 2 }}
{{- end -}}

{{/* Where the pods beside the workers' may run. */}}
{{- define "sluicegate.sideScheduling" -}}
{{- with .Values.sidePods }}
{{- with .nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{/* A container beside the workers': of a Job, a test, or before a worker. */}}
{{- define "sluicegate.sideContainer" -}}
{{ include "sluicegate.containerBase" . }}
{{- with .Values.sideResources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* The context of a pod with a login of its own, where it has one: takes (list . login). */}}
{{- define "sluicegate.ownLogin" -}}
{{- $values := deepCopy (index . 0).Values -}}
{{- $security := mergeOverwrite $values.kafka.security (index . 1) -}}
{{- if dig "sasl" "usernameKey" "" (index . 1) -}}
{{- /* Its name is in its Secret, and not the workers'. */ -}}
{{- $_ := set $security.sasl "username" "" -}}
{{- end -}}
{{- dict "Values" $values | toYaml -}}
{{- end -}}
