// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package faults

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	consulapi "github.com/hashicorp/consul/api"
)

// upgraded builds this tree with other numbers: as a later version, with a later format of what it stores.
func upgraded(t *testing.T) string {
	t.Helper()
	return builtOtherwise(t, map[string][2]string{
		"internal/cli/version.go":  {`const Version = "0.1.0-dev"`, `const Version = "0.2.0"`},
		"internal/consul/entry.go": {"const entryVersion = 1", "const entryVersion = 2"},
	}, nil)
}

// builtOtherwise builds this tree with a change in some of its files, and with files that it does not have.
func builtOtherwise(t *testing.T, changes map[string][2]string, added map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	replaced := map[string]string{}
	overlay := func(path string, text []byte) {
		from, err := filepath.Abs(filepath.Join("..", "..", path))
		if err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(dir, filepath.Base(path))
		if err := os.WriteFile(to, text, 0o600); err != nil {
			t.Fatal(err)
		}
		replaced[from] = to
	}
	for path, change := range changes {
		text, err := os.ReadFile(filepath.Join("..", "..", path))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Count(text, []byte(change[0])) != 1 {
			t.Fatalf("%s does not say %q: change this test with it", path, change[0])
		}
		overlay(path, bytes.Replace(text, []byte(change[0]), []byte(change[1]), 1))
	}
	for path, text := range added {
		overlay(path, []byte(text))
	}
	list, err := json.Marshal(map[string]any{"Replace": replaced})
	if err != nil {
		t.Fatal(err)
	}
	file, program := filepath.Join(dir, "overlay.json"), filepath.Join(dir, "cairn")
	if err := os.WriteFile(file, list, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("go", "build", "-overlay", file, "-o", program, "github.com/cairnflow/cairn").CombinedOutput(); err != nil {
		t.Fatalf("build this tree otherwise: %v\n%s", err, out)
	}
	return program
}

// formats are the versions of the index entries of runs in Consul.
func (c *campaign) formats(kv *consulapi.KV) map[int]int {
	c.t.Helper()
	pairs, _, err := kv.List("cairn-"+c.mine+"/d1/ix/", nil)
	if err != nil {
		c.t.Fatal(err)
	}
	found := map[int]int{}
	for _, p := range pairs {
		var e struct{ Version int }
		if err := json.Unmarshal(p.Value, &e); err != nil {
			c.t.Fatal(err)
		}
		found[e.Version]++
	}
	return found
}

// Servers are upgraded one after the other while runs go on. As long as one of the old version is there, what is written can be
// read by it; then the new format comes. Nothing is lost over that.
func TestServersAreUpgradedUnderLoad(t *testing.T) {
	t.Parallel()
	next := upgraded(t)
	c := newCampaign(t, chance(t, 1))
	kv := c.consul.Client().KV() // one for all: every client has connections of its own
	last := c.leader()
	for _, m := range append(c.others(last), last) { // the leader hands over when the others are of the new version
		if old := c.formats(kv); old[2] > 0 {
			t.Errorf("entries by version: %v, while a server of the old version is there", old)
		}
		told(c, m)
		m.cairn = next
		c.begin(m)
		c.leader()
	}
	c.g.await("runs of the new format", soon(), func() bool { return c.formats(kv)[2] > 0 })
	var members struct {
		Members []struct {
			Version string
			Format  int
			Healthy bool
		}
	}
	out := c.g.call(0, "operator", "members", "-json", "-address", "http://"+last.address).stdout()
	if err := json.Unmarshal([]byte(out), &members); err != nil {
		t.Fatal(err)
	}
	if len(members.Members) != 3 {
		t.Errorf("members: %s", out)
	}
	for _, m := range members.Members {
		if m.Version != "0.2.0" || m.Format != 2 || !m.Healthy {
			t.Errorf("a member is %+v after the upgrade", m)
		}
	}
	if attempts := c.end(); attempts == 0 {
		t.Error("nothing ran")
	}
}
