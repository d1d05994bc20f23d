// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	nomadapi "github.com/hashicorp/nomad/api"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/testcluster"
	"github.com/cairnflow/cairn/internal/workflow"
)

// twoWorkers is a server with two workers whose loss is noticed in seconds.
var twoWorkers = testcluster.NomadConfig{
	Clients: 2, MinHeartbeatTTL: time.Second, HeartbeatGrace: time.Second, FailoverHeartbeatTTL: 5 * time.Second,
}

// ledger is a file that tasks append to.
type ledger string

func newLedger(t *testing.T) ledger { return ledger(filepath.Join(t.TempDir(), "ledger")) }

// script notes the begin, then goes on with rest.
func (l ledger) script(rest string) string { return "echo begin >> '" + string(l) + "'; " + rest }

func (l ledger) begins(t *testing.T) int {
	t.Helper()
	b, err := os.ReadFile(string(l))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return strings.Count(string(b), "begin")
}

// worker finds the agent that an attempt runs on.
func worker(t *testing.T, n *testcluster.NomadCluster, place engine.Place) *testcluster.Agent {
	t.Helper()
	for _, a := range n.Clients {
		if a.Name == place.Node {
			return a
		}
	}
	t.Fatalf("no agent is named %q", place.Node)
	return nil
}

func waitFor(after time.Duration) func(*engine.Start) {
	return func(s *engine.Start) {
		s.OnWorkerLoss = workflow.OnWorkerLoss{Mode: workflow.WaitForStop, StopAfter: after}
	}
}

func TestAgentsLostWorkerIsWaitedFor(t *testing.T) {
	r, n := ownRig(t, twoWorkers, func(c *Config) { c.LossMargin = time.Second })
	l := newLedger(t)
	s := r.shell(l.script("sleep 300"))
	const stopAfter = 3 * time.Second
	waitFor(stopAfter)(&s)
	r.begin(s)
	place := r.kind(s.Attempt, engine.Started).Place
	lost := time.Now()
	if err := worker(t, n, place).PowerOff(); err != nil {
		t.Fatal(err)
	}
	o := r.ended(s.Attempt)
	if ofKind(t, o, engine.OutcomeLost); !strings.Contains(o.Message, place.Node) {
		t.Errorf("outcome %s, want it to name %s", show(o), place.Node)
	}
	if took := time.Since(lost); took < stopAfter {
		t.Errorf("the attempt was given up after %s, before the %s its task may run on", took, stopAfter)
	}
	if got := l.begins(t); got != 1 {
		t.Errorf("the task began %d times: Nomad has replaced it", got)
	}
}

func TestAgentsKillOnALostWorkerWaitsToo(t *testing.T) {
	r, n := ownRig(t, twoWorkers, func(c *Config) { c.LossMargin = time.Second })
	s := r.shell("sleep 300")
	waitFor(2 * time.Second)(&s)
	r.begin(s)
	if err := worker(t, n, r.kind(s.Attempt, engine.Started).Place).PowerOff(); err != nil {
		t.Fatal(err)
	}
	r.kill(s)
	ofKind(t, r.ended(s.Attempt), engine.OutcomeKilled)
}

func TestAgentsLostWorkerOfAnIdempotentTaskIsLostAtOnce(t *testing.T) {
	r, n := ownRig(t, twoWorkers)
	l := newLedger(t)
	s := r.shell(l.script("sleep 300"))
	s.OnWorkerLoss = workflow.OnWorkerLoss{Mode: workflow.Immediate, StopAfter: time.Hour}
	r.begin(s)
	place := r.kind(s.Attempt, engine.Started).Place
	if err := worker(t, n, place).PowerOff(); err != nil {
		t.Fatal(err)
	}
	ofKind(t, r.ended(s.Attempt), engine.OutcomeLost)
	// Nomad may have replaced it before the job was stopped, or at that moment. That is stopped too: an idempotent task may
	// overlap itself, and does not stay.
	allocs, _, err := r.api().Jobs().Allocations(r.jobOf(s), true, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range allocs {
		if a.NodeName != place.Node {
			r.over(a.ID, time.Now().Add(patience))
		}
	}
}

func TestAgentsWorkerThatReturnsWithASuccess(t *testing.T) {
	r, n := ownRig(t, twoWorkers)
	l := newLedger(t)
	// The server does not hear of any worker for longer than it waits for one; meanwhile the task ends by itself.
	s := r.shell(l.script("echo x=1 > $CAIRN_OUTPUT; echo on; sleep 5; echo end >> '" + string(l) + "'"))
	waitFor(10 * time.Minute)(&s)
	r.begin(s)
	r.settleTrap(s)
	if err := n.Servers[0].Pause(); err != nil {
		t.Fatal(err)
	}
	l.await(t, "end")
	if err := n.Servers[0].Resume(); err != nil {
		t.Fatal(err)
	}
	o := r.ended(s.Attempt)
	if exited(t, o, 0); string(o.Output) != "x=1\n" {
		t.Errorf("output %q", o.Output)
	}
	if got := l.begins(t); got != 1 {
		t.Errorf("the task began %d times", got)
	}
}

func TestAgentsWorkerWhoseAgentReturnsToKill(t *testing.T) {
	r, n := ownRig(t, twoWorkers)
	s := r.shell("echo on; sleep 300")
	waitFor(10 * time.Minute)(&s)
	r.begin(s)
	r.settleTrap(s)
	agent := worker(t, n, r.kind(s.Attempt, engine.Started).Place)
	if err := agent.Kill(); err != nil { // the task goes on
		t.Fatal(err)
	}
	awaitNode(t, r, agent.Name, nomadapi.NodeStatusDown)
	if err := agent.Start(); err != nil {
		t.Fatal(err)
	}
	// Long before stop_after: its end is known.
	ofKind(t, r.ended(s.Attempt), engine.OutcomeLost)
}

// await waits until a task has written a line.
func (l ledger) await(t *testing.T, line string) {
	t.Helper()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for end := time.Now().Add(patience); ; <-look.C {
		b, err := os.ReadFile(string(l))
		if err != nil && !os.IsNotExist(err) || time.Now().After(end) {
			t.Fatalf("no line %q in the ledger (error %v)", line, err)
		}
		if strings.Contains(string(b), line+"\n") {
			return
		}
	}
}

// awaitNode waits until Nomad gives a node a status.
func awaitNode(t *testing.T, r *rig, name, status string) {
	t.Helper()
	query := (&nomadapi.QueryOptions{WaitTime: 10 * time.Second}).WithContext(r.ctx())
	for {
		nodes, meta, err := r.api().Nodes().List(query)
		if err != nil {
			t.Fatal(err)
		}
		for _, node := range nodes {
			if node.Name == name && node.Status == status {
				return
			}
		}
		query.WaitIndex = meta.LastIndex
	}
}

func TestAgentsDrainedWorker(t *testing.T) {
	r, _ := ownRig(t, twoWorkers)
	l := newLedger(t)
	s := r.shell(l.script("sleep 300"))
	r.begin(s)
	place := r.kind(s.Attempt, engine.Started).Place
	found, _, err := r.api().Allocations().Info(place.AllocID, nil)
	if err != nil {
		t.Fatal(err)
	}
	spec := &nomadapi.DrainSpec{Deadline: time.Second}
	if _, err := r.api().Nodes().UpdateDrain(found.NodeID, spec, false, nil); err != nil {
		t.Fatal(err)
	}
	o := r.ended(s.Attempt)
	if ofKind(t, o, engine.OutcomeEvicted); !strings.Contains(o.Message, place.Node) {
		t.Errorf("outcome %s, want it to name %s", show(o), place.Node)
	}
	if got := l.begins(t); got != 1 {
		t.Errorf("the task began %d times", got)
	}
}

func TestAgentsAllocationStoppedByHandIsReplacedByNomadAndEvicted(t *testing.T) {
	r, _ := ownRig(t, twoWorkers)
	s := r.shell("sleep 300")
	r.begin(s)
	found, _, err := r.api().Allocations().Info(r.kind(s.Attempt, engine.Started).Place.AllocID, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.api().Allocations().Stop(found, nil); err != nil {
		t.Fatal(err)
	}
	ofKind(t, r.ended(s.Attempt), engine.OutcomeEvicted)
	r.allOver(s, time.Now())
}

func TestAgentsPreemptedTaskIsEvicted(t *testing.T) {
	r, _ := ownRig(t, testcluster.NomadConfig{})
	config := &nomadapi.SchedulerConfiguration{PreemptionConfig: nomadapi.PreemptionConfig{BatchSchedulerEnabled: true}}
	if _, _, err := r.api().Operator().SchedulerSetConfiguration(config, nil); err != nil {
		t.Fatal(err)
	}
	large := func(task *nomadapi.Task) { task.Resources.MemoryMB = ptr(900_000) }
	low, high := r.shell("sleep 300", large), r.shell("true", large)
	low.Priority, high.Priority = 10, 90
	r.begin(low)
	r.kind(low.Attempt, engine.Started)
	r.begin(high)
	exited(t, r.ended(high.Attempt), 0)
	o := r.ended(low.Attempt)
	if ofKind(t, o, engine.OutcomeEvicted); !strings.Contains(o.Message, "preempted") {
		t.Errorf("outcome %s, want that it was preempted", show(o))
	}
}

func TestAgentsNomadRestartedMidRun(t *testing.T) {
	r, n := ownRig(t, testcluster.NomadConfig{})
	l := newLedger(t)
	var starts []engine.Start
	for _, seconds := range []string{"1", "2", "12"} {
		s := r.shell(l.script("sleep " + seconds + "; echo x=1 > $CAIRN_OUTPUT"))
		r.begin(s)
		r.kind(s.Attempt, engine.Started)
		starts = append(starts, s)
	}
	if err := n.Kill(); err != nil {
		t.Fatal(err)
	}
	r.exec.client.api.Close() // a connection from before may not have been found dead yet
	late := r.shell(l.script("true"))
	wantTrouble(t, r.exec.Start(r.ctx(), late), true, "connection refused")
	if err := n.Start(); err != nil {
		t.Fatal(err)
	}
	r.begin(late)
	exited(t, r.ended(late.Attempt), 0)
	for _, s := range starts {
		o := r.ended(s.Attempt)
		if exited(t, o, 0); string(o.Output) != "x=1\n" {
			t.Errorf("output %q", o.Output)
		}
	}
	if got := l.begins(t); got != 4 {
		t.Errorf("4 tasks began %d times", got)
	}
}

func TestAgentsNomadRestoredFromASnapshot(t *testing.T) {
	var restored atomic.Int32
	r, n := ownRig(t, testcluster.NomadConfig{}, func(c *Config) {
		c.ListEvery, c.LostAfter = 200*time.Millisecond, time.Second
		c.OnRestore = func(context.Context) { restored.Add(1) }
	})
	before := r.shell("sleep 6")
	r.begin(before)
	r.kind(before.Attempt, engine.Started)
	restore := n.Snapshot(t)
	for range 3 {
		exited(t, r.ended(r.begin(r.shell("true"))), 0)
	}
	after := r.shell("sleep 300")
	r.begin(after)
	r.kind(after.Attempt, engine.Started)
	restore()
	ofKind(t, r.ended(after.Attempt), engine.OutcomeLost)
	exited(t, r.ended(before.Attempt), 0)
	if restored.Load() == 0 {
		t.Errorf("nobody was told that Nomad was restored")
	}
}

func TestAgentsGroupOnAWorkerThatGoesAwayWhileItEnds(t *testing.T) {
	r, n := ownRig(t, twoWorkers, func(c *Config) { c.ListEvery = time.Second })
	s := r.group(script("fails", "exit 3"), script("clings", "sleep 300", lifecycle("poststop", false)))
	r.begin(s)
	place := r.kind(s.Attempt, engine.Started).Place
	// Nomad calls the allocation failed, which it stays, while its last task runs.
	query := (&nomadapi.QueryOptions{WaitTime: 10 * time.Second}).WithContext(r.ctx())
	for {
		found, meta, err := r.api().Allocations().Info(place.AllocID, query)
		if err != nil {
			t.Fatal(err)
		}
		if state := found.TaskStates["clings"]; found.ClientStatus == clientFailed && state.State == "running" {
			break
		}
		query.WaitIndex = meta.LastIndex
	}
	if n := r.count(s.Attempt, engine.Ended); n != 0 {
		t.Fatal("it is told to be over while a task of it runs")
	}
	if err := worker(t, n, place).PowerOff(); err != nil {
		t.Fatal(err)
	}
	o := r.ended(s.Attempt)
	if exited(t, o, 3); o.Message != `task "fails" failed (exit code 3)` {
		t.Errorf("outcome %s", show(o))
	}
}

func TestAgentsExistingJobIsMovedByItsOwnRules(t *testing.T) {
	r, n := ownRig(t, twoWorkers, func(c *Config) { c.ListEvery = time.Second })
	l := newLedger(t)
	s := r.existing("true", l.script(`echo on; test "$(wc -l < '`+string(l)+`')" -gt 1 || sleep 300`), func(job *nomadapi.Job) { job.TaskGroups[1].Count = ptr(1) })
	r.begin(s)
	r.settlePart(s, "second/load")
	allocs, _, err := r.api().Jobs().Allocations(r.jobOf(s), true, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range allocs {
		if a.TaskGroup == "second" {
			if err := worker(t, n, engine.Place{Node: a.NodeName}).PowerOff(); err != nil {
				t.Fatal(err)
			}
		}
	}
	exited(t, r.ended(s.Attempt), 0)
	if got := l.begins(t); got != 2 {
		t.Errorf("the task began %d times, want once on each worker", got)
	}
}

// A machine that is started again at once: its client finds the allocation, and no process of it.
func TestAgentsWorkerThatIsRebooted(t *testing.T) {
	r, n := ownRig(t, testcluster.NomadConfig{})
	l := newLedger(t)
	s := r.shell(l.script("echo on; sleep 300"))
	r.begin(s)
	r.settleTrap(s)
	agent := worker(t, n, r.kind(s.Attempt, engine.Started).Place)
	if err := agent.PowerOff(); err != nil {
		t.Fatal(err)
	}
	if err := agent.Start(); err != nil {
		t.Fatal(err)
	}
	o := r.ended(s.Attempt)
	if ofKind(t, o, engine.OutcomeLost); !strings.Contains(o.Message, "was restarted") {
		t.Errorf("outcome %s, want it to say that the worker was restarted", show(o))
	}
	r.allOver(s, time.Now())
	if got := l.begins(t); got > 2 {
		t.Errorf("the task began %d times: its client has started it again and again", got)
	}
}

// A job of a file may let its workers be away for a while: Nomad calls its allocations unknown until they are back.
func TestAgentsWorkerOfAnExistingJobIsAwayAndBack(t *testing.T) {
	r, n := ownRig(t, testcluster.NomadConfig{MinHeartbeatTTL: time.Second, HeartbeatGrace: time.Second}, func(c *Config) { c.ListEvery = time.Second })
	l := newLedger(t)
	s := r.existing("true", l.script("echo on; sleep 12"), func(job *nomadapi.Job) {
		job.TaskGroups[1].Count = ptr(1)
		job.TaskGroups[1].Disconnect = &nomadapi.DisconnectStrategy{LostAfter: ptr(time.Hour), Replace: ptr(false), Reconcile: ptr("keep_original")}
	})
	r.begin(s)
	r.settlePart(s, "second/load")
	if err := n.Clients[0].Pause(); err != nil {
		t.Fatal(err)
	}
	awaitNode(t, r, n.Clients[0].Name, nomadapi.NodeStatusDisconnected)
	if err := n.Clients[0].Resume(); err != nil {
		t.Fatal(err)
	}
	exited(t, r.ended(s.Attempt), 0)
	if got := l.begins(t); got != 1 {
		t.Errorf("the task began %d times", got)
	}
}

// Whoever knows that a worker is off ends the wait for it, also for what Nomad has not lost yet.
func TestAgentsWorkerTakenForDead(t *testing.T) {
	for name, c := range map[string]struct {
		config testcluster.NomadConfig
		down   bool // Nomad has lost it
	}{
		"while it is waited for":   {twoWorkers, true},
		"before Nomad has lost it": {testcluster.NomadConfig{Clients: 2, HeartbeatGrace: time.Hour}, false},
	} {
		t.Run(name, func(t *testing.T) {
			r, n := ownRig(t, c.config)
			s := r.shell("echo on; sleep 300")
			waitFor(time.Hour)(&s)
			r.begin(s)
			r.settleTrap(s)
			s.Place = r.kind(s.Attempt, engine.Started).Place
			agent := worker(t, n, s.Place)
			if err := agent.PowerOff(); err != nil {
				t.Fatal(err)
			}
			if c.down {
				awaitNode(t, r, agent.Name, nomadapi.NodeStatusDown)
			}
			nodes, err := r.exec.Nodes(r.ctx())
			if err != nil {
				t.Fatal(err)
			}
			for _, node := range nodes {
				answers, err := r.exec.ClientAnswers(r.ctx(), node.ID, node.Region, 5*time.Second)
				if err != nil || answers != (node.Name != agent.Name) {
					t.Errorf("the client of %s answers: %v, %v", node.Name, answers, err)
				}
				if node.Name == agent.Name {
					r.exec.Avoid([]string{node.ID})
				}
			}
			s.WorkerLost = true
			r.kill(s)
			if o := r.ended(s.Attempt); o.Kind != engine.OutcomeKilled && o.Kind != engine.OutcomeLost { // whichever was known first
				t.Errorf("outcome %s", show(o))
			}
			next := r.shell("true")
			r.begin(next)
			exited(t, r.ended(next.Attempt), 0)
			if on := r.kind(next.Attempt, engine.Started).Place.Node; on == agent.Name {
				t.Errorf("the next task was placed on %s, which is off", on)
			}
		})
	}
}

// New jobs go where no suspect is, whatever their authors like and however full the others are; and to a suspect where nothing
// else would do.
func TestAgentsNewJobsAreKeptOffWorkers(t *testing.T) {
	r, n := ownRig(t, testcluster.NomadConfig{Clients: 3})
	nodes, err := r.exec.Nodes(r.ctx())
	if err != nil {
		t.Fatal(err)
	}
	wants := func(name string) func(*nomadapi.Task) {
		return func(task *nomadapi.Task) {
			task.Resources.MemoryMB = ptr(200_000)
			task.Affinities = []*nomadapi.Affinity{nomadapi.NewAffinity("${node.unique.name}", "=", name, 100)}
		}
	}
	for _, name := range []string{n.Clients[0].Name, n.Clients[1].Name} { // the more there is, the better Nomad likes them
		for range 3 {
			s := r.shell("sleep 300", wants(name))
			r.begin(s)
			if on := r.kind(s.Attempt, engine.Started).Place.Node; on != name {
				t.Fatalf("placed on %s, want %s", on, name)
			}
		}
	}
	var suspects, all []string
	for _, node := range nodes {
		if all = append(all, node.ID); node.Name != n.Clients[2].Name {
			suspects = append(suspects, node.ID)
		}
	}
	r.exec.Avoid(suspects)
	s := r.shell("true", wants(n.Clients[0].Name))
	r.begin(s)
	exited(t, r.ended(s.Attempt), 0)
	if on := r.kind(s.Attempt, engine.Started).Place.Node; on != n.Clients[2].Name {
		t.Errorf("placed on %s, which is to be avoided", on)
	}
	r.exec.Avoid(all)
	s = r.shell("true")
	r.begin(s)
	exited(t, r.ended(s.Attempt), 0)
}
