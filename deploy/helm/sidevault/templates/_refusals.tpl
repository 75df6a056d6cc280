{{/* What would go wrong later is refused here, with the way out. */}}
{{- define "sidevault.refusals" -}}
{{- $c := .Values.connect -}}
{{- $claim := or $c.dataVolume.claim.create (eq $c.dataVolume.type "persistentVolumeClaim") -}}
{{- $many := or (gt (int $c.replicas) 1) $c.hpa.enabled -}}
{{- if $c.create -}}
{{- range list $c.api.imageRepository $c.sync.imageRepository -}}
{{- if regexMatch "(^|/)1password/connect-(api|sync)$" . -}}
{{- fail (printf "\n\nconnect.api.imageRepository and connect.sync.imageRepository: %s is 1Password's own image, which needs an account.\nThis chart runs Sidevault: leave both out, or name your copies of sidevault-api and sidevault-sync.\n" .) -}}
{{- end -}}
{{- end -}}
{{- if and $c.credentials $c.credentials_base64 -}}
{{- fail "\n\nconnect.credentials and connect.credentials_base64: give one of them.\n" -}}
{{- end -}}
{{- $local := include "sidevault.hasLocalVaults" . -}}
{{- if and $local (not $claim) (eq $c.dataVolume.type "emptyDir") (not $c.dataVolume.acknowledgeEphemeral) -}}
{{- fail "\n\nsources: a local vault exists only in connect.dataVolume, and an emptyDir is deleted with the Pod.\nSet connect.dataVolume.claim.create=true, or connect.dataVolume.acknowledgeEphemeral=true if losing it is meant.\n" -}}
{{- end -}}
{{- if and $local $many -}}
{{- fail "\n\nconnect.replicas, connect.hpa: a local vault has one writer, so there can be one Pod only.\n" -}}
{{- end -}}
{{- if and $claim $many -}}
{{- fail "\n\nconnect.replicas, connect.hpa: Pods can't share a store, so more than one needs connect.dataVolume.type=emptyDir.\n" -}}
{{- end -}}
{{- end -}}
{{- $o := .Values.operator -}}
{{- if $o.create -}}
{{- if regexMatch "(^|/)external-secrets/external-secrets$" $o.image.repository -}}
{{- fail (printf "\n\noperator.image.repository: %s is External Secrets' own image. This chart runs Sidevault's operator: leave it out, or name your copy of sidevault-operator.\n" $o.image.repository) -}}
{{- end -}}
{{- if and (gt (int ($o.replicas | default $o.replicaCount)) 1) (not $o.leaderElect) -}}
{{- fail "\n\noperator.replicaCount: more than one needs operator.leaderElect=true, or all of them would work on the same Secrets.\n" -}}
{{- end -}}
{{- if eq (toString $o.authMethod) "service-account" -}}
{{- fail "\n\noperator.authMethod: service accounts of 1Password are not served; tokens of this server are.\n" -}}
{{- end -}}
{{- end -}}
{{- end }}
