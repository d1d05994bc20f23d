// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package server

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/nomad"
	"github.com/cairnflow/cairn/internal/workers"
	"github.com/cairnflow/cairn/internal/workflow"
)

// farm is a number of workers, each with an attempt that may run twice and one that may not.
type farm struct {
	mu      sync.Mutex // guards everything below
	status  map[string]workers.Status
	answers map[string]bool // clients that answer
	broken  bool            // nobody can be asked
	leads   bool
	epoch   uint64
	late    []nomad.Placed // on worker a, since it was lost
	avoid   []string
	events  []string // what was given up, and by whom
	looks   int
}

func (f *farm) do(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func (f *farm) look(context.Context) (workers.View, []string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.looks++
	var nodes []workers.Node
	machines := map[workers.MachineID]workers.Machine{}
	for name, status := range f.status {
		n := workers.Node{ID: "id-" + name, Name: name, Status: workers.NodeReady, Eligible: true, Machine: workers.MachineID{Name: name}}
		m := workers.Machine{Alive: workers.Check{Status: workers.Passing}, Client: workers.Check{Status: workers.Passing}}
		switch status {
		case workers.Suspect:
			m.Alive.Status = workers.Critical
		case workers.Lost:
			n.Status = workers.NodeDown
		}
		nodes, machines[n.Machine] = append(nodes, n), m
	}
	return workers.Join(nodes, machines, nil), nil, nil
}

func (f *farm) lost(context.Context, string) (names []string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for name, status := range f.status {
		if status == workers.Suspect {
			names = append(names, name)
		}
	}
	return names, nil
}

func (f *farm) Avoid(nodes []string) {
	f.do(func() { f.avoid = slices.Clone(nodes) })
}

func (f *farm) ClientAnswers(_ context.Context, node, _ string, _ time.Duration) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.broken {
		return false, errors.New("no answer from Nomad")
	}
	return f.answers[strings.TrimPrefix(node, "id-")], nil
}

func (f *farm) Placed() map[string][]nomad.Placed {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := map[string][]nomad.Placed{}
	for name := range f.status {
		for _, kind := range []string{"once", "twice"} {
			out["id-"+name] = append(out["id-"+name], nomad.Placed{Run: "run", Attempt: workflow.AttemptID(kind + "-" + name), Alloc: "alloc"})
		}
	}
	out["id-a"] = append(out["id-a"], f.late...)
	return out
}

func (f *farm) Leading() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.leads
}

func (f *farm) AwaitReconciled(ctx context.Context) (uint64, error) {
	for !f.Leading() {
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.epoch, nil
}

// Verb is the rule of the engine: without a person only what may run twice is given up.
func (f *farm) Verb(_ context.Context, _ workflow.RunID, e engine.Event) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if e.By == "" && strings.HasPrefix(string(e.Attempt), "once") {
		return &engine.Misfit{Text: "it waits"}
	}
	if what := fmt.Sprintf("%s by %q", e.Attempt, e.By); !slices.Contains(f.events, what) {
		f.events = append(f.events, what)
	}
	return nil
}

func TestTheLeaderActsOnTheLossOfWorkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &farm{leads: true, epoch: 1, status: map[string]workers.Status{}, answers: map[string]bool{}}
		for _, name := range []string{"a", "b", "c", "d"} {
			f.status[name], f.answers[name] = workers.Ready, true
		}
		l := &losses{look: f.look, lost: f.lost, jobs: f, scheduler: f, log: hclog.NewNullLogger(), declared: map[string]declaration{}}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			l.keep(ctx)
		}()
		// after lets time pass, and says what was done by then.
		after := func(d time.Duration, avoid, events []string) {
			t.Helper()
			<-time.After(d)
			synctest.Wait()
			f.mu.Lock()
			defer f.mu.Unlock()
			slices.Sort(f.events)
			slices.Sort(f.avoid)
			if diff := cmp.Diff(append([]string{}, avoid...), append([]string{}, f.avoid...)); diff != "" {
				t.Errorf("new tasks are kept off (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(append([]string{}, events...), append([]string{}, f.events...)); diff != "" {
				t.Errorf("given up (-want +got):\n%s", diff)
			}
		}
		after(time.Minute, nil, nil)
		f.do(func() {
			if f.looks > 4 {
				t.Errorf("%d looks at all workers in a minute in which nothing happened", f.looks)
			}
			f.looks = 0
			f.status["a"] = workers.Suspect // and its client answers
		})
		after(time.Second, []string{"id-a"}, nil)
		after(30*time.Second, nil, nil)
		f.do(func() {
			if f.looks > 15 {
				t.Errorf("%d looks in half a minute at a suspect whose client answers", f.looks)
			}
			f.answers["a"] = false
			f.broken = true // nobody can say so
		})
		after(30*time.Second, []string{"id-a"}, nil)
		f.do(func() { f.broken = false })
		after(3*time.Second, []string{"id-a"}, []string{`twice-a by ""`})
		// What came there since, and has not begun, is Nomad's to move; what has begun is not.
		f.do(func() {
			f.late = []nomad.Placed{{Run: "run", Attempt: "twice-later"}, {Run: "run", Attempt: "twice-unseen", Started: true}}
		})
		after(3*time.Second, []string{"id-a"}, []string{`twice-a by ""`, `twice-unseen by ""`})
		f.do(func() { f.late, f.events = nil, []string{`twice-a by ""`} })
		// The half of them at once: that is not believed.
		f.do(func() { f.status["b"], f.answers["b"] = workers.Suspect, false })
		after(30*time.Second, nil, []string{`twice-a by ""`})
		f.do(func() { f.status["a"], f.status["b"], f.answers["b"] = workers.Lost, workers.Ready, true })
		// Somebody knows better than Nomad, and is believed until its client answers.
		l.declare("id-c", "ada", "it burns")
		after(0, []string{"id-c"}, []string{`twice-a by ""`})
		f.do(func() { f.answers["c"], f.status["c"] = false, workers.Suspect })
		after(3*time.Second, []string{"id-c"}, []string{`once-c by "ada"`, `twice-a by ""`, `twice-c by "ada"`})
		// For a moment it may not trust that it leads; and Nomad loses the worker too, which then is no node any more.
		f.do(func() { f.leads = false })
		after(3*time.Second, []string{"id-c"}, []string{`once-c by "ada"`, `twice-a by ""`, `twice-c by "ada"`})
		f.do(func() { f.leads, f.status["c"] = true, workers.Ready })
		after(3*time.Second, []string{"id-c"}, []string{`once-c by "ada"`, `twice-a by ""`, `twice-c by "ada"`})
		f.do(func() { f.answers["c"] = true })
		after(3*time.Second, nil, []string{`once-c by "ada"`, `twice-a by ""`, `twice-c by "ada"`})
		if l.counts()[workers.Lost] != 1 || l.counts()[workers.Ready] != 3 {
			t.Errorf("the workers are %v", l.counts())
		}
		l.declare("id-gone", "ada", "there is no such worker any more")
		after(2*declaredFor, nil, []string{`once-c by "ada"`, `twice-a by ""`, `twice-c by "ada"`})
		l.mu.Lock()
		if len(l.declared) != 0 {
			t.Errorf("declarations stand for ever: %v", l.declared)
		}
		l.mu.Unlock()
		// Another one leads: it looks for itself.
		f.do(func() { f.leads = false })
		after(3*time.Second, nil, []string{`once-c by "ada"`, `twice-a by ""`, `twice-c by "ada"`})
		if len(l.counts()) != 0 {
			t.Errorf("without leading it knows of workers %v", l.counts())
		}
		cancel()
		<-ended
	})
}
