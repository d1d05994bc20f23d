// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package faults

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cairnflow/cairn/internal/faults/ledger"
)

const (
	// patience bounds every wait. What is waited for takes seconds at most; the rest is for a busy machine.
	patience = 2 * time.Minute
	// goneWithin is how soon after the end of a run nothing of it may be left on this machine.
	goneWithin = 15 * time.Second
)

// mark is in the environment of every process that a ground starts, directly or not. Cairn hands it down to local tasks,
// because it is none of its own variables.
const mark = "FAULTS_GROUND"

// ground is where one run is played: its own state folder, its own ledger.
type ground struct {
	t      *testing.T
	dir    string
	ledger string
	cairn  string
	env    []string // besides the test's own
	server string   // the address of its service, once there is one

	deaf  bool         // the service does not answer the first call
	calls atomic.Int32 // counts the calls of the service
}

func newGround(t *testing.T, env ...string) *ground {
	t.Helper()
	g := &ground{t: t, dir: t.TempDir(), cairn: programs.program(t, "")}
	g.ledger = filepath.Join(g.dir, "ledger")
	g.env = append([]string{mark + "=" + g.dir, "CAIRN_STATE_DIR=" + filepath.Join(g.dir, "state")}, env...)
	t.Cleanup(g.clear)
	return g
}

// clear ends whatever is left; that there was something is for a test to find before.
func (g *ground) clear() {
	for range 100 { // one that forks meanwhile is met again
		left := g.processes("")
		if len(left) == 0 {
			return
		}
		for _, pid := range left {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
				g.t.Errorf("kill %d: %v", pid, err)
			}
		}
	}
	g.t.Errorf("there are still processes of the test: %v", g.processes(""))
}

// processes lists the living processes of the ground whose command line contains a word.
func (g *ground) processes(word string) []int {
	g.t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		g.t.Fatal(err)
	}
	var found []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		// One that ends meanwhile has no files any more; a zombie's environment is empty.
		env, err := os.ReadFile(filepath.Join("/proc", e.Name(), "environ"))
		if err != nil || !bytes.Contains(append([]byte{0}, env...), []byte("\x00"+mark+"="+g.dir+"\x00")) {
			continue
		}
		line, err := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if err == nil && bytes.Contains(line, []byte(word)) {
			found = append(found, pid)
		}
	}
	return found
}

// nothingLeft fails the test if processes of the ground outlive the run.
func (g *ground) nothingLeft() {
	g.t.Helper()
	deadline := time.Now().Add(goneWithin)
	g.await("the end of everything that the run started", deadline, func() bool { return len(g.processes("")) == 0 })
}

// await looks every few milliseconds whether something has become true.
func (g *ground) await(what string, deadline time.Time, check func() bool) {
	g.t.Helper()
	ctx, cancel := context.WithDeadline(g.t.Context(), deadline)
	defer cancel()
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for !check() {
		select {
		case <-look.C:
		case <-ctx.Done():
			g.t.Fatalf("waited in vain for %s; processes: %s", what, g.table())
		}
	}
}

// table describes the living processes of the ground.
func (g *ground) table() string {
	var b strings.Builder
	for _, pid := range g.processes("") {
		line, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
		if err == nil {
			b.WriteString("\n  " + strconv.Itoa(pid) + " " + string(bytes.ReplaceAll(line, []byte{0}, []byte(" "))))
		}
	}
	return b.String()
}

func soon() time.Time { return time.Now().Add(patience) }

func (g *ground) lines() []ledger.Line {
	g.t.Helper()
	lines, err := ledger.Read(g.ledger)
	if err != nil {
		g.t.Fatal(err)
	}
	return lines
}

// begun waits until an attempt of a task has begun and returns its line.
func (g *ground) begun(task string) ledger.Line {
	g.t.Helper()
	var line ledger.Line
	g.await("task "+task+" to begin", soon(), func() bool {
		for _, l := range g.lines() {
			if l.Task == task && l.Event == ledger.Begin {
				line = l
				return true
			}
		}
		return false
	})
	return line
}

// write writes a file of the ground and returns its path.
func (g *ground) write(name, text string) string {
	g.t.Helper()
	path := filepath.Join(g.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		g.t.Fatal(err)
	}
	return path
}

// process is one call of a program.
type process struct {
	g        *ground
	cmd      *exec.Cmd
	out, err string // files
	done     chan struct{}
	ended    error // read after done
}

// start starts cairn in a process group of its own.
func (g *ground) start(args ...string) *process {
	g.t.Helper()
	return g.launch(exec.Command(g.cairn, args...))
}

func (g *ground) launch(cmd *exec.Cmd) *process {
	g.t.Helper()
	p := &process{g: g, cmd: cmd, done: make(chan struct{})}
	var files [2]*os.File
	for i := range files {
		// Files, not pipes: a supervisor that outlives the process must not hold up the wait for it.
		f, err := os.CreateTemp(g.dir, "output-")
		if err != nil {
			g.t.Fatal(err)
		}
		defer f.Close()
		files[i] = f
	}
	p.out, p.err = files[0].Name(), files[1].Name()
	if cmd.Env == nil {
		cmd.Env = append(clean(os.Environ()), g.env...)
	}
	if cmd.Stdout == nil {
		cmd.Stdout, cmd.Stderr = files[0], files[1]
	}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	started := make(chan error, 1)
	go func() {
		// The signal comes when the thread ends that started the child.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(p.done)
		err := cmd.Start()
		started <- err
		if err == nil {
			p.ended = cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() {
		p.signal(syscall.SIGKILL)
		<-p.done
	})
	return p
}

// clean removes what would point a program at another Cairn or cluster.
func clean(env []string) []string {
	var out []string
	for _, kv := range env {
		if !strings.HasPrefix(kv, "CAIRN_") && !strings.HasPrefix(kv, "NOMAD_") && !strings.HasPrefix(kv, mark) {
			out = append(out, kv)
		}
	}
	return out
}

// signal signals the process, if it still lives.
func (p *process) signal(sig syscall.Signal) {
	p.g.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.g.t.Errorf("send %s: %v", sig, err)
	}
}

// code waits for the end and returns the exit code; -1 when a signal ended the process.
func (p *process) code() int {
	p.g.t.Helper()
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case <-p.done:
	case <-late.C:
		p.g.t.Fatalf("%v still runs after %s\n%s%s", p.cmd.Args[1:], patience, p.stderr(), p.g.table())
	}
	return p.cmd.ProcessState.ExitCode()
}

func (p *process) stdout() string { return p.g.text(p.out) }
func (p *process) stderr() string { return p.g.text(p.err) }

func (g *ground) text(path string) string {
	g.t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		g.t.Fatal(err)
	}
	return string(b)
}

// says waits until the process has written a text to standard error, and fails if it ends before.
func (p *process) says(text string) {
	p.g.t.Helper()
	p.g.await("cairn to say "+strconv.Quote(text), soon(), func() bool {
		if strings.Contains(p.stderr(), text) {
			return true
		}
		select {
		case <-p.done:
			if !strings.Contains(p.stderr(), text) {
				p.g.t.Fatalf("cairn ended without saying %q:\n%s", text, p.stderr())
			}
		default:
		}
		return false
	})
}

// wants checks how a process ended and returns it.
func (p *process) wants(code int) *process {
	p.g.t.Helper()
	if got := p.code(); got != code {
		p.g.t.Fatalf("%v ended with %d, want %d\nstandard output: %.2000s\nstandard error: %s", p.cmd.Args[1:], got, code, p.stdout(), p.stderr())
	}
	return p
}

// call runs cairn to its end, which must be the given one.
func (g *ground) call(code int, args ...string) *process {
	g.t.Helper()
	return g.start(args...).wants(code)
}

// runID is the ID of the only run there is, empty if there is none.
func (g *ground) runID() string {
	g.t.Helper()
	var list struct {
		Runs []struct{ ID string } `json:"runs"`
	}
	if err := json.Unmarshal([]byte(g.call(0, "runs", "list", "-json").stdout()), &list); err != nil {
		g.t.Fatal(err)
	}
	switch len(list.Runs) {
	case 0:
		return ""
	case 1:
		return list.Runs[0].ID
	}
	g.t.Fatalf("there are %d runs, want at most one", len(list.Runs))
	return ""
}

// document reads the run document that a process printed.
func (p *process) document() *ledger.Run {
	p.g.t.Helper()
	run, err := ledger.ParseRun([]byte(p.stdout()))
	if err != nil {
		p.g.t.Fatalf("%v\nstandard error: %s", err, p.stderr())
	}
	return run
}

// judge holds the ledger against the document.
func (g *ground) judge(run *ledger.Run, expect ledger.Expect) {
	g.t.Helper()
	evidence := ledger.Evidence{Lines: g.lines(), Run: run}
	if len(expect.Children) > 0 {
		evidence.Children = g.children()
	}
	if wrong := ledger.Judge(evidence, expect); len(wrong) > 0 {
		g.t.Logf("the ledger:\n%s", g.text(g.ledger))
		g.t.Errorf("the ledger and the run document do not agree:\n%s", strings.Join(wrong, "\n"))
	}
}

// children reads every child run in the ground's store.
func (g *ground) children() (runs []*ledger.Run) {
	g.t.Helper()
	var list struct {
		Runs []struct{ ID, Parent string } `json:"runs"`
	}
	if err := json.Unmarshal([]byte(g.call(0, "runs", "list", "-json", "-children").stdout()), &list); err != nil {
		g.t.Fatal(err)
	}
	for _, r := range list.Runs {
		if r.Parent != "" {
			runs = append(runs, g.show(r.ID))
		}
	}
	return runs
}

// show reads a run.
func (g *ground) show(id string) *ledger.Run {
	g.t.Helper()
	return g.call(0, "runs", "show", "-json", id).document()
}

// attempt returns the only instance's newest attempt of a task.
func attempt(t *testing.T, run *ledger.Run, task string) ledger.Tried {
	t.Helper()
	for _, task2 := range run.Tasks {
		if task2.Name == task && len(task2.Instances) == 1 && len(task2.Instances[0].Attempts) > 0 {
			attempts := task2.Instances[0].Attempts
			return attempts[len(attempts)-1]
		}
	}
	t.Fatalf("task %s has no attempt", task)
	return ledger.Tried{}
}

// contains checks that a text holds every one of some others.
func contains(t *testing.T, text string, wanted ...string) {
	t.Helper()
	for _, w := range wanted {
		if !strings.Contains(text, w) {
			t.Errorf("got:\n%s\nwanted in it: %q", text, w)
		}
	}
}
