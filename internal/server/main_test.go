// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package server

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/cairnflow/cairn/hcl"
	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/client"
	"github.com/cairnflow/cairn/internal/testcluster"
	"github.com/cairnflow/cairn/internal/workflow"
)

var cluster testcluster.Shared

// TestMain is also the programs that tests start and kill: the supervisor, a process that drives a run, and a server.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "supervise":
			exitOn(Supervise(context.Background(), os.Args[2:]))
		case "drive":
			exitOn(driveProgram(os.Args[2:]))
		case "retain":
			exitOn(retainProgram(os.Args[2:]))
		}
	}
	os.Exit(cluster.Run(m))
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// patience bounds every wait of a test: far above what anything takes, for two cores that do much else.
const patience = 2 * time.Minute

// testConfig is the configuration of a process over a state folder. The environment carries what a child needs.
func testConfig(stateDir string, log hclog.Logger) (Config, error) {
	self, err := os.Executable()
	if err != nil {
		return Config{}, err
	}
	return Config{
		StateDir: stateDir, Version: "test", Logger: log, Getenv: os.Getenv, Supervisor: []string{self, "supervise"},
	}, nil
}

// driveProgram STATE KIND FILE ID POINT N starts the run, or resumes it when it is there, drives it to its end and prints its
// status. With a POINT it kills itself at the Nth time it comes by.
func driveProgram(args []string) error {
	cfg, err := testConfig(args[0], hclog.New(&hclog.LoggerOptions{Level: hclog.Warn}))
	if err != nil {
		return err
	}
	ctx := context.Background()
	id := workflow.RunID(args[3])
	if point := args[4]; point != "" {
		left, err := strconv.Atoi(args[5])
		if err != nil {
			return err
		}
		cfg.Fault = suicide(point, left)
	}
	s, err := startOrResume(ctx, cfg, Kind(args[1]), args[2], id)
	var over *OverError
	if errors.As(err, &over) {
		fmt.Printf("over\n%s\n", over.Status)
		return nil
	}
	if err != nil {
		return err
	}
	fmt.Println("driving")
	run, err := follow(ctx, s.Client(), id)
	if err != nil {
		return err
	}
	fmt.Println(run.Status)
	return s.Close()
}

// suicide kills this process at the nth time it comes by a point.
func suicide(point string, n int) func(string) {
	var mu sync.Mutex
	return func(at string) {
		mu.Lock()
		defer mu.Unlock()
		if at != point {
			return
		}
		if n--; n == 0 {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
}

func startOrResume(ctx context.Context, cfg Config, kind Kind, file string, id workflow.RunID) (*Session, error) {
	if _, err := folderOf(cfg.StateDir, id).read(); err == nil {
		return Resume(ctx, cfg, id, kind)
	}
	run, err := newRunOf(file, kind, id)
	if err != nil {
		return nil, err
	}
	return Start(ctx, cfg, run)
}

// newRunOf compiles a file.
func newRunOf(file string, kind Kind, id workflow.RunID) (NewRun, error) {
	files, diags := hcl.Load(file)
	if diags.HasErrors() {
		return NewRun{}, fmt.Errorf("load: %v", diags)
	}
	def, diags := hcl.Compile(files, "")
	if diags.HasErrors() {
		return NewRun{}, fmt.Errorf("compile: %v", diags)
	}
	now := time.Now()
	if id == "" {
		id = NewRunID(now)
	}
	params, diags := hcl.Params(def, nil, workflow.RunValues{ID: string(id), Workflow: def.Name, Version: def.Hash, Namespace: "default",
		Trigger: "manual", ScheduledAt: workflow.At(now)})
	if diags.HasErrors() {
		return NewRun{}, fmt.Errorf("params: %v", diags)
	}
	return NewRun{ID: id, Kind: kind, Definition: def, Params: params, By: "test", ScheduledAt: workflow.At(now)}, nil
}

// follow waits for the end of a run.
func follow(ctx context.Context, c *client.Client, id workflow.RunID) (*api.Run, error) {
	var index uint64
	for {
		run, next, err := c.Wait(ctx, string(id), index, 10*time.Second)
		if err != nil || run.Terminal() {
			return run, err
		}
		index = next
	}
}

// rig is a state folder, a ledger that tasks write to, and a workflow file.
type rig struct {
	t      *testing.T
	cfg    Config
	ledger string
	file   string
}

// newRig writes a workflow; LEDGER in it stands for the path of the ledger.
func newRig(t *testing.T, text string) *rig {
	t.Helper()
	dir := t.TempDir()
	cfg, err := testConfig(filepath.Join(dir, "state"), hclog.New(&hclog.LoggerOptions{Level: hclog.Info, Output: testWriter{t}}))
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, cfg: cfg, ledger: filepath.Join(dir, "ledger"), file: filepath.Join(dir, "w.hcl")}
	r.write("w.hcl", text)
	r.write("child.hcl", `
workflow "child" {
  task "inner" {
    driver = "raw_exec"
    config {
      command = "/bin/sh"
      args    = ["-c", "echo begin inner >> LEDGER; echo end inner >> LEDGER"]
    }
  }
}
`)
	return r
}

// write writes a file beside the workflow's; LEDGER in it stands for the path of the ledger.
func (r *rig) write(name, text string) {
	r.t.Helper()
	text = strings.ReplaceAll(text, "LEDGER", r.ledger)
	if err := os.WriteFile(filepath.Join(filepath.Dir(r.file), name), []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// testWriter logs lines to a test that is still running.
type testWriter struct{ t *testing.T }

func (w testWriter) Write(b []byte) (int, error) {
	if w.t.Context().Err() == nil {
		w.t.Log(string(bytes.TrimRight(b, "\n")))
	}
	return len(b), nil
}

// start starts a run in this process.
func (r *rig) start(kind Kind) *Session {
	r.t.Helper()
	run, err := newRunOf(r.file, kind, "")
	if err != nil {
		r.t.Fatal(err)
	}
	s, err := Start(within(r.t), r.cfg, run)
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// child is a process that drives a run.
type child struct {
	cmd    *exec.Cmd
	out    *bufio.Reader
	stderr *bytes.Buffer
}

func (r *rig) drive(kind Kind, id workflow.RunID, point string, n int) *child {
	r.t.Helper()
	self, err := os.Executable()
	if err != nil {
		r.t.Fatal(err)
	}
	c := &child{stderr: &bytes.Buffer{}}
	c.cmd = exec.Command(self, "drive", r.cfg.StateDir, string(kind), r.file, string(id), point, strconv.Itoa(n))
	c.cmd.Env = os.Environ()
	if addr := r.cfg.Getenv("NOMAD_ADDR"); addr != "" {
		c.cmd.Env = append(c.cmd.Env, "NOMAD_ADDR="+addr)
	}
	c.cmd.Stderr = c.stderr
	c.cmd.WaitDelay = 5 * time.Second // the supervisor inherits nothing, but a test must not hang on that
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		r.t.Fatal(err)
	}
	c.out = bufio.NewReader(out)
	if err := c.cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	return c
}

// wait returns the last line the child printed, and whether it ended by itself.
func (c *child) wait() (last string, err error) {
	b, _ := io.ReadAll(c.out)
	err = c.cmd.Wait()
	lines := strings.Fields(string(b))
	if len(lines) > 0 {
		last = lines[len(lines)-1]
	}
	return last, err
}

// ledgerLine is one line that a task wrote: "begin NAME" or "end NAME".
func (r *rig) lines() map[string]int {
	r.t.Helper()
	b, err := os.ReadFile(r.ledger)
	if err != nil && !os.IsNotExist(err) {
		r.t.Fatal(err)
	}
	count := map[string]int{}
	for line := range strings.Lines(string(b)) {
		count[strings.TrimSpace(line)]++
	}
	return count
}
