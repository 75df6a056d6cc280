// The External Secrets controller to compare with, pinned. Only names it: build.sh builds it as its own module, with
// its own go.mod, so that its dependencies are those it was released with.
module sidevault.invalid/tests/cluster/eso

go 1.26

require github.com/external-secrets/external-secrets v0.16.2
