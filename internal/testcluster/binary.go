// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package testcluster

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// agentsAttr marks a test as one that ran against real agents; the value names
// them. `make test` counts the tests that carry it.
const agentsAttr = "cairn-agents"

// NomadBinary returns the path of the nomad program: the one on PATH, else the
// one that `make tools` built. It fails the test where there is neither.
func NomadBinary(tb testing.TB) string {
	tb.Helper()
	return requireBinary(tb, "nomad")
}

// ConsulBinary is NomadBinary for consul.
func ConsulBinary(tb testing.TB) string {
	tb.Helper()
	return requireBinary(tb, "consul")
}

func requireBinary(tb testing.TB, name string) string {
	tb.Helper()
	tb.Attr(agentsAttr, name)
	path, err := findBinary(name)
	if err != nil {
		tb.Fatal(err)
	}
	return path
}

// findBinary looks for an agent on PATH and then in the .tools folder beside the
// module's go.mod.
func findBinary(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return filepath.Abs(path)
	}
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	path := filepath.Join(root, ".tools", name)
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("no %s on PATH and none at %s: run `make tools` to build it", name, path)
	}
	return path, nil
}

// moduleRoot walks up from the working directory, which under go test is the
// folder of the package, to the folder of go.mod.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the module: %w", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("find the module: no go.mod above the working directory; run inside the repository")
		}
		dir = parent
	}
}
