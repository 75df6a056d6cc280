// age's published test vectors, which a test of crates/sops reads from Go's module cache.
module sidevault.invalid/tests/tools/testkit

go 1.26

require c2sp.org/CCTV/age v0.0.0-20260829155415-4448f2097b2d
