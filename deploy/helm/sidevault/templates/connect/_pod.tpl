{{/* The parts of the server's Pods that do not depend on the containers in them. */}}
{{- define "sidevault.connect.podSpec" -}}
{{- $c := .Values.connect -}}
automountServiceAccountToken: false
{{- if eq (include "sidevault.yes" (dict "root" $ "value" $c.serviceAccount.create)) "true" }}
serviceAccountName: {{ $c.serviceAccount.name }}
{{- end }}
{{- with $c.imagePullSecrets }}
imagePullSecrets:
  {{- include "sidevault.pullSecrets" . | trim | nindent 2 }}
{{- end }}
{{- with $c.podSecurityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $c.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $c.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $c.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $c.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* The volumes of a Pod. Call with (dict "root" $ "of" (list "api" "sync")), where `of` lists the Pod's containers. */}}
{{- define "sidevault.connect.volumes" -}}
{{- $root := .root -}}
{{- $c := $root.Values.connect -}}
volumes:
  - name: {{ $c.dataVolume.name }}
    {{- include "sidevault.dataVolume" $root | nindent 4 }}
  - name: tmp
    emptyDir: { sizeLimit: 64Mi }
  - name: credentials
    secret:
      secretName: {{ $c.credentialsName }}
      # The containers read it as members of fsGroup.
      defaultMode: 0440
      items: [{ key: {{ $c.credentialsKey | quote }}, path: 1password-credentials.json }]
  {{- if and $root.Values.sources (has "sync" .of) }}
  - name: sources
    configMap: { name: {{ $c.applicationName }}-sources }
  {{- end }}
  {{- if $c.passphrase.secretName }}
  - name: passphrase
    secret: { secretName: {{ $c.passphrase.secretName }}, defaultMode: 0440 }
  {{- end }}
  {{- if include "sidevault.shared" $root }}
  - name: store
    {{- include "sidevault.store.volume" $root | nindent 4 }}
  {{- end }}
  {{- if and (include "sidevault.replica" $root) (has "api" .of) }}
  - name: replica
    emptyDir: { sizeLimit: {{ $root.Values.store.postgres.replica.sizeLimit }} }
  {{- end }}
  {{- with include "sidevault.connect.revoked" $root }}
  - name: revoked
    {{- . | nindent 4 }}
  {{- end }}
  {{- if and $c.ageKey.secretName (has "sync" .of) }}
  - name: age-key
    secret: { secretName: {{ $c.ageKey.secretName }}, defaultMode: 0440 }
  {{- end }}
  {{- if and $c.sync.backup.claimName (has "sync" .of) }}
  - name: backups
    persistentVolumeClaim: { claimName: {{ $c.sync.backup.claimName }} }
  {{- end }}
  {{- if and $c.tls.enabled (has "api" .of) }}
  - name: tls-cert
    secret: { secretName: {{ $c.tls.secret }}, defaultMode: 0440 }
  {{- end }}
  {{- $mounted := list }}
  {{- range $c.api.extraVolumeMounts }}{{ $mounted = append $mounted .name }}{{ end }}
  {{- range $c.extraVolumes }}
  {{- if or (has "sync" $.of) (has .name $mounted) }}
  {{- list . | toYaml | nindent 2 }}
  {{- end }}
  {{- end }}
{{- end }}

{{/* Spreads Pods over zones and nodes. Call with the value of their label `app`. */}}
{{- define "sidevault.connect.spread" -}}
topologySpreadConstraints:
  {{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector: { matchLabels: { app: {{ $ }} } }
  {{- end }}
{{- end }}

{{/* The volume source of the revocation list, or nothing. */}}
{{- define "sidevault.connect.revoked" -}}
{{- $r := .Values.connect.revoked -}}
{{- $item := dict "key" $r.key "path" "revoked-tokens" -}}
{{- if $r.configMapName -}}
configMap: { name: {{ $r.configMapName }}, items: [{{ toJson $item }}] }
{{- else if $r.secretName -}}
secret: { secretName: {{ $r.secretName }}, defaultMode: 0440, items: [{{ toJson $item }}] }
{{- end -}}
{{- end }}
