#!/bin/sh
# Copyright (c) The Cairn Authors
# SPDX-License-Identifier: MPL-2.0
#
# reap.sh MODE DIR: ends what agents with data under DIR (absolute, with a slash
# at its end) started. Agents carry CAIRN_TESTCLUSTER=DIR..., and so do the
# plugins and tasks below them, whoever their parent is by now.
#   kill    kill these processes, and others whose working folder is under DIR
#   remove  kill, then unmount what Nomad mounted under DIR, and delete DIR
#   watch   wait for the end of standard input, that is of the test, then remove
mode=$1
dir=$2

if [ "$mode" = watch ]; then
	while read -r _; do :; done
	mode=remove
fi

processes() {
	{
		grep -lszF "CAIRN_TESTCLUSTER=$dir" /proc/[0-9]*/environ
		find /proc/[0-9]*/cwd -maxdepth 0 -lname "$dir*" 2>/dev/null
	} | cut -d/ -f3 | sort -u
}

# A process may fork while the list is made: go on until a list is empty. The
# bound is for a process that the kernel cannot kill, in uninterruptible sleep.
rounds=0
found=$(processes)
while [ -n "$found" ] && [ $rounds -lt 500 ]; do
	# shellcheck disable=SC2086
	kill -KILL $found 2>/dev/null
	rounds=$((rounds + 1))
	found=$(processes)
done
[ "$mode" = remove ] || exit 0

awk -v dir="$dir" 'index($2, dir) == 1 { print $2 }' /proc/self/mounts | sort -r |
	while read -r mount; do umount -l "$mount"; done
for alloc in "$dir"*/data/alloc/*; do
	rmdir /sys/fs/cgroup/*/nomad/"${alloc##*/}".* 2>/dev/null
done
rm -rf "$dir"
[ ! -e "$dir" ] || { echo "still there: $dir; processes: $found"; exit 1; }
