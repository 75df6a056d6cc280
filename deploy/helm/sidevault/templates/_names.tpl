{{/* Labels of every object. Call with (dict "root" $ "component" "connect"). */}}
{{- define "sidevault.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
app.kubernetes.io/name: {{ if eq .component "operator" }}external-secrets{{ else }}{{ .root.Chart.Name }}{{ end }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
app.kubernetes.io/part-of: sidevault
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The operator's Pods carry External Secrets' name: policies, monitors and log commands that people have select it. */}}
{{- define "sidevault.operator.selector" -}}
app.kubernetes.io/name: external-secrets
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end }}

{{- define "sidevault.operator.name" -}}
{{- .Values.operator.fullnameOverride | default "external-secrets" -}}
{{- end }}

{{- define "sidevault.operator.serviceAccount" -}}
{{- .Values.operator.serviceAccount.name | default (include "sidevault.operator.name" .) -}}
{{- end }}

{{/* "true" or nothing, for values that 1Password's chart writes as templates. */}}
{{- define "sidevault.yes" -}}
{{- if eq (tpl (toString .value) .root) "true" }}true{{ end -}}
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

{{/* Annotations may be a map, or a text that is a template. Call with (dict "root" $ "annotations" …). */}}
{{- define "sidevault.annotations" -}}
{{- with .annotations }}
{{- if kindIs "string" . }}{{ tpl . $.root }}{{ else }}{{ toYaml . }}{{ end }}
{{- end }}
{{- end }}

{{- define "sidevault.claim" -}}
{{- .Values.connect.dataVolume.claim.name | default .Values.connect.applicationName -}}
{{- end }}

{{/* How the volume is written into the Pod, as a map: 1Password's type and values, or our claim. */}}
{{- define "sidevault.dataVolume" -}}
{{- if .Values.connect.dataVolume.claim.create -}}
{{- dict "persistentVolumeClaim" (dict "claimName" (include "sidevault.claim" .)) | toYaml -}}
{{- else -}}
{{- dict .Values.connect.dataVolume.type .Values.connect.dataVolume.values | toYaml -}}
{{- end -}}
{{- end }}

{{- define "sidevault.hasLocalVaults" -}}
{{- range .Values.sources }}{{ if hasKey . "local" }}true{{ end }}{{ end -}}
{{- end }}

{{- define "sidevault.namespaced" -}}
{{- if or .Values.operator.scopedRBAC .Values.operator.scopedNamespace -}}
{{- .Values.operator.scopedNamespace | default .Release.Namespace -}}
{{- end -}}
{{- end }}
