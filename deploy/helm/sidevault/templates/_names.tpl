{{/* Labels of every object. Call with (dict "root" $ "component" "connect"). */}}
{{- define "sidevault.labels" -}}
{{- $operator := eq .component "operator" -}}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
app.kubernetes.io/name: {{ if $operator }}{{ include "sidevault.operator.label" .root }}{{ else }}{{ .root.Chart.Name }}{{ end }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
app.kubernetes.io/part-of: sidevault
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{- with merge (dict) (ternary .root.Values.operator.commonLabels (dict) $operator | default dict) .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* "true" or nothing, for switches that 1Password's values may write as a template. Call with (dict "root" $ "value" …). */}}
{{- define "sidevault.yes" -}}
{{- if eq (tpl (toString .value) .root) "true" }}true{{ end -}}
{{- end }}

{{/* "true" if the release runs a server. With operator.pokeOnly the server is usually one that runs already: then the chart
makes a server only if `sources` say what it serves. */}}
{{- define "sidevault.connect.enabled" -}}
{{- $o := .Values.operator -}}
{{- $pokes := and $o.create $o.pokeOnly -}}
{{- if and .Values.connect.create (or .Values.sources (not $pokes)) }}true{{ end -}}
{{- end }}

{{- define "sidevault.api.port" -}}
{{- if .Values.connect.tls.enabled }}{{ .Values.connect.api.httpsPort }}{{ else }}{{ .Values.connect.api.httpPort }}{{ end -}}
{{- end }}

{{- define "sidevault.api.portName" -}}
{{- .Values.connect.api.name }}{{ if .Values.connect.tls.enabled }}-https{{ end -}}
{{- end }}

{{- define "sidevault.api.url" -}}
http{{ if .Values.connect.tls.enabled }}s{{ end }}://{{ .Values.connect.host }}.{{ .Release.Namespace }}:{{ include "sidevault.api.port" . }}
{{- end }}

{{/* Annotations: a map, or text with templates in it. Call with (dict "root" $ "annotations" …). */}}
{{- define "sidevault.annotations" -}}
{{- with .annotations }}
{{- if kindIs "string" . }}{{ tpl . $.root }}{{ else }}{{ toYaml . }}{{ end }}
{{- end }}
{{- end }}

{{- define "sidevault.claim" -}}
{{- .Values.connect.dataVolume.claim.name | default .Values.connect.applicationName -}}
{{- end }}

{{/* The source of the data volume in the Pod's spec: 1Password's `type` and `values`, or the claim that the chart creates. */}}
{{- define "sidevault.dataVolume" -}}
{{- if .Values.connect.dataVolume.claim.create -}}
{{- dict "persistentVolumeClaim" (dict "claimName" (include "sidevault.claim" .)) | toYaml -}}
{{- else -}}
{{- dict .Values.connect.dataVolume.type .Values.connect.dataVolume.values | toYaml -}}
{{- end -}}
{{- end }}

{{/* "true" if the store is lost with the Pod. */}}
{{- define "sidevault.ephemeral" -}}
{{- $volume := .Values.connect.dataVolume -}}
{{- if and (eq $volume.type "emptyDir") (not $volume.claim.create) (not (include "sidevault.shared" .)) }}true{{ end -}}
{{- end }}

{{- define "sidevault.hasLocalVaults" -}}
{{- range .Values.sources }}{{ if hasKey . "local" }}true{{ end }}{{ end -}}
{{- end }}

{{/* Pull secrets: a list of names, as in 1Password's chart, or of references, as in External Secrets'. */}}
{{- define "sidevault.pullSecrets" -}}
{{- range . }}
- name: {{ if kindIs "map" . }}{{ .name | quote }}{{ else }}{{ . | quote }}{{ end }}
{{- end }}
{{- end }}

{{/* The first repository of `given` that is set and is not the original program's; if there is none, `ours`. Call with
(dict "given" (list …) "ours" "sidevault-api"). */}}
{{- define "sidevault.repository" -}}
{{- $chosen := .ours -}}
{{- range reverse .given -}}
{{- if and . (not (regexMatch "^((docker[.]io/)?1password/(connect-(api|sync)|onepassword-operator)|(ghcr|oci[.]external-secrets)[.]io/external-secrets/external-secrets)$" .)) -}}
{{- $chosen = . -}}
{{- end -}}
{{- end -}}
{{- $chosen -}}
{{- end }}

{{- define "sidevault.api.image" -}}
{{ include "sidevault.repository" (dict "given" (list .Values.connect.api.imageRepository) "ours" "sidevault-api") }}:{{ tpl .Values.connect.version . }}
{{- end }}

{{- define "sidevault.sync.image" -}}
{{ include "sidevault.repository" (dict "given" (list .Values.connect.sync.imageRepository) "ours" "sidevault-sync") }}:{{ tpl .Values.connect.version . }}
{{- end }}
