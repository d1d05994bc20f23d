// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package durable

import (
	"os"
	"path/filepath"
	"testing"
)

func TestReplaceLeavesTheOldContentOrTheNew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	holds := func(want string) {
		t.Helper()
		if got, err := os.ReadFile(path); err != nil || string(got) != want {
			t.Errorf("the file holds %q, %v; want %q", got, err, want)
		}
	}
	for _, content := range []string{"first", "", "another"} {
		if err := os.WriteFile(path+".new", []byte("half of what a crash has left, and longer"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := Replace(path, []byte(content)); err != nil {
			t.Fatal(err)
		}
		holds(content)
		if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
			t.Errorf("mode %v, %v", info.Mode(), err)
		}
	}
	if err := os.Mkdir(path+".new", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Replace(path, []byte("more")); err == nil {
		t.Error("it says that it has written what it could not")
	}
	holds("another")
	if err := Replace(filepath.Join(t.TempDir(), "no", "file"), nil); err == nil {
		t.Error("there is no such folder, and it says that it has written there")
	}
}
