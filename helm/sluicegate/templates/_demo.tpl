{{/* Profile demo: a broker in the worker's own pod, since it listens on the loopback interface alone. */}}

{{- define "sluicegate.demoInit" -}}
# A native sidecar: up before the worker starts, and still there while it drains. Its port is another one at each
# start, so it leaves the settings with its address for the worker.
- name: broker
  restartPolicy: Always
  {{- include "sluicegate.sideContainer" . | nindent 2 }}
  command: [python, /etc/sluicegate/scripts/demo_broker.py]
  args: [/etc/sluicegate/settings/settings.yaml, /demo/settings.yaml]
  env:
    - {name: HOME, value: /tmp}
  startupProbe:
    exec:
      command: [test, -f, /demo/settings.yaml]
    periodSeconds: 1
    failureThreshold: 60
  volumeMounts:
    - {name: settings, mountPath: /etc/sluicegate/settings, readOnly: true}
    - {name: scripts, mountPath: /etc/sluicegate/scripts, readOnly: true}
    - {name: demo, mountPath: /demo}
    - {name: tmp, mountPath: /tmp}
{{- end -}}

{{/* The worker keeps the settings that it started with: where they differ, the broker is another one, and empty. */}}
{{- define "sluicegate.demoCommand" -}}
command: [sh, -c, 'cp /demo/settings.yaml /tmp/settings.yaml && exec sluicegate worker "$@"', worker]
{{- end -}}

{{- define "sluicegate.demoLiveness" -}}
exec:
  command: [cmp, -s, /demo/settings.yaml, /tmp/settings.yaml]
{{- end -}}
