// Drives External Secrets' own 1Password provider against a running server; nothing here is shipped.
module sidevault.invalid/tests/clients/eso

go 1.24
