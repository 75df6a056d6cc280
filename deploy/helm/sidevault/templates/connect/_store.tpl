{{/* What differs when the store is in PostgreSQL, which all Pods share. */}}

{{/* "true" if the store is in PostgreSQL. */}}
{{- define "sidevault.shared" -}}
{{- if .Values.store.postgres.existingSecret.name }}true{{ end -}}
{{- end }}

{{/* "true" if a new Pod serves before an old one ends, which is so unless they would have to share a claim. */}}
{{- define "sidevault.overlap" -}}
{{- if or (include "sidevault.shared" .) (include "sidevault.ephemeral" .) }}true{{ end -}}
{{- end }}

{{/* "true" if each api keeps a copy of the database. */}}
{{- define "sidevault.replica" -}}
{{- if and (include "sidevault.shared" .) .Values.store.postgres.replica.enabled }}true{{ end -}}
{{- end }}

{{/* The source of the volume with the database's URL, and with the certificate authority. */}}
{{- define "sidevault.store.volume" -}}
{{- $p := .Values.store.postgres -}}
projected:
  defaultMode: 0440
  sources:
    - secret: { name: {{ $p.existingSecret.name }}, items: [{ key: {{ $p.existingSecret.key | quote }}, path: url }] }
    {{- if $p.ca.secretName }}
    - secret: { name: {{ $p.ca.secretName }}, items: [{ key: {{ $p.ca.key | quote }}, path: ca.crt }] }
    {{- end }}
{{- end }}

{{/* The name of the StatefulSet of sync, of its Service, and of its Pods' label `app`. */}}
{{- define "sidevault.sync.name" -}}
{{ .Values.connect.applicationName }}-sync
{{- end }}

{{/* Every sync, as OP_BUS_PEERS lists them. */}}
{{- define "sidevault.sync.peers" -}}
{{- $name := include "sidevault.sync.name" . -}}
{{- $peers := list -}}
{{- range until (int .Values.connect.sync.replicas) -}}
{{- $peers = append $peers (printf "%s-%d.%s:11220" $name . $name) -}}
{{- end -}}
{{- join "," $peers -}}
{{- end }}
