// An External Secrets controller from before the v1 API, pinned. Only names it, as the one beside it does.
module sidevault.invalid/tests/cluster/eso/v0.9

go 1.26

require github.com/external-secrets/external-secrets v0.9.13
