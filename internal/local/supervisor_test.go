// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package local

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/scheduler"
	"github.com/cairnflow/cairn/internal/workflow"
)

func TestManyAttemptsAtOnceEachRunOnce(t *testing.T) {
	const n = 200
	ledger := filepath.Join(t.TempDir(), "ledger")
	e := openExecutor(t, t.TempDir())
	events := watch(t, e)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			if err := e.Start(t.Context(), instanceStart(i, note("begin", ledger)+"; exit 9")); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	ended := map[workflow.AttemptID]engine.Outcome{}
	for len(ended) < n {
		select {
		case ev := <-events:
			if ev.Kind == engine.Ended {
				ended[ev.Attempt] = *ev.Outcome
			}
		case <-time.After(patience):
			t.Fatalf("%d of %d have ended", len(ended), n)
		}
	}
	for _, o := range ended {
		wantExit(t, o, 9)
	}
	begun, _ := counts(t, ledger, "begin")
	for i := range n {
		if begun[fmt.Sprint(i)] != 1 {
			t.Errorf("instance %d ran %d times", i, begun[fmt.Sprint(i)])
		}
	}
}

func TestARunFolderWithALongPathWorks(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("long/", 40))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for i := range 2 { // the second one dials
		e := openExecutor(t, dir)
		events := watch(t, e)
		gate := filepath.Join(t.TempDir(), "gate")
		start(t, e, instanceStart(0, waitForFile(gate)))
		start(t, e, instanceStart(i+1, "exit 3"))
		wantExit(t, waitEnded(t, events, instanceStart(i+1, "").Attempt), 3)
		if i == 1 {
			touch(t, gate)
		}
		pid := supervisorOf(t, dir)
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		if i == 0 && supervisorOf(t, dir) != pid {
			t.Error("the supervisor left its task")
		}
	}
}

func TestTheDefaultSignalIsNomads(t *testing.T) {
	ledger := filepath.Join(t.TempDir(), "ledger")
	e := openExecutor(t, t.TempDir())
	events := watch(t, e)
	st := instanceStart(0, "trap '"+strings.ReplaceAll(note("asked", ledger), "'", "")+"; exit 0' INT; "+note("begin", ledger)+"; while :; do sleep 0.02; done")
	start(t, e, st)
	until(t, "it runs", func() bool { n, _ := counts(t, ledger, "begin"); return n["0"] == 1 })
	if err := e.Kill(t.Context(), st); err != nil {
		t.Fatal(err)
	}
	if o := waitEnded(t, events, st.Attempt); o.Kind != engine.OutcomeKilled {
		t.Errorf("got %+v, want killed", o)
	}
	if n, _ := counts(t, ledger, "asked"); n["0"] != 1 {
		t.Errorf("it was asked by SIGINT %d times, want once", n["0"])
	}
}

func TestAKillTimeoutOfZeroKillsAtOnce(t *testing.T) {
	ledger := filepath.Join(t.TempDir(), "ledger")
	e := openExecutor(t, t.TempDir())
	events := watch(t, e)
	st := testStart(0, rawExec("trap '' INT; "+note("begin", ledger)+"; while :; do sleep 0.02; done", map[string]any{"KillTimeout": 0}))
	start(t, e, st)
	until(t, "it runs", func() bool { n, _ := counts(t, ledger, "begin"); return n["0"] == 1 })
	if err := e.Kill(t.Context(), st); err != nil {
		t.Fatal(err)
	}
	if o := waitEnded(t, events, st.Attempt); o.Kind != engine.OutcomeKilled || o.Signal != 9 {
		t.Errorf("got %+v, want killed by signal 9", o)
	}
}

func TestASupervisorThatCannotStartIsTrouble(t *testing.T) {
	for _, c := range []struct {
		command []string
		want    string
	}{
		{[]string{"/no/such/cairn"}, "no such file"},
		{[]string{"/bin/sh", "-c", "echo 'it hurts' >&2; exit 1"}, "it hurts"},
	} {
		e, err := OpenExecutor(ExecutorConfig{Dir: t.TempDir(), Command: c.command})
		if err != nil {
			t.Fatal(err)
		}
		err = e.Start(t.Context(), instanceStart(0, "true"))
		var trouble *scheduler.Trouble
		if !errors.As(err, &trouble) || !trouble.NotStarted || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: got %v, want trouble, certainly not started, with %q", c.command, err, c.want)
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestASupervisorOfAnotherVersionIsNamed(t *testing.T) {
	dir := t.TempDir()
	var l net.Listener
	if err := withSocketPath(dir, func(path string) (err error) { l, err = net.Listen("unix", path); return err }); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			peer := newLines(conn)
			var r request
			if peer.read(&r) == nil {
				peer.write(reply{Number: r.Number, Version: wireVersion + 1, PID: 4711}, time.Second)
			}
			conn.Close()
		}
	}()
	e := openExecutor(t, dir)
	err := e.Start(t.Context(), instanceStart(0, "true"))
	if err == nil || !strings.Contains(err.Error(), "pid 4711") || !strings.Contains(err.Error(), fmt.Sprintf("version %d", wireVersion+1)) {
		t.Errorf("got %v, want an error that names the supervisor and its version", err)
	}
	l.Close()
	<-done
}

func TestASecondSupervisorDoesNotDisturbTheFirst(t *testing.T) {
	dir, gate := t.TempDir(), filepath.Join(t.TempDir(), "gate")
	e := openExecutor(t, dir)
	events := watch(t, e)
	st := instanceStart(0, waitForFile(gate))
	start(t, e, st)
	first := supervisorOf(t, dir)
	cmd, _ := program(t, "supervise", dir)
	if err := cmd.Wait(); err == nil {
		t.Error("a second supervisor has started")
	}
	if supervisorOf(t, dir) != first || !alive(first) {
		t.Error("the first supervisor is not there any more")
	}
	touch(t, gate)
	wantExit(t, waitEnded(t, events, st.Attempt), 0)
}

func TestASupervisorThatIsStoppedEndsItsTasks(t *testing.T) {
	ledger := filepath.Join(t.TempDir(), "ledger")
	dir := t.TempDir()
	e := openExecutor(t, dir)
	events := watch(t, e)
	st := testStart(0, rawExec("trap '' INT; "+note("begin", ledger)+"; while :; do sleep 0.02; done", map[string]any{"KillTimeout": 100 * time.Millisecond}))
	start(t, e, st)
	until(t, "it runs", func() bool { n, _ := counts(t, ledger, "begin"); return n["0"] == 1 })
	pid := supervisorOf(t, dir)
	if err := kill(pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if o := waitEnded(t, events, st.Attempt); o.Kind != engine.OutcomeInterrupted {
		t.Errorf("got %+v, want interrupted: the run did not ask for it", o)
	}
	if _, pids := counts(t, ledger, "begin"); alive(pids[0]) {
		t.Error("the task still runs")
	}
	next := instanceStart(1, "exit 2")
	start(t, e, next)
	wantExit(t, waitEnded(t, events, next.Attempt), 2)
	if supervisorOf(t, dir) == pid {
		t.Error("the stopped supervisor is still there")
	}
}

func TestTheJournalCatchesUpAfterAFullDisk(t *testing.T) {
	dir := t.TempDir()
	j, _, _, err := openJournal(dir)
	if err != nil {
		t.Fatal(err)
	}
	good := j.f
	defer good.Close()
	id := func(n int) workflow.AttemptID { return workflow.MakeAttemptID(testRun, 0, n, 1) }
	write := func(n int) error {
		return j.append(entry{Kind: entryEnd, Attempt: id(n), State: &attemptState{Phase: phaseEnded, Signal: n}})
	}
	if err := write(1); err != nil {
		t.Fatal(err)
	}
	if j.f, err = os.OpenFile("/dev/full", os.O_WRONLY, 0); err != nil {
		t.Fatal(err)
	}
	for n := 2; n <= 3; n++ {
		if err := write(n); err == nil {
			t.Error("a full disk takes an entry")
		}
	}
	if err := j.f.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := good.WriteString(`{"kind":"e`); err != nil { // what a write that stopped in the middle leaves
		t.Fatal(err)
	}
	j.f, j.torn = good, true
	if err := write(4); err != nil {
		t.Fatal(err)
	}
	for n := 1; n <= 4; n++ {
		if state, ok, err := ended(dir, id(n)); err != nil || !ok || state.Signal != n {
			t.Errorf("entry %d: %+v, there: %t, error %v", n, state, ok, err)
		}
	}
}

func TestLogsOfARunThatNobodyKnowsAreReadFromItsFolder(t *testing.T) {
	dir := t.TempDir()
	e := openExecutor(t, dir)
	events := watch(t, e)
	st := instanceStart(0, "echo hello; echo there >&2")
	start(t, e, st)
	waitEnded(t, events, st.Attempt)
	for stderr, want := range map[bool]string{false: "hello\n", true: "there\n"} {
		r, err := Logs(t.Context(), dir, scheduler.LogRequest{Attempt: st.Attempt, Task: "t", Stderr: stderr, Follow: true})
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 100)
		if n, _ := r.Read(b); string(b[:n]) != want {
			t.Errorf("stderr %t: got %q, want %q", stderr, b[:n], want)
		}
		if n, err := r.Read(b); n != 0 || err == nil {
			t.Errorf("stderr %t: goes on with %q, %v", stderr, b[:n], err)
		}
		r.Close()
	}
	for _, gone := range []string{filepath.Join(dir, attemptsDir, string(st.Attempt)), filepath.Join(dir, attemptsDir)} {
		if err := os.RemoveAll(gone); err != nil {
			t.Fatal(err)
		}
		_, err := Logs(t.Context(), dir, scheduler.LogRequest{Attempt: st.Attempt, Task: "t"})
		if !errors.Is(err, scheduler.ErrGone) || !strings.HasSuffix(err.Error(), "removed "+gone) {
			t.Errorf("a removed log gives %v, want ErrGone and %s", err, gone)
		}
	}
	for _, req := range []scheduler.LogRequest{{Attempt: "../../etc", Task: "t"}, {Attempt: st.Attempt, Task: "../../../x"}, {Attempt: st.Attempt}} {
		if _, err := Logs(t.Context(), dir, req); err == nil {
			t.Errorf("request %+v is answered", req)
		}
	}
}

// Requests that arrive at once: starts are carried out together, and everything else in its order.
func TestABurstOfRequestsIsAnsweredInOrder(t *testing.T) {
	dir, ledger, gate := t.TempDir(), filepath.Join(t.TempDir(), "ledger"), filepath.Join(t.TempDir(), "gate")
	e := openExecutor(t, dir)
	start(t, e, instanceStart(0, waitForFile(gate))) // there is a supervisor
	var conn net.Conn
	if err := withSocketPath(dir, func(path string) (err error) {
		conn, err = net.Dial("unix", path)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	peer := newLines(conn)

	var requests []request
	begin := func(i int, script string) {
		st := instanceStart(i, script)
		sp, refusal := e.render(st)
		if refusal != "" {
			t.Fatal(refusal)
		}
		requests = append(requests, request{Kind: requestStart, Attempt: st.Attempt, IntentAt: st.IntentAt, Spec: sp})
	}
	ask := func(kind requestKind, i int) {
		requests = append(requests, request{Kind: kind, Attempt: instanceStart(i, "").Attempt})
	}
	const many = 3 * maxTogether
	run := note("begin", ledger) + "; " + waitForFile(gate)
	for i := 1; i <= many; i++ {
		begin(i, run)
		if i%5 == 0 {
			begin(i, run) // again
		}
	}
	ask(requestStart, 900) // without a spec
	ask(requestKill, 901)  // bars it
	begin(901, run)
	begin(902, run)
	requests[len(requests)-1].Spec.Command = "/none/such"
	ask(requestAttach, 1)
	ask(requestKill, many)

	var all []byte
	for n := range requests {
		requests[n].Number = uint64(n + 1)
		b, err := json.Marshal(requests[n])
		if err != nil {
			t.Fatal(err)
		}
		all = append(append(all, b...), '\n')
	}
	if _, err := conn.Write(all); err != nil {
		t.Fatal(err)
	}
	for n, asked := range requests {
		var r reply
		for r.Number == 0 { // news
			r = reply{}
			if err := peer.read(&r); err != nil {
				t.Fatal(err)
			}
		}
		_, _, instance, _, _ := asked.Attempt.Parse()
		want, message := phaseRunning, ""
		switch {
		case instance == 900:
			want = phaseUnknown
		case instance == 901:
			want, message = phaseEnded, "killed before it was started"
		case instance == 902:
			want, message = phaseEnded, "/none/such"
		}
		if r.Number != uint64(n+1) || r.State.Phase != want || !strings.Contains(r.State.Message, message) || (r.Trouble != "") != (instance == 900) {
			t.Errorf("request %d, %s of %s: got %+v", n+1, asked.Kind, asked.Attempt, r)
		}
	}
	until(t, "all have begun", func() bool { n, _ := counts(t, ledger, "begin"); return len(n) >= many-1 })
	touch(t, gate)
	pid := supervisorOf(t, dir)
	conn.Close()
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	until(t, "the supervisor has left", func() bool { return !alive(pid) })
	n, _ := counts(t, ledger, "begin")
	for key, times := range n {
		if times != 1 {
			t.Errorf("instance %s has begun %d times", key, times)
		}
	}
}
