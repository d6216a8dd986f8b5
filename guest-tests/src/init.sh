#!/bin/sh
# The guest's first process: mounts, modules, addresses from the kernel's command line, then jobs.
/bin/busybox mkdir -p /dev /proc /sys /tmp /run /root /var/run
/bin/busybox --install -s /bin
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs tmp /tmp
exec </dev/console >/dev/console 2>&1
while read -r module; do
    insmod "/modules/$module" || echo "init: $module could not be loaded"
done </modules/order
for key in default all; do
    echo 0 >"/proc/sys/net/ipv6/conf/$key/accept_dad"
    echo 0 >"/proc/sys/net/ipv6/conf/$key/accept_ra"
done
# Root only, so that ping and iperf3 are not held back by what protects users from each other.
echo '0 2147483647' >/proc/sys/net/ipv4/ping_group_range
ip link set lo up
for link in /sys/class/net/eth*; do
    [ -e "$link" ] && ip link set "${link##*/}" up
done
read -r line </proc/cmdline
for word in $line; do
    case $word in
    nq.address=*)
        word=${word#nq.address=}
        # No test waits for duplicate address detection.
        case $word in *:*) flag=nodad ;; *) flag= ;; esac
        ip addr add "${word#*,}" dev "${word%%,*}" $flag || echo "init: address $word was refused"
        ;;
    esac
done
while :; do
    guest-agent serve
    echo "init: guest-agent ended with status $?"
    sleep 1
done
