{{/* Profile gpu: trtllm-serve beside the worker, on the loopback interface, as the bundle's own plan says. */}}

{{- define "sluicegate.engineInit" -}}
- name: plan-engine
  {{- include "sluicegate.sideContainer" . | nindent 2 }}
  command:
    - sh
    - -c
    - sluicegate engine serve-config /bundles/guard --for trtllm-serve --out /engine --port 8000 --json > /engine/plan.json
  env:
    - {name: HOME, value: /tmp}
  volumeMounts:
    {{- include "sluicegate.bundleMount" . | nindent 4 }}
    - {name: engine, mountPath: /engine}
    - {name: tmp, mountPath: /tmp}
# A native sidecar: up before the worker starts, and still there while the worker drains.
- name: engine
  restartPolicy: Always
  image: {{ include "sluicegate.engineImage" . | quote }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  securityContext:
    {{- toYaml .Values.engine.securityContext | nindent 4 }}
  command:
    - python3
    - -c
    - import json, os; command = json.load(open("/engine/plan.json"))["command"]; os.execvp(command[0], command)
  env:
    - {name: HOME, value: /tmp}
    # The image has no user 10001, and torch asks for a name where this is not set.
    - {name: USER, value: sluicegate}
  resources:
    {{- include "sluicegate.gpuResources" (list . .Values.engine.resources) | nindent 4 }}
  # It listens on the loopback interface, so that kubelet cannot ask it over the network.
  startupProbe:
    {{- include "sluicegate.engineProbe" . | nindent 4 }}
    periodSeconds: 10
    timeoutSeconds: 5
    failureThreshold: {{ div (add (int .Values.engine.startupSeconds) 9) 10 }}
  livenessProbe:
    {{- include "sluicegate.engineProbe" . | nindent 4 }}
    periodSeconds: 20
    timeoutSeconds: 10
    failureThreshold: 6
  volumeMounts:
    {{- include "sluicegate.bundleMount" . | nindent 4 }}
    - {name: engine, mountPath: /engine, readOnly: true}
    - {name: shm, mountPath: /dev/shm}
    - {name: engine-tmp, mountPath: /tmp}
{{- end -}}

{{/* Requests and limits with the GPU added: takes (list . resources). */}}
{{- define "sluicegate.gpuResources" -}}
{{- $gpu := (index . 0).Values.engine.gpu -}}
{{- mergeOverwrite (dict "limits" dict) (deepCopy (index . 1)) (dict "limits" (dict $gpu.resource (int $gpu.count))) | toYaml -}}
{{- end -}}

{{- define "sluicegate.engineProbe" -}}
exec:
  command:
    - python3
    - -c
    - import urllib.request as http; http.urlopen("http://127.0.0.1:8000/health", timeout=4).close()
{{- end -}}

{{- define "sluicegate.engineVolumes" -}}
- name: engine
  emptyDir: {}
- name: engine-tmp
  emptyDir: {}
- name: shm
  emptyDir:
    medium: Memory
    sizeLimit: {{ .Values.engine.shm | quote }}
{{- end -}}
