{{/* The build of an engine: its recipe, its place, its pod. Names and place hold what was built, and for which GPU. */}}

{{- define "sluicegate.buildRecipe" -}}
{{- mergeOverwrite (deepCopy .Values.engine.build.recipe) (dict "container" false) | toYaml -}}
{{- end -}}

{{/* Under the claim: a recipe or an image that changes builds beside the engine before, never over it. */}}
{{- define "sluicegate.buildFolder" -}}
{{- $build := .Values.engine.build -}}
engines/{{ $build.recipe.name }}/{{ lower $build.recipe.gpu }}/{{ printf "%s %s" $build.image (include "sluicegate.buildRecipe" .) | sha256sum | trunc 12 }}
{{- end -}}

{{/* A Job's pod cannot be changed, so another pod has another name. */}}
{{- define "sluicegate.buildName" -}}
{{- include "sluicegate.fullname" . }}-build-{{ include "sluicegate.buildPod" . | sha256sum | trunc 8 }}
{{- end -}}

{{- define "sluicegate.buildPod" -}}
metadata:
  labels:
    {{- include "sluicegate.selectorLabels" . | nindent 4 }}
    app.kubernetes.io/component: build
spec:
  {{- include "sluicegate.podBase" . | nindent 2 }}
  {{- with include "sluicegate.scheduling" . | trim }}
  {{- . | nindent 2 }}
  {{- end }}
  restartPolicy: Never
  containers:
    - name: build
      image: {{ .Values.engine.build.image | quote }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      securityContext:
        {{- toYaml .Values.engine.securityContext | nindent 8 }}
      command: [sh, -c]
      args:
        - |
          # A bundle appears whole or not at all: then it is this recipe's, made by a Job before this one.
          if [ -f "$1/manifest.json" ]; then
            exec sluicegate engine verify "$1"
          fi
          exec sluicegate engine build /etc/sluicegate/recipe/recipe.yaml --work "$1.work" --out "$1"
        - build
        - /models/{{ include "sluicegate.buildFolder" . }}
      env:
        - {name: HOME, value: /tmp}
        - {name: USER, value: sluicegate}
      resources:
        {{- include "sluicegate.gpuResources" (list . .Values.engine.build.resources) | nindent 8 }}
      volumeMounts:
        - {name: recipe, mountPath: /etc/sluicegate/recipe, readOnly: true}
        - {name: models, mountPath: /models}
        - {name: shm, mountPath: /dev/shm}
        - {name: tmp, mountPath: /tmp}
  volumes:
    - name: recipe
      configMap: {name: {{ include "sluicegate.fullname" . }}-build}
    - name: models
      persistentVolumeClaim: {claimName: {{ .Values.engine.build.claim | quote }}}
    - name: shm
      emptyDir: {medium: Memory, sizeLimit: {{ .Values.engine.shm | quote }}}
    - name: tmp
      emptyDir: {}
{{- end -}}
