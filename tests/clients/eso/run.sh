#!/usr/bin/env bash
# Builds and runs the External Secrets provider suite against the server named by OP_CONNECT_HOST.
# Arguments go to the test binary, e.g. `run.sh -test.run Files`. Exit 77: no Go here.
. "$(dirname "${BASH_SOURCE[0]}")/../suite.sh"
go_tests "$@"
