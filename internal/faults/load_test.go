// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package faults

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/client"
	"github.com/cairnflow/cairn/internal/faults/ledger"
)

// load is servers that run after run is sent to, in several slots at once.
type load struct {
	*servers
	plan  *plan
	files []api.File

	slots  sync.WaitGroup
	begun  int // slots
	stop   chan struct{}
	halted sync.Once
	ctx    context.Context // of all slots
	cancel context.CancelFunc
	limit  time.Duration // after which a run that has not ended counts as stuck

	mu   sync.Mutex // guards what follows
	runs []string   // submitted, in order
}

func newLoad(s *servers, p *plan) *load {
	l := &load{servers: s, plan: p, files: p.files(), stop: make(chan struct{}), limit: stuck}
	l.ctx, l.cancel = context.WithCancel(s.g.t.Context())
	s.g.t.Cleanup(l.leave) // where it did not come to its end
	return l
}

// files are the workflow and those that it runs, as they are submitted.
func (p *plan) files() []api.File {
	files := []api.File{{Path: p.name + ".hcl", Bytes: []byte(p.text.String() + "}\n")}}
	for _, child := range p.children {
		for _, f := range child.files() {
			f.Named = true
			if !slices.ContainsFunc(files, func(has api.File) bool { return has.Path == f.Path }) {
				files = append(files, f)
			}
		}
	}
	return files
}

// halt begins no more runs, and returns when those that go on have ended, or the test has.
func (l *load) halt() {
	l.halted.Do(func() { close(l.stop) })
	l.slots.Wait()
}

// leave begins no more runs, and lets those that go on be.
func (l *load) leave() {
	l.cancel()
	l.halt()
}

// anyone calls a server, another one each time it fails, until one answers or ctx ends. What is asked may be asked twice.
func (s *servers) anyone(ctx context.Context, ask func(context.Context, *client.Client) error) error {
	for n := rand.IntN(len(s.all)); ; n++ {
		x, err := client.TCP(client.Server{Address: s.all[n%len(s.all)].address})
		if err != nil {
			return err
		}
		one, cancel := context.WithTimeout(ctx, 30*time.Second)
		err = ask(one, x)
		cancel()
		x.Close()
		var refused *api.Error
		if err == nil || errors.As(err, &refused) && refused.Status < 500 {
			return err
		}
		pause := time.NewTimer(100 * time.Millisecond)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return fmt.Errorf("%w; the last server said: %w", ctx.Err(), err)
		}
	}
}

// keepBusy begins a slot, in which one run goes on after the other until the load halts.
func (l *load) keepBusy(params map[string]json.RawMessage) {
	slot := l.begun
	l.begun++
	l.slots.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-l.stop:
				return
			default:
			}
			if err := l.one(fmt.Sprintf("%d-%d", slot, n), params); err != nil {
				if l.ctx.Err() == nil {
					l.g.t.Error(err)
				}
				return
			}
		}
	})
}

// one has one run, from its submission to its end.
func (l *load) one(key string, params map[string]json.RawMessage) error {
	var id string
	err := l.anyone(l.ctx, func(ctx context.Context, x *client.Client) error {
		e, err := x.Submit(ctx, api.SubmitRequest{Files: l.files, Workflow: l.plan.name, By: "load", Params: params, Key: key})
		id = e.ID
		return err
	})
	if err != nil {
		return fmt.Errorf("submit: %w", err)
	}
	l.mu.Lock()
	l.runs = append(l.runs, id)
	l.mu.Unlock()
	if err := l.await(l.ctx, id); err != nil {
		return fmt.Errorf("run %s: %w", id, err)
	}
	return nil
}

// submitted are the runs so far.
func (l *load) submitted() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.runs)
}

// stuck is after what time without a fault a run that has not ended counts as stuck.
const stuck = 10 * time.Minute

// await waits for the end of a run, through any server.
func (l *load) await(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, l.limit)
	defer cancel()
	for index := uint64(0); ; {
		var run *api.Run
		err := l.anyone(ctx, func(ctx context.Context, x *client.Client) (err error) {
			var next uint64
			if run, next, err = x.Wait(ctx, id, index, 10*time.Second); err == nil {
				index = next
			}
			return err
		})
		if err != nil {
			return err
		}
		if run.Terminal() {
			return nil
		}
	}
}

// end lets the runs that go on end, and judges all there were.
func (l *load) end() (attempts int) {
	t := l.g.t
	t.Helper()
	l.halt()
	known, runs := l.judge()
	slices.Sort(runs)
	slices.Sort(l.runs)
	if !slices.Equal(runs, l.runs) {
		t.Errorf("the servers list %d runs, %d were submitted:\n%v\n%v", len(runs), len(l.runs), runs, l.runs)
	}
	for id, of := range known.strangers {
		t.Errorf("%d lines of the ledger are of run %s, which nobody knows", len(of), id)
	}
	return known.attempts
}

// judged is what the ledger holds of runs.
type judged struct {
	attempts  int                      // that began
	strangers map[string][]ledger.Line // of runs that no server knows
}

// judge holds the ledger against all runs that the servers know, and returns those that the load has started.
func (l *load) judge() (j judged, runs []string) {
	t := l.g.t
	t.Helper()
	docs := map[string]*ledger.Run{}
	for _, e := range l.list() {
		docs[e.ID] = l.document(e.ID)
		if e.Parent == "" && e.Workflow == l.plan.name {
			runs = append(runs, e.ID)
		}
	}
	family := func(id string) string { // the run that somebody started
		for docs[id] != nil && docs[id].Parent != nil {
			id = docs[id].Parent.Run
		}
		return id
	}
	lines := map[string][]ledger.Line{}
	for _, line := range l.g.lines() {
		lines[family(line.Run)] = append(lines[family(line.Run)], line)
		if line.Event == ledger.Begin {
			j.attempts++
		}
	}
	children := map[string][]*ledger.Run{}
	for id, doc := range docs {
		if doc.Parent != nil {
			children[family(id)] = append(children[family(id)], doc)
		}
	}
	for _, id := range runs {
		if wrong := ledger.Judge(ledger.Evidence{Lines: lines[id], Run: docs[id], Children: children[id]}, l.plan.expect); len(wrong) > 0 {
			t.Errorf("run %s:\n%s", id, strings.Join(wrong, "\n"))
		}
		delete(lines, id)
	}
	j.strangers = lines
	return j, runs
}

// list lists all runs that the servers know.
func (s *servers) list() (list []api.RunEntry) {
	t := s.g.t
	t.Helper()
	for next := ""; ; {
		var page api.Runs
		err := s.anyone(t.Context(), func(ctx context.Context, x *client.Client) (err error) {
			page, err = x.Runs(ctx, client.RunsQuery{Children: true, PerPage: 1000, Next: next})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, page.Runs...)
		if next = page.Next; next == "" {
			return list
		}
	}
}

// document reads a run.
func (s *servers) document(id string) *ledger.Run {
	t := s.g.t
	t.Helper()
	var raw []byte
	err := s.anyone(t.Context(), func(ctx context.Context, x *client.Client) error {
		run, err := x.Run(ctx, id)
		if err == nil {
			raw, err = json.Marshal(run)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	run, err := ledger.ParseRun(raw)
	if err != nil {
		t.Fatal(err)
	}
	return run
}

// duration is how long things go on: CAIRN_FAULTS_TIME, or what is given.
func duration(t *testing.T, standard time.Duration) time.Duration {
	t.Helper()
	text := os.Getenv("CAIRN_FAULTS_TIME")
	if text == "" {
		return standard
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		t.Fatalf("CAIRN_FAULTS_TIME is %q, want something like 1h", text)
	}
	return d
}
