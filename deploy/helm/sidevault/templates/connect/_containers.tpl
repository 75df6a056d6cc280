{{/* The two containers of the server. */}}
{{- define "sidevault.connect.api" -}}
{{- $c := .Values.connect -}}
- name: {{ $c.api.name }}
  image: {{ include "sidevault.api.image" . }}
  imagePullPolicy: {{ $c.imagePullPolicy }}
  {{- with $c.api.securityContext }}
  securityContext:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $c.api.resources }}
  resources:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  env:
    {{- if $c.tls.enabled }}
    - { name: OP_HTTPS_PORT, value: {{ $c.api.httpsPort | quote }} }
    - { name: OP_TLS_CERT_FILE, value: /home/opuser/.op/certs/tls.crt }
    - { name: OP_TLS_KEY_FILE, value: /home/opuser/.op/certs/tls.key }
    {{- else }}
    - { name: OP_HTTP_PORT, value: {{ $c.api.httpPort | quote }} }
    {{- end }}
    {{- if include "sidevault.shared" . }}
    - { name: OP_BUS_PEERS, value: {{ include "sidevault.sync.peers" . | quote }} }
    {{- else }}
    - { name: OP_BUS_PORT, value: "11220" }
    {{- end }}
    {{- if include "sidevault.replica" . }}
    - { name: SIDEVAULT_REPLICA, value: /home/opuser/.op/replica/copy }
    {{- end }}
    - { name: OP_LOG_LEVEL, value: {{ $c.api.logLevel | quote }} }
    {{- include "sidevault.connect.env" . | nindent 4 }}
  ports:
    - { name: {{ if $c.tls.enabled }}https{{ else }}http{{ end }}, containerPort: {{ include "sidevault.api.port" . }} }
  {{- if $c.probes.readiness }}
  readinessProbe:
    httpGet: { path: /health, scheme: {{ if $c.tls.enabled }}HTTPS{{ else }}HTTP{{ end }}, port: {{ include "sidevault.api.port" . }} }
    periodSeconds: 5
    timeoutSeconds: 5
  {{- end }}
  {{- if $c.probes.liveness }}
  livenessProbe:
    httpGet: { path: /heartbeat, scheme: {{ if $c.tls.enabled }}HTTPS{{ else }}HTTP{{ end }}, port: {{ include "sidevault.api.port" . }} }
    periodSeconds: 30
    initialDelaySeconds: 15
    timeoutSeconds: 5
  {{- end }}
  {{- if include "sidevault.overlap" . }}
  lifecycle:
    # Kubernetes sends new connections to the Pod until all nodes have learned that it ends. Until then it must accept them.
    preStop: { exec: { command: [sleep, "10"] } }
  {{- end }}
  volumeMounts:
    {{- include "sidevault.connect.mounts" . | nindent 4 }}
    {{- if include "sidevault.replica" . }}
    - { name: replica, mountPath: /home/opuser/.op/replica }
    {{- end }}
    {{- if $c.tls.enabled }}
    - { name: tls-cert, mountPath: /home/opuser/.op/certs, readOnly: true }
    {{- end }}
    {{- with $c.api.extraVolumeMounts }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}

{{- define "sidevault.connect.sync" -}}
{{- $c := .Values.connect -}}
- name: {{ $c.sync.name }}
  image: {{ include "sidevault.sync.image" . }}
  imagePullPolicy: {{ $c.imagePullPolicy }}
  {{- with $c.sync.securityContext }}
  securityContext:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $c.sync.resources }}
  resources:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $c.sync.backup }}
  {{- if or .claimName .bucket }}
  args:
    - --backup-to={{ .bucket | default "/backups" }}
    - --backup-every={{ .every }}
    {{- if .continuous }}
    - --backup-continuous
    {{- end }}
    {{- with .keep }}
    - --backup-keep={{ . }}
    {{- end }}
    {{- range .ageRecipients }}
    - --backup-age-recipients={{ . }}
    {{- end }}
  {{- end }}
  {{- with .bucketSecretName }}
  envFrom:
    - secretRef: { name: {{ . }} }
  {{- end }}
  {{- end }}
  env:
    - { name: OP_HTTP_PORT, value: {{ $c.sync.httpPort | quote }} }
    {{- if include "sidevault.shared" . }}
    - { name: OP_BUS_PORT, value: "11220" }
    {{- else }}
    - { name: OP_BUS_PEERS, value: "localhost:11220" }
    {{- end }}
    - { name: OP_LOG_LEVEL, value: {{ $c.sync.logLevel | quote }} }
    {{- if .Values.sources }}
    - { name: SIDEVAULT_SYNC_CONFIG, value: /etc/sidevault/sources.yaml }
    {{- end }}
    {{- if $c.ageKey.secretName }}
    - { name: SOPS_AGE_KEY_FILE, value: /etc/sidevault-age/{{ $c.ageKey.key }} }
    {{- end }}
    {{- include "sidevault.connect.env" . | nindent 4 }}
  ports:
    - { name: sync, containerPort: {{ $c.sync.httpPort }} }
    {{- if include "sidevault.shared" . }}
    - { name: bus, containerPort: 11220 }
    {{- end }}
  {{- if $c.probes.readiness }}
  readinessProbe:
    httpGet: { path: /health, port: {{ $c.sync.httpPort }} }
    periodSeconds: 5
    timeoutSeconds: 5
  {{- end }}
  {{- if $c.probes.liveness }}
  livenessProbe:
    httpGet: { path: /heartbeat, port: {{ $c.sync.httpPort }} }
    periodSeconds: 30
    initialDelaySeconds: 15
    timeoutSeconds: 5
  {{- end }}
  volumeMounts:
    {{- include "sidevault.connect.mounts" . | nindent 4 }}
    {{- if .Values.sources }}
    - { name: sources, mountPath: /etc/sidevault, readOnly: true }
    {{- end }}
    {{- if $c.ageKey.secretName }}
    - { name: age-key, mountPath: /etc/sidevault-age, readOnly: true }
    {{- end }}
    {{- if $c.sync.backup.claimName }}
    - { name: backups, mountPath: /backups }
    {{- end }}
    {{- with $c.sync.extraVolumeMounts }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}

{{- define "sidevault.connect.env" -}}
- { name: OP_SESSION, value: /home/opuser/.op/1password-credentials.json }
{{- if include "sidevault.shared" . }}
- { name: SIDEVAULT_STORE, value: /etc/sidevault-store/url }
{{- end }}
{{- if .Values.connect.passphrase.secretName }}
- { name: SIDEVAULT_PASSPHRASE_FILE, value: /etc/sidevault-passphrase/{{ .Values.connect.passphrase.key }} }
{{- end }}
{{- if include "sidevault.connect.revoked" . }}
- { name: SIDEVAULT_REVOKED_FILE, value: /etc/sidevault-revoked/revoked-tokens }
{{- end }}
{{- range .Values.connect.customEnvVars }}
- name: {{ .name }}
  {{- if .valueFrom }}
  valueFrom:
    {{- toYaml .valueFrom | nindent 4 }}
  {{- else }}
  value: {{ .value | toString | quote }}
  {{- end }}
{{- end }}
{{- end }}

{{- define "sidevault.connect.mounts" -}}
- { name: {{ .Values.connect.dataVolume.name }}, mountPath: /home/opuser/.op/data }
- { name: tmp, mountPath: /tmp }
- { name: credentials, mountPath: /home/opuser/.op/1password-credentials.json, subPath: 1password-credentials.json, readOnly: true }
{{- if include "sidevault.shared" . }}
- { name: store, mountPath: /etc/sidevault-store, readOnly: true }
{{- end }}
{{- if .Values.connect.passphrase.secretName }}
- { name: passphrase, mountPath: /etc/sidevault-passphrase, readOnly: true }
{{- end }}
{{- if include "sidevault.connect.revoked" . }}
- { name: revoked, mountPath: /etc/sidevault-revoked, readOnly: true }
{{- end }}
{{- end }}
