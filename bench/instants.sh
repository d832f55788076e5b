#!/bin/sh
# The first process of bench/instants: a file system and a network under load for some seconds of guest time, and what came of it.
B=/bin/busybox
$B mount -t proc proc /proc; $B mount -t devtmpfs dev /dev
for m in virtio_mmio virtio_blk crc16 mbcache jbd2 crc32c_generic libcrc32c ext4 failover net_failover virtio_net virtio-rng; do
  [ -f /lib/$m.ko ] && $B insmod /lib/$m.ko
done
i=0; while [ ! -b /dev/vda ] && [ $i -lt 50 ]; do $B sleep 0.1; i=$((i + 1)); done
$B mount -t ext4 /dev/vda /mnt || echo "INSTANTS: cannot mount"
$B ip link set lo up; $B ip addr add 10.0.2.15/24 dev eth0; $B ip link set eth0 up
echo "INSTANTS: begins"
(
  n=0
  while [ $n -lt 25 ]; do
    $B dd if=/dev/zero of=/mnt/zeros bs=64k count=16 conv=fsync 2>/dev/null
    $B cp /bin/busybox /mnt/file$n && $B cmp /bin/busybox /mnt/file$n || echo "INSTANTS: a file differs"
    [ $n -gt 3 ] && $B rm /mnt/file$((n - 3))
    n=$((n + 1))
  done
  $B sync
  echo "INSTANTS: files done"
) &
(
  n=0
  while [ $n -lt 20 ]; do
    $B ping -q -c 3 -i 0.01 -s 1000 10.0.2.2 >/dev/null || echo "INSTANTS: no answer to ping"
    [ "$(echo "line $n" | $B timeout 5 $B nc 10.0.2.2 7 | $B head -n 1)" = "line $n" ] || echo "INSTANTS: no echo of line $n"
    n=$((n + 1))
  done
  echo "INSTANTS: network done"
) &
wait
echo "INSTANTS: $($B dmesg | $B grep -c -i -e error -e warn -e 'bug:' -e fail -e corrupt) complaints of the kernel"
$B dmesg | $B grep -i -e error -e warn -e 'bug:' -e fail -e corrupt
$B umount /mnt
echo "INSTANTS: ends"
$B poweroff -f
$B sleep 100
