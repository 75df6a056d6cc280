#!/usr/bin/env bash
# Checks and tests the chart's alert rules with Prometheus' own promtool, and has it parse every query of the dashboards. Builds
# promtool first, as go.mod pins it, which takes minutes. Exit status 77: no Go.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
tools=${CARGO_TARGET_DIR:-$PWD/../../target}/tools promtool=$tools/promtool
pins=$(cat go.mod go.sum | sha256sum | cut -d' ' -f1)
if [ "$(cat "$promtool.built" 2>/dev/null || true)" != "$pins" ]; then
    command -v go >/dev/null || { echo "needs Go, to build promtool with"; exit 77; }
    mkdir -p "$tools"
    CGO_ENABLED=0 go build -mod=readonly -p 2 -trimpath -buildvcs=false -ldflags='-s -w' -o "$tools/" \
        github.com/prometheus/prometheus/cmd/promtool
    echo "$pins" >"$promtool.built"
fi
chart=../../deploy/helm/sidevault/files
rules=$chart/prometheus/rules.yaml
"$promtool" check rules --lint=all --lint-fatal "$rules"
"$promtool" test rules rules_test.yaml

# promtool checks no dashboards, so their queries become recording rules. Grafana puts a duration in place of each of its variables
# that begin with two underscores, and a regular expression in place of the others.
queries=$(mktemp --suffix=.yaml)
trap 'rm -f "$queries"' EXIT
python3 - "$chart"/grafana/*.json >"$queries" <<'PYTHON'
import json, re, sys
rules = []
for file in sys.argv[1:]:
    for panel in json.load(open(file))["panels"]:
        for target in panel.get("targets", []):
            query = re.sub(r"\$\{?\w+\}?", ".*", re.sub(r"\$__\w+", "5m", target["expr"]))
            rules.append({"record": "dashboard:query", "expr": query, "labels": {"query": str(len(rules))}})
print(json.dumps({"groups": [{"name": "dashboards", "rules": rules}]}))
PYTHON
"$promtool" check rules "$queries"
