# The first process of the node's namespaces of processes, mounts and network: makes what the node's programs expect of a machine.
# When this process ends, the kernel kills all others in the namespace, and their mounts and network interfaces are gone, too.
set -eu
root=$1 address=$2 services=$3

ip link set lo up
# The node's address. Pods reach it over their default route.
ip address add "$address/32" dev lo
# Services: kube-proxy replaces their addresses, but only in packets that have a route.
ip route add "$services" dev lo
echo 1 > /proc/sys/net/ipv4/ip_forward

# Directories that programs have as constants. containerd's sockets and the Pods' network namespaces are in /run.
for directory in /run /var/lib /var/log; do mount -t tmpfs -o mode=755 tmpfs "$directory"; done

# kubelet sets these for the whole machine, unless they have these values already. It finds the values in files.
mkdir "$root/settings"
while read -r setting value; do
    echo "$value" > "$root/settings/${setting##*/}"
    mount --bind "$root/settings/${setting##*/}" "/proc/sys/$setting"
done << SETTINGS
vm/overcommit_memory 1
vm/panic_on_oom 0
kernel/panic 10
kernel/panic_on_oops 1
kernel/keys/root_maxkeys 1000000
kernel/keys/root_maxbytes 25000000
SETTINGS

touch "$root/namespaces-ready"
# `wait` reaps processes whose parents have ended.
while :; do
    sleep infinity &
    wait
done
