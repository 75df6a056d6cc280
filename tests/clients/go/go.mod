// Drives the published Go client against a running server; nothing here is shipped.
module sidevault.invalid/tests/clients/go

go 1.24

require github.com/1Password/connect-sdk-go v1.5.3 // indirect
