// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package porttest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/scheduler"
	"github.com/cairnflow/cairn/internal/workflow"
)

// KeptStore is a store that lets itself be kept in order.
type KeptStore interface {
	scheduler.Store
	scheduler.Housekept
}

// HousekeptGround is an empty store, and how to get a new adapter on the same ground (see StoreGround).
type HousekeptGround struct {
	Store   KeptStore
	Restart func() (KeptStore, error)
}

// Housekept runs the conformance suite of scheduler.Housekept.
func Housekept(t *testing.T, factory func(t testing.TB) HousekeptGround) {
	t.Helper()
	run(t, HousekeptChecks(), factory)
}

// HousekeptChecks lists the rules of scheduler.Housekept.
func HousekeptChecks() []Check[HousekeptGround] {
	return []Check[HousekeptGround]{
		{"the index tells of every run, whatever has happened to it", housekeptIndex},
		{"the index tells how much a run holds", housekeptBytes},
		{"a sweep deletes what nobody names, and nothing else", housekeptSweep},
		{"a sweep that cannot ask everybody deletes nothing", housekeptUnasked},
		{"a sweep with an older epoch is fenced", housekeptFenced},
		{"nothing is swept from under a create", housekeptRace},
	}
}

// endedRecords is the end of a run.
func endedRecords(at workflow.Time) []scheduler.Record {
	head, err := json.Marshal(engine.Head{Version: 1, Status: workflow.RunSucceeded, EndedAt: at})
	if err != nil {
		panic(err) // times and words
	}
	return []scheduler.Record{{Key: scheduler.HeadKey, Value: head}}
}

// indexOf is the index by run, without sizes.
func indexOf(ctx context.Context, s scheduler.Housekept) (map[workflow.RunID]scheduler.Stored, error) {
	index, err := s.Index(ctx)
	out := map[workflow.RunID]scheduler.Stored{}
	for _, run := range index {
		run.Bytes = 0
		out[run.ID] = run
	}
	if err == nil && len(out) != len(index) {
		err = fmt.Errorf("the index names %d runs %d times", len(out), len(index))
	}
	return out, err
}

func housekeptIndex(ctx context.Context, g HousekeptGround) error {
	one, two, three, child := newRun(1), newRun(2), newRun(3), newRun(4)
	child.Parent = workflow.MakeAttemptID(one.ID, 3, 0, 1)
	err := create(ctx, g.Store, 1, one, two, three, child)
	for _, save := range []struct {
		id      workflow.RunID
		records []scheduler.Record
		done    bool
	}{
		{two.ID, endedRecords(200), true},
		{three.ID, endedRecords(300), true},
		{child.ID, endedRecords(100), true},
		{child.ID, []scheduler.Record{{Key: scheduler.HeadKey, Value: []byte(`{"status":"queued"}`)}}, false},
		{child.ID, endedRecords(400), true},
		{three.ID, []scheduler.Record{{Key: scheduler.HeadKey, Value: []byte(`{"status":"queued"}`)}}, false},
	} {
		if err == nil {
			err = g.Store.Save(ctx, 1, save.id, save.records, save.done)
		}
	}
	if err != nil {
		return err
	}
	want := map[workflow.RunID]scheduler.Stored{
		one.ID:   {ID: one.ID},
		two.ID:   {ID: two.ID, Done: true, EndedAt: 200},
		three.ID: {ID: three.ID},
		child.ID: {ID: child.ID, Parent: child.Parent, Done: true, EndedAt: 400},
	}
	for _, what := range []string{"", " after a restart", " after a delete"} {
		got, err := indexOf(ctx, g.Store)
		if err != nil {
			return err
		}
		if d := cmp.Diff(want, got); d != "" {
			return fmt.Errorf("index%s (-want +got):\n%s", what, d)
		}
		switch what {
		case "":
			g.Store, err = g.Restart()
		case " after a restart":
			delete(want, two.ID)
			err = g.Store.Delete(ctx, 1, two.ID)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func housekeptBytes(ctx context.Context, g HousekeptGround) error {
	small, large := newRun(1), newRun(2)
	const size = 100_000
	large.Records = append(large.Records, scheduler.Record{Key: "p/0000", Value: pattern(size, 1)}, scheduler.Record{Key: "c/0001", Value: pattern(size, 2)})
	if err := create(ctx, g.Store, 1, small, large); err != nil {
		return err
	}
	more := append(endedRecords(1), scheduler.Record{Key: "p/0001", Value: pattern(size, 3)}, scheduler.Record{Key: "c/0002", Value: pattern(size, 4)})
	err := errors.Join(g.Store.Save(ctx, 1, small.ID, endedRecords(1), true), g.Store.Save(ctx, 1, large.ID, more, true))
	if err != nil {
		return err
	}
	index, err := g.Store.Index(ctx)
	for _, run := range index {
		low, high := int64(1), int64(2000)
		if run.ID == large.ID {
			low, high = 4*size, 5*size
		}
		if run.Bytes < low || run.Bytes > high {
			err = errors.Join(err, fmt.Errorf("run %s is said to hold %d bytes, want %d to %d", run.ID, run.Bytes, low, high))
		}
	}
	return err
}

// withDefinition makes the definition of a run one that only it has.
func withDefinition(r scheduler.NewRun, name string) scheduler.NewRun {
	r.Definition = scheduler.Definition{Hash: "sha256:" + name, Bytes: []byte("definition " + name)}
	return r
}

// dropped creates runs that are over, and deletes them again.
func dropped(ctx context.Context, s scheduler.Store, runs ...scheduler.NewRun) error {
	for _, r := range runs {
		if err := create(ctx, s, 1, r); err != nil {
			return err
		}
		if err := errors.Join(s.Save(ctx, 1, r.ID, endedRecords(1), true), s.Delete(ctx, 1, r.ID)); err != nil {
			return err
		}
	}
	return nil
}

// sweptAll sweeps until there is nothing more, and compares how much was swept.
func sweptAll(ctx context.Context, s scheduler.Housekept, want int, names ...string) error {
	total := 0
	for more := true; more; {
		swept, again, err := s.Sweep(ctx, 1, func(context.Context) ([]string, error) { return names, nil })
		if err != nil {
			return err
		}
		total, more = total+swept, again
	}
	if total != want {
		return fmt.Errorf("%d swept while %q are named, want %d", total, names, want)
	}
	return nil
}

// wantKeptDefinition compares what a run was stored with.
func wantKeptDefinition(ctx context.Context, s scheduler.Store, r scheduler.NewRun) error {
	_, def, err := s.Load(ctx, r.ID)
	if err == nil && (def.Hash != r.Definition.Hash || !bytes.Equal(def.Bytes, r.Definition.Bytes)) {
		err = fmt.Errorf("run %s has definition %s of %d bytes, want %s of %d", r.ID, def.Hash, len(def.Bytes), r.Definition.Hash, len(r.Definition.Bytes))
	}
	return err
}

func housekeptSweep(ctx context.Context, g HousekeptGround) error {
	stays, over := withDefinition(newRun(1), "a"), withDefinition(newRun(2), "b")
	if err := create(ctx, g.Store, 1, stays, over); err != nil {
		return err
	}
	if err := g.Store.Save(ctx, 1, over.ID, endedRecords(1), true); err != nil {
		return err
	}
	large := withDefinition(newRun(5), "e")
	large.Definition.Bytes = pattern(workflow.MaxDefinitionBytes, 5)
	err := dropped(ctx, g.Store, withDefinition(newRun(3), "c"), withDefinition(newRun(4), "d"), large)
	if err == nil {
		err = sweptAll(ctx, g.Store, 2, "sha256:c", "sha256:unknown") // d and e
	}
	if err == nil {
		err = sweptAll(ctx, g.Store, 0, "sha256:c")
	}
	if err != nil {
		return err
	}
	// What was swept is stored again when it is needed again, by whoever.
	again, first := withDefinition(newRun(6), "d"), withDefinition(newRun(7), "c")
	if err := create(ctx, g.Store, 1, again, first); err != nil {
		return err
	}
	s, err := g.Restart()
	if err != nil {
		return err
	}
	for _, r := range []scheduler.NewRun{stays, over, again, first} {
		err = errors.Join(err, wantKeptDefinition(ctx, s, r))
	}
	return err
}

func housekeptUnasked(ctx context.Context, g HousekeptGround) error {
	if err := dropped(ctx, g.Store, withDefinition(newRun(1), "a")); err != nil {
		return err
	}
	refused := errors.New("nobody answers")
	_, _, err := g.Store.Sweep(ctx, 1, func(context.Context) ([]string, error) { return nil, refused })
	return errors.Join(wantErr("sweep", err, refused), sweptAll(ctx, g.Store, 1))
}

func housekeptFenced(ctx context.Context, g HousekeptGround) error {
	if err := dropped(ctx, g.Store, withDefinition(newRun(1), "a")); err != nil {
		return err
	}
	if err := create(ctx, g.Store, 2, newRun(2)); err != nil {
		return err
	}
	_, _, err := g.Store.Sweep(ctx, 1, func(context.Context) ([]string, error) { return nil, nil })
	return wantErr("sweep", err, scheduler.ErrFenced)
}

// housekeptRace creates and deletes runs of one definition, while sweep follows upon sweep.
func housekeptRace(ctx context.Context, g HousekeptGround) error {
	const creators, runs = 3, 8
	errs := make([]error, creators)
	var creating, sweeping sync.WaitGroup
	for n := range creators {
		creating.Go(func() {
			for i := range runs {
				r := withDefinition(newRun(100*n+i), "shared")
				err := create(ctx, g.Store, 1, r)
				if err == nil {
					err = wantKeptDefinition(ctx, g.Store, r)
				}
				if err == nil {
					err = g.Store.Save(ctx, 1, r.ID, endedRecords(1), true)
				}
				if err == nil {
					err = g.Store.Delete(ctx, 1, r.ID)
				}
				errs[n] = errors.Join(errs[n], err)
			}
		})
	}
	created := make(chan struct{})
	var sweepErr error
	sweeping.Go(func() {
		for {
			select {
			case <-created:
				return
			default:
				_, _, err := g.Store.Sweep(ctx, 1, func(context.Context) ([]string, error) { return nil, nil })
				sweepErr = errors.Join(sweepErr, err)
			}
		}
	})
	creating.Wait()
	close(created)
	sweeping.Wait()
	return errors.Join(append(errs, sweepErr)...)
}
