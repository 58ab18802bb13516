{{/* What a schema cannot say, or not in a sentence: every message names the values to set. */}}

{{- define "sluicegate.validate" -}}
{{- if not .Values.enabled -}}
{{- fail "enabled=false is heeded by a parent chart alone, whose dependency on this one has `condition: sluicegate.enabled`; set enabled=true, or add that line there" -}}
{{- end -}}
{{- if eq .Values.image.tag "latest" -}}
{{- fail "image.tag latest is another image tomorrow; set image.tag to a version, or image.digest" -}}
{{- end -}}
{{- if eq .Values.profile "demo" -}}
{{- include "sluicegate.validateDemo" . -}}
{{- else -}}
{{- include "sluicegate.validateKafka" . -}}
{{- include "sluicegate.validateNeighbours" . -}}
{{- end -}}
{{- include "sluicegate.validateEngine" . -}}
{{- include "sluicegate.validateGpu" . -}}
{{- include "sluicegate.validateSidecar" . -}}
{{- include "sluicegate.validateUri" . -}}
{{- include "sluicegate.validateDrain" . -}}
{{- include "sluicegate.validateTopics" . -}}
{{- include "sluicegate.validateReview" . -}}
{{- include "sluicegate.validateCandidate" . -}}
{{- include "sluicegate.validateCycle" . -}}
{{- include "sluicegate.validateScaling" . -}}
{{- if and .Values.policy.files .Values.policy.existingConfigMap -}}
{{- fail "policy.files and policy.existingConfigMap say the same; empty one of them" -}}
{{- end -}}
{{- if and .Values.policy.files (not (hasKey .Values.policy.files .Values.policy.file)) -}}
{{- fail (printf "policy.file %s is none of policy.files; set it to one of: %s" .Values.policy.file (keys .Values.policy.files | sortAlpha | join ", ")) -}}
{{- end -}}
{{- if .Values.podMonitor.enabled -}}
{{- include "sluicegate.requireApi" (list . "the Prometheus operator" "monitoring.coreos.com/v1" "podMonitor.enabled=true" "podMonitor.enabled=false") -}}
{{- end -}}
{{- if .Values.prometheusRule.enabled -}}
{{- include "sluicegate.requireApi" (list . "the Prometheus operator" "monitoring.coreos.com/v1" "prometheusRule.enabled=true" "prometheusRule.enabled=false") -}}
{{- end -}}
{{- include "sluicegate.validateSeries" . -}}
{{- end -}}

{{/* Where nothing is scraped, alerts are silent and triggers see no posts. */}}
{{- define "sluicegate.validateSeries" -}}
{{- $scaled := and .Values.autoscaling.enabled .Values.autoscaling.prometheusAddress -}}
{{- if and (or $scaled .Values.prometheusRule.enabled) (not (or .Values.podMonitor.enabled .Values.prometheusRule.selector)) -}}
{{- fail (printf "%s asks for the series of a PodMonitor, and there is none; set podMonitor.enabled=true, or prometheusRule.selector to the labels that your own scraping gives, as in job=\"guard\"" (ternary "autoscaling.prometheusAddress" "prometheusRule.enabled" (not (empty $scaled)))) -}}
{{- end -}}
{{- if and $scaled (not (regexMatch "^([0-9]{1,4}ms|[1-5]?[0-9]s|60s|1m)$" .Values.podMonitor.interval)) -}}
{{- fail (printf "podMonitor.interval %s is longer than a minute, and KEDA asks for a rate over two; set podMonitor.interval=1m, or shorter" .Values.podMonitor.interval) -}}
{{- end -}}
{{- end -}}

{{- define "sluicegate.validateCycle" -}}
{{- with .Values.adapt.cycle -}}
{{- if .plans -}}
{{- if eq $.Values.profile "demo" -}}
{{- fail "adapt.cycle.plans reads the feedback topic of brokers that stay, and those of profile demo do not; set profile=cpu, or take the plans out" -}}
{{- end -}}
{{- if not .image -}}
{{- fail "adapt.cycle.plans needs an image that can train; build one as docs/cycle.md says and set adapt.cycle.image=registry.example/sluicegate-adapt:0.1.0" -}}
{{- end -}}
{{- if hasSuffix ":latest" .image -}}
{{- fail (printf "adapt.cycle.image %s is another image tomorrow; give it a version" .image) -}}
{{- end -}}
{{- if not .existingClaim -}}
{{- fail "adapt.cycle.plans needs a place for plans and ledgers; make a PersistentVolumeClaim and set adapt.cycle.existingClaim=cycle" -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "sluicegate.validateDemo" -}}
{{- if or .Values.kafka.bootstrapServers (ne .Values.kafka.security.protocol "PLAINTEXT") -}}
{{- fail "profile demo has a broker of its own, and kafka names yours; set profile=cpu, or take kafka out" -}}
{{- end -}}
{{- if ne .Values.topics.mode "none" -}}
{{- fail (printf "profile demo has a broker that makes its topics itself; set topics.mode=none, or profile=cpu for topics.mode=%s on your brokers" .Values.topics.mode) -}}
{{- end -}}
{{- if or .Values.autoscaling.enabled (gt (int .Values.replicas) 1) -}}
{{- fail "profile demo has a broker in each pod, so that two workers would share nothing; take replicas and autoscaling out, or set profile=cpu" -}}
{{- end -}}
{{- end -}}

{{- define "sluicegate.validateKafka" -}}
{{- $servers := .Values.kafka.bootstrapServers -}}
{{- $security := .Values.kafka.security -}}
{{- $sasl := $security.sasl -}}
{{- if not $servers -}}
{{- fail "kafka.bootstrapServers is missing; set it to your brokers, for example kafka.bootstrapServers=my-cluster-kafka-bootstrap.kafka:9092, or set profile=demo" -}}
{{- end -}}
{{- if not (regexMatch "^[^\\s,:/]+:[0-9]+(,[^\\s,:/]+:[0-9]+)*$" $servers) -}}
{{- fail (printf "kafka.bootstrapServers %s is not host:port, nor several of them by commas; set it as in kafka.bootstrapServers=kafka-0.kafka:9092,kafka-1.kafka:9092" $servers) -}}
{{- end -}}
{{- if and (not (hasSuffix "SSL" $security.protocol)) (or $security.ca.existingSecret $security.certificate.existingSecret) -}}
{{- fail (printf "kafka.security.protocol %s encrypts nothing, and a Secret with certificates is given; set kafka.security.protocol=%s, or empty ca.existingSecret and certificate.existingSecret" $security.protocol (ternary "SASL_SSL" "SSL" (hasPrefix "SASL" $security.protocol))) -}}
{{- end -}}
{{- if hasPrefix "SASL" $security.protocol -}}
{{- if not $sasl.existingSecret -}}
{{- fail (printf "kafka.security.protocol %s needs a password; set kafka.security.sasl.existingSecret to the Secret that holds it, and passwordKey to its key" $security.protocol) -}}
{{- end -}}
{{- if not $sasl.passwordKey -}}
{{- fail (printf "kafka.security.sasl.passwordKey is empty; set it to the key of Secret %s that holds the password" $sasl.existingSecret) -}}
{{- end -}}
{{- if eq (empty $sasl.username) (empty $sasl.usernameKey) -}}
{{- fail "kafka.security.sasl needs a name to log in with, once; set username to it, or usernameKey to its key in existingSecret" -}}
{{- end -}}
{{- else if or $sasl.existingSecret $sasl.username $sasl.usernameKey -}}
{{- fail (printf "kafka.security.sasl has no effect with kafka.security.protocol %s; set kafka.security.protocol=%s" $security.protocol (ternary "SASL_SSL" "SASL_PLAINTEXT" (eq $security.protocol "SSL"))) -}}
{{- end -}}
{{- range $who, $login := dict "engine.candidate.security" .Values.engine.candidate.security "review.security" .Values.review.security "topics.security" (ternary .Values.topics.security dict (eq .Values.topics.mode "job")) "tests.security" .Values.tests.security -}}
{{- if and $login.sasl (not (hasPrefix "SASL" $security.protocol)) -}}
{{- fail (printf "%s.sasl has no effect with kafka.security.protocol %s; set kafka.security.protocol=SASL_SSL, or take it out" $who $security.protocol) -}}
{{- end -}}
{{- if and (dig "sasl" "username" "" $login) (not (dig "sasl" "existingSecret" "" $login)) -}}
{{- fail (printf "%s.sasl.username is another name with the workers' password; set %s.sasl.existingSecret to the Secret with its own" $who $who) -}}
{{- end -}}
{{- end -}}
{{- if eq .Values.topics.mode "strimzi" -}}
{{- if not .Values.topics.strimzi.cluster -}}
{{- fail "topics.strimzi.cluster is missing; set it to the name of your Kafka object" -}}
{{- end -}}
{{- $older := "kafka.strimzi.io/v1beta2" -}}
{{- if and (not (.Capabilities.APIVersions.Has .Values.topics.strimzi.apiVersion)) (.Capabilities.APIVersions.Has $older) -}}
{{- fail (printf "topics.strimzi.apiVersion %s is newer than this cluster's Strimzi; set topics.strimzi.apiVersion=%s" .Values.topics.strimzi.apiVersion $older) -}}
{{- end -}}
{{- include "sluicegate.requireApi" (list . "kafka.strimzi.io" .Values.topics.strimzi.apiVersion "topics.mode=strimzi" "topics.mode=job") -}}
{{- end -}}
{{- end -}}

{{/* What runs in the namespace, where Helm is connected to a cluster: `helm template` sees nothing. */}}
{{- define "sluicegate.validateNeighbours" -}}
{{- $settings := include "sluicegate.settings" . | fromYaml -}}
{{- range (lookup "v1" "ConfigMap" .Release.Namespace "").items -}}
{{- $labels := .metadata.labels | default dict -}}
{{- if and (eq (get $labels "app.kubernetes.io/part-of") "sluicegate") (hasSuffix "-settings" .metadata.name) -}}
{{- $release := get $labels "app.kubernetes.io/instance" -}}
{{- $there := get .data "settings.yaml" | fromYaml -}}
{{- if eq $release $.Release.Name -}}
{{- include "sluicegate.validateKept" (list $ $settings $there) -}}
{{- else if and (not $.Values.kafka.shared) (eq (toString $there.kafka.bootstrap_servers) $settings.kafka.bootstrap_servers) -}}
{{- include "sluicegate.validateApart" (list $release $settings $there) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* A group that is new reads the topic from its beginning, and a control topic that is new knows no open breaker. */}}
{{- define "sluicegate.validateKept" -}}
{{- $values := (index . 0).Values -}}
{{- $settings := index . 1 -}}
{{- $there := index . 2 -}}
{{- if and (not $values.settings.kafka.group) (ne $there.kafka.group $settings.kafka.group) -}}
{{- fail (printf "settings.kafka.group is not given, and this release's workers have the group %s: with %s they would judge everything again that the topic holds; set settings.kafka.group=%s to keep it, or settings.kafka.group=%s if you mean that" $there.kafka.group $settings.kafka.group $there.kafka.group $settings.kafka.group) -}}
{{- end -}}
{{- if and (not $values.settings.topics.control) (ne $there.topics.control $settings.topics.control) -}}
{{- fail (printf "settings.topics.control is not given, and this release's workers have the control topic %s: with %s they would forget which breakers are open and which screens are off; set settings.topics.control=%s to keep it, or settings.topics.control=%s if you mean that" $there.topics.control $settings.topics.control $there.topics.control $settings.topics.control) -}}
{{- end -}}
{{- end -}}

{{- define "sluicegate.validateApart" -}}
{{- $release := index . 0 -}}
{{- $settings := index . 1 -}}
{{- $there := index . 2 -}}
{{- if eq $there.kafka.group $settings.kafka.group -}}
{{- fail (printf "release %s has the consumer group %s on these brokers, too, and the two would share out the partitions, each with its own policy and engine; set settings.kafka.group to another one, or kafka.shared=true if you mean that" $release $settings.kafka.group) -}}
{{- end -}}
{{- if eq $there.topics.control $settings.topics.control -}}
{{- fail (printf "release %s has the control topic %s on these brokers, too, and a breaker that trips in one would open in the other; set settings.topics.control to another one, or kafka.shared=true if you mean that" $release $settings.topics.control) -}}
{{- end -}}
{{- range $action := list "allow" "review" "block" -}}
{{- if and (eq $there.topics.posts $settings.topics.posts) (eq (get $there.topics $action) (get $settings.topics $action)) -}}
{{- fail (printf "release %s reads %s and writes %s on these brokers, too, and every post would be judged twice; set settings.topics.posts or settings.topics.%s to another topic, or kafka.shared=true if you mean that" $release $settings.topics.posts (get $settings.topics $action) $action) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "sluicegate.validateEngine" -}}
{{- $engine := .Values.engine -}}
{{- if not (has .Values.profile (list "cpu" "demo")) -}}
{{- if not $engine.uri -}}
{{- fail (printf "engine.uri is missing, and profile %s needs a bundle; set it, for example engine.uri=pvc://models/guard" .Values.profile) -}}
{{- end -}}
{{- if not $engine.digest -}}
{{- fail (printf "engine.digest is missing, and profile %s pins its bundle; set it to what `sluicegate engine info BUNDLE` prints as digest" .Values.profile) -}}
{{- end -}}
{{- end -}}
{{- if not (regexMatch "^(sha256:[0-9a-f]{64})?$" $engine.digest) -}}
{{- fail (printf "engine.digest %s is no digest; set it to sha256: and 64 hexadecimal digits, as `sluicegate engine info BUNDLE` prints it" $engine.digest) -}}
{{- end -}}
{{- if and (eq .Values.profile "external") (not $engine.url) -}}
{{- fail "engine.url is missing, and profile external needs a server; set it, for example engine.url=http://guard-engine.models:8000" -}}
{{- end -}}
{{- if and (ne .Values.profile "external") (or $engine.url $engine.apiKey.existingSecret) -}}
{{- fail (printf "engine.url and engine.apiKey have no effect with profile %s; set profile=external, or empty them" .Values.profile) -}}
{{- end -}}
{{- end -}}

{{- define "sluicegate.validateGpu" -}}
{{- if eq .Values.profile "gpu" -}}
{{- $engine := .Values.engine -}}
{{- $gpu := $engine.gpu -}}
{{- $tag := include "sluicegate.engineTag" . -}}
{{- if eq $tag "latest" -}}
{{- fail "engine.image.tag latest is another server tomorrow; set engine.image.tag to a release, or engine.image.digest" -}}
{{- end -}}
{{- if and (eq $engine.kind "trtllm-serve") (not (include "sluicegate.trtllmRelease" .)) -}}
{{- fail (printf "engine.image.tag %s does not begin with a release of TensorRT-LLM, and releases are asked for scores in different ways; set engine.image.tag to begin with one, as in 1.2.1, beside engine.image.digest" $tag) -}}
{{- end -}}
{{- if and (include "sluicegate.inProcess" .) (hasSuffix "tensorrt-llm/release" $engine.image.repository) -}}
{{- fail (printf "engine.image.repository %s is NVIDIA's own image, without sluicegate, and engine.kind in-process runs the worker in it; set engine.image.repository to an image of yours by Dockerfile.gpu, or engine.kind=trtllm-serve" $engine.image.repository) -}}
{{- end -}}
{{- if and (include "sluicegate.inProcess" .) (gt (int $gpu.count) 1) -}}
{{- fail (printf "engine.gpu.count %d has no use in process, where an engine has one GPU; set engine.gpu.count=1, and more workers by replicas" (int $gpu.count)) -}}
{{- end -}}
{{- if $gpu.claimTemplate -}}
{{- if ne (int $gpu.count) 1 -}}
{{- fail (printf "engine.gpu.count %d has no effect beside engine.gpu.claimTemplate, whose template says how many; set engine.gpu.count=1" (int $gpu.count)) -}}
{{- end -}}
{{- if semverCompare "<1.34.0-0" .Capabilities.KubeVersion.Version -}}
{{- fail (printf "engine.gpu.claimTemplate needs resource claims, which Kubernetes has on by default from 1.34, and this cluster is %s; set engine.gpu.resource to what its device plugin offers, and empty claimTemplate" .Capabilities.KubeVersion.Version) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* What the container beside the worker has of its own. */}}
{{- define "sluicegate.validateSidecar" -}}
{{- $engine := .Values.engine -}}
{{- if not (include "sluicegate.sidecar" .) -}}
{{- $where := ternary "engine.kind in-process" (printf "profile %s" .Values.profile) (eq .Values.profile "gpu") -}}
{{- range $name := list "extraArgs" "extraEnv" "extraVolumeMounts" "resources" -}}
{{- if get $engine $name -}}
{{- fail (printf "engine.%s has no effect with %s, which has no server beside the worker; give it as %s to the worker, or set profile=gpu and engine.kind=vllm" $name $where $name) -}}
{{- end -}}
{{- end -}}
{{- if $engine.metrics.enabled -}}
{{- fail (printf "engine.metrics.enabled has no effect with %s, which has no server beside the worker; set engine.metrics.enabled=false: the worker's own metrics are on its ops port" $where) -}}
{{- end -}}
{{- end -}}
{{- range $word := $engine.extraArgs -}}
{{- with regexFind "^--(host|port|uds|api-key|model|model-path|served-model-name|extra_llm_api_options|config)(=|$)" $word | trimSuffix "=" -}}
{{- fail (printf "engine.extraArgs holds %s, which is the plan's: the worker asks 127.0.0.1:8000 for the model of its own bundle; take it out, or set profile=external for a server of yours" .) -}}
{{- end -}}
{{- end -}}
{{- range $word := $engine.extraArgs -}}
{{- with regexFind "^--(enable-log-requests|enable-log-outputs|log-requests|crash-dump-folder)(=|$)" $word | trimSuffix "=" -}}
{{- fail (printf "engine.extraArgs holds %s, which writes the texts of posts where logs are read; take it out" .) -}}
{{- end -}}
{{- end -}}
{{- if and $engine.metrics.enabled (has (int $engine.metrics.port) (list 8000 8080)) -}}
{{- fail (printf "engine.metrics.port %d is the %s's; set engine.metrics.port=8001" (int $engine.metrics.port) (ternary "server" "worker" (eq (int $engine.metrics.port) 8000))) -}}
{{- end -}}
{{- end -}}

{{- define "sluicegate.validateUri" -}}
{{- $engine := .Values.engine -}}
{{- $uri := $engine.uri -}}
{{- $at := ternary "engine.candidate.uri" "engine.uri" (eq (.bundle | default "") "candidate") -}}
{{- $sum := $at | replace ".uri" ".sha256" -}}
{{- $fetched := or (hasPrefix "https://" $uri) (hasPrefix "s3://" $uri) -}}
{{- if not (regexMatch "^((pvc|oci|s3|https)://.*)?$" $uri) -}}
{{- fail (printf "engine.uri %s is of no known kind; set it to pvc://claim/path, oci://image@sha256:…, https://… or s3://bucket/key" $uri | replace "engine.uri" $at | replace "engine.sha256" $sum) -}}
{{- end -}}
{{- if regexMatch "^(pvc|oci|s3|https)://(/|$)" $uri -}}
{{- fail (printf "engine.uri %s names no place; set it, for example engine.uri=pvc://models/guard for the folder guard of the claim models" $uri | replace "engine.uri" $at | replace "engine.sha256" $sum) -}}
{{- end -}}
{{- if regexMatch "^https://([^/]*@|[^?]*[?])" $uri -}}
{{- fail ("engine.uri holds a login or a query after https://, and would be shown in every pod; set engine.uri to a plain address, or to s3:// or pvc://" | replace "engine.uri" $at) -}}
{{- end -}}
{{- if and $fetched (not $engine.sha256) -}}
{{- fail (printf "engine.sha256 is missing, and %s is fetched over a network; set it to what `sha256sum` prints for the archive" $uri | replace "engine.uri" $at | replace "engine.sha256" $sum) -}}
{{- end -}}
{{- if and (hasPrefix "s3://" $uri) (not $engine.s3.image) -}}
{{- fail "engine.s3.image is missing, and the worker's image has no S3 client; set it to an image with the AWS command line, by digest" -}}
{{- end -}}
{{- if not (regexMatch "^(.+@sha256:[0-9a-f]{64})?$" $engine.s3.image) -}}
{{- fail (printf "engine.s3.image %s is not pinned, and sees the store's key; end it with the image's digest, as in registry/aws-cli@sha256:…" $engine.s3.image) -}}
{{- end -}}
{{- if hasPrefix "oci://" $uri -}}
{{- if not (regexMatch "@sha256:[0-9a-f]{64}$" $uri) -}}
{{- fail (printf "engine.uri %s is not pinned; end it with the image's digest, as in oci://registry/guard@sha256:…" $uri | replace "engine.uri" $at | replace "engine.sha256" $sum) -}}
{{- end -}}
{{- if semverCompare "<1.35.0-0" .Capabilities.KubeVersion.Version -}}
{{- fail (printf "engine.uri oci:// is an image volume, which Kubernetes has on by default from 1.35, and this cluster is %s, which would drop it silently; set engine.uri to pvc://, https:// or s3://" .Capabilities.KubeVersion.Version | replace "engine.uri" $at | replace "engine.sha256" $sum) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The worker refuses these at its start, when the old ones may be gone already. The numbers are its defaults. */}}
{{- define "sluicegate.validateDrain" -}}
{{- $drain := .Values.settings.drain -}}
{{- $finish := dig "finish_s" 25 $drain -}}
{{- $parts := addf $finish (dig "flush_s" 10 $drain) (dig "leave_s" 10 $drain) -}}
{{- if gt $parts (float64 $drain.budget_s) -}}
{{- fail (printf "settings.drain: finish_s, flush_s and leave_s take %g seconds, and budget_s is %g; set settings.drain.budget_s=%g, terminationGracePeriodSeconds follows" $parts (float64 $drain.budget_s) $parts) -}}
{{- end -}}
{{- $handover := dig "rebalance_timeout_s" 90 .Values.settings.kafka -}}
{{- if ge (float64 $finish) (float64 $handover) -}}
{{- fail (printf "settings.drain.finish_s %g is not below settings.kafka.rebalance_timeout_s %g, and a rebalance would throw the worker out; set settings.kafka.rebalance_timeout_s=%g" (float64 $finish) (float64 $handover) (addf $finish 30)) -}}
{{- end -}}
{{- end -}}

{{- define "sluicegate.validateTopics" -}}
{{- $seen := dict -}}
{{- $names := include "sluicegate.topics" . | fromYaml -}}
{{- if .Values.review.enabled -}}
{{- $names = merge $names (include "sluicegate.deskTopics" . | fromYaml) -}}
{{- end -}}
{{- if .Values.engine.candidate.experiment -}}
{{- $names = merge $names (include "sluicegate.candidateTopics" . | fromYaml) -}}
{{- end -}}
{{- range $setting, $name := $names -}}
{{- if hasKey $seen $name -}}
{{- fail (printf "settings.topics.%s and settings.topics.%s are both %s; give every topic a name of its own, such as settings.topics.%s=%s.%s" (get $seen $name) $setting $name $setting $name $setting) -}}
{{- end -}}
{{- $_ := set $seen $name $setting -}}
{{- end -}}
{{- end -}}

{{- define "sluicegate.validateReview" -}}
{{- $review := .Values.review -}}
{{- $settings := get .Values.settings "review" | default dict -}}
{{- if $review.enabled -}}
{{- if eq .Values.profile "demo" -}}
{{- fail "review.enabled needs brokers that outlive a pod, and those of profile demo do not; set profile=cpu, or review.enabled=false and try `sluicegate demo --review` on your machine" -}}
{{- end -}}
{{- if not $review.host -}}
{{- fail "review.host is missing, and people reach the review desk under it; set it to a name that leads to your ingress controller, for example review.host=review.example" -}}
{{- end -}}
{{- if not $review.database.existingSecret -}}
{{- fail "review.database.existingSecret is missing, and the review desk keeps what people decide in PostgreSQL; set it to a Secret of yours, and review.database.key to its key with the address, as in postgresql://user:password@host:5432/name" -}}
{{- end -}}
{{- if not $review.vault.existingSecret -}}
{{- fail "review.vault.existingSecret is missing, and without it the store alone would tell every text; set it to a Secret of yours, and review.vault.key to its key with what `openssl rand -base64 32` prints" -}}
{{- end -}}
{{- if not (get $settings "oidc_issuer") -}}
{{- fail "settings.review.oidc_issuer is missing, and without one nobody can log in to the review desk; set it to your OpenID Connect issuer, for example settings.review.oidc_issuer=https://login.example/realms/forum" -}}
{{- end -}}
{{- if not (get $settings "oidc_client_id") -}}
{{- fail "settings.review.oidc_client_id is missing; set it to the name that the issuer knows the review desk by, for example settings.review.oidc_client_id=review-desk" -}}
{{- end -}}
{{- range .Values.extraEnv -}}
{{- if has .name (list "SLUICEGATE_REVIEW__STORE" "SLUICEGATE_REVIEW__KEY" "SLUICEGATE_REVIEW__OIDC_CLIENT_SECRET") -}}
{{- fail (printf "extraEnv holds %s, which the chart takes from a Secret for the review desk alone; take it out, and set review.%s.existingSecret" .name (get (dict "SLUICEGATE_REVIEW__STORE" "database" "SLUICEGATE_REVIEW__KEY" "vault" "SLUICEGATE_REVIEW__OIDC_CLIENT_SECRET" "oidc") .name)) -}}
{{- end -}}
{{- end -}}
{{- include "sluicegate.validateDeskStore" . -}}
{{- else -}}
{{- if $settings -}}
{{- fail "settings.review has no effect with review.enabled=false: no worker reads it; set review.enabled=true, or take settings.review out" -}}
{{- end -}}
{{- range list "resolutions" "feedback" -}}
{{- if hasKey $.Values.topics.config . -}}
{{- fail (printf "topics.config.%s has no effect with review.enabled=false, as the review desk alone writes that topic; set review.enabled=true, or take it out" .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* A candidate has a policy, keys and, where it has a bundle, its digest: what a verdict of it is known by. */}}
{{- define "sluicegate.validateCandidate" -}}
{{- $candidate := .Values.engine.candidate -}}
{{- $served := or (eq .Values.profile "external") (include "sluicegate.sidecar" .) -}}
{{- if $candidate.experiment -}}
{{- if eq .Values.profile "demo" -}}
{{- fail "engine.candidate needs brokers that outlive a pod, and those of profile demo do not; set profile=cpu, or take engine.candidate out" -}}
{{- end -}}
{{- if not $candidate.policyFile -}}
{{- fail "engine.candidate.policyFile is missing: the policy is what a candidate's verdicts are told by; set it to one of policy.files that is not policy.file, for example engine.candidate.policyFile=candidate.yaml" -}}
{{- end -}}
{{- if not (include "sluicegate.policyConfigMap" .) -}}
{{- fail (printf "engine.candidate.policyFile %s is in no ConfigMap; give the file and that of the workers in policy.files, or policy.existingConfigMap" $candidate.policyFile) -}}
{{- end -}}
{{- if and .Values.policy.files (not (hasKey .Values.policy.files $candidate.policyFile)) -}}
{{- fail (printf "engine.candidate.policyFile %s is none of policy.files; set it to one of: %s" $candidate.policyFile (omit .Values.policy.files .Values.policy.file | keys | sortAlpha | join ", ")) -}}
{{- end -}}
{{- if eq $candidate.policyFile .Values.policy.file -}}
{{- fail (printf "engine.candidate.policyFile is policy.file, %s, which the workers decide by; give the candidate a file of its own" $candidate.policyFile) -}}
{{- end -}}
{{- if not $candidate.keys.existingConfigMap -}}
{{- fail "engine.candidate.keys.existingConfigMap is missing, and nobody could say anything of the candidate; set it to a ConfigMap of yours with public keys such as approver.otto.pem" -}}
{{- end -}}
{{- if not $candidate.key.existingSecret -}}
{{- fail "engine.candidate.key.existingSecret is missing, and the comparator signs what it finds; set it to a Secret of yours with the private key of machine.comparator.pem" -}}
{{- end -}}
{{- if and $candidate.uri (not $candidate.digest) -}}
{{- fail "engine.candidate.digest is missing, and the candidate's bundle is pinned; set it to what `sluicegate engine info BUNDLE` prints as digest" -}}
{{- end -}}
{{- if and $candidate.digest (not $candidate.uri) -}}
{{- fail "engine.candidate.digest has no effect without engine.candidate.uri; set the place of the bundle, or take it out" -}}
{{- end -}}
{{- if eq $candidate.digest (default "none" .Values.engine.digest) -}}
{{- fail "engine.candidate.digest is engine.digest, so that both judges are one; take engine.candidate.uri and digest out to try another policy alone" -}}
{{- end -}}
{{- if and $candidate.uri $served (not $candidate.url) -}}
{{- fail (printf "engine.candidate.url is missing: %s, and the chart runs no second server; set it to that of the candidate, for example engine.candidate.url=http://candidate.models:8000" (ternary "with profile external a server judges" "the server beside the worker has the workers' model" (eq .Values.profile "external"))) -}}
{{- end -}}
{{- if and $candidate.url (not (and $candidate.uri $served)) -}}
{{- fail "engine.candidate.url has an effect only with engine.candidate.uri, and where a server judges; take it out" -}}
{{- end -}}
{{- if $candidate.uri -}}
{{- $context := include "sluicegate.candidateBundle" (dict "Values" .Values "Chart" .Chart "component" "shadow") | fromYaml -}}
{{- include "sluicegate.validateUri" (dict "Values" $context.Values "Capabilities" .Capabilities "bundle" "candidate") -}}
{{- end -}}
{{- else -}}
{{- range $name := list "policyFile" "uri" "digest" "sha256" "url" -}}
{{- if get $candidate $name -}}
{{- fail (printf "engine.candidate.%s has no effect without engine.candidate.experiment; set it to the experiment's name, or take it out" $name) -}}
{{- end -}}
{{- end -}}
{{- if get .Values.settings "candidate" -}}
{{- fail "settings.candidate has no effect without engine.candidate.experiment; set it to the experiment's name, or take settings.candidate out" -}}
{{- end -}}
{{- range list "shadow" "comparisons" "candidates" -}}
{{- if hasKey $.Values.topics.config . -}}
{{- fail (printf "topics.config.%s has no effect without engine.candidate.experiment; set it to the experiment's name, or take it out" .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The address in the Secret, where Helm is connected to a cluster and the Secret is there. It is never shown. */}}
{{- define "sluicegate.validateDeskStore" -}}
{{- $database := .Values.review.database -}}
{{- $secret := lookup "v1" "Secret" .Release.Namespace $database.existingSecret -}}
{{- if $secret -}}
{{- $address := get ($secret.data | default dict) $database.key | b64dec -}}
{{- if not $address -}}
{{- fail (printf "Secret %s has no key %s; set review.database.key to the key with the address of the store" $database.existingSecret $database.key) -}}
{{- end -}}
{{- if hasPrefix "sqlite" $address -}}
{{- fail (printf "Secret %s names a file of SQLite, which ends with the pod and what people decided with it; put an address as postgresql://user:password@host:5432/name under its key %s" $database.existingSecret $database.key) -}}
{{- end -}}
{{- if not (regexMatch "^(postgres|postgresql([+]pg8000)?)://" $address) -}}
{{- fail (printf "the address in Secret %s does not begin with postgresql://, and the desk knows no other database here; begin it so under its key %s" $database.existingSecret $database.key) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "sluicegate.validateScaling" -}}
{{- $scaling := .Values.autoscaling -}}
{{- $least := int $scaling.minReplicas -}}
{{- $most := int $scaling.maxReplicas -}}
{{- $partitions := int .Values.topics.partitions -}}
{{- if $scaling.enabled -}}
{{- if not (kindIs "invalid" .Values.replicas) -}}
{{- fail (printf "replicas %d and autoscaling.enabled both say how many workers there are; take replicas out, or set autoscaling.enabled=false" (int .Values.replicas)) -}}
{{- end -}}
{{- if not $scaling.postsPerSecond -}}
{{- fail "autoscaling.postsPerSecond is missing; set it to the posts a second that one worker with its engine judges, as you measured it" -}}
{{- end -}}
{{- if lt $least 1 -}}
{{- fail (printf "autoscaling.minReplicas %d would leave posts waiting for an engine to load; set autoscaling.minReplicas=1" $least) -}}
{{- end -}}
{{- if gt $least $most -}}
{{- fail (printf "autoscaling.minReplicas %d is more than maxReplicas %d; set autoscaling.maxReplicas=%d" $least $most $least) -}}
{{- end -}}
{{- if gt $most $partitions -}}
{{- fail (printf "autoscaling.maxReplicas %d is more than topics.partitions %d, and a worker without a partition is idle; set autoscaling.maxReplicas=%d, or topics.partitions to what the topics have" $most $partitions $partitions) -}}
{{- end -}}
{{- if eq $scaling.kind "hpa" -}}
{{- if not $scaling.lagMetric.name -}}
{{- fail "autoscaling.lagMetric.name is missing, and an HPA knows no lag of its own; set it to an external metric that counts the posts that wait, or set autoscaling.kind=keda" -}}
{{- end -}}
{{- if $scaling.prometheusAddress -}}
{{- fail "autoscaling.prometheusAddress has no effect with autoscaling.kind hpa, which would scale by the lag alone; take it out, or set autoscaling.kind=keda" -}}
{{- end -}}
{{- else -}}
{{- if gt (int $scaling.fallback.replicas) $most -}}
{{- fail (printf "autoscaling.fallback.replicas %d is more than maxReplicas %d; set it to %d at most" (int $scaling.fallback.replicas) $most $most) -}}
{{- end -}}
{{- include "sluicegate.requireApi" (list . "KEDA" "keda.sh/v1alpha1" "autoscaling.enabled=true" "autoscaling.enabled=false") -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "sluicegate.requireApi" -}}
{{- $root := index . 0 -}}
{{- if not ($root.Capabilities.APIVersions.Has (index . 2)) -}}
{{- fail (printf "%s needs %s, and this cluster does not serve %s; install it first or set %s (with `helm template`, add --api-versions %s)" (index . 3) (index . 1) (index . 2) (index . 4) (index . 2)) -}}
{{- end -}}
{{- end -}}
