#!/bin/busybox sh
# The guest's first process: makes the host's file system the root, runs one command in it, reports, and ends.
#
# /guest.sh, written for each run, sets RELEASE, KERNEL_DIRECTORY, MODULES and defines mount_shares;
# /command is the script to run inside. Output goes to the first virtio-serial port, "exit N" or
# "failed REASON" to the second.
/bin/busybox mount -t proc proc /proc
/bin/busybox --install -s /bin
export PATH=/bin
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
. /guest.sh

finish() {
	sync
	echo "$1" >/dev/vport0p2
	reboot -f
}

share() { # TAG DIRECTORY: a directory of the host, writable
	mkdir -p "/new$2"
	mount -t 9p -o rw,trans=virtio,version=9p2000.L,cache=mmap,msize=262144 "$1" "/new$2" ||
		finish "failed cannot mount the shared directory $2"
}

for module in $(cat /modules/order); do
	insmod "/modules/$module" || echo "init: insmod $module failed"
done
tries=0
while [ ! -e /dev/vport0p1 ] || [ ! -e /dev/vport0p2 ]; do
	tries=$((tries + 1))
	[ $tries -gt 200 ] && echo "init: no virtio-serial ports" && reboot -f
	sleep 0.05
done

# The host's root is read-only; what the guest writes goes to a tmpfs on top of it.
mount -t 9p -o ro,trans=virtio,version=9p2000.L,cache=loose,msize=262144 root /lower ||
	finish "failed cannot mount the host's root"
mount -t tmpfs -o size=50% tmpfs /upper
mkdir /upper/files /upper/work
mount -t overlay -o lowerdir=/lower,upperdir=/upper/files,workdir=/upper/work overlay /new ||
	finish "failed cannot mount the overlay"
mount -t proc proc /new/proc
mount -t sysfs sysfs /new/sys
mount -t debugfs debugfs /new/sys/kernel/debug
mount -t tracefs tracefs /new/sys/kernel/tracing
mount -t securityfs securityfs /new/sys/kernel/security
mount -t bpf bpf /new/sys/fs/bpf
mount -t cgroup2 cgroup2 /new/sys/fs/cgroup
mount -t devtmpfs devtmpfs /new/dev
mkdir -p /new/dev/pts /new/dev/shm
mount -t devpts devpts /new/dev/pts
mount -t tmpfs tmpfs /new/dev/shm
mount -t tmpfs tmpfs /new/run
ip link set lo up
hostname guest

mkdir -p "/new/lib/modules/$RELEASE" /new/boot
mount -o bind "/new$KERNEL_DIRECTORY/lib/modules/$RELEASE" "/new/lib/modules/$RELEASE"
cp "/new$KERNEL_DIRECTORY/boot/"* /new/boot/
mount_shares

for module in $MODULES; do
	case $module in
	/*) error=$(chroot /new /sbin/insmod "$module" 2>&1) ;;
	*) error=$(chroot /new /sbin/modprobe "$module" 2>&1) ;;
	esac || finish "failed cannot load the module $module: $error"
done

cp /command /new/run/command
cd /new && mount --move /new / # the root of the namespace, not only of the command: else no user namespace can be made
chroot . /bin/sh /run/command </dev/null >/dev/vport0p1 2>&1
status=$?
umount -a -t 9p 2>/dev/null
finish "exit $status"
