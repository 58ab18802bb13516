{{/* engine.uri: from a scheme to volume, mount and init containers. The bundle is always /bundles/guard, and a candidate's
     /candidates/guard: `.bundle` says whose it is, and is nothing for the engine's. */}}

{{- define "sluicegate.bundleFetched" -}}
{{- if or (not .Values.engine.uri) (hasPrefix "https://" .Values.engine.uri) (hasPrefix "s3://" .Values.engine.uri) -}}yes{{- end -}}
{{- end -}}

{{- define "sluicegate.bundleVolume" -}}
- name: {{ .bundle | default "bundle" }}
{{- if hasPrefix "pvc://" .Values.engine.uri }}
  persistentVolumeClaim:
    claimName: {{ trimPrefix "pvc://" .Values.engine.uri | splitList "/" | first | quote }}
    readOnly: true
{{- else if hasPrefix "oci://" .Values.engine.uri }}
  image:
    reference: {{ trimPrefix "oci://" .Values.engine.uri | quote }}
    pullPolicy: IfNotPresent
{{- else }}
  emptyDir:
    sizeLimit: {{ .Values.engine.sizeLimit | quote }}
{{- end }}
{{- end -}}

{{- define "sluicegate.bundleMount" -}}
- name: {{ .bundle | default "bundle" }}
  readOnly: true
{{- if include "sluicegate.bundleFetched" . }}
  mountPath: /{{ .bundle | default "bundle" }}s
{{- else }}
  mountPath: /{{ .bundle | default "bundle" }}s/guard
{{- if hasPrefix "pvc://" .Values.engine.uri }}
{{- with trimPrefix "pvc://" .Values.engine.uri | splitList "/" | rest | join "/" | trimSuffix "/" }}
  subPath: {{ . | quote }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "sluicegate.bundleInit" -}}
{{- if hasPrefix "s3://" .Values.engine.uri }}
- name: download-{{ .bundle | default "bundle" }}
  image: {{ include "sluicegate.mirrored" (list . .Values.engine.s3.image) | quote }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  securityContext:
    {{- toYaml .Values.securityContext | nindent 4 }}
  {{- with .Values.sideResources }}
  resources:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  command: [aws, s3, cp, --no-progress, {{ .Values.engine.uri | quote }}, /{{ .bundle | default "bundle" }}s/bundle.tar{{ with .Values.engine.s3.endpointUrl }}, --endpoint-url, {{ . | quote }}{{ end }}]
  env:
    - {name: HOME, value: /tmp}
  {{- with .Values.engine.s3.existingSecret }}
  envFrom:
    - secretRef: {name: {{ . | quote }}}
  {{- end }}
  volumeMounts:
    - {name: {{ .bundle | default "bundle" }}, mountPath: /{{ .bundle | default "bundle" }}s}
    - {name: tmp, mountPath: /tmp}
{{- end }}
{{- if include "sluicegate.bundleFetched" . }}
- name: fetch-{{ .bundle | default "bundle" }}
  {{- include "sluicegate.sideContainer" . | nindent 2 }}
  {{- if not .Values.engine.uri }}
  command: [sluicegate, engine, fetch-cpu, --model, {{ .Values.engine.cpuModel | quote }}, --destination, /bundles/guard]
  {{- else }}
  command: [python, /etc/sluicegate/scripts/fetch_bundle.py]
  args: [{{ ternary (printf "/%ss/bundle.tar" (.bundle | default "bundle")) .Values.engine.uri (hasPrefix "s3://" .Values.engine.uri) | quote }}, {{ .Values.engine.sha256 | quote }}, /{{ .bundle | default "bundle" }}s/guard]
  {{- end }}
  {{- with include "sluicegate.envFrom" . | trim }}
  {{- . | nindent 2 }}
  {{- end }}
  env:
    - {name: HOME, value: /tmp}
    {{- with .Values.extraEnv }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  volumeMounts:
    - {name: {{ .bundle | default "bundle" }}, mountPath: /{{ .bundle | default "bundle" }}s}
    - {name: tmp, mountPath: /tmp}
    {{- if .Values.engine.uri }}
    - {name: scripts, mountPath: /etc/sluicegate/scripts, readOnly: true}
    {{- end }}
    {{- with .Values.extraVolumeMounts }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}
{{- end -}}
