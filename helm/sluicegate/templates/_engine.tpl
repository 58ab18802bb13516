{{/* Profile gpu: the model in the worker's own process, or a server beside it on the loopback interface, as the bundle's plan says. */}}

{{- define "sluicegate.inProcess" -}}
{{- if and (eq .Values.profile "gpu") (eq .Values.engine.kind "in-process") -}}yes{{- end -}}
{{- end -}}

{{- define "sluicegate.sidecar" -}}
{{- if and (eq .Values.profile "gpu") (ne .Values.engine.kind "in-process") -}}yes{{- end -}}
{{- end -}}

{{- define "sluicegate.engineMetrics" -}}
{{- if and (include "sluicegate.sidecar" .) .Values.engine.metrics.enabled -}}yes{{- end -}}
{{- end -}}

{{/* Image of the container that has the GPU. The servers' releases are those of engines/backends/releases.py. */}}
{{- define "sluicegate.engineImage" -}}
{{- $image := .Values.engine.image -}}
{{- $repository := dict "in-process" (printf "%s-gpu" (include "sluicegate.repository" .)) "vllm" "docker.io/vllm/vllm-openai" "sglang" "docker.io/lmsysorg/sglang" "trtllm-serve" "nvcr.io/nvidia/tensorrt-llm/release" -}}
{{- $said := default (get $repository .Values.engine.kind) $image.repository -}}
{{- if $image.digest -}}
{{- include "sluicegate.mirrored" (list . (printf "%s@%s" $said $image.digest)) -}}
{{- else -}}
{{- include "sluicegate.mirrored" (list . (printf "%s:%s" $said (include "sluicegate.engineTag" .))) -}}
{{- end -}}
{{- end -}}

{{- define "sluicegate.engineTag" -}}
{{- $tags := dict "in-process" .Chart.AppVersion "vllm" "v0.32.0" "sglang" "v0.5.23" "trtllm-serve" "1.2.1" -}}
{{- default (get $tags .Values.engine.kind) .Values.engine.image.tag -}}
{{- end -}}

{{/* Release of trtllm-serve, as its tag begins: it says which endpoint gives scores. */}}
{{- define "sluicegate.trtllmRelease" -}}
{{- regexFind "^[0-9]+\\.[0-9]+(\\.[0-9]+)?(rc[0-9]+)?" (include "sluicegate.engineTag" .) -}}
{{- end -}}

{{- define "sluicegate.engineDialect" -}}
{{- if ne .Values.engine.kind "trtllm-serve" -}}
{{- .Values.engine.kind -}}
{{- else -}}
{{- ternary "trtllm_chat" "trtllm" (hasPrefix "1.2." (include "sluicegate.trtllmRelease" .)) -}}
{{- end -}}
{{- end -}}

{{/* Variables of the container that has the GPU. */}}
{{- define "sluicegate.gpuEnv" -}}
# The images have no user 10001, and torch asks for a name where this is not set.
- {name: USER, value: sluicegate}
# Bundles are whole: nothing is looked up on the internet, and no use of it is reported.
- {name: HF_HUB_OFFLINE, value: "1"}
- {name: DO_NOT_TRACK, value: "1"}
{{- end -}}

{{- define "sluicegate.engineInit" -}}
{{- $plan := printf "sluicegate engine serve-config /bundles/guard --for %s --out /engine --port 8000 --json" .Values.engine.kind -}}
{{- if eq .Values.engine.kind "trtllm-serve" -}}
{{- $plan = printf "%s --version %s" $plan (include "sluicegate.trtllmRelease" .) -}}
{{- end -}}
- name: plan-engine
  {{- include "sluicegate.sideContainer" . | nindent 2 }}
  command:
    - sh
    - -c
    - {{ $plan }}{{ if include "sluicegate.engineMetrics" . }} --metrics{{ end }} > /engine/plan.json
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
    - import json, os, sys; command = json.load(open("/engine/plan.json"))["command"] + sys.argv[1:]; os.execvp(command[0], command)
  {{- with .Values.engine.extraArgs }}
  args:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  env:
    - {name: HOME, value: /tmp}
    {{- include "sluicegate.gpuEnv" . | nindent 4 }}
    {{- with .Values.engine.extraEnv }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
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
    {{- with .Values.engine.extraVolumeMounts }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- if include "sluicegate.engineMetrics" . }}
# The server's metrics and nothing else of it: on a port of the pod it would generate for whoever scrapes.
- name: engine-metrics
  restartPolicy: Always
  {{- include "sluicegate.sideContainer" . | nindent 2 }}
  command: [python, /etc/sluicegate/scripts/engine_metrics.py]
  args: [/engine/plan.json, {{ .Values.engine.metrics.port | quote }}]
  env:
    - {name: HOME, value: /tmp}
  ports:
    - {name: engine-metrics, containerPort: {{ .Values.engine.metrics.port }}}
  volumeMounts:
    - {name: engine, mountPath: /engine, readOnly: true}
    - {name: scripts, mountPath: /etc/sluicegate/scripts, readOnly: true}
    - {name: tmp, mountPath: /tmp}
{{- end }}
{{- end -}}

{{/* Requests and limits with the GPU added: takes (list . resources). */}}
{{- define "sluicegate.gpuResources" -}}
{{- $gpu := (index . 0).Values.engine.gpu -}}
{{- if $gpu.claimTemplate -}}
{{- mergeOverwrite (deepCopy (index . 1)) (dict "claims" (list (dict "name" "gpu"))) | toYaml -}}
{{- else -}}
{{- mergeOverwrite (dict "limits" dict) (deepCopy (index . 1)) (dict "limits" (dict $gpu.resource (int $gpu.count))) | toYaml -}}
{{- end -}}
{{- end -}}

{{- define "sluicegate.engineProbe" -}}
exec:
  command:
    - python3
    - -c
    - import urllib.request as http; http.urlopen("http://127.0.0.1:8000/health", timeout=4).close()
{{- end -}}

{{/* In process: whether the engine itself has scored. Not all of /readyz, which adapters elsewhere, brokers and a policy have a
     part in. */}}
{{- define "sluicegate.scoredProbe" -}}
exec:
  command:
    - python
    - -c
    - import http.client, json; ops = http.client.HTTPConnection("localhost", 8080, timeout=4); ops.request("GET", "/readyz"); assert "engine" not in json.load(ops.getresponse())["engines_missing"]
{{- end -}}

{{- define "sluicegate.engineVolumes" -}}
{{- if include "sluicegate.sidecar" . }}
- name: engine
  emptyDir: {}
- name: engine-tmp
  emptyDir: {}
{{- end }}
- name: shm
  emptyDir:
    medium: Memory
    sizeLimit: {{ .Values.engine.shm | quote }}
{{- end -}}
