// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package porttest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/scheduler"
	"github.com/cairnflow/cairn/internal/workflow"
)

func TestExecutorChecksBite(t *testing.T) {
	bite(t, ExecutorChecks(), func(t testing.TB, bug string) ExecutorGround {
		m := &machine{dir: t.TempDir(), bug: bug, attempts: map[workflow.AttemptID]*fakeAttempt{}}
		t.Cleanup(m.stop)
		return ExecutorGround{Executor: newFake(m), Dir: t.TempDir(), Restart: func() (scheduler.Executor, error) {
			if bug == "a restart kills what runs" {
				m.stop()
			}
			return newFake(m), nil
		}}
	}, []bitten{
		{"the end has no times", "an attempt runs once"},
		{"every exit code but 0 is 1", "an exit code"},
		{"signals are not told", "death by a signal"},
		{"no program is exit code 127", "a command that does not exist"},
		{"tasks do not know their fence", "a task knows"},
		{"a start while it runs starts again", "a start repeated while"},
		{"a start after the end starts again", "a start repeated after"},
		{"start looks before it locks", "concurrent and repeated"},
		{"a kill of the unknown bars nothing", "a kill before"},
		{"a start after a kill starts again", "a start after a kill"},
		{"a kill is hard at once", "a kill asks first"},
		{"a kill does not wait for kill_timeout", "a task that ignores"},
		{"a kill forgets the children", "a kill ends the children"},
		{"a kill makes the ended killed", "a kill after the end"},
		{"outputs are not read", "outputs travel"},
		{"outputs are never missing", "no output file"},
		{"outputs are cut at 64 KiB", "an output file over"},
		{"tail is ignored", "logs are read"},
		{"following ends at once", "a followed log"},
		{"unknown logs are empty", "logs of an attempt"},
		{"every part of a log is all of it", "a task of the attempt"},
		{"every body is a task", "a body that needs no worker"},
		{"a restart kills what runs", "a restart in the middle"},
		{"ends are told to one executor only", "an end during the restart"},
		{"only its own executor may kill", "a kill during the restart"},
		{"a start without a body is trouble", "a start without a body"},
		{"a second watch forgets what was started", "a watch that ends"},
		{"settling removes the logs", "settling one"},
	})
}

// machine runs the attempts of fake executors, which come and go; it is sound unless bug names one of its bugs.
type machine struct {
	dir, bug string

	// mu guards what follows.
	mu        sync.Mutex
	attempts  map[workflow.AttemptID]*fakeAttempt
	executors []*fake
	wg        sync.WaitGroup
}

type fakeAttempt struct {
	start   engine.Start
	owner   *fake
	cmd     *exec.Cmd
	alive   *os.File // ends when the last process of it does
	killed  bool
	ended   bool
	outcome engine.Outcome
}

// stop kills what runs, children that a bug forgot included, and waits for it.
func (m *machine) stop() {
	m.mu.Lock()
	var alive []*os.File
	for _, a := range m.attempts {
		if a.alive == nil {
			continue
		}
		if !a.ended || m.bug == "a kill forgets the children" {
			send(-a.cmd.Process.Pid, syscall.SIGKILL)
		}
		alive = append(alive, a.alive)
		a.alive = nil
	}
	m.mu.Unlock()
	for _, f := range alive {
		if _, err := io.Copy(io.Discard, f); err != nil {
			panic(err)
		}
		f.Close()
	}
	m.wg.Wait()
}

func (m *machine) signal(a *fakeAttempt, sig syscall.Signal) {
	pid := -a.cmd.Process.Pid
	if m.bug == "a kill forgets the children" {
		pid = -pid
	}
	send(pid, sig)
}

func send(pid int, sig syscall.Signal) {
	if err := syscall.Kill(pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		panic(err)
	}
}

func (m *machine) path(id workflow.AttemptID, name string) string {
	return filepath.Join(m.dir, string(id)+"."+name)
}

// fake is an executor on a machine.
type fake struct {
	m       *machine
	mu      sync.Mutex // guards what follows
	queue   []engine.Event
	wake    chan struct{}
	tracked map[workflow.AttemptID]bool
	watched bool
}

func newFake(m *machine) *fake {
	f := &fake{m: m, wake: make(chan struct{}, 1), tracked: map[workflow.AttemptID]bool{}}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.executors = append(m.executors, f)
	return f
}

func (f *fake) tell(ev engine.Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.tracked[ev.Attempt] {
		return
	}
	f.queue = append(f.queue, ev)
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

func (m *machine) tellEnd(a *fakeAttempt) {
	o := a.outcome
	ev := engine.Event{Kind: engine.Ended, Attempt: a.start.Attempt, Outcome: &o, Place: engine.Place{Node: "here"}}
	for _, f := range m.executors {
		if m.bug == "ends are told to one executor only" && f != a.owner {
			continue
		}
		f.tell(ev)
	}
}

func (f *fake) Start(_ context.Context, s engine.Start) error {
	f.mu.Lock()
	f.tracked[s.Attempt] = true
	f.mu.Unlock()
	m := f.m
	m.mu.Lock()
	defer m.mu.Unlock()
	a := m.attempts[s.Attempt]
	if m.bug == "start looks before it locks" {
		m.mu.Unlock()
		<-time.After(20 * time.Millisecond)
		m.mu.Lock()
	}
	switch {
	case a == nil && s.Body == nil:
		if m.bug == "a start without a body is trouble" {
			return &scheduler.Trouble{Err: errors.New("no body")}
		}
		f.tell(engine.Event{Kind: engine.Ended, Attempt: s.Attempt, Outcome: &engine.Outcome{Kind: engine.OutcomeInvalid, Message: "no body"}})
		return nil
	case a == nil && !s.Kind.Cluster() && m.bug != "every body is a task":
		f.tell(engine.Event{Kind: engine.Ended, Attempt: s.Attempt, Outcome: &engine.Outcome{Kind: engine.OutcomeInvalid, Message: "no worker"}})
		return nil
	case a == nil, m.bug == "a start while it runs starts again" && !a.ended,
		m.bug == "a start after the end starts again" && a.ended,
		m.bug == "a start after a kill starts again" && a.killed && a.cmd != nil,
		m.bug == "a kill of the unknown bars nothing" && a.cmd == nil && a.killed:
		a = &fakeAttempt{start: s, owner: f}
		m.attempts[s.Attempt] = a
		m.run(a)
	}
	if a.ended {
		m.tellEnd(a)
	}
	return nil
}

// run starts the process. The caller holds mu.
func (m *machine) run(a *fakeAttempt) {
	var body struct {
		TaskGroups []struct {
			Tasks []struct {
				Config struct {
					Command string
					Args    []string
				}
				Env map[string]string
			}
		}
	}
	if err := json.Unmarshal(a.start.Body, &body); err != nil {
		panic(err)
	}
	task, id := body.TaskGroups[0].Tasks[0], a.start.Attempt
	a.cmd = exec.Command(task.Config.Command, task.Config.Args...)
	a.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "NOMAD_TASK_DIR=" + m.dir, "NOMAD_ALLOC_DIR=" + m.dir, "CAIRN_OUTPUT=" + m.path(id, "output"),
		"CAIRN_RUN_ID=" + string(a.start.Run), "CAIRN_WORKFLOW=" + a.start.Workflow, "CAIRN_TASK=" + a.start.Task,
		"CAIRN_INSTANCE_KEY=" + a.start.Key, fmt.Sprintf("CAIRN_ATTEMPT=%d", a.start.Number)}
	if m.bug != "tasks do not know their fence" {
		a.cmd.Env = append(a.cmd.Env, fmt.Sprintf("CAIRN_FENCE=%d", a.start.Fence))
	}
	for k, v := range task.Env {
		a.cmd.Env = append(a.cmd.Env, k+"="+v)
	}
	a.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdout, err1 := os.Create(m.path(id, "stdout"))
	stderr, err2 := os.Create(m.path(id, "stderr"))
	alive, held, err3 := os.Pipe()
	if err := errors.Join(err1, err2, err3); err != nil {
		panic(err)
	}
	a.cmd.Stdout, a.cmd.Stderr, a.cmd.ExtraFiles, a.alive = stdout, stderr, []*os.File{held}, alive
	began := workflow.At(time.Now())
	err := a.cmd.Start()
	stdout.Close()
	stderr.Close()
	held.Close()
	if err != nil {
		alive.Close()
		a.alive = nil
		a.ended, a.outcome = true, engine.Outcome{Kind: engine.OutcomeError, Message: err.Error()}
		if m.bug == "no program is exit code 127" {
			code := 127
			a.outcome = engine.Outcome{Kind: engine.OutcomeExited, ExitCode: &code}
		}
		return
	}
	for _, f := range m.executors {
		f.tell(engine.Event{Kind: engine.Started, Attempt: id, StartedAt: began, Place: engine.Place{Node: "here"}})
	}
	m.wg.Go(func() {
		a.cmd.Wait()
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.bug != "a kill forgets the children" {
			m.signal(a, syscall.SIGKILL)
		}
		a.ended, a.outcome = true, m.outcome(a)
		if m.bug != "the end has no times" {
			a.outcome.StartedAt, a.outcome.EndedAt = began, workflow.At(time.Now())
		}
		m.tellEnd(a)
	})
}

func (m *machine) outcome(a *fakeAttempt) engine.Outcome {
	o := engine.Outcome{Kind: engine.OutcomeExited}
	ws := a.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if ws.Signaled() {
		if o.Signal = int(ws.Signal()); m.bug == "signals are not told" {
			o.Signal = 0
		}
	} else {
		code := ws.ExitStatus()
		if m.bug == "every exit code but 0 is 1" && code != 0 {
			code = 1
		}
		o.ExitCode = &code
	}
	if a.killed {
		o.Kind = engine.OutcomeKilled
	}
	read := func(name string) []byte {
		b, err := os.ReadFile(m.path(a.start.Attempt, name))
		if err != nil && m.bug == "outputs are never missing" {
			return []byte("{}")
		}
		return b
	}
	o.Output, o.Stdout = read("output"), read("stdout")
	limit := workflow.MaxTaskOutputBytes + 1
	if m.bug == "outputs are cut at 64 KiB" {
		limit = 64 << 10
	}
	o.Output = o.Output[:min(len(o.Output), limit)]
	o.Stdout = o.Stdout[max(0, len(o.Stdout)-workflow.MaxStdoutTailBytes):]
	if m.bug == "outputs are not read" {
		o.Output, o.Stdout = nil, nil
	}
	return o
}

func (f *fake) Kill(_ context.Context, s engine.Start) error {
	f.mu.Lock()
	f.tracked[s.Attempt] = true
	f.mu.Unlock()
	m := f.m
	m.mu.Lock()
	defer m.mu.Unlock()
	a := m.attempts[s.Attempt]
	switch {
	case a == nil:
		a = &fakeAttempt{start: s, owner: f, killed: true, ended: true, outcome: engine.Outcome{Kind: engine.OutcomeKilled}}
		m.attempts[s.Attempt] = a
		fallthrough
	case a.ended:
		if m.bug == "a kill makes the ended killed" {
			a.outcome.Kind = engine.OutcomeKilled
		}
		m.tellEnd(a)
		return nil
	case a.killed, m.bug == "only its own executor may kill" && a.owner != f:
		return nil
	}
	a.killed = true
	var body struct {
		TaskGroups []struct {
			Tasks []struct{ KillTimeout time.Duration }
		}
	}
	if err := json.Unmarshal(a.start.Body, &body); err != nil {
		return err
	}
	first, wait := syscall.SIGTERM, body.TaskGroups[0].Tasks[0].KillTimeout
	if m.bug == "a kill is hard at once" {
		first = syscall.SIGKILL
	}
	if m.bug == "a kill does not wait for kill_timeout" {
		wait /= 10
	}
	m.signal(a, first)
	m.wg.Go(func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for end := time.Now().Add(wait); time.Now().Before(end); {
			<-tick.C
			m.mu.Lock()
			ended := a.ended
			m.mu.Unlock()
			if ended {
				return
			}
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		m.signal(a, syscall.SIGKILL)
	})
	return nil
}

func (f *fake) Watch(ctx context.Context, report func(engine.Event)) error {
	f.mu.Lock()
	if f.m.bug == "a second watch forgets what was started" && f.watched {
		f.queue, f.tracked = nil, map[workflow.AttemptID]bool{}
	}
	f.watched = true
	f.mu.Unlock()
	for {
		f.mu.Lock()
		queue := f.queue
		f.queue = nil
		f.mu.Unlock()
		for _, ev := range queue {
			report(ev)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-f.wake:
		}
	}
}

func (f *fake) Settle(_ context.Context, id workflow.AttemptID) {
	if f.m.bug == "settling removes the logs" {
		os.Remove(f.m.path(id, "stdout"))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.tracked, id)
}

func (f *fake) Logs(_ context.Context, req scheduler.LogRequest) (io.ReadCloser, error) {
	m, name := f.m, "stdout"
	if req.Stderr {
		name = "stderr"
	}
	if req.Part != "" && req.Part != req.Task && m.bug != "every part of a log is all of it" {
		return nil, fmt.Errorf("%w: its task is %s", scheduler.ErrNotFound, req.Task)
	}
	b, err := os.ReadFile(m.path(req.Attempt, name))
	if err != nil && m.bug != "unknown logs are empty" {
		return nil, scheduler.ErrNotFound
	}
	if req.Follow && m.bug != "following ends at once" {
		return &growing{m: m, id: req.Attempt}, nil
	}
	if req.Tail > 0 && m.bug != "tail is ignored" {
		b = b[max(0, len(b)-int(req.Tail)):]
	}
	return io.NopCloser(bytes.NewReader(b)), nil
}

// growing reads the standard output of an attempt until it has ended.
type growing struct {
	m  *machine
	id workflow.AttemptID
	at int
}

func (g *growing) Read(p []byte) (int, error) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		g.m.mu.Lock()
		over := g.m.attempts[g.id].ended
		g.m.mu.Unlock()
		b, err := os.ReadFile(g.m.path(g.id, "stdout"))
		if err != nil {
			return 0, err
		}
		if len(b) > g.at {
			n := copy(p, b[g.at:])
			g.at += n
			return n, nil
		}
		if over {
			return 0, io.EOF
		}
		<-tick.C
	}
}

func (g *growing) Close() error { return nil }
