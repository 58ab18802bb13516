{{/* A candidate beside the workers: what its shadow and its comparator have, and workers once it may act. */}}

{{/* Whether this pod is told of a candidate: the shadow and the comparator, and workers from the stage canary on. */}}
{{- define "sluicegate.candidateHere" -}}
{{- $candidate := .Values.engine.candidate -}}
{{- if and $candidate.experiment (or .component (has "canary" $candidate.stages)) -}}yes{{- end -}}
{{- end -}}

{{/* What the shadow and the comparator are called. */}}
{{- define "sluicegate.candidateName" -}}
{{- include "sluicegate.fullname" (index . 0) }}-{{ index . 1 }}
{{- end -}}

{{/* A candidate's bundle, for the templates of _bundle.tpl: values with its place as the engine's. Nothing where it has none, or not here. */}}
{{- define "sluicegate.candidateBundle" -}}
{{- $candidate := .Values.engine.candidate -}}
{{- if and $candidate.uri (include "sluicegate.candidateHere" .) -}}
{{- $values := deepCopy .Values -}}
{{- $_ := mergeOverwrite $values.engine (pick $candidate "uri" "sha256") -}}
{{- dict "Values" $values "Chart" (dict "AppVersion" .Chart.AppVersion) "bundle" "candidate" | toYaml -}}
{{- end -}}
{{- end -}}

{{/* Its policy names the adapter `candidate` where it has a bundle of its own. */}}
{{- define "sluicegate.candidateSettings" -}}
{{- $candidate := .Values.engine.candidate -}}
{{- $terms := dict "max_permissive" $candidate.maxPermissive "max_shift" $candidate.maxShift "min_posts" (int $candidate.minPosts) -}}
{{- $owned := dict "experiment" $candidate.experiment "share" $candidate.share "policy" (printf "/etc/sluicegate/policies/%s" $candidate.policyFile) "keys" "/etc/sluicegate/candidate/keys" "terms" $terms -}}
{{- if eq (.component | default "") "compare" -}}
{{- $_ := set $owned "key" "/etc/sluicegate/candidate/signs/key.pem" -}}
{{- $_ := set $owned "state_file" "/var/lib/sluicegate/comparison.json" -}}
{{- end -}}
{{- $settings := dict "candidate" (mergeOverwrite (get .Values.settings "candidate" | default dict | deepCopy) $owned) -}}
{{- if $candidate.uri -}}
{{- $adapter := dict "bundle" "/candidates/guard" "digest" $candidate.digest -}}
{{- with $candidate.url -}}
{{- $_ := set $adapter "url" . -}}
{{- end -}}
{{- $_ := set $settings "engine" (dict "adapters" (dict "candidate" $adapter)) -}}
{{- end -}}
{{- toYaml $settings -}}
{{- end -}}

{{- define "sluicegate.candidateMounts" -}}
- {name: candidate-keys, mountPath: /etc/sluicegate/candidate/keys, readOnly: true}
{{- end -}}

{{- define "sluicegate.candidateVolumes" -}}
- name: candidate-keys
  configMap: {name: {{ .Values.engine.candidate.keys.existingConfigMap | quote }}}
{{- end -}}
