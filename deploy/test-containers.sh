#!/usr/bin/env bash
# Runs the images with Podman, as docker-compose.yml (also without root), docker-compose.postgres.yml and deploy/quadlet start them.
# Each way, an item is written and read, containers end and come back, and everything is taken down and started again. Needs the
# binary that deploy/image/test-rootfs.sh built. Exit status 77: not run, because a tool is missing.
#
# Everything runs in namespaces of its own, with its own storage: it takes no port of this machine, and ends with this script.
# There is no registry here, so the image `postgres` is made of this machine's PostgreSQL and starts it as the official image does.
# There is no systemd either, so the test asks for the results of the health checks itself, and carries out the command lines of the
# units that Quadlet makes. Debian 12 has a Podman without Quadlet; the one that makes the units is Debian 13's, in a root directory.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source deploy/testing.sh
if [ "${1:-}" != --inside ]; then
    [ "$(id -u)" = 0 ] || { echo "needs root"; exit 77; }
    need podman podman-compose runc newuidmap slirp4netns debootstrap busybox setpriv ip iptables go "$tools/age-keygen" "$tools/sops"
    compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || { echo "needs PostgreSQL"; exit 77; }
    [ -x "$CARGO_TARGET_DIR/static/sidevault" ] || { echo "deploy/image/test-rootfs.sh builds the binary"; exit 1; }
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    debootstrap --variant=minbase --include=podman trixie "$work/trixie" >"$work/log" 2>&1 ||
        { tail "$work/log" && echo "FAILED: debootstrap" && exit 1; }
    # All of it ends with this script, even if that is killed.
    setpriv --pdeathsig KILL unshare --net --mount --pid --fork --kill-child --mount-proc "$0" --inside "$work"
    exit 0
fi

work=$2
chmod 755 "$work"
ip link set lo up
# The names that containers find each other by are there, whatever the storage's directory is.
mkdir -p /run/containers && mount -t tmpfs tmpfs /run/containers
log=$work/log
fail() {
    echo "FAILED: $1"
    tail -n 20 "$log"
    for name in $(podman ps --all --format '{{.Names}}'); do echo "== $name" && podman logs --tail 5 "$name" 2>&1; done
    exit 1
}
trap 'fail "line $LINENO"' ERR
mkdir "$work/bin"
ln -s "$CARGO_TARGET_DIR/static/sidevault" "$tools/age-keygen" "$tools/sops" "$work/bin/"
export PATH=$work/bin:$PATH
user() { setpriv --reuid 1000 --regid 1000 --clear-groups env HOME="$PWD" "$@"; } # COMMAND...: as an ordinary user
engine=(env)
podman() { "${engine[@]}" podman "$@"; }

# What this kind of machine needs: cgroups of version 1, few file handles, no journal.
export CONTAINERS_CONF=$work/containers.conf CONTAINERS_STORAGE_CONF=$work/storage.conf
cat >"$CONTAINERS_CONF" <<END
[containers]
default_ulimits = ["nofile=1024:4096", "nproc=4096:4096"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
tmp_dir = "$work/podman/tmp"
[network]
network_config_dir = "$work/podman/networks"
END
cat >"$CONTAINERS_STORAGE_CONF" <<END
[storage]
driver = "overlay"
graphroot = "$work/podman/root"
runroot = "$work/podman/run"
END
mkdir "$work/podman"

deploy/image/build --binary "$CARGO_TARGET_DIR/static/sidevault" --out "$work/images" sidevault sidevault-api sidevault-sync >/dev/null
for image in sidevault sidevault-api sidevault-sync; do podman load --quiet --input "$work/images/$image.tar" >"$log" 2>&1 || fail "load"; done
[ "$(podman run --rm --network none "sidevault:$version" --version 2>>"$log")" = "sidevault $version" ] || fail "podman run sidevault"

# How to reach the server, and what it must do. `until_true` waits up to 60 seconds.
until_true() { # COMMAND...
    for _ in $(seq 300); do
        "$@" && return 0
        sleep 0.2
    done
    return 1
}
answers() { # TEXT CURL-ARGUMENTS...: the answer has the text
    local text=$1
    shift
    case "$(curl -s --max-time 10 -H "Authorization: Bearer $token" "$@")" in *"$text"*) ;; *) return 1 ;; esac
}
write() { # PORT TITLE
    answers '"version":1' -X POST -d "{\"title\":\"$2\",\"category\":\"LOGIN\"}" "http://127.0.0.1:$1/v1/vaults/apps/items"
}
reads() { answers "\"title\":\"$3\"" "http://127.0.0.1:$1/v1/vaults/$2/items/$3"; } # PORT VAULT TITLE
is_healthy() { podman healthcheck run "$1" >>"$log" 2>&1; }                       # CONTAINER
is_running() { [ "$(podman inspect --format '{{.State.Running}} {{.State.Pid}}' "$1")" != "$2" ] && is_healthy "$1"; }
kill_inside() { # CONTAINER: as a crash does, and not as `podman kill`, after which no restart policy holds
    state=$(podman inspect --format '{{.State.Running}} {{.State.Pid}}' "$1")
    kill -KILL "${state#* }"
    until_true is_running "$1" "$state" || fail "$1 does not come back"
}
is_confined() { # CONTAINER UID
    [ "$(podman exec "$1" id -u)" = "$2" ] || fail "$1: the user"
    ! podman exec "$1" touch /new 2>/dev/null || fail "$1: the root file system can be written"
    podman exec "$1" cat /proc/1/status >"$work/status"
    grep -q '^CapBnd:\s*0*$' "$work/status" && grep -q '^NoNewPrivs:\s*1$' "$work/status" || fail "$1: $(cat "$work/status")"
}
secret_file() { # a SOPS file for the key in ./keys
    user bash -euc 'umask 077 && echo "password: from-a-file" >secrets/db.sops.yaml &&
        sops encrypt --age "$(age-keygen -y keys/age-key.txt)" --in-place secrets/db.sops.yaml' >>"$log" 2>&1
}
checkout() { # NAME FILE: a directory with the compose file, and what its own comment says to make there
    mkdir "$work/$1" && chown 1000:1000 "$work/$1"
    cp "$2" "$work/$1/" && cd "$work/$1"
    user bash -euc "$(sed -n 's/^#   //p' "$2")" >>"$log" 2>&1 || fail "the commands in $2"
    secret_file
    token=$(sidevault token create ci --vault secrets=read --vault apps=read,write --issuer keys/issuer.json 2>>"$log")
}
compose() { "${engine[@]}" podman-compose "${file[@]}" "$@" >>"$log" 2>&1; }

pair() { # DIRECTORY UID: docker-compose.yml, whose containers run as this user
    local project=$1 uid=$2 name title
    checkout "$project" "$PWD/docker-compose.yml"
    file=()
    if [ "$uid" = 0 ]; then echo "RUN_AS=0:0" >.env; fi
    compose up --detach || fail "compose up"
    until_true write 8080 first || fail "no item could be written"
    until_true reads 8080 secrets db || fail "the SOPS file is not served"
    for name in api sync; do
        is_healthy "${project}_${name}_1" || fail "the health check of $name"
        is_confined "${project}_${name}_1" "$uid"
    done
    ! podman exec "${project}_api_1" ls /secrets >>"$log" 2>&1 || fail "api sees the files"
    podman exec "${project}_sync_1" sidevault token list >>"$log" || fail "token list in the container"
    for name in api sync; do kill_inside "${project}_${name}_1"; done
    until_true write 8080 second || fail "no item can be written after api and sync were killed"
    compose restart || fail "compose restart"
    until_true write 8080 third || fail "no item can be written after a restart"
    compose down && ! podman inspect "${project}_api_1" >>"$log" 2>&1 || fail "compose down"
    compose up --detach || fail "the second compose up"
    for title in first second third; do until_true reads 8080 apps "$title" || fail "$title is lost"; done
    until_true write 8080 fourth || fail "no item can be written after down and up"
    compose down --volumes
    cd - >/dev/null
}
pair pair 1000
echo "docker-compose.yml: items were written and read, and outlived kills, a restart, and down with up"

# The same without root: Podman's containers are processes of an ordinary user, whose own user is root inside.
home=$work/home
mkdir -p "$home/run" && chown -R 1000:1000 "$home"
getent passwd 1000 >/dev/null || { (cat /etc/passwd && echo "user:x:1000:1000::$home:/bin/sh") >"$work/passwd" && mount --bind "$work/passwd" /etc/passwd; }
echo 1000:200000:65536 >"$work/subids"
for ids in /etc/subuid /etc/subgid; do touch "$ids" && mount --bind "$work/subids" "$ids"; done
# On this kind of machine only root may open the device that slirp4netns needs.
mknod "$work/tun" c 10 200 && chmod 666 "$work/tun" && mkdir -p /dev/net && touch /dev/net/tun && mount --bind "$work/tun" /dev/net/tun
sed "s,$work/podman,$home/podman," "$CONTAINERS_CONF" >"$home/containers.conf"
sed "s,$work/podman,$home/podman," "$CONTAINERS_STORAGE_CONF" >"$home/storage.conf"
engine=(setpriv --reuid 1000 --regid 1000 --clear-groups env HOME="$home" XDG_RUNTIME_DIR="$home/run"
    CONTAINERS_CONF="$home/containers.conf" CONTAINERS_STORAGE_CONF="$home/storage.conf")
chmod -R a+rX "$work/images"
for image in sidevault-api sidevault-sync; do podman load --quiet --input "$work/images/$image.tar" >"$log" 2>&1 || fail "load"; done
[ "$(podman info --format '{{.Host.Security.Rootless}}')" = true ] || fail "Podman runs as root"
pair rootless 0
engine=(env)
echo "docker-compose.yml without root: the same"

# The image `postgres`: this machine's PostgreSQL with its libraries, and a start as the official image's.
root=$work/postgres
programs=$(dirname "$(printf '%s\n' /usr/lib/postgresql/*/bin/initdb | sort -V | tail -1)")
mkdir -p "$root"/{bin,etc,tmp,run/postgresql,var/lib/postgresql/data} && ln -s ../run "$root/var/run" && chmod 1777 "$root/tmp"
tar -C / -c "${programs:1:-4}" "usr/share/postgresql/$(basename "${programs%/bin}")" usr/share/zoneinfo | tar -C "$root" -x
for object in "$programs"/{postgres,initdb,pg_isready} "${programs%/bin}"/lib/*.so; do ldd "$object"; done |
    grep -o '/[^ ]*' | sort -u | while read -r library; do install -D "$library" "$root$library"; done
cp "$(command -v busybox)" "$root/bin/busybox"
for command in sh cat chown id su mkdir; do ln -s busybox "$root/bin/$command"; done
ln -s "$programs/pg_isready" "$root/bin/"
printf 'root:x:0:0::/:/bin/sh\npostgres:x:999:999::/:/bin/sh\n' >"$root/etc/passwd"
printf 'root:x:0:\npostgres:x:999:\n' >"$root/etc/group"
cat >"$root/bin/start" <<END
#!/bin/sh
set -eu
export PATH=$programs:/bin
data=/var/lib/postgresql/data
if [ "\$(id -u)" = 0 ]; then
    cat "\$POSTGRES_PASSWORD_FILE" >/tmp/password
    chown -R postgres \$data /run/postgresql /tmp/password
    exec su postgres -s /bin/sh -c "exec /bin/start"
fi
if [ ! -e \$data/PG_VERSION ]; then
    initdb --username="\$POSTGRES_USER" --pwfile=/tmp/password --auth-local=trust --auth-host=scram-sha-256 \$data
    echo "host all all all scram-sha-256" >>\$data/pg_hba.conf
    echo "CREATE DATABASE \$POSTGRES_DB" | postgres --single -D \$data postgres
fi
exec postgres -D \$data -c listen_addresses='*'
END
chmod +x "$root/bin/start"
image=$(sed -n 's/^ *image: \(postgres:.*\)/\1/p' docker-compose.postgres.yml)
tar -C "$root" -c . | podman import --change 'ENTRYPOINT ["/bin/start"]' - "docker.io/library/$image" >>"$log" 2>&1 || fail "podman import"

checkout many "$PWD/docker-compose.postgres.yml"
file=(--file docker-compose.postgres.yml)
# podman-compose 1.0 names containers by the directory.
project=many
compose up --detach || fail "compose up with PostgreSQL"
until_true write 8080 first || fail "no item could be written"
until_true reads 8081 apps first || fail "the other api does not have the item"
until_true reads 8081 secrets db || fail "the SOPS file is not served"
for name in api-1 api-2 sync-1 sync-2 postgres; do until_true is_healthy "${project}_${name}_1" || fail "the health check of $name"; done
for name in api-1 api-2 sync-1 sync-2; do is_confined "${project}_${name}_1" 1000; done
leader() {
    for name in sync-1 sync-2; do
        podman exec "${project}_${name}_1" curl -s http://localhost:8081/metrics 2>/dev/null | grep -q '^sidevault_sync_leader.* 1$' && echo "$name" && return
    done
    return 1
}
leads() { [ "$(leader)" = "$1" ]; }
old=$(leader) || fail "no sync leads"
podman stop "${project}_${old}_1" >>"$log" 2>&1
case $old in sync-1) new=sync-2 ;; *) new=sync-1 ;; esac
until_true leads "$new" || fail "$new does not take over"
until_true write 8081 second || fail "no item can be written with the new leader"
podman start "${project}_${old}_1" >>"$log" 2>&1
kill_inside "${project}_postgres_1"
until_true write 8080 third || fail "no item can be written after PostgreSQL was killed"
compose down || fail "compose down with PostgreSQL"
compose up --detach || fail "the second compose up with PostgreSQL"
for title in first second third; do until_true reads 8081 apps "$title" || fail "$title is lost"; done
until_true write 8080 fourth || fail "no item can be written after down and up"
compose down --volumes
echo "docker-compose.postgres.yml: the other sync took over, and items outlived a killed PostgreSQL, and down with up"
cd - >/dev/null

cp -R deploy/quadlet "$work/trixie/units"
chroot "$work/trixie" env QUADLET_UNIT_DIRS=/units /usr/libexec/podman/quadlet -dryrun >"$work/units" 2>"$work/complaints" ||
    fail "quadlet: $(cat "$work/complaints")"
! grep -v 'Loading source unit file' "$work/complaints" || fail "quadlet complains"
mkdir -p "$work/etc/sidevault/secrets" "$work/run" && cd "$work/etc/sidevault"
sidevault init --out keys >>"$log" && age-keygen -o keys/age-key.txt 2>>"$log" && chown -R 1000:1000 .
secret_file && chown -R 999:999 secrets
podman secret create sidevault-credentials keys/1password-credentials.json >>"$log"
podman secret create sidevault-age-key keys/age-key.txt >>"$log"
token=$(sidevault token create ci --vault secrets=read --vault apps=read,write --issuer keys/issuer.json 2>>"$log")
line_of() { # SERVICE KEY: what systemd would run, but for options that need a unit's cgroup or a newer Podman
    sed -n "/^---$1.service---/,/^---/ s/^$2=-\{0,1\}//p" "$work/units" | head -1 |
        sed "s,%E,$work/etc,g; s,%t,$work/run,g; s,%N,$1,g; s,--cgroups=split,--cgroups=enabled,; s, create --ignore , create ,"
}
units() { # KEY SERVICES...
    local key=$1 service
    shift
    for service in "$@"; do eval "$(line_of "$service" "$key")" >>"$log" 2>&1 || fail "$key of $service"; done
}
units ExecStart sidevault-data-volume sidevault-network sidevault-sync sidevault-api
until_true write 8080 first || fail "no item could be written"
until_true reads 8080 secrets db || fail "the SOPS file is not served"
for name in sidevault-api sidevault-sync; do
    is_healthy "$name" || fail "the health check of $name"
    is_confined "$name" 999
done
units ExecStop sidevault-api sidevault-sync
# Podman 4.3 leaves these files; newer ones do not.
rm -f "$work"/run/*.cid
units ExecStart sidevault-sync sidevault-api
until_true reads 8080 apps first || fail "the item is lost"
until_true write 8080 second || fail "no item can be written after a restart"
units ExecStop sidevault-api sidevault-sync
echo "deploy/quadlet: the units' commands start the server, which keeps its items"
