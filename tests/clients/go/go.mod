// Drives the published Go client against a running server; nothing here is shipped.
module sidevault.invalid/tests/clients/go

go 1.24

require github.com/1Password/connect-sdk-go v1.5.3

require (
	github.com/opentracing/opentracing-go v1.2.0 // indirect
	github.com/pkg/errors v0.9.1 // indirect
	github.com/uber/jaeger-client-go v2.30.0+incompatible // indirect
	github.com/uber/jaeger-lib v2.4.1+incompatible // indirect
	go.uber.org/atomic v1.9.0 // indirect
)
