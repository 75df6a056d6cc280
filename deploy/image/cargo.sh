#!/bin/sh
# Runs cargo for cargo-auditable, in build.sh beside this file. cargo puts the path of the wrapper that cargo-auditable sets into the names
# of symbols; found through PATH, the wrapper has the same name in every directory, and the program the same bytes.
RUSTC_WORKSPACE_WRAPPER=cargo-auditable exec cargo "$@"
