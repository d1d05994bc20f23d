// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package faults

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// small starts cairn in a mount namespace of its own, where the state folder lies on a file system of 4 MiB. The test
// reaches it through the root of the process, and it is gone with the last process that lives in it.
func (g *ground) small(args ...string) (*process, string) {
	g.t.Helper()
	state := filepath.Join(g.dir, "state")
	if err := os.Mkdir(state, 0o700); err != nil {
		g.t.Fatal(err)
	}
	own := []string{"--mount"}
	if os.Geteuid() != 0 {
		own = append(own, "--map-root-user")
	}
	script := `mount -t tmpfs -o size=4m,mode=700 tmpfs "$1" && shift && exec "$@"`
	p := g.launch(exec.Command("unshare", append(append(own, "sh", "-c", script, "sh", state, g.cairn), args...)...))
	return p, filepath.Join("/proc", fmt.Sprint(p.cmd.Process.Pid), "root", state)
}

// fill writes until the disk is full and returns the file to remove.
func (g *ground) fill(dir string) string {
	g.t.Helper()
	path := filepath.Join(dir, "filler")
	f, err := os.Create(path)
	if err != nil {
		g.t.Fatal(err)
	}
	defer f.Close()
	for size := 1 << 20; size > 0; {
		if _, err := f.Write(make([]byte, size)); errors.Is(err, syscall.ENOSPC) {
			size /= 2
		} else if err != nil {
			g.t.Fatal(err)
		}
	}
	return path
}

func TestAFullDiskUnderTheStore(t *testing.T) {
	g := newGround(t)
	gate := filepath.Join(g.dir, "gate")
	p := g.newPlan("full")
	// Written while there is space, and saved when there is none: more than a store has in reserve.
	p.task(spec{name: "first", work: "-until " + gate + " -bytes 60000", other: "count = 8\noutput \"blob\" {\n  type = string\n}"})
	p.task(spec{name: "fan", work: "-for 100ms", after: []string{"first"}, other: "count = 20"})
	p.task(spec{name: "last", work: "-for 100ms", after: []string{"fan"}})
	run, state := g.small("run", "-local", "-json", p.file())
	g.await("the outputs to be written", soon(), func() bool {
		files, err := filepath.Glob(filepath.Join(state, "runs/*/attempts/*/alloc/data/cairn_output"))
		whole := 0
		for _, f := range files {
			if st, err := os.Stat(f); err == nil && st.Size() > 60000 {
				whole++
			}
		}
		return err == nil && whole == 8
	})
	filler := g.fill(state)
	full := time.Now()
	g.write("gate", "")
	run.says("The run's state cannot be saved: ")
	run.says("there is no space left for it; what was saved before is safe, free some space and the run goes on")
	t.Logf("said so %s after the disk was full:\n%s", brief(time.Since(full)), run.stderr())
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	freed := time.Now()
	run.wants(0)
	t.Logf("ended %s after there was space again", brief(time.Since(freed)))
	contains(t, run.stderr(), "The run goes on.")
	g.judge(run.document(), p.expect)
	g.nothingLeft()
}

// A store whose beginning is damaged is refused in words, and nothing runs.
func TestADamagedStoreIsRefused(t *testing.T) {
	g := newGround(t)
	p := g.newPlan("damaged")
	p.task(spec{name: "long", work: "-for 200ms"})
	p.task(spec{name: "after", after: []string{"long"}})
	run := g.start("run", "-local", "-json", p.file())
	id := g.begun("long").Run
	run.signal(syscall.SIGKILL)
	run.code()
	store := filepath.Join(g.dir, "state", "runs", id, "state.db")
	f, err := os.OpenFile(store, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(bytes.Repeat([]byte("garbage "), 4<<10)); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		code int
		args []string
	}{{2, []string{"run", "-local", "-resume", id}}, {1, []string{"runs", "show", id}}} {
		refused := g.call(row.code, row.args...).stderr()
		contains(t, refused, "Error: ", store, "it is not one, or its beginning is damaged; restore it from a copy, or remove the run's folder.")
		if strings.Contains(refused, "goroutine ") {
			t.Errorf("a stack trace instead of a sentence:\n%s", refused)
		}
	}
	g.nothingLeft()
	for _, l := range g.lines() {
		if l.Task == "after" {
			t.Error("the run went on")
		}
	}
}
