{{/* The review desk: parts of its pod and of its Job. */}}

{{/* What names and keys of it begin with. */}}
{{- define "sluicegate.deskName" -}}
{{- include "sluicegate.fullname" . }}-review
{{- end -}}

{{/* The store's address, with its password: a variable from a Secret, in no file and no argument. */}}
{{- define "sluicegate.deskStore" -}}
- name: SLUICEGATE_REVIEW__STORE
  valueFrom:
    secretKeyRef: {name: {{ .Values.review.database.existingSecret | quote }}, key: {{ .Values.review.database.key | quote }}}
{{- end -}}

{{/* The way to PostgreSQL. */}}
{{- define "sluicegate.deskStoreEgress" -}}
- ports: [{port: {{ .Values.review.database.port }}, protocol: TCP}]
  {{- with .Values.review.database.to }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{/* Where the pages are: a rule of the Ingress for each. Metrics and health are not among them. */}}
{{- define "sluicegate.deskPaths" -}}
exact: [/]
prefix: [/candidates, /cases, /figures, /journal, /lift, /login, /logout, /model, /next, /preferences, /queue, /static]
{{- end -}}
