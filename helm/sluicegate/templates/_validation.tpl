{{/* What a schema cannot say: rules over several values. Every message names the values to set. */}}

{{- define "sluicegate.validate" -}}
{{- $engine := .Values.engine -}}
{{- $security := .Values.kafka.security -}}
{{- $sasl := $security.sasl -}}
{{- $fetched := or (hasPrefix "https://" $engine.uri) (hasPrefix "s3://" $engine.uri) -}}
{{- if not .Values.kafka.bootstrapServers -}}
{{- fail "kafka.bootstrapServers is missing; set it to your brokers, for example kafka.bootstrapServers=my-cluster-kafka-bootstrap.kafka:9092" -}}
{{- end -}}
{{- if and (not (hasSuffix "SSL" $security.protocol)) (or $security.ca.existingSecret $security.certificate.existingSecret) -}}
{{- fail (printf "kafka.security.protocol %s encrypts nothing, and a Secret with certificates is given; set kafka.security.protocol=%s, or empty ca.existingSecret and certificate.existingSecret" $security.protocol (ternary "SASL_SSL" "SSL" (hasPrefix "SASL" $security.protocol))) -}}
{{- end -}}
{{- if hasPrefix "SASL" $security.protocol -}}
{{- if not $sasl.existingSecret -}}
{{- fail (printf "kafka.security.protocol %s needs a password; set kafka.security.sasl.existingSecret to the Secret that holds it, and passwordKey to its key" $security.protocol) -}}
{{- end -}}
{{- if eq (empty $sasl.username) (empty $sasl.usernameKey) -}}
{{- fail "kafka.security.sasl needs a name to log in with, once; set username to it, or usernameKey to its key in existingSecret" -}}
{{- end -}}
{{- else if or $sasl.existingSecret $sasl.username $sasl.usernameKey -}}
{{- fail (printf "kafka.security.sasl has no effect with kafka.security.protocol %s; set kafka.security.protocol=%s" $security.protocol (ternary "SASL_SSL" "SASL_PLAINTEXT" (eq $security.protocol "SSL"))) -}}
{{- end -}}
{{- if ne .Values.profile "cpu" -}}
{{- if not $engine.uri -}}
{{- fail (printf "engine.uri is missing, and profile %s needs a bundle; set it, for example engine.uri=pvc://models/guard" .Values.profile) -}}
{{- end -}}
{{- if not $engine.digest -}}
{{- fail (printf "engine.digest is missing, and profile %s pins its bundle; set it to what `sluicegate engine info BUNDLE` prints as digest" .Values.profile) -}}
{{- end -}}
{{- end -}}
{{- if and (eq .Values.profile "external") (not $engine.url) -}}
{{- fail "engine.url is missing, and profile external needs a server; set it, for example engine.url=http://guard-engine.models:8000" -}}
{{- end -}}
{{- if and (ne .Values.profile "external") (or $engine.url $engine.apiKey.existingSecret) -}}
{{- fail (printf "engine.url and engine.apiKey have no effect with profile %s; set profile=external, or empty them" .Values.profile) -}}
{{- end -}}
{{- if and $fetched (not $engine.sha256) -}}
{{- fail (printf "engine.sha256 is missing, and %s is fetched over a network; set it to what `sha256sum` prints for the archive" $engine.uri) -}}
{{- end -}}
{{- if and $engine.sha256 (not $fetched) -}}
{{- fail "engine.sha256 has no effect but with an https:// or s3:// engine.uri; empty it, engine.digest pins the bundle" -}}
{{- end -}}
{{- if and (hasPrefix "s3://" $engine.uri) (not $engine.s3.image) -}}
{{- fail "engine.s3.image is missing, and the worker's image has no S3 client; set it to an image with the AWS command line, by digest" -}}
{{- end -}}
{{- if hasPrefix "oci://" $engine.uri -}}
{{- if not (regexMatch "@sha256:[0-9a-f]{64}$" $engine.uri) -}}
{{- fail (printf "engine.uri %s is not pinned; end it with the image's digest, as in oci://registry/guard@sha256:…" $engine.uri) -}}
{{- end -}}
{{- if semverCompare "<1.35.0-0" .Capabilities.KubeVersion.Version -}}
{{- fail (printf "engine.uri oci:// is an image volume, which Kubernetes has on by default from 1.35, and this cluster is %s, which would drop it silently; set engine.uri to pvc://, https:// or s3://" .Capabilities.KubeVersion.Version) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.policy.files .Values.policy.existingConfigMap -}}
{{- fail "policy.files and policy.existingConfigMap say the same; empty one of them" -}}
{{- end -}}
{{- if and .Values.policy.files (not (hasKey .Values.policy.files .Values.policy.file)) -}}
{{- fail (printf "policy.file %s is none of policy.files; set it to one of: %s" .Values.policy.file (keys .Values.policy.files | sortAlpha | join ", ")) -}}
{{- end -}}
{{- if eq .Values.topics.mode "strimzi" -}}
{{- if not .Values.topics.strimzi.cluster -}}
{{- fail "topics.strimzi.cluster is missing; set it to the name of your Kafka object" -}}
{{- end -}}
{{- include "sluicegate.requireApi" (list . "kafka.strimzi.io" .Values.topics.strimzi.apiVersion "topics.mode=strimzi" "topics.mode=job") -}}
{{- end -}}
{{- if .Values.autoscaling.enabled -}}
{{- include "sluicegate.requireApi" (list . "KEDA" "keda.sh/v1alpha1" "autoscaling.enabled=true" "autoscaling.enabled=false") -}}
{{- if not .Values.autoscaling.postsPerSecond -}}
{{- fail "autoscaling.postsPerSecond is missing; set it to the posts a second that one worker with its engine judges, as you measured it" -}}
{{- end -}}
{{- if gt (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas) -}}
{{- fail (printf "autoscaling.minReplicas %d is more than maxReplicas %d; set autoscaling.maxReplicas=%d" (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas) (int .Values.autoscaling.minReplicas)) -}}
{{- end -}}
{{- if and (ne .Values.topics.mode "none") (gt (int .Values.autoscaling.maxReplicas) (int .Values.topics.partitions)) -}}
{{- fail (printf "autoscaling.maxReplicas %d is more than topics.partitions %d, and a worker without a partition is idle; set autoscaling.maxReplicas=%d" (int .Values.autoscaling.maxReplicas) (int .Values.topics.partitions) (int .Values.topics.partitions)) -}}
{{- end -}}
{{- end -}}
{{- if .Values.podMonitor.enabled -}}
{{- include "sluicegate.requireApi" (list . "the Prometheus operator" "monitoring.coreos.com/v1" "podMonitor.enabled=true" "podMonitor.enabled=false") -}}
{{- end -}}
{{- if .Values.prometheusRule.enabled -}}
{{- include "sluicegate.requireApi" (list . "the Prometheus operator" "monitoring.coreos.com/v1" "prometheusRule.enabled=true" "prometheusRule.enabled=false") -}}
{{- end -}}
{{- end -}}

{{- define "sluicegate.requireApi" -}}
{{- $root := index . 0 -}}
{{- if not ($root.Capabilities.APIVersions.Has (index . 2)) -}}
{{- fail (printf "%s needs %s, and this cluster does not serve %s; install it first or set %s (with `helm template`, add --api-versions %s)" (index . 3) (index . 1) (index . 2) (index . 4) (index . 2)) -}}
{{- end -}}
{{- end -}}
