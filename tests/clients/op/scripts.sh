#!/usr/bin/env bash
# Shell scripts as people write them: direnv, docker compose, home clusters.
set -euo pipefail
expect() { # WHAT EXPECTED FOUND
    [ "$2" = "$3" ] || { echo "scripts: $1: \"$3\", not \"$2\"" >&2 && exit 1; }
}

# direnv's .envrc
printf 'export DB_USER=op://secrets/postgres-database/username\nexport DB_PASSWORD=op://secrets/postgres-database/password\n' >env.tpl
eval "$(op inject --account me <env.tpl)"
expect "direnv" "app s3cr3t-pg" "$DB_USER $DB_PASSWORD"

# docker compose
printf 'DB_PASSWORD=op://secrets/postgres-database/password\nDB_NAME="op://secrets/postgres-database/database"\n' >.env
expect "run without masking" "s3cr3t-pg orders" "$(op run --env-file .env --no-masking -- sh -c 'echo "$DB_PASSWORD $DB_NAME"')"
expect "run" "<concealed by 1Password>" "$(op run --env-file=.env -- printenv DB_PASSWORD 2>&1)"

# A home cluster's bootstrap
op whoami --format=json >/dev/null
op user get --me >/dev/null
printf 'kind: Secret\nstringData:\n  password: op://secrets/postgres-database/password\n' | op inject >secret.yaml
grep -q '  password: s3cr3t-pg' secret.yaml || { cat secret.yaml >&2 && exit 1; }
expect "fields" "app,orders" "$(op item get --format human-readable --vault secrets postgres-database --fields username,database --reveal)"
expect "reveal" "s3cr3t-pg" "$(op item get postgres-database --vault secrets --fields password --reveal)"
expect "list and get" "postgres-database" \
    "$(op item list --vault secrets --format json | op item get - --format json | grep -o '"title": "postgres-database"' | cut -d'"' -f4)"

# kubernetes-secrets-injector copies the program
cp -L "$(command -v op)" ./op
expect "the copied program" "s3cr3t-pg" "$(DB_PASSWORD=op://secrets/postgres-database/password ./op run --no-masking -- printenv DB_PASSWORD)"

# What is wrong ends the script
if message=$(op read op://secrets/none/password 2>&1); then
    echo "scripts: a missing item is no error" >&2 && exit 1
fi
case $message in
"[ERROR] "*"could not read secret 'op://secrets/none/password': "*) ;;
*) echo "scripts: $message" >&2 && exit 1 ;;
esac
