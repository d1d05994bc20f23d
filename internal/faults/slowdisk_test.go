// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package faults

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// blkio is where the first version of Linux's control groups bounds what processes read and write.
const blkio = "/sys/fs/cgroup/blkio"

// disk is a file system of its own, in a file, on which processes can be made slow.
type disk struct {
	t      *testing.T
	dir    string
	device string // its numbers, as in 7:0
	group  string // folder of the control group that is bounded
}

// newDisk makes one of a gigabyte; nil where the kernel bounds nothing. It takes a superuser, and is best mounted in a
// namespace of the test's own.
func newDisk(t *testing.T) *disk {
	t.Helper()
	if _, err := os.Stat(filepath.Join(blkio, "blkio.throttle.write_bps_device")); err != nil {
		t.Logf("no disk is slow here: %v", err)
		return nil
	}
	d := &disk{t: t, dir: t.TempDir()}
	image := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, 1<<30); err != nil {
		t.Fatal(err)
	}
	d.do("mkfs.ext4", "-q", image)
	d.do("mount", "-o", "loop", image, d.dir)
	t.Cleanup(func() { d.do("umount", d.dir) })
	var stat syscall.Stat_t
	if err := syscall.Stat(d.dir, &stat); err != nil {
		t.Fatal(err)
	}
	d.device = fmt.Sprintf("%d:%d", stat.Dev>>8, stat.Dev&0xff)
	group, err := os.MkdirTemp(blkio, "cairn-faults-")
	if err != nil {
		t.Fatal(err)
	}
	d.group = group
	t.Cleanup(func() {
		if err := os.Remove(d.group); err != nil {
			t.Error(err)
		}
	})
	return d
}

func (d *disk) do(name string, args ...string) {
	d.t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		d.t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

// write writes to a file of a control group.
func (d *disk) write(path, text string) {
	d.t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		d.t.Fatal(err)
	}
}

// slow lets processes write so many bytes a second together, until the function that it returns is called.
func (d *disk) slow(bytes int64, pids []int) (undo func()) {
	d.t.Helper()
	bound := filepath.Join(d.group, "blkio.throttle.write_bps_device")
	d.write(bound, fmt.Sprintf("%s %d", d.device, bytes))
	for _, pid := range pids {
		d.write(filepath.Join(d.group, "cgroup.procs"), strconv.Itoa(pid))
	}
	return func() {
		for _, pid := range pids {
			d.write(filepath.Join(blkio, "cgroup.procs"), strconv.Itoa(pid))
		}
		d.write(bound, d.device+" 0")
	}
}

// slowDisk lets the servers of Consul write 20 to 200 KB a second together.
func slowDisk() fault {
	return fault{"Consul's disk is slow", 20 * time.Second, func(c *campaign) func() {
		var pids []int
		for _, a := range c.consul.Servers {
			pids = append(pids, a.PID())
		}
		return c.disk.slow(20_000+c.r.Int64N(180_000), pids)
	}}
}

func TestADiskIsSlowForWhomItIsMeant(t *testing.T) {
	t.Parallel()
	if !shaped() {
		return // it takes a superuser, and mounts of the test's own: make test-faults
	}
	d := newDisk(t)
	if d == nil {
		return
	}
	writes := func(group string) time.Duration {
		began := time.Now()
		d.do("sh", "-c", `echo $$ > "$0/cgroup.procs" && exec dd if=/dev/zero of="$1" bs=64k count=2 oflag=dsync status=none`,
			group, filepath.Join(d.dir, "file"))
		return time.Since(began)
	}
	undo := d.slow(100_000, nil)
	free, bound := writes(blkio), writes(d.group)
	undo()
	if bound < time.Second || free > bound/2 {
		t.Errorf("131 KB take %s, and %s at 100 KB a second", free, bound)
	}
}
