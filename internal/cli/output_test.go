// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package cli_test

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLostOutputIsSaidOnceAndFails(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	c := newConsole(t)
	if r := c.run("run", "-local", "testdata/flow.hcl"); r.code != 0 {
		t.Fatalf("exit %d\n%s", r.code, r.stderr)
	}
	id := c.newestID()
	c.broken = full
	for _, row := range []struct {
		code int
		args []string
	}{
		{1, []string{"validate", "testdata/flow.hcl"}},
		{1, []string{"validate", "-json", "testdata/flow.hcl"}},
		{1, []string{"version"}},
		{1, []string{"graph", "-json", "testdata/flow.hcl"}},
		{1, []string{"render", "-task", "load", "testdata/flow.hcl"}},
		{1, []string{"runs", "list", "-json"}},
		{1, []string{"runs", "show", id}},
		{1, []string{"runs", "logs", "-instance", "eu", id, "extract"}},
		{1, []string{"run", "-h"}},
		{2, []string{"run", "-local", "-json", "testdata/invalid/broken.hcl"}},
		{6, []string{"run", "-local", "-json", "testdata/flow.hcl"}},
		{6, []string{"run", "-local", "testdata/flow.hcl"}},
		{1, []string{"run", "-local", "-json", "testdata/flow.hcl", "-param", "fail=true"}},
		{6, []string{"runs", "watch", id}},
	} {
		r := c.run(row.args...)
		if r.code != row.code {
			t.Errorf("%v: exit %d, want %d", row.args, r.code, row.code)
		}
		if n := strings.Count(r.stderr, "no space left on device"); n != 1 || !strings.Contains(r.stderr, "Error: Standard output cannot be written: ") {
			t.Errorf("%v: said %d times, want once:\n%s", row.args, n, r.stderr)
		}
	}
}

// A reader that takes a line and goes, as `head -1` does.
func TestAReaderThatGoesAwayEndsNothing(t *testing.T) {
	dir := t.TempDir()
	gate, path := filepath.Join(dir, "gate"), filepath.Join(dir, "gated.hcl")
	text := fmt.Sprintf(`workflow "gated" {
  task "wait" {
    driver = "raw_exec"
    config {
      command = "/bin/sh"
      args    = ["-c", "until [ -e %s ]; do sleep 0.02; done"]
    }
  }
}
`, gate)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	c := newConsole(t)
	// leave starts a command, reads a line of it and goes.
	leave := func(args ...string) (wait func() int) {
		cmd := c.cairn(args...)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cmd.Process.Kill() })
		if _, err := bufio.NewReaderSize(out, 16).ReadString('\n'); err != nil {
			t.Fatalf("%v: %v", args, err)
		}
		out.Close()
		return func() int {
			cmd.Wait()
			return cmd.ProcessState.ExitCode()
		}
	}
	wait := leave("run", "-local", path)
	if err := os.WriteFile(gate, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if code := wait(); code != 0 {
		t.Errorf("run: exit %d, want 0", code)
	}
	if r := c.run("runs", "show", c.newestID()); !strings.Contains(r.stdout, "succeeded") {
		t.Errorf("the run did not succeed:\n%s", r.stdout)
	}
}
