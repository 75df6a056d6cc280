// The newest External Secrets controller that is a Go module, pinned. Only names it: build.sh builds it as its own
// module, with its own go.mod, so that its dependencies are those it was released with.
module sidevault.invalid/tests/cluster/eso/v0.20

go 1.26

require github.com/external-secrets/external-secrets v0.20.4
