# What a power cut takes from the node: its processes, and what is in memory. The directory "$1", the node's disk, stays.
set -eu
root=$1

# All processes of the namespace, but for its first one and this shell.
kill -s KILL -1 2> /dev/null || true

# Mounts below others first. /run itself stays, empty.
sed -n 's/^[^ ]* \([^ ]*\) .*/\1/p' /proc/self/mounts | grep -E "^(/run|$root)/" | grep -v "^$root/disks/" | sort -r |
    while read -r at; do umount -l "$at"; done
find /run -mindepth 1 -delete
ip -o link show type veth | sed -n 's/^[0-9]*: \([^:@]*\).*/\1/p' |
    while read -r link; do ip link delete "$link" || true; done
nft flush ruleset
ipset destroy
