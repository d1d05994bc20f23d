// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package porttest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/scheduler"
	"github.com/cairnflow/cairn/internal/workflow"
)

// ExecutorGround is a place where attempts can run: bodies of driver raw_exec on this machine.
type ExecutorGround struct {
	Executor scheduler.Executor
	// Restart makes a new executor on the same ground, as after a crash of the process that had the last one. That one's
	// Watch has ended; nothing else is done with it.
	Restart func() (scheduler.Executor, error)
	// Dir is a folder that the tasks can write to, and the suite read.
	Dir string
}

// Executor runs the conformance suite of scheduler.Executor.
func Executor(t *testing.T, factory func(t testing.TB) ExecutorGround) {
	t.Helper()
	run(t, ExecutorChecks(), factory)
}

// ExecutorChecks lists the rules of scheduler.Executor.
func ExecutorChecks() []Check[ExecutorGround] {
	return []Check[ExecutorGround]{
		{"an attempt runs once and its end is told with code, times and place", with(executorRuns)},
		{"an exit code is told as it is", with(executorExitCode)},
		{"death by a signal of its own is told with the signal", with(executorSignal)},
		{"a command that does not exist is an error, not an exit", with(executorNoCommand)},
		{"a task knows its attempt", with(executorEnvironment)},
		{"a start repeated while it runs starts nothing", with(executorRepeatRunning)},
		{"a start repeated after the end starts nothing and tells the end again", with(executorRepeatEnded)},
		{"concurrent and repeated starts run each attempt once", with(executorConcurrent)},
		{"a kill before the start bars it for ever", with(executorBars)},
		{"a start after a kill starts nothing", with(executorStartAfterKill)},
		{"a kill asks first", with(executorKillGraceful)},
		{"a task that ignores the signal is killed after its kill_timeout", with(executorKillHard)},
		{"a kill ends the children too", with(executorKillChildren)},
		{"a kill after the end changes nothing", with(executorKillEnded)},
		{"outputs travel with the end", with(executorOutputs)},
		{"no output file is no output", with(executorNoOutputs)},
		{"an output file over the limit is cut one byte past it", with(executorLargeOutput)},
		{"logs are read while it runs and after", with(executorLogs)},
		{"a followed log ends with the attempt", with(executorFollow)},
		{"logs of an attempt that never ran are not found", with(executorNoLogs)},
		{"a task of the attempt may be named for its log, and one that is not there is not found", with(executorPart)},
		{"a body that needs no worker is invalid and starts nothing", with(executorNoWorker)},
		{"a restart in the middle loses nothing", with(executorRestart)},
		{"an end during the restart is told afterwards", with(executorEndsAlone)},
		{"a kill during the restart is obeyed afterwards", with(executorKillAfterRestart)},
		{"a start without a body adopts what exists and is invalid otherwise", with(executorAdopts)},
		{"a watch that ends and begins again tells what it missed", with(executorWatchAgain)},
		{"settling one attempt leaves the others and the logs alone", with(executorSettles)},
	}
}

func executorRuns(ctx context.Context, s *session) error {
	before := time.Now().Add(-time.Minute) // the worker's clock is its own
	st := s.start(1, task{script: enter + "; sleep 0.1; " + leave})
	if err := s.ex.Start(ctx, st); err != nil {
		return err
	}
	o, ev, err := s.ended(ctx, st.Attempt)
	if err != nil {
		return err
	}
	if o.Kind != engine.OutcomeExited || o.ExitCode == nil || *o.ExitCode != 0 || o.Signal != 0 {
		return fmt.Errorf("got %s, want exited with code 0", describe(o))
	}
	if o.StartedAt <= workflow.At(before) || o.EndedAt < o.StartedAt {
		return fmt.Errorf("started %s, ended %s", o.StartedAt.Time(), o.EndedAt.Time())
	}
	if ev.Place.Node == "" {
		return errors.New("the end does not say on which node it ran")
	}
	return errors.Join(s.wantLedger("begin key 1", 1), s.wantLedger("end key 1", 1))
}

func executorExitCode(ctx context.Context, s *session) error {
	st := s.start(1, task{script: "exit 7"})
	if err := s.ex.Start(ctx, st); err != nil {
		return err
	}
	_, err := s.wantExit(ctx, st.Attempt, 7)
	return err
}

func executorSignal(ctx context.Context, s *session) error {
	st := s.start(1, task{script: enter + "; kill -SEGV $$"})
	if err := s.ex.Start(ctx, st); err != nil {
		return err
	}
	o, _, err := s.ended(ctx, st.Attempt)
	if err == nil && (o.Kind != engine.OutcomeExited || o.Signal != 11) {
		err = fmt.Errorf("got %s, want exited with signal 11", describe(o))
	}
	return err
}

func executorNoCommand(ctx context.Context, s *session) error {
	st := s.start(1, task{script: "true"})
	st.Body = bytes.ReplaceAll(st.Body, []byte(`"/bin/sh"`), []byte(`"/no/such/program"`))
	if err := s.ex.Start(ctx, st); err != nil {
		return err
	}
	return s.wantKind(ctx, st.Attempt, engine.OutcomeError)
}

func executorEnvironment(ctx context.Context, s *session) error {
	st := s.start(3, task{script: `env | grep '^CAIRN_' | grep -v -e '^CAIRN_OUTPUT=' -e '^CAIRN_TESTCLUSTER=' > "$CAIRN_OUTPUT"; test -d "$NOMAD_TASK_DIR" && test -d "$NOMAD_ALLOC_DIR"`})
	if err := s.ex.Start(ctx, st); err != nil {
		return err
	}
	o, err := s.wantExit(ctx, st.Attempt, 0)
	if err != nil {
		return err
	}
	want := map[string]string{"CAIRN_RUN_ID": string(st.Run), "CAIRN_WORKFLOW": "porttest", "CAIRN_TASK": "work",
		"CAIRN_INSTANCE_KEY": "key 3", "CAIRN_ATTEMPT": "1", "CAIRN_FENCE": fmt.Sprint(st.Fence)}
	got := map[string]string{}
	for line := range strings.Lines(string(o.Output)) {
		k, v, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		got[k] = v
	}
	if !maps.Equal(got, want) {
		return fmt.Errorf("environment: got %v, want %v", got, want)
	}
	return nil
}

func executorRepeatRunning(ctx context.Context, s *session) error {
	st := s.start(1, task{script: enter + "; " + s.waitFor("go")})
	for range 3 {
		if err := s.ex.Start(ctx, st); err != nil {
			return err
		}
		if err := s.awaitLedger(ctx, "begin key 1"); err != nil {
			return err
		}
	}
	if err := s.flag("go"); err != nil {
		return err
	}
	_, err := s.wantExit(ctx, st.Attempt, 0)
	return errors.Join(err, s.wantLedger("begin key 1", 1))
}

func executorRepeatEnded(ctx context.Context, s *session) error {
	st := s.start(1, task{script: enter + "; exit 4"})
	for range 3 {
		if err := s.ex.Start(ctx, st); err != nil {
			return err
		}
		if _, err := s.wantExit(ctx, st.Attempt, 4); err != nil {
			return err
		}
		if err := s.restart(); err != nil { // forgets the events
			return err
		}
	}
	return s.wantLedger("begin key 1", 1)
}

func executorConcurrent(ctx context.Context, s *session) error {
	const attempts, callers = 12, 3
	var wg sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	for n := range attempts {
		st := s.start(n, task{script: enter})
		for range callers {
			wg.Go(func() {
				err := s.ex.Start(ctx, st)
				var trouble *scheduler.Trouble
				for errors.As(err, &trouble) && ctx.Err() == nil {
					err = s.ex.Start(ctx, st)
				}
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, err)
			})
		}
	}
	wg.Wait()
	for n := range attempts {
		_, err := s.wantExit(ctx, workflow.MakeAttemptID(s.run, 0, n, 1), 0)
		errs = append(errs, err, s.wantLedger(fmt.Sprintf("begin key %d", n), 1))
	}
	return errors.Join(errs...)
}

func executorOutputs(ctx context.Context, s *session) error {
	st := s.start(1, task{script: `printf 'rows=42\nname=a b\n' > "$CAIRN_OUTPUT"; echo first; echo last`})
	if err := s.ex.Start(ctx, st); err != nil {
		return err
	}
	o, err := s.wantExit(ctx, st.Attempt, 0)
	if err != nil {
		return err
	}
	if got, want := string(o.Output), "rows=42\nname=a b\n"; got != want || o.OutputsLost {
		return fmt.Errorf("output file: got %q (lost: %t), want %q", got, o.OutputsLost, want)
	}
	if got, want := string(o.Stdout), "first\nlast\n"; got != want {
		return fmt.Errorf("standard output: got %q, want %q", got, want)
	}
	return nil
}

func executorNoOutputs(ctx context.Context, s *session) error {
	st := s.start(1, task{script: "true"})
	if err := s.ex.Start(ctx, st); err != nil {
		return err
	}
	o, err := s.wantExit(ctx, st.Attempt, 0)
	if err == nil && (len(o.Output) > 0 || len(o.Stdout) > 0 || o.OutputsLost) {
		err = fmt.Errorf("got output %q, stdout %q, lost: %t; want none", o.Output, o.Stdout, o.OutputsLost)
	}
	return err
}

func executorLargeOutput(ctx context.Context, s *session) error {
	st := s.start(1, task{script: `head -c 1000000 /dev/zero | tr '\0' x > "$CAIRN_OUTPUT"; head -c 1000000 /dev/zero | tr '\0' y; echo end`})
	if err := s.ex.Start(ctx, st); err != nil {
		return err
	}
	o, err := s.wantExit(ctx, st.Attempt, 0)
	if err != nil {
		return err
	}
	if len(o.Output) != workflow.MaxTaskOutputBytes+1 {
		return fmt.Errorf("got %d bytes of the output file, want %d", len(o.Output), workflow.MaxTaskOutputBytes+1)
	}
	if len(o.Stdout) != workflow.MaxStdoutTailBytes || !bytes.HasSuffix(o.Stdout, []byte("yyend\n")) {
		return fmt.Errorf("got %d bytes of standard output, want the last %d", len(o.Stdout), workflow.MaxStdoutTailBytes)
	}
	return nil
}

func executorLogs(ctx context.Context, s *session) error {
	st := s.start(1, task{script: "echo one; echo two >&2; " + enter + "; " + s.waitFor("go") + "; echo three"})
	if err := s.ex.Start(ctx, st); err != nil {
		return err
	}
	if err := s.awaitLedger(ctx, "begin key 1"); err != nil {
		return err
	}
	if _, err := s.await(ctx, st.Attempt, engine.Started); err != nil {
		return err
	}
	if err := until(ctx, "the log has its first line", func() (bool, error) {
		got, err := s.text(ctx, s.logs(st.Attempt))
		if errors.Is(err, scheduler.ErrNotFound) {
			err = nil
		}
		return got == "one\n", err
	}); err != nil {
		return err
	}
	if err := s.flag("go"); err != nil {
		return err
	}
	if _, err := s.wantExit(ctx, st.Attempt, 0); err != nil {
		return err
	}
	stderr, tail := s.logs(st.Attempt), s.logs(st.Attempt)
	stderr.Stderr, tail.Tail = true, 4
	var errs []error
	for _, c := range []struct {
		req  scheduler.LogRequest
		want string
	}{{s.logs(st.Attempt), "one\nthree\n"}, {stderr, "two\n"}, {tail, "ree\n"}} {
		got, err := s.text(ctx, c.req)
		if err == nil && got != c.want {
			err = fmt.Errorf("log %+v: got %q, want %q", c.req, got, c.want)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func executorFollow(ctx context.Context, s *session) error {
	st := s.start(1, task{script: "echo one; " + enter + "; " + s.waitFor("go") + "; echo two; echo three"})
	if err := s.ex.Start(ctx, st); err != nil {
		return err
	}
	if err := s.awaitLedger(ctx, "begin key 1"); err != nil {
		return err
	}
	if _, err := s.await(ctx, st.Attempt, engine.Started); err != nil {
		return err
	}
	req := s.logs(st.Attempt)
	req.Follow = true
	r, err := s.ex.Logs(ctx, req)
	if err != nil {
		return err
	}
	defer r.Close()
	first := make([]byte, 4)
	if _, err := io.ReadFull(r, first); err != nil || string(first) != "one\n" {
		return fmt.Errorf("followed log begins with %q, error %v; want %q", first, err, "one\n")
	}
	if err := s.flag("go"); err != nil {
		return err
	}
	rest, err := io.ReadAll(r)
	if err == nil && string(rest) != "two\nthree\n" {
		err = fmt.Errorf("followed log goes on with %q, want %q", rest, "two\nthree\n")
	}
	return err
}

func executorNoLogs(ctx context.Context, s *session) error {
	st := s.start(1, task{script: "true"})
	_, err := s.text(ctx, scheduler.LogRequest{Attempt: st.Attempt, Task: "work"})
	return wantErr("logs", err, scheduler.ErrNotFound)
}

func executorPart(ctx context.Context, s *session) error {
	st := s.start(1, task{script: "echo hello"})
	if err := s.ex.Start(ctx, st); err != nil {
		return err
	}
	if _, err := s.wantExit(ctx, st.Attempt, 0); err != nil {
		return err
	}
	named, other := s.logs(st.Attempt), s.logs(st.Attempt)
	named.Part, other.Part = "work", "wrok"
	got, err := s.text(ctx, named)
	if err == nil && got != "hello\n" {
		err = fmt.Errorf("log of part %s: got %q, want hello", named.Part, got)
	}
	_, missing := s.text(ctx, other)
	if missing != nil && !strings.Contains(missing.Error(), "work") {
		err = errors.Join(err, fmt.Errorf("log of part %s: %w; want it to name the task there is", other.Part, missing))
	}
	return errors.Join(err, wantErr("log of a part that is not there", missing, scheduler.ErrNotFound))
}

func executorNoWorker(ctx context.Context, s *session) error {
	st := s.start(1, task{script: enter})
	st.Kind = workflow.BodyHTTP
	if err := s.ex.Start(ctx, st); err != nil {
		return err
	}
	return errors.Join(s.wantKind(ctx, st.Attempt, engine.OutcomeInvalid), s.settleLedger(ctx, "begin key 1", 0))
}

func executorRestart(ctx context.Context, s *session) error {
	var all []engine.Start
	for n := range 4 {
		all = append(all, s.start(n, task{script: enter + "; " + s.waitFor("go") + "; " + leave + "; echo rows=1 > $CAIRN_OUTPUT"}))
	}
	for _, st := range all {
		if err := s.ex.Start(ctx, st); err != nil {
			return err
		}
	}
	for n := range all {
		if err := s.awaitLedger(ctx, fmt.Sprintf("begin key %d", n)); err != nil {
			return err
		}
	}
	if err := s.restart(); err != nil {
		return err
	}
	for _, st := range all {
		if err := s.ex.Start(ctx, st); err != nil {
			return err
		}
	}
	if err := s.flag("go"); err != nil {
		return err
	}
	var errs []error
	for n, st := range all {
		o, err := s.wantExit(ctx, st.Attempt, 0)
		if err == nil && string(o.Output) != "rows=1\n" {
			err = fmt.Errorf("output %q after the restart", o.Output)
		}
		errs = append(errs, err, s.wantLedger(fmt.Sprintf("begin key %d", n), 1), s.wantLedger(fmt.Sprintf("end key %d", n), 1))
	}
	return errors.Join(errs...)
}

func executorEndsAlone(ctx context.Context, s *session) error {
	st := s.start(1, task{script: enter + "; " + s.waitFor("go") + "; " + leave + "; exit 5"})
	if err := s.ex.Start(ctx, st); err != nil {
		return err
	}
	if err := s.awaitLedger(ctx, "begin key 1"); err != nil {
		return err
	}
	restart := s.ground.Restart
	s.ground.Restart = func() (scheduler.Executor, error) { // the task ends while nobody is there
		if err := s.flag("go"); err != nil {
			return nil, err
		}
		if err := s.awaitLedger(ctx, "end key 1"); err != nil {
			return nil, err
		}
		return restart()
	}
	if err := s.restart(); err != nil {
		return err
	}
	if err := s.ex.Start(ctx, st); err != nil {
		return err
	}
	_, err := s.wantExit(ctx, st.Attempt, 5)
	return errors.Join(err, s.wantLedger("begin key 1", 1))
}

func executorKillAfterRestart(ctx context.Context, s *session) error {
	st := s.start(1, task{script: enter + "; " + s.waitFor("never")})
	if err := s.ex.Start(ctx, st); err != nil {
		return err
	}
	if err := s.awaitLedger(ctx, "begin key 1"); err != nil {
		return err
	}
	if err := s.restart(); err != nil {
		return err
	}
	if err := s.ex.Kill(ctx, st); err != nil {
		return err
	}
	return s.wantKind(ctx, st.Attempt, engine.OutcomeKilled)
}

func executorAdopts(ctx context.Context, s *session) error {
	st := s.start(1, task{script: enter + "; " + s.waitFor("go")})
	if err := s.ex.Start(ctx, st); err != nil {
		return err
	}
	if err := s.awaitLedger(ctx, "begin key 1"); err != nil {
		return err
	}
	if err := s.restart(); err != nil {
		return err
	}
	other := s.start(2, task{script: enter})
	st.Body, other.Body = nil, nil
	if err := errors.Join(s.ex.Start(ctx, st), s.ex.Start(ctx, other), s.flag("go")); err != nil {
		return err
	}
	_, err := s.wantExit(ctx, st.Attempt, 0)
	return errors.Join(err, s.wantKind(ctx, other.Attempt, engine.OutcomeInvalid),
		s.wantLedger("begin key 1", 1), s.wantLedger("begin key 2", 0))
}

func executorWatchAgain(ctx context.Context, s *session) error {
	st := s.start(1, task{script: enter + "; " + s.waitFor("go") + "; " + leave})
	if err := s.ex.Start(ctx, st); err != nil {
		return err
	}
	if err := s.awaitLedger(ctx, "begin key 1"); err != nil {
		return err
	}
	if err := s.unwatch(); !errors.Is(err, context.Canceled) {
		return fmt.Errorf("watch ended with %w, want the context's error", err)
	}
	if err := s.flag("go"); err != nil {
		return err
	}
	if err := s.awaitLedger(ctx, "end key 1"); err != nil {
		return err
	}
	s.watch()
	_, err := s.wantExit(ctx, st.Attempt, 0)
	return err
}

func executorSettles(ctx context.Context, s *session) error {
	first, second := s.start(1, task{script: "echo hello"}), s.start(2, task{script: enter + "; " + s.waitFor("go")})
	if err := errors.Join(s.ex.Start(ctx, first), s.ex.Start(ctx, second)); err != nil {
		return err
	}
	if _, err := s.wantExit(ctx, first.Attempt, 0); err != nil {
		return err
	}
	s.ex.Settle(ctx, first.Attempt)
	got, err := s.text(ctx, s.logs(first.Attempt))
	if err != nil || got != "hello\n" {
		return fmt.Errorf("log of a settled attempt: %q, error %v", got, err)
	}
	if err := s.flag("go"); err != nil {
		return err
	}
	_, err = s.wantExit(ctx, second.Attempt, 0)
	s.ex.Settle(ctx, second.Attempt)
	s.ex.Settle(ctx, second.Attempt)
	s.ex.Settle(ctx, workflow.MakeAttemptID(s.run, 9, 9, 9))
	return err
}

// CheckNamed finds a check by the beginning of its name; it is for the tests of fakes.
func CheckNamed[G any](checks []Check[G], prefix string) (Check[G], error) {
	i := slices.IndexFunc(checks, func(c Check[G]) bool { return strings.HasPrefix(c.Name, prefix) })
	if i < 0 {
		return Check[G]{}, fmt.Errorf("no check is named %q", prefix)
	}
	return checks[i], nil
}
