// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package local

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cairnflow/cairn/internal/engine"
)

func TestTasksOutliveAKilledClientAndAreFoundAgain(t *testing.T) {
	dir, ledger, gate := t.TempDir(), filepath.Join(t.TempDir(), "ledger"), filepath.Join(t.TempDir(), "gate")
	const n = 5
	script := note("begin", ledger) + "; " + waitForFile(gate) + "; " + note("end", ledger) + "; exit 3"
	cmd, _ := program(t, "client", dir, strconv.Itoa(n), script)
	until(t, "all tasks run", func() bool { begun, _ := counts(t, ledger, "begin"); return len(begun) == n })
	killHard(t, cmd.Process.Pid)
	cmd.Wait()

	touch(t, gate) // some end while nobody is there
	until(t, "all tasks ended", func() bool { ended, _ := counts(t, ledger, "end"); return len(ended) == n })
	e := openExecutor(t, dir)
	events := watch(t, e)
	for i := range n {
		start(t, e, instanceStart(i, script))
		if o := waitEnded(t, events, instanceStart(i, script).Attempt); o.Kind != engine.OutcomeExited || o.ExitCode == nil || *o.ExitCode != 3 {
			t.Errorf("instance %d: got %+v, want exit code 3", i, o)
		}
	}
	begun, _ := counts(t, ledger, "begin")
	for i := range n {
		if begun[strconv.Itoa(i)] != 1 {
			t.Errorf("instance %d ran %d times", i, begun[strconv.Itoa(i)])
		}
	}
}

func TestTheSupervisorLeavesWithItsRun(t *testing.T) {
	dir, gate := t.TempDir(), filepath.Join(t.TempDir(), "gate")
	cmd, _ := program(t, "client", dir, "1", waitForFile(gate))
	until(t, "the supervisor runs the task", func() bool { return len(readLines(t, filepath.Join(dir, journalFile))) >= 2 })
	pid := supervisorOf(t, dir)
	killHard(t, cmd.Process.Pid)
	cmd.Wait()
	if !alive(pid) {
		t.Fatal("the supervisor left before its task")
	}
	touch(t, gate)
	until(t, "the supervisor has left", func() bool { return !alive(pid) })
	if _, err := os.Stat(filepath.Join(dir, socketFile)); !os.IsNotExist(err) {
		t.Errorf("its socket is still there: %v", err)
	}
	state, ok, err := ended(dir, instanceStart(0, "").Attempt)
	if err != nil || !ok || state.ExitCode == nil || *state.ExitCode != 0 {
		t.Errorf("the journal says %+v (there: %t, error %v), want exit code 0", state, ok, err)
	}
}

func TestAKilledSupervisorLosesItsTasksAndLeavesNothingBehind(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, script string }{
		{"a plain task", "%[1]s; exec sleep 1000"},
		{"a task with children", "sleep 1000 & %[1]s; wait"},
		{"a task with a daemon", "setsid -f sh -c 'trap \"\" HUP TERM INT; %[2]s; sleep 1000'; %[1]s; sleep 1000"},
		{"a task with a daemon that hides its environment", "setsid -f env -i CAIRN_INSTANCE_KEY=0 sh -c 'trap \"\" HUP TERM INT; %[2]s; sleep 1000'; %[1]s; sleep 1000"},
		{"a task with a daemon without its first thread", "setsid -f '%[3]s' headless '%[4]s'; %[1]s; sleep 1000"},
		{"a task without its first thread", "exec '%[3]s' headless '%[4]s'"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, ledger := t.TempDir(), filepath.Join(t.TempDir(), "ledger")
			script := fmt.Sprintf(c.script, note("begin", ledger), strings.ReplaceAll(note("begin", ledger), "'", ""), self, ledger)
			want := strings.Count(script, ledger)
			e := openExecutor(t, dir)
			events := watch(t, e)
			st := instanceStart(0, script)
			start(t, e, st)
			until(t, "it runs", func() bool { _, pids := counts(t, ledger, "begin"); return len(pids) == want })
			killHard(t, supervisorOf(t, dir))
			o := waitEnded(t, events, st.Attempt)
			_, pids := counts(t, ledger, "begin")
			for _, pid := range pids {
				if alive(pid) {
					t.Errorf("process %d still lives when the attempt is told as %s", pid, o.Kind)
				}
			}
			if o.Kind != engine.OutcomeLost || o.StartedAt == 0 {
				t.Errorf("got %+v, want lost after its start", o)
			}
			if len(pids) != want {
				t.Errorf("%d processes began, want %d", len(pids), want)
			}
			// The next one works.
			next := testStart(1, rawExec("exit 0", nil))
			start(t, e, next)
			if o := waitEnded(t, events, next.Attempt); o.Kind != engine.OutcomeExited {
				t.Errorf("after the loss: %+v", o)
			}
		})
	}
}

// TestKillsAtAnyMoment kills the client, the supervisor or both at random moments, starts over until every attempt has
// ended, and judges by what the tasks wrote.
func TestKillsAtAnyMoment(t *testing.T) {
	rounds, seed := 12, uint64(1)
	for round := range rounds {
		t.Run(fmt.Sprintf("seed %d", seed+uint64(round)), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed+uint64(round), 0))
			dir, ledger := t.TempDir(), filepath.Join(t.TempDir(), "ledger")
			const n = 20
			script := note("begin", ledger) + "; sleep 0.0" + strconv.Itoa(random.IntN(10)) + "; " + note("end", ledger)
			for range 4 {
				cmd, _ := program(t, "client", dir, strconv.Itoa(n), script)
				done := make(chan struct{})
				go func() { cmd.Wait(); close(done) }()
				victim := random.IntN(3)
				select {
				case <-done:
				case <-time.After(time.Duration(random.IntN(200)) * time.Millisecond):
				}
				pid := supervisorOf(t, dir)
				if victim != 0 && pid > 0 {
					killHard(t, pid)
				}
				if victim != 1 {
					select {
					case <-done:
					default:
						killHard(t, cmd.Process.Pid)
					}
				}
				if victim != 1 {
					<-done
				} else { // a client that lost its supervisor goes on by itself
					select {
					case <-done:
					case <-time.After(patience):
						t.Error("the client does not get over the loss of its supervisor")
						killHard(t, cmd.Process.Pid)
						<-done
					}
				}
			}
			cmd, out := program(t, "client", dir, strconv.Itoa(n), script)
			if err := cmd.Wait(); err != nil {
				t.Fatal(err)
			}
			begun, pids := counts(t, ledger, "begin")
			ended, _ := counts(t, ledger, "end")
			for i := range n {
				key := strconv.Itoa(i)
				kind := ""
				for line := range strings.Lines(out.String()) {
					if id, k, _ := strings.Cut(strings.TrimSpace(line), " "); id == string(instanceStart(i, "").Attempt) {
						kind = k
					}
				}
				switch {
				case begun[key] > 1:
					t.Errorf("instance %d ran %d times", i, begun[key])
				case kind == string(engine.OutcomeExited) && ended[key] != 1:
					t.Errorf("instance %d exited and wrote its end %d times", i, ended[key])
				case kind != string(engine.OutcomeExited) && kind != string(engine.OutcomeLost):
					t.Errorf("instance %d ended as %q", i, kind)
				}
			}
			for _, pid := range pids {
				if alive(pid) {
					t.Errorf("process %d still lives", pid)
				}
			}
		})
	}
}

func TestAHalfWrittenJournalLineIsCutOff(t *testing.T) {
	dir := t.TempDir()
	e := openExecutor(t, dir)
	events := watch(t, e)
	first := testStart(0, rawExec("exit 2", nil))
	start(t, e, first)
	waitEnded(t, events, first.Attempt)
	pid := supervisorOf(t, dir)
	killHard(t, pid)
	until(t, "the supervisor is dead", func() bool { return supervisorOf(t, dir) != pid })

	path := filepath.Join(dir, journalFile)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	second := testStart(1, rawExec("exit 4", nil))
	if err := os.Mkdir(filepath.Join(dir, attemptsDir, string(second.Attempt)), 0o700); err != nil { // claimed, then killed
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(f, "not JSON\n{\"kind\":\"end\",\"attempt\":%q,\"at\":1,\"state\":{\"ph", second.Attempt); err != nil {
		t.Fatal(err)
	}
	f.Close()

	start(t, e, first)
	if o := waitEnded(t, events, first.Attempt); o.ExitCode == nil || *o.ExitCode != 2 {
		t.Errorf("first: got %+v, want exit code 2", o)
	}
	start(t, e, second)
	if o := waitEnded(t, events, second.Attempt); o.Kind != engine.OutcomeLost || o.StartedAt != 0 {
		t.Errorf("second: got %+v, want lost and never started", o)
	}
	records, _, damaged, err := func() (map[string]bool, int64, int, error) {
		f, err := os.Open(path)
		if err != nil {
			return nil, 0, 0, err
		}
		defer f.Close()
		r, whole, damaged, err := readJournal(f)
		ids := map[string]bool{}
		for id, rec := range r {
			ids[string(id)] = rec.end != nil
		}
		return ids, whole, damaged, err
	}()
	if err != nil || damaged != 1 || !records[string(first.Attempt)] || !records[string(second.Attempt)] {
		t.Errorf("journal afterwards: ends %v, %d damaged lines, error %v; want both ends, one damaged line", records, damaged, err)
	}
}

func TestAfterARestartOfTheMachineNothingIsStartedThatMayHaveRun(t *testing.T) {
	dir := t.TempDir()
	before := testStart(0, rawExec("exit 0", nil))
	if err := os.WriteFile(filepath.Join(dir, bootFile), []byte(`{"id":"another boot"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	e := openExecutor(t, dir)
	events := watch(t, e)
	start(t, e, before)
	if o := waitEnded(t, events, before.Attempt); o.Kind != engine.OutcomeLost || !strings.Contains(o.Message, "restarted") {
		t.Errorf("recorded before the restart: got %+v, want lost", o)
	}
	after := testStart(1, rawExec("exit 0", nil))
	start(t, e, after)
	if o := waitEnded(t, events, after.Attempt); o.Kind != engine.OutcomeExited {
		t.Errorf("recorded after the restart: got %+v, want exited", o)
	}
}
