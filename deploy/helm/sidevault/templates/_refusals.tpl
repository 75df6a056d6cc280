{{/* Fails the rendering, with a hint, for values that could not work. */}}
{{- define "sidevault.refusals" -}}
{{- if include "sidevault.connect.enabled" . }}{{ include "sidevault.refusals.connect" . }}{{ end -}}
{{- if .Values.operator.create }}{{ include "sidevault.refusals.operator" . }}{{ end -}}
{{- if .Values.networkPolicy.enabled }}{{ include "sidevault.refusals.network" . }}{{ end -}}
{{- end }}

{{- define "sidevault.refusals.connect" -}}
{{- $c := .Values.connect -}}
{{- $claim := or $c.dataVolume.claim.create (eq $c.dataVolume.type "persistentVolumeClaim") -}}
{{- $many := or (gt (int $c.replicas) 1) $c.hpa.enabled -}}
{{- $postgres := .Values.store.postgres -}}
{{- include "sidevault.refusals.image" (dict "root" . "value" "connect.version" "ours" "sidevault-api" "image" (include "sidevault.api.image" .)) -}}
{{- include "sidevault.refusals.image" (dict "root" . "value" "connect.version" "ours" "sidevault-sync" "image" (include "sidevault.sync.image" .)) -}}
{{- if and $c.credentials $c.credentials_base64 -}}
{{- fail "\n\nconnect.credentials and connect.credentials_base64: give one of them, not both.\n" -}}
{{- end -}}
{{- if and $c.revoked.configMapName $c.revoked.secretName -}}
{{- fail "\n\nconnect.revoked: there can be only one revocation list. Give configMapName or secretName, not both.\n" -}}
{{- end -}}
{{- if and $postgres.ca.secretName (not $postgres.existingSecret.name) -}}
{{- fail "\n\nstore.postgres.ca: without store.postgres.existingSecret.name the store is not in PostgreSQL. Give both, or none of them.\n" -}}
{{- end -}}
{{- if include "sidevault.shared" . -}}
{{- if or $claim (ne $c.dataVolume.type "emptyDir") -}}
{{- fail "\n\nstore.postgres, connect.dataVolume: the store is in PostgreSQL, and nothing in the data directory has to be kept.\nLeave connect.dataVolume.type and connect.dataVolume.claim out, or leave store.postgres out.\n" -}}
{{- end -}}
{{- else -}}
{{- $local := include "sidevault.hasLocalVaults" . -}}
{{- if and $local (include "sidevault.ephemeral" .) (not $c.dataVolume.acknowledgeEphemeral) -}}
{{- fail "\n\nsources: a local vault exists only in connect.dataVolume, and an emptyDir is deleted with the Pod.\nSet connect.dataVolume.claim.create=true, or connect.dataVolume.acknowledgeEphemeral=true if the vaults may be lost.\n" -}}
{{- end -}}
{{- if and $local $many -}}
{{- fail "\n\nconnect.replicas, connect.hpa: a local vault has one writer, so there can be only one Pod. Set connect.replicas=1 and connect.hpa.enabled=false.\n" -}}
{{- end -}}
{{- if and $claim $many -}}
{{- fail "\n\nconnect.replicas, connect.hpa: Pods can't share a data directory, so more than one Pod needs connect.dataVolume.type=emptyDir, or store.postgres.\n" -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "sidevault.refusals.operator" -}}
{{- $o := .Values.operator -}}
{{- $image := printf "%s:%s" (include "sidevault.operator.repository" .) ($o.image.tag | default .Chart.AppVersion) -}}
{{- include "sidevault.refusals.image" (dict "root" . "value" "operator.image.tag" "ours" "sidevault-operator" "image" $image) -}}
{{- $watched := splitList " " (include "sidevault.operator.watched" . | trim) | compact -}}
{{- if gt (len $watched) 1 -}}
{{- fail (printf "\n\noperator.watchNamespace: this operator reads one namespace or all of them, not several: %s.\nInstall the chart once for each (connect.create=false, operator.installCRDs=false), or leave it empty.\n" (join ", " $watched)) -}}
{{- end -}}
{{- if and $watched $o.scopedNamespace (ne (first $watched) $o.scopedNamespace) -}}
{{- fail "\n\noperator.watchNamespace and operator.scopedNamespace name two different namespaces: give only one of them.\n" -}}
{{- end -}}
{{- if and (gt (int ($o.replicas | default $o.replicaCount)) 1) (not $o.leaderElect) -}}
{{- fail "\n\noperator.replicaCount: more than one replica needs operator.leaderElect=true, or all of them would write the same Secrets.\n" -}}
{{- end -}}
{{- if ($o.hpa).enabled -}}
{{- fail "\n\noperator.hpa.enabled: only one replica works at a time, so more replicas do not make it faster.\nLeave it off; raise operator.concurrent or operator.resources instead.\n" -}}
{{- end -}}
{{- if eq (toString $o.authMethod) "service-account" -}}
{{- fail "\n\noperator.authMethod: the operator can't use service accounts of 1Password. Leave it out; stores name a token of this server.\n" -}}
{{- end -}}
{{- if $o.enableAnnotations -}}
{{- fail "\n\noperator.enableAnnotations: this operator makes no Secrets from annotations of workloads. Leave it off, and write ExternalSecrets.\n" -}}
{{- end -}}
{{- if dig "listen" "secure" "enabled" false $o.metrics -}}
{{- fail "\n\noperator.metrics.listen.secure.enabled: the operator serves metrics in plain HTTP only. Leave it off, and limit who may reach them with networkPolicy.enabled and networkPolicy.metricsFrom.\n" -}}
{{- end -}}
{{- if dig "listen" "auth" "enabled" false $o.metrics -}}
{{- fail "\n\noperator.metrics.listen.auth.enabled: the operator serves metrics without authentication. Leave it off, and limit who may reach them with networkPolicy.enabled and networkPolicy.metricsFrom.\n" -}}
{{- end -}}
{{- if ($o.genericTargets).enabled -}}
{{- fail "\n\noperator.genericTargets.enabled: this operator writes Secrets only, no other kinds of objects. Leave it off.\n" -}}
{{- end -}}
{{- if and (eq $o.serviceMonitor.renderMode "failIfMissing") $o.serviceMonitor.enabled (not (.Capabilities.APIVersions.Has "monitoring.coreos.com/v1/ServiceMonitor")) -}}
{{- fail "\n\noperator.serviceMonitor: the cluster has no ServiceMonitors, and renderMode=failIfMissing. Install the Prometheus operator, or set operator.serviceMonitor.enabled=false.\n" -}}
{{- end -}}
{{- end }}

{{- define "sidevault.refusals.network" -}}
{{- if and (include "sidevault.connect.enabled" .) .Values.connect.api.serviceMonitor.enabled (not (concat .Values.networkPolicy.from .Values.networkPolicy.metricsFrom)) -}}
{{- fail "\n\nnetworkPolicy.enabled and connect.api.serviceMonitor.enabled: the policy would keep Prometheus out.\nList it in networkPolicy.metricsFrom, for example [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: monitoring}}}].\n" -}}
{{- end -}}
{{- end }}

{{/* Fails for image names and tags of the original charts, which are images of another program or do not exist. Call with
(dict "root" $ "value" … "ours" … "image" …), where `value` is the chart value that sets the tag. */}}
{{- define "sidevault.refusals.image" -}}
{{- $parts := regexSplit ":" .image -1 -}}
{{- $tag := last $parts -}}
{{- $repository := initial $parts | join ":" -}}
{{- if regexMatch "(^|/)(1password/(connect-(api|sync)|onepassword-operator)|external-secrets/external-secrets)$" $repository -}}
{{- fail (printf "\n\nthe image %s is a copy of the original program, and this chart runs Sidevault.\nLeave the repository out, or give the repository of your copy of %s.\n" $repository .ours) -}}
{{- end -}}
{{- if and (eq $repository .ours) (regexMatch "^v?(0|[1-9][0-9]*)[.](0|[1-9][0-9]*)([.](0|[1-9][0-9]*))?$" $tag) -}}
{{- $wanted := semver $tag -}}
{{- $own := semver .root.Chart.AppVersion -}}
{{- $newer := or (gt $wanted.Major $own.Major) (and (eq $wanted.Major $own.Major) (gt $wanted.Minor $own.Minor)) -}}
{{- if or $newer (hasPrefix "v" $tag) -}}
{{- fail (printf "\n\n%s: there is no %s of version %s; the number looks like the original program's. This chart is for %s: leave %s out.\n" .value .ours $tag .root.Chart.AppVersion .value) -}}
{{- end -}}
{{- end -}}
{{- end }}
