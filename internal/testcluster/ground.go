// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package testcluster

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// marker is the environment variable that agents hand down to everything below
// them: raw_exec tasks and the plugin processes inherit it.
const marker = "CAIRN_TESTCLUSTER"

//go:embed reap.sh
var reapScript string

// ground is what one cluster stands on: a folder, ports, and the watcher that
// removes both and all processes if this process ends without doing so.
type ground struct {
	dir     string // ends in a slash
	ports   *portBlock
	watcher *exec.Cmd
	alive   io.Closer // the watcher's standard input
	agents  []*Agent
}

func newGround(parent string) (*ground, error) {
	dir, err := os.MkdirTemp(parent, "cairn-testcluster-")
	if err != nil {
		return nil, fmt.Errorf("make the cluster's folder: %w", err)
	}
	// Tasks may run as another user.
	if err := os.Chmod(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make the cluster's folder: %w", err)
	}
	g := &ground{dir: dir + "/"}
	if err := g.watch(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	if g.ports, err = reservePorts(); err != nil {
		return nil, errors.Join(err, g.close())
	}
	return g, nil
}

func (g *ground) watch() error {
	g.watcher = reaper("watch", g.dir)
	stdin, err := g.watcher.StdinPipe()
	if err != nil {
		return fmt.Errorf("start the watcher: %w", err)
	}
	g.alive = stdin
	if err := g.watcher.Start(); err != nil {
		return fmt.Errorf("start the watcher: %w", err)
	}
	return nil
}

// reaper returns the command that runs reap.sh. It works outside the test's
// process group, so that a Ctrl-C which ends the test does not end it.
func reaper(mode, dir string) *exec.Cmd {
	cmd := exec.Command("/bin/sh", "-c", reapScript, "reap.sh", mode, dir)
	cmd.Dir = "/"
	cmd.SysProcAttr = ownGroup()
	return cmd
}

func reap(mode, dir string) error {
	out, err := reaper(mode, dir).CombinedOutput()
	if err != nil {
		return fmt.Errorf("clean up %s: %w: %s", dir, err, strings.TrimSpace(string(out)))
	}
	return nil
}

// newAgent prepares the folder of an agent; the caller adds its address, arguments
// and ready.
func (g *ground) newAgent(name, binary string) (*Agent, error) {
	dir := filepath.Join(g.dir, name)
	if err := os.MkdirAll(filepath.Join(dir, "data"), 0o755); err != nil {
		return nil, fmt.Errorf("make the folder of %s: %w", name, err)
	}
	a := &Agent{Name: name, Dir: dir, LogFile: filepath.Join(dir, "agent.log"), binary: binary}
	g.agents = append(g.agents, a)
	return a, nil
}

// close ends every process of the cluster and removes its files and mounts.
func (g *ground) close() error {
	var errs []error
	for _, a := range g.agents {
		errs = append(errs, a.Kill())
	}
	errs = append(errs, reap("remove", g.dir), g.alive.Close(), g.watcher.Wait())
	if g.ports != nil {
		errs = append(errs, g.ports.release())
	}
	return errors.Join(errs...)
}

// logTails returns the last lines of every agent's log, for a failed test.
func (g *ground) logTails() string {
	var b strings.Builder
	for _, a := range g.agents {
		fmt.Fprintf(&b, "--- end of the log of %s ---\n%s\n", a.Name, tail(a.LogFile))
	}
	return b.String()
}

// tail returns about the last 8 KiB of a file, from the start of a line.
func tail(path string) []byte {
	const limit = 8 << 10
	data, err := os.ReadFile(filepath.Clean(path))
	if err != nil {
		return []byte(err.Error())
	}
	if len(data) > limit {
		data = data[len(data)-limit:]
		if _, after, ok := bytes.Cut(data, []byte("\n")); ok {
			data = after
		}
	}
	return data
}
