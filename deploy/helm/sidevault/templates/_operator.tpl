{{/* The operator's Pods have External Secrets' name as their label, because existing policies, monitors and log commands
select it. */}}
{{- define "sidevault.operator.label" -}}
{{- .Values.operator.nameOverride | default "external-secrets" -}}
{{- end }}

{{- define "sidevault.operator.selector" -}}
app.kubernetes.io/name: {{ include "sidevault.operator.label" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end }}

{{/* With pokeOnly the name external-secrets belongs to External Secrets' own Deployment. */}}
{{- define "sidevault.operator.name" -}}
{{- $o := .Values.operator -}}
{{- coalesce $o.fullnameOverride $o.applicationName $o.nameOverride (ternary "sidevault-operator" "external-secrets" $o.pokeOnly) -}}
{{- end }}

{{/* The names of roles differ from External Secrets' own, which would be overwritten otherwise. */}}
{{- define "sidevault.operator.roleName" -}}
{{- printf "sidevault-%s" (include "sidevault.operator.name" . | trimPrefix "sidevault-") -}}
{{- end }}

{{- define "sidevault.operator.namespace" -}}
{{- .Values.operator.namespaceOverride | default .Release.Namespace -}}
{{- end }}

{{- define "sidevault.operator.serviceAccount" -}}
{{- $made := include "sidevault.yes" (dict "root" . "value" .Values.operator.serviceAccount.create) -}}
{{- .Values.operator.serviceAccount.name | default (ternary (include "sidevault.operator.name" .) "default" (eq $made "true")) -}}
{{- end }}

{{- define "sidevault.operator.repository" -}}
{{- $o := .Values.operator -}}
{{- include "sidevault.repository" (dict "given" (list ($o.global).repository $o.imageRepository $o.image.repository) "ours" "sidevault-operator") -}}
{{- end }}

{{/* With pokeOnly the Lease external-secrets-controller belongs to External Secrets. */}}
{{- define "sidevault.operator.lease" -}}
{{- .Values.operator.leaderElectionID | default (ternary (include "sidevault.operator.name" .) "external-secrets-controller" .Values.operator.pokeOnly) -}}
{{- end }}

{{/* 1Password's list of namespaces, with the templates in it evaluated and a blank after each. */}}
{{- define "sidevault.operator.watched" -}}
{{- range .Values.operator.watchNamespace }}{{ tpl . $ }} {{ end -}}
{{- end }}

{{/* "true" if the operator gets rights in one namespace only. */}}
{{- define "sidevault.scoped" -}}
{{- if or .Values.operator.scopedRBAC .Values.operator.watchNamespace }}true{{ end -}}
{{- end }}

{{/* The namespace that the operator is limited to, or nothing. */}}
{{- define "sidevault.namespaced" -}}
{{- $o := .Values.operator -}}
{{- if or $o.scopedNamespace (include "sidevault.scoped" .) -}}
{{- coalesce (include "sidevault.operator.watched" . | trim) $o.scopedNamespace (include "sidevault.operator.namespace" .) -}}
{{- end -}}
{{- end }}

{{/* "true" unless a switch of 1Password's values, which may be a template, says otherwise. Call with (dict "root" $ "value" …). */}}
{{- define "sidevault.unlessNo" -}}
{{- if kindIs "invalid" .value }}true{{ else }}{{ include "sidevault.yes" . }}{{ end -}}
{{- end }}

{{/* A securityContext, without the fields that OpenShift sets by itself. Call with (dict "root" $ "context" …). */}}
{{- define "sidevault.operator.securityContext" -}}
{{- $adapt := dig "compatibility" "openshift" "adaptSecurityContext" "auto" (.root.Values.operator.global | default dict) -}}
{{- $there := .root.Capabilities.APIVersions.Has "security.openshift.io/v1" -}}
{{- $context := omit .context "enabled" -}}
{{- if or (eq $adapt "force") (and (eq $adapt "auto") $there) -}}
{{- $context = omit $context "fsGroup" "runAsUser" "runAsGroup" -}}
{{- end -}}
{{- if and $context (ne (toString .context.enabled) "false") }}{{ toYaml $context }}{{ end -}}
{{- end }}

{{- define "sidevault.operator.livePort" -}}
{{- $spec := .Values.operator.livenessProbe.spec | default dict -}}
{{- $named := dig "httpGet" "port" "live" $spec -}}
{{- coalesce (.Values.operator.probes).port (ternary $spec.port $named (kindIs "string" $named)) 8082 -}}
{{- end }}

{{/* A probe: its path, overlaid with External Secrets' `spec` and 1Password's numbers. Call with (dict "path" … "spec" … "numbers" …). */}}
{{- define "sidevault.operator.probe" -}}
{{- $ours := dict "httpGet" (dict "path" .path "port" "live") -}}
{{- mergeOverwrite $ours (deepCopy (omit (.spec | default dict) "address" "port")) (omit (.numbers | default dict) "create") | toYaml -}}
{{- end }}
