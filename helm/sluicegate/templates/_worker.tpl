{{/* The pod of a worker, and of a shadow, which is a worker that acts on nothing (_candidate.tpl). `.component` is nothing for a worker. */}}
{{- define "sluicegate.workerPod" -}}
metadata:
  labels:
    {{- include "sluicegate.podLabels" . | nindent 4 }}
    app.kubernetes.io/component: {{ .component | default "worker" }}
  annotations:
    # Settings are read at the start; the policies are not in here, they are read again while it runs.
    checksum/settings: {{ include "sluicegate.settings" . | sha256sum }}
    {{- with .Values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "sluicegate.serviceAccountName" . | quote }}
  {{- include "sluicegate.podBase" . | nindent 2 }}
  {{- with include "sluicegate.scheduling" . | trim }}
  {{- . | nindent 2 }}
  {{- end }}
  {{- if and (eq .Values.profile "gpu") .Values.engine.gpu.claimTemplate }}
  resourceClaims:
    - {name: gpu, resourceClaimTemplateName: {{ .Values.engine.gpu.claimTemplate | quote }}}
  {{- end }}
  {{- with include "sluicegate.spread" . | trim }}
  {{- . | nindent 2 }}
  {{- end }}
  terminationGracePeriodSeconds: {{ include "sluicegate.graceSeconds" . }}
  {{- $candidate := include "sluicegate.candidateBundle" . | fromYaml }}
  {{- if or .Values.extraInitContainers (include "sluicegate.bundleFetched" .) (include "sluicegate.sidecar" .) (include "sluicegate.demo" .) (and $candidate (include "sluicegate.bundleFetched" $candidate)) }}
  initContainers:
    {{- with .Values.extraInitContainers }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
    {{- with include "sluicegate.bundleInit" . | trim }}
    {{- . | nindent 4 }}
    {{- end }}
    {{- if $candidate }}
    {{- with include "sluicegate.bundleInit" $candidate | trim }}
    {{- . | nindent 4 }}
    {{- end }}
    {{- end }}
    {{- if include "sluicegate.sidecar" . }}
    {{- include "sluicegate.engineInit" . | nindent 4 }}
    {{- end }}
    {{- if include "sluicegate.demo" . }}
    {{- include "sluicegate.demoInit" . | nindent 4 }}
    {{- end }}
  {{- end }}
  containers:
    - name: worker
      {{- if include "sluicegate.inProcess" . }}
      # With TensorRT-LLM in it; the pods beside the workers' do without.
      image: {{ include "sluicegate.engineImage" . | quote }}
      {{- include "sluicegate.imageRights" . | nindent 6 }}
      {{- else }}
      {{- include "sluicegate.containerBase" . | nindent 6 }}
      {{- end }}
      {{- if include "sluicegate.demo" . }}
      {{- include "sluicegate.demoCommand" . | nindent 6 }}
      {{- else }}
      command: [sluicegate, {{ .component | default "worker" }}{{ if .component }}, run{{ end }}]
      {{- end }}
      {{- with .Values.extraArgs }}
      args:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with include "sluicegate.envFrom" . | trim }}
      {{- . | nindent 6 }}
      {{- end }}
      env:
        {{- include "sluicegate.clientEnv" . | nindent 8 }}
        {{- if include "sluicegate.inProcess" . }}
        {{- include "sluicegate.gpuEnv" . | nindent 8 }}
        {{- end }}
        {{- with .Values.engine.digest }}
        # Beside the bundle's place, not in the settings, which pods of the revision before read at a restart, too.
        - name: SLUICEGATE_ENGINE__DIGEST
          value: {{ . | quote }}
        {{- end }}
        {{- with .Values.engine.apiKey }}
        {{- if .existingSecret }}
        - name: SLUICEGATE_ENGINE__API_KEY
          valueFrom:
            secretKeyRef: {name: {{ .existingSecret | quote }}, key: {{ .key | quote }}}
        {{- end }}
        {{- end }}
      ports:
        - {name: ops, containerPort: 8080}
      {{- if include "sluicegate.inProcess" . }}
      # Until the engine has scored. What loads it may keep Python from answering, so that /livez is not asked before.
      startupProbe:
        {{- include "sluicegate.scoredProbe" . | nindent 8 }}
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: {{ div (add (int .Values.probes.startupSeconds) (int .Values.engine.startupSeconds) 9) 10 }}
      {{- else }}
      # /livez answers once the bundle is read, and a hold of any length leaves it so.
      startupProbe:
        httpGet: {path: /livez, port: ops}
        periodSeconds: 5
        timeoutSeconds: 5
        failureThreshold: {{ div (add (int .Values.probes.startupSeconds) 4) 5 }}
      {{- end }}
      livenessProbe:
        {{- if include "sluicegate.demo" . }}
        {{- include "sluicegate.demoLiveness" . | nindent 8 }}
        {{- else }}
        httpGet: {path: /livez, port: ops}
        {{- end }}
        periodSeconds: {{ .Values.probes.periodSeconds }}
        timeoutSeconds: 5
        failureThreshold: {{ .Values.probes.failureThreshold }}
      readinessProbe:
        httpGet: {path: /readyz, port: ops}
        periodSeconds: {{ .Values.probes.periodSeconds }}
        timeoutSeconds: 5
      {{- if include "sluicegate.inProcess" . }}
      resources:
        {{- include "sluicegate.gpuResources" (list . .Values.resources) | nindent 8 }}
      {{- else if .Values.resources }}
      resources:
        {{- toYaml .Values.resources | nindent 8 }}
      {{- end }}
      volumeMounts:
        {{- include "sluicegate.clientMounts" . | nindent 8 }}
        {{- include "sluicegate.bundleMount" . | nindent 8 }}
        {{- if $candidate }}
        {{- include "sluicegate.bundleMount" $candidate | nindent 8 }}
        {{- end }}
        {{- if include "sluicegate.candidateHere" . }}
        {{- include "sluicegate.candidateMounts" . | nindent 8 }}
        {{- end }}
        {{- if include "sluicegate.inProcess" . }}
        - {name: shm, mountPath: /dev/shm}
        {{- end }}
        {{- if include "sluicegate.demo" . }}
        - {name: demo, mountPath: /demo, readOnly: true}
        - {name: scripts, mountPath: /etc/sluicegate/scripts, readOnly: true}
        {{- end }}
        {{- if include "sluicegate.policyConfigMap" . }}
        # The folder, not a file of it: a mounted file would never change.
        - {name: policies, mountPath: /etc/sluicegate/policies, readOnly: true}
        {{- end }}
    {{- with .Values.extraContainers }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  volumes:
    {{- include "sluicegate.clientVolumes" (list . (printf "%s-%s" (include "sluicegate.fullname" .) (.component | default "settings"))) | nindent 4 }}
    {{- include "sluicegate.bundleVolume" . | nindent 4 }}
    {{- if $candidate }}
    {{- include "sluicegate.bundleVolume" $candidate | nindent 4 }}
    {{- end }}
    {{- if include "sluicegate.candidateHere" . }}
    {{- include "sluicegate.candidateVolumes" . | nindent 4 }}
    {{- end }}
    {{- with include "sluicegate.policyConfigMap" . }}
    - name: policies
      configMap: {name: {{ . | quote }}}
    {{- end }}
    {{- if include "sluicegate.demo" . }}
    - name: demo
      emptyDir: {}
    {{- end }}
    {{- if or (include "sluicegate.demo" .) (include "sluicegate.engineMetrics" .) (and .Values.engine.uri (include "sluicegate.bundleFetched" .)) (and $candidate (include "sluicegate.bundleFetched" $candidate)) }}
    - name: scripts
      configMap: {name: {{ include "sluicegate.fullname" . }}-scripts}
    {{- end }}
    {{- if eq .Values.profile "gpu" }}
    {{- include "sluicegate.engineVolumes" . | trim | nindent 4 }}
    {{- end }}
{{- end -}}
