//! Trees in the shapes in which people keep Flux and Argo CD repositories: three home clusters, two cluster templates, and the
//! repository of Flux's guide to SOPS. Layout, kinds and file names are as there; names and values are made up.
//!
//! A file begins with `=== PATH`, or `=== sealed PATH` if it is encrypted.

pub(super) struct GitOpsTree {
    pub(super) name: &'static str,
    pub(super) files: &'static str,
    /// The directories that Flux is told to apply: `spec.path` of its Kustomizations.
    pub(super) applied: &'static [&'static str],
    /// Items that are not Secrets: encrypted files that other programs read.
    pub(super) others: &'static [&'static str],
}

pub(super) const TREES: &[GitOpsTree] = &[
    // Flux's guide: no kustomization.yaml, so Flux makes one of all manifests; and a generator with encrypted files.
    GitOpsTree {
        name: "guide",
        applied: &["clusters/cluster0", "apps/generated"],
        others: &[],
        files: "\
=== sealed clusters/cluster0/basic-auth.yaml
apiVersion: v1
kind: Secret
metadata:
  name: basic-auth
  namespace: default
type: Opaque
data:
  password: Y2hhbmdlLW1l
  user: YWRtaW4=
=== sealed clusters/cluster0/registry/pull.yaml
apiVersion: v1
kind: Secret
metadata:
  name: pull
  namespace: default
type: kubernetes.io/dockerconfigjson
stringData:
  .dockerconfigjson: |
    {\"auths\": {\"registry.example\": {\"auth\": \"YTpi\"}}}
=== clusters/cluster0/registry/config.yaml
apiVersion: v1
kind: ConfigMap
metadata:
  name: config
data:
  level: info
=== apps/generated/kustomization.yaml
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: apps
secretGenerator:
  - name: app
    envs:
      - app.env
  - name: token
    files:
      - token.encrypted
=== sealed apps/generated/app.env
API_KEY=k=1 with spaces
LEVEL=3
=== sealed apps/generated/token.encrypted
first line
second line
",
    },
    // A home cluster with a folder for each namespace and app; every app calls its file secret.sops.yaml.
    GitOpsTree {
        name: "folders",
        applied: &["cluster/apps"],
        others: &[],
        files: "\
=== cluster/apps/kustomization.yaml
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [default, media]
=== cluster/apps/default/kustomization.yaml
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [namespace.yaml, authelia]
=== cluster/apps/default/namespace.yaml
apiVersion: v1
kind: Namespace
metadata:
  name: default
=== cluster/apps/default/authelia/kustomization.yaml
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [helmrelease.yaml, secret.sops.yaml]
=== cluster/apps/default/authelia/helmrelease.yaml
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata:
  name: authelia
  namespace: default
spec: { interval: 15m }
=== sealed cluster/apps/default/authelia/secret.sops.yaml
kind: Secret
apiVersion: v1
type: Opaque
metadata:
  name: authelia
  namespace: default
stringData:
  # rotated by hand
  AUTHELIA_JWT_SECRET: \"0123456789\"
  AUTHELIA_SESSION_SECRET: yes-and-no
  users.yml: |
    users:
      ada:
        password: $argon2id$v=19
=== cluster/apps/media/kustomization.yaml
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [plex, radarr, sonarr]
=== cluster/apps/media/plex/kustomization.yaml
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [off-deck/secret.ini.sops.yaml]
=== sealed cluster/apps/media/plex/off-deck/secret.ini.sops.yaml
apiVersion: v1
kind: Secret
metadata:
  name: off-deck
  namespace: media
stringData:
  config.ini: |
    [plex]
    token = T
=== cluster/apps/media/radarr/kustomization.yaml
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [secret.sops.yaml]
=== sealed cluster/apps/media/radarr/secret.sops.yaml
apiVersion: v1
kind: Secret
metadata:
  name: radarr
  namespace: media
stringData:
  RADARR__API_KEY: radarr-key
=== cluster/apps/media/sonarr/kustomization.yaml
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [secret.sops.yaml]
=== sealed cluster/apps/media/sonarr/secret.sops.yaml
apiVersion: v1
kind: Secret
metadata:
  name: sonarr
  namespace: media
stringData:
  SONARR__API_KEY: sonarr-key
data:
  token: c29uYXJyLXRva2Vu
",
    },
    // A home cluster with Flux Kustomizations (ks.yaml) beside each app, and Secrets for substitutions.
    GitOpsTree {
        name: "ks",
        applied: &[
            "kubernetes/main/flux/vars",
            "kubernetes/main/apps/database/postgres/app",
            "kubernetes/main/apps/network/dns/app",
        ],
        others: &["talos/secrets"],
        files: "\
=== kubernetes/main/flux/vars/kustomization.yaml
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [cluster-settings.yaml, cluster-secrets.sops.yaml]
=== kubernetes/main/flux/vars/cluster-settings.yaml
apiVersion: v1
kind: ConfigMap
metadata:
  name: cluster-settings
  namespace: flux-system
data:
  TIMEZONE: Europe/Vienna
=== sealed kubernetes/main/flux/vars/cluster-secrets.sops.yaml
apiVersion: v1
kind: Secret
metadata:
  name: cluster-secrets
  namespace: flux-system
stringData:
  SECRET_DOMAIN: home.example
---
apiVersion: v1
kind: Secret
metadata:
  name: cluster-user-secrets
  namespace: flux-system
stringData:
  SECRET_EMAIL: ada@home.example
  SECRET_PORT: \"8443\"
=== kubernetes/main/apps/database/postgres/ks.yaml
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata:
  name: postgres
  namespace: flux-system
spec:
  path: ./kubernetes/main/apps/database/postgres/app
  decryption: { provider: sops, secretRef: { name: sops-age } }
=== kubernetes/main/apps/database/postgres/app/kustomization.yaml
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: database
resources: [./secret.sops.yaml]
labels:
  - pairs: { app.kubernetes.io/name: postgres }
=== sealed kubernetes/main/apps/database/postgres/app/secret.sops.yaml
apiVersion: v1
kind: Secret
metadata:
  name: postgres-superuser
type: kubernetes.io/basic-auth
stringData:
  username: postgres
  password: \"p\u{e4}ss \\\"w\\\" \\\\ 1\"
=== kubernetes/main/apps/network/dns/app/kustomization.yaml
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: network
resources: [./secret.sops.yaml]
configMapGenerator:
  - name: zones
    files: [zones.txt]
generatorOptions: { disableNameSuffixHash: true }
=== kubernetes/main/apps/network/dns/app/zones.txt
home.example
=== sealed kubernetes/main/apps/network/dns/app/secret.sops.yaml
apiVersion: v1
kind: Secret
metadata:
  name: dns
stringData:
  api-token: dns-token
=== sealed talos/secrets.sops.yaml
cluster:
  id: talos-id
",
    },
    // A base with an overlay for each environment; encrypted env files for the generator.
    GitOpsTree {
        name: "overlays",
        applied: &["overlays/production", "overlays/staging"],
        others: &[],
        files: "\
=== base/kustomization.yaml
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [secret.yaml]
=== sealed base/secret.yaml
apiVersion: v1
kind: Secret
metadata:
  name: shared
stringData:
  key: shared-key
=== overlays/production/kustomization.yaml
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: production
namePrefix: prod-
resources: [../../base, tls.yaml]
secretGenerator:
  - name: db
    envs: [db.env]
=== sealed overlays/production/db.env
DB_USER=ada
DB_PASSWORD=production #1
=== sealed overlays/production/tls.yaml
apiVersion: v1
kind: Secret
metadata:
  name: tls
type: kubernetes.io/tls
data:
  tls.crt: LS0tLS1CRUdJTgpBQUFBCi0tLS0tRU5ECg==
  tls.key: LS0tLS1CRUdJTgpCQkJCCi0tLS0tRU5ECg==
=== overlays/staging/kustomization.yaml
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: staging
resources: [../../base]
secretGenerator:
  - name: db
    envs: [db.env]
=== sealed overlays/staging/db.env
DB_USER=ada
DB_PASSWORD=staging
",
    },
    // A cluster template with a component for the Secrets that every namespace gets, and files for the bootstrap.
    GitOpsTree {
        name: "template",
        applied: &[
            "kubernetes/apps/cert-manager",
            "kubernetes/apps/network",
            "kubernetes/apps/cert-manager/cert-manager/app",
            "kubernetes/apps/network/cloudflare-tunnel/app",
        ],
        others: &["talsecret"],
        files: "\
=== kubernetes/components/sops/kustomization.yaml
apiVersion: kustomize.config.k8s.io/v1alpha1
kind: Component
resources: [./cluster-secrets.sops.yaml]
=== sealed kubernetes/components/sops/cluster-secrets.sops.yaml
apiVersion: v1
kind: Secret
metadata:
  name: cluster-secrets
stringData:
  SECRET_DOMAIN: template.example
=== kubernetes/apps/cert-manager/kustomization.yaml
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: cert-manager
components: [../../components/sops]
resources: [./namespace.yaml, ./cert-manager/ks.yaml]
=== kubernetes/apps/cert-manager/namespace.yaml
apiVersion: v1
kind: Namespace
metadata:
  name: _
=== kubernetes/apps/cert-manager/cert-manager/ks.yaml
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata:
  name: cert-manager
spec:
  path: ./kubernetes/apps/cert-manager/cert-manager/app
=== kubernetes/apps/cert-manager/cert-manager/app/kustomization.yaml
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [./secret.sops.yaml]
=== sealed kubernetes/apps/cert-manager/cert-manager/app/secret.sops.yaml
apiVersion: v1
kind: Secret
metadata:
  name: cert-manager-secret
stringData:
  api-token: issuer-token
=== kubernetes/apps/network/kustomization.yaml
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: network
components: [../../components/sops]
resources: [./namespace.yaml]
=== kubernetes/apps/network/namespace.yaml
apiVersion: v1
kind: Namespace
metadata:
  name: _
=== kubernetes/apps/network/cloudflare-tunnel/app/kustomization.yaml
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [./secret.sops.yaml]
=== sealed kubernetes/apps/network/cloudflare-tunnel/app/secret.sops.yaml
apiVersion: v1
kind: Secret
metadata:
  name: cloudflare-tunnel-secret
stringData:
  TUNNEL_TOKEN: tunnel-token
=== sealed bootstrap/talsecret.sops.yaml
secrets:
  bootstraptoken: abcdef.0123456789abcdef
",
    },
    // A cluster template for Argo CD: encrypted values of charts beside encrypted manifests.
    GitOpsTree {
        name: "argo",
        applied: &["kubernetes/apps/network/tunnel/config", "kubernetes/argo/repositories"],
        others: &["tunnel/values"],
        files: "\
=== kubernetes/apps/network/tunnel/config/kustomization.yaml
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [secret.sops.yaml]
=== sealed kubernetes/apps/network/tunnel/config/secret.sops.yaml
apiVersion: v1
kind: Secret
metadata:
  name: tunnel
  namespace: network
stringData:
  credentials.json: '{\"AccountTag\": \"a\", \"TunnelSecret\": \"s\"}'
=== sealed kubernetes/apps/network/tunnel/values.sops.yaml
env:
  TUNNEL_ID: values-id
=== sealed kubernetes/argo/repositories/github.sops.yaml
apiVersion: v1
kind: Secret
metadata:
  name: github
  namespace: argo-system
  labels:
    argocd.argoproj.io/secret-type: repository
stringData:
  url: ssh://git@git.example/home/cluster.git
  sshPrivateKey: |
    -----BEGIN OPENSSH PRIVATE KEY-----
    b3BlbnNzaC1rZXktdjE
    -----END OPENSSH PRIVATE KEY-----
",
    },
];
