// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/scheduler"
	"github.com/cairnflow/cairn/internal/workflow"
)

var _ scheduler.Executor = (*Executor)(nil)

// startedHold is how long the news that an attempt runs waits for the news that it has ended: a task that is over by then
// costs the run one save instead of two. Nothing waits for Started.
const startedHold = 25 * time.Millisecond

// ExecutorConfig says where attempts run.
type ExecutorConfig struct {
	Dir string // the run folder; it exists
	// Command starts the supervisor; the run folder is appended. Default: this program with "supervise".
	Command []string
	Logger  hclog.Logger
}

// Executor runs attempts as children of the run's supervisor, which it starts when there is none. A claim, once made, is
// never forked again, so every call may be repeated, by this process or by a later one.
type Executor struct {
	dir     string
	command []string
	log     hclog.Logger
	host    *host
	wg      sync.WaitGroup
	wake    chan struct{} // tells Watch that something is due

	connecting chan struct{} // held by the goroutine that makes a link; it also guards supervisor
	supervisor int           // pid of the supervisor that this process started, until it is reaped

	// mu guards what follows.
	mu      sync.Mutex
	link    *link
	closed  bool
	tracked map[workflow.AttemptID]*tracked
	due     []*tracked // have news for Watch, in the order it came in
}

// tracked is what Watch has to know of an attempt until it is settled.
type tracked struct {
	start    engine.Start
	killed   bool // Kill was asked
	state    attemptState
	seen     time.Time // when it was first seen running
	queued   bool      // is in due
	reported phase     // what Watch has told
}

// OpenExecutor returns the executor of a run folder. It starts nothing before there is something to start.
func OpenExecutor(cfg ExecutorConfig) (*Executor, error) {
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("open executor: %w", err)
	}
	if st, err := os.Stat(dir); err != nil || !st.IsDir() {
		return nil, errors.Join(fmt.Errorf("open executor: %s is no folder", dir), err)
	}
	if len(cfg.Command) == 0 {
		self, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("open executor: %w", err)
		}
		cfg.Command = []string{self, "supervise"}
	}
	if cfg.Logger == nil {
		cfg.Logger = hclog.NewNullLogger()
	}
	return &Executor{
		dir: dir, command: cfg.Command, log: cfg.Logger.Named("local"), host: newHost(),
		wake: make(chan struct{}, 1), connecting: make(chan struct{}, 1), tracked: map[workflow.AttemptID]*tracked{},
	}, nil
}

// Close leaves the attempts to the supervisor, which goes on until they have ended.
func (e *Executor) Close() error {
	e.mu.Lock()
	e.closed = true
	if e.link != nil {
		e.link.close()
	}
	e.mu.Unlock()
	e.connecting <- struct{}{} // nobody makes a link any more
	e.wg.Wait()
	e.reapSupervisor()
	<-e.connecting
	return nil
}

// Host is the name under which attempts report this machine.
func (e *Executor) Host() string { return e.host.name }

// Start implements scheduler.Executor.
func (e *Executor) Start(ctx context.Context, s engine.Start) error {
	e.track(s, false)
	return e.send(ctx, s, false)
}

// Kill implements scheduler.Executor.
func (e *Executor) Kill(ctx context.Context, s engine.Start) error {
	e.track(s, true)
	return e.send(ctx, s, true)
}

// Settle implements scheduler.Executor.
func (e *Executor) Settle(_ context.Context, id workflow.AttemptID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.tracked, id)
}

// track makes sure that news of the attempt will be reported, again when it is known already.
func (e *Executor) track(s engine.Start, kill bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	t := e.tracked[s.Attempt]
	if t == nil {
		t = &tracked{}
		e.tracked[s.Attempt] = t
	}
	t.start, t.killed = s, t.killed || kill
	if t.reported = phaseUnknown; t.state.Phase != phaseUnknown {
		e.enqueue(t)
	}
}

// enqueue puts t before Watch. The caller holds mu.
func (e *Executor) enqueue(t *tracked) {
	if !t.queued {
		t.queued = true
		e.due = append(e.due, t)
	}
	e.wakeUp()
}

func (e *Executor) wakeUp() {
	select {
	case e.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// send asks the supervisor to start or kill; both may be repeated at will.
func (e *Executor) send(ctx context.Context, s engine.Start, kill bool) error {
	r := request{Kind: requestKill, Attempt: s.Attempt, IntentAt: s.IntentAt}
	refusal := ""
	if !kill {
		r.Kind = requestAttach
		if s.Accepted == 0 {
			r.Spec, refusal = e.render(s)
		}
		if r.Spec != nil {
			r.Kind = requestStart
		}
	}
	answer, err := e.ask(ctx, r)
	switch {
	case errors.Is(err, errTooLong):
		e.observe(s.Attempt, invalid(err.Error()+"; pass larger data by file"))
		return nil
	case err != nil:
		var t *scheduler.Trouble
		if errors.As(err, &t) {
			return err
		}
		return &scheduler.Trouble{Err: fmt.Errorf("%s attempt %s: %w", r.Kind, s.Attempt, err)}
	case answer.Trouble != "":
		return &scheduler.Trouble{NotStarted: r.Kind == requestStart, Err: fmt.Errorf("%s attempt %s: %s", r.Kind, s.Attempt, answer.Trouble)}
	case answer.State.Phase == phaseUnknown && refusal != "":
		answer.State = invalid(refusal)
	case answer.State.Phase == phaseUnknown:
		answer.State = attemptState{Phase: phaseEnded, Kind: engine.OutcomeLost, Message: "nothing is known of it in the run folder any more"}
	}
	e.observe(s.Attempt, answer.State)
	return nil
}

func invalid(message string) attemptState {
	return attemptState{Phase: phaseEnded, Kind: engine.OutcomeInvalid, Message: message}
}

// ask finds or makes a link and asks. A link that breaks is replaced once: every request may be repeated.
func (e *Executor) ask(ctx context.Context, r request) (reply, error) {
	for try := 0; ; try++ {
		l, err := e.connect(ctx)
		if err != nil {
			return reply{}, &scheduler.Trouble{NotStarted: try == 0, Err: err}
		}
		answer, err := l.ask(ctx, r)
		if errors.Is(err, errLinkLost) && try == 0 {
			continue
		}
		return answer, err
	}
}

// render makes the command of an attempt, or says why there is none.
func (e *Executor) render(s engine.Start) (*spec, string) {
	if why := refusal(s.Kind); why != "" {
		return nil, why
	}
	if s.Body == nil {
		return nil, "its body cannot be rendered again as it was when the attempt was recorded"
	}
	b, report, err := parseBody(s.Body)
	if err != nil {
		return nil, err.Error()
	}
	f := attemptFolder{dir: e.folder(s.Attempt), task: s.Task}
	b.task = s.Task
	sp := render(b, newEnvironment(e.host, b, f, &s), &report)
	if m := report.Message(); m != "" {
		return nil, m
	}
	if b.driver == "docker" {
		sp.withContainer("cairn-"+string(s.Attempt), f)
	}
	return sp, ""
}

func (e *Executor) folder(id workflow.AttemptID) string {
	return filepath.Join(e.dir, attemptsDir, string(id))
}

func (e *Executor) observeReply(r reply) { e.observe(r.Attempt, r.State) }

// observe takes in how an attempt is. Old news changes nothing: a state never goes back.
func (e *Executor) observe(id workflow.AttemptID, state attemptState) {
	e.mu.Lock()
	defer e.mu.Unlock()
	t := e.tracked[id]
	if t == nil || t.state.Phase == phaseEnded || t.state.Phase == state.Phase {
		return
	}
	if t.state.Phase == phaseUnknown {
		t.seen = time.Now()
	}
	t.state = state
	e.enqueue(t)
}

// Watch implements scheduler.Executor.
func (e *Executor) Watch(ctx context.Context, report func(engine.Event)) error {
	e.mu.Lock()
	for _, t := range e.tracked { // the last Watch may have told nobody
		if t.reported = phaseUnknown; t.state.Phase != phaseUnknown {
			e.enqueue(t)
		}
	}
	e.mu.Unlock()
	pause := connectRetry
	for ctx.Err() == nil {
		wait, more := e.reportDue(ctx, report)
		var timer <-chan time.Time
		if more {
			timer = time.After(wait)
		}
		l, resync := e.currentLink()
		if resync {
			if err := e.resync(ctx); err != nil && ctx.Err() == nil {
				e.log.Warn("supervisor not reached", "dir", e.dir, "error", err)
				timer = time.After(pause)
				pause = min(2*pause, connectRetryMax)
			} else {
				pause = connectRetry
				continue
			}
		}
		select {
		case <-ctx.Done():
		case <-e.wake:
		case <-l:
		case <-timer:
		}
	}
	return ctx.Err()
}

// reportDue tells what is to be told now. What waits for its time is kept: more says that there is something, wait for how
// long at least.
func (e *Executor) reportDue(ctx context.Context, report func(engine.Event)) (wait time.Duration, more bool) {
	e.mu.Lock()
	due := e.due
	e.due = nil
	e.mu.Unlock()
	for _, t := range due {
		e.mu.Lock()
		state, start := t.state, t.start
		hold := startedHold - time.Since(t.seen)
		if held := state.Phase == phaseRunning && hold > 0; held {
			e.due = append(e.due, t)
			if !more || hold < wait {
				wait, more = hold, true
			}
			e.mu.Unlock()
			continue
		}
		t.queued = false
		tell := t.reported != state.Phase && e.tracked[start.Attempt] == t
		t.reported = state.Phase
		e.mu.Unlock()
		if tell && ctx.Err() == nil {
			report(e.event(start, state))
		}
	}
	return wait, more
}

// currentLink returns a channel that closes with the link, and whether attempts wait for a new one.
func (e *Executor) currentLink() (gone <-chan struct{}, resync bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed || e.link == nil {
		return nil, false // Start and Kill make the first one
	}
	if !e.link.lost() {
		return e.link.gone, false
	}
	for _, t := range e.tracked {
		if t.state.Phase != phaseEnded {
			return nil, true
		}
	}
	return nil, false
}

// resync asks a new supervisor about every attempt that has not ended: a living one knows them, one that follows a killed
// one knows which are lost.
func (e *Executor) resync(ctx context.Context) error {
	type question struct {
		start  engine.Start
		killed bool
	}
	var open []question
	e.mu.Lock()
	for _, t := range e.tracked {
		if t.state.Phase != phaseEnded {
			open = append(open, question{t.start, t.killed})
		}
	}
	e.mu.Unlock()
	slices.SortFunc(open, func(a, b question) int { return strings.Compare(string(a.start.Attempt), string(b.start.Attempt)) })
	for _, q := range open {
		if err := e.send(ctx, q.start, q.killed); err != nil {
			return err
		}
	}
	return nil
}

// event makes the event for a state that is running or ended.
func (e *Executor) event(s engine.Start, state attemptState) engine.Event {
	ev := engine.Event{Kind: engine.Started, Attempt: s.Attempt, StartedAt: state.StartedAt}
	if state.StartedAt != 0 {
		ev.Place = engine.Place{Node: e.host.name, PID: state.PID}
	}
	if state.Phase != phaseEnded {
		return ev
	}
	o := &engine.Outcome{Kind: state.Kind, ExitCode: state.ExitCode, Signal: state.Signal, Message: state.Message,
		StartedAt: state.StartedAt, EndedAt: state.EndedAt}
	ev.Kind, ev.Outcome = engine.Ended, o
	if state.StartedAt == 0 {
		return ev
	}
	f := attemptFolder{dir: e.folder(s.Attempt), task: s.Task}
	var err error
	if s.WantOutput {
		o.Output, err = readFile(f.dir, f.outputFile(), 0, workflow.MaxTaskOutputBytes+1)
	}
	if s.WantStdout && err == nil {
		o.Stdout, err = readFile(f.dir, f.log(false), workflow.MaxStdoutTailBytes, workflow.MaxStdoutTailBytes)
	}
	if err != nil {
		o.OutputsLost = true
		o.Message = strings.TrimPrefix(o.Message+"; read outputs: "+err.Error(), "; ")
	}
	return ev
}

// readFile reads at most limit bytes of a regular file inside root, the last tail ones when tail is set. The task may
// have put anything there: a link that leads out, or a pipe, is an error. No file is no bytes.
func readFile(root, name string, tail, limit int64) ([]byte, error) {
	r, err := os.OpenRoot(root)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	f, err := r.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", name)
	}
	if tail > 0 && st.Size() > tail {
		if _, err := f.Seek(-tail, io.SeekEnd); err != nil {
			return nil, err
		}
	}
	return io.ReadAll(io.LimitReader(f, limit))
}
