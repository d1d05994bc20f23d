// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package porttest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/scheduler"
	"github.com/cairnflow/cairn/internal/workflow"
)

// StoreGround is an empty store, and how to get a new adapter on the same ground.
type StoreGround struct {
	Store scheduler.Store
	// Restart makes a new adapter, as after a crash of the process that had the last one; that one is not used any more.
	Restart func() (scheduler.Store, error)
}

// Store runs the conformance suite of scheduler.Store.
func Store(t *testing.T, factory func(t testing.TB) StoreGround) {
	t.Helper()
	run(t, StoreChecks(), factory)
}

// StoreChecks lists the rules of scheduler.Store.
func StoreChecks() []Check[StoreGround] {
	return []Check[StoreGround]{
		{"a created run loads as it was stored", storeLoads},
		{"an unknown run is not found", storeNotFound},
		{"a run ID is taken once", storeIDTaken},
		{"an idempotency key gives back the run that has it", storeKeyTaken},
		{"a refused create leaves nothing behind", storeRefusedCreate},
		{"save replaces, adds and deletes records", storeSaves},
		{"a save with an older epoch is fenced and writes nothing", storeFences},
		{"the fence holds over a restart", storeFenceRestart},
		{"every kind of write raises the fence", storeFenceWrites},
		{"a save without records raises the fence", storeFenceEmpty},
		{"everything survives a restart", storeRestarts},
		{"large values come back whole", storeLarge},
		{"list shows heads, newest first, and filters", storeLists},
		{"list hides child runs unless it is asked for them", storeChildren},
		{"only a run that is done can be deleted, and it frees its key", storeDeletes},
		{"a done run can become active again", storeReopens},
		{"concurrent saves of many runs all arrive", storeConcurrent},
		{"concurrent creates with one key make one run", storeConcurrentKey},
		{"a reader sees all records of a save or none", storeAtomic},
		{"the cluster's UUID never changes", storeCluster},
		{"values do not change with the caller's buffers", storeCopies},
		{"many runs load at once as they load one by one", storeBulk},
	}
}

func newRun(n int) scheduler.NewRun {
	return scheduler.NewRun{
		ID: runID(n), Workflow: "nightly", Namespace: "default", CreatedAt: workflow.Time(1_700_000_000_000_000_000 + int64(n)),
		Definition: scheduler.Definition{Hash: "sha256:abc", Bytes: []byte("definition bytes")},
		Records: []scheduler.Record{
			{Key: "c/0000", Value: []byte(`{"chunk":0}`)},
			{Key: scheduler.HeadKey, Value: fmt.Appendf(nil, `{"head":%d}`, n)},
			{Key: engine.InputKey, Value: []byte(`{"input":true}`)},
		},
	}
}

func create(ctx context.Context, s scheduler.Store, epoch uint64, runs ...scheduler.NewRun) error {
	for _, r := range runs {
		id, err := s.Create(ctx, epoch, r)
		if err != nil {
			return err
		}
		if id != r.ID {
			return fmt.Errorf("create %s: got ID %s", r.ID, id)
		}
	}
	return nil
}

// wantRecords compares what is stored of a run, in the order of the keys.
func wantRecords(ctx context.Context, s scheduler.Store, id workflow.RunID, want ...scheduler.Record) error {
	got, _, err := s.Load(ctx, id)
	if err != nil {
		return err
	}
	want = slices.Clone(want)
	slices.SortFunc(want, func(a, b scheduler.Record) int { return strings.Compare(a.Key, b.Key) })
	if d := cmp.Diff(want, got); d != "" {
		return fmt.Errorf("records of run %s (-want +got):\n%s", id, d)
	}
	return nil
}

func wantErr(what string, got, want error) error {
	if !errors.Is(got, want) {
		return fmt.Errorf("%s: got error %v, want %v", what, got, want)
	}
	return nil
}

func storeLoads(ctx context.Context, g StoreGround) error {
	r := newRun(1)
	if err := create(ctx, g.Store, 1, r); err != nil {
		return err
	}
	_, def, err := g.Store.Load(ctx, r.ID)
	if err != nil {
		return err
	}
	if d := cmp.Diff(r.Definition, def); d != "" {
		return fmt.Errorf("definition (-want +got):\n%s", d)
	}
	return wantRecords(ctx, g.Store, r.ID, r.Records...)
}

func storeNotFound(ctx context.Context, g StoreGround) error {
	if err := create(ctx, g.Store, 1, newRun(1)); err != nil {
		return err
	}
	_, _, err := g.Store.Load(ctx, runID(2))
	return errors.Join(
		wantErr("load", err, scheduler.ErrNotFound),
		wantErr("save", g.Store.Save(ctx, 1, runID(2), newRun(2).Records, false), scheduler.ErrNotFound),
		wantErr("delete", g.Store.Delete(ctx, 1, runID(2)), scheduler.ErrNotFound))
}

func storeIDTaken(ctx context.Context, g StoreGround) error {
	r := newRun(1)
	if err := create(ctx, g.Store, 1, r); err != nil {
		return err
	}
	other := newRun(1)
	other.Records = []scheduler.Record{{Key: scheduler.HeadKey, Value: []byte("other")}}
	id, err := g.Store.Create(ctx, 1, other)
	if id != r.ID {
		return fmt.Errorf("got ID %q of the run that exists, want %q", id, r.ID)
	}
	return errors.Join(wantErr("second create", err, scheduler.ErrExists), wantRecords(ctx, g.Store, r.ID, r.Records...))
}

func storeKeyTaken(ctx context.Context, g StoreGround) error {
	first, second := newRun(1), newRun(2)
	first.IdempotencyKey, second.IdempotencyKey = "key", "key"
	if err := create(ctx, g.Store, 1, first); err != nil {
		return err
	}
	for range 2 {
		id, err := g.Store.Create(ctx, 1, second)
		if id != first.ID {
			return fmt.Errorf("got ID %q, want %q of the first run with the key", id, first.ID)
		}
		if err := wantErr("create with a taken key", err, scheduler.ErrExists); err != nil {
			return err
		}
		s, err := g.Restart()
		if err != nil {
			return err
		}
		g.Store = s
	}
	otherWorkflow, otherNamespace, none := newRun(3), newRun(4), newRun(5)
	otherWorkflow.IdempotencyKey, otherWorkflow.Workflow = "key", "weekly"
	otherNamespace.IdempotencyKey, otherNamespace.Namespace = "key", "other"
	if err := create(ctx, g.Store, 1, otherWorkflow, otherNamespace, none, newRun(6)); err != nil {
		return fmt.Errorf("a key counts per namespace and workflow, and no key is no key: %w", err)
	}
	return nil
}

func storeRefusedCreate(ctx context.Context, g StoreGround) error {
	first, second := newRun(1), newRun(2)
	first.IdempotencyKey, second.IdempotencyKey = "key", "key"
	if err := create(ctx, g.Store, 5, first); err != nil {
		return err
	}
	fenced := newRun(3)
	fenced.IdempotencyKey = "key of a fenced create"
	_, keyErr := g.Store.Create(ctx, 5, second)
	_, fenceErr := g.Store.Create(ctx, 4, fenced)
	list, err := g.Store.List(ctx, scheduler.Filter{})
	if err != nil {
		return err
	}
	if len(list) != 1 || list[0].ID != first.ID {
		return fmt.Errorf("list shows %v, want only the first run", list)
	}
	_, _, secondErr := g.Store.Load(ctx, second.ID)
	fenced.ID = runID(4)
	return errors.Join(
		wantErr("create with a taken key", keyErr, scheduler.ErrExists),
		wantErr("create with an old epoch", fenceErr, scheduler.ErrFenced),
		wantErr("load of the refused run", secondErr, scheduler.ErrNotFound),
		create(ctx, g.Store, 5, fenced)) // its key is free
}

func storeSaves(ctx context.Context, g StoreGround) error {
	r := newRun(1)
	if err := create(ctx, g.Store, 1, r, newRun(2)); err != nil {
		return err
	}
	err := g.Store.Save(ctx, 1, r.ID, []scheduler.Record{
		{Key: scheduler.HeadKey, Value: []byte("new head")},
		{Key: "c/0001", Value: []byte("new chunk")},
		{Key: "c/0000", Value: nil},
		{Key: "c/9999", Value: nil}, // was never there
		{Key: "empty", Value: []byte{}},
	}, false)
	if err != nil {
		return err
	}
	return errors.Join(
		wantRecords(ctx, g.Store, r.ID,
			scheduler.Record{Key: "c/0001", Value: []byte("new chunk")},
			scheduler.Record{Key: "empty", Value: []byte{}},
			scheduler.Record{Key: scheduler.HeadKey, Value: []byte("new head")},
			r.Records[2]),
		wantRecords(ctx, g.Store, runID(2), newRun(2).Records...))
}

func storeFences(ctx context.Context, g StoreGround) error {
	r := newRun(1)
	if err := create(ctx, g.Store, 7, r); err != nil {
		return err
	}
	err := g.Store.Save(ctx, 6, r.ID, []scheduler.Record{{Key: scheduler.HeadKey, Value: []byte("deposed")}}, true)
	list, listErr := g.Store.List(ctx, scheduler.Filter{Active: true})
	if listErr != nil || len(list) != 1 {
		return errors.Join(listErr, fmt.Errorf("%d active runs after the fenced save, want 1", len(list)))
	}
	return errors.Join(
		wantErr("save", err, scheduler.ErrFenced),
		wantErr("delete", g.Store.Delete(ctx, 6, r.ID), scheduler.ErrFenced),
		wantRecords(ctx, g.Store, r.ID, r.Records...),
		g.Store.Save(ctx, 7, r.ID, nil, false),
		g.Store.Save(ctx, 8, r.ID, nil, false))
}

func storeFenceRestart(ctx context.Context, g StoreGround) error {
	r := newRun(1)
	if err := create(ctx, g.Store, 7, r); err != nil {
		return err
	}
	s, err := g.Restart()
	if err != nil {
		return err
	}
	return wantErr("save with an old epoch", s.Save(ctx, 6, r.ID, r.Records, false), scheduler.ErrFenced)
}

func storeFenceWrites(ctx context.Context, g StoreGround) error {
	one, two := newRun(1), newRun(2)
	if err := create(ctx, g.Store, 1, one, two); err != nil {
		return err
	}
	if err := g.Store.Save(ctx, 2, one.ID, one.Records, true); err != nil {
		return err
	}
	// The fence is the store's, not the run's: a leader of epoch 1 may not touch the other run either.
	if err := wantErr("save of another run", g.Store.Save(ctx, 1, two.ID, two.Records, true), scheduler.ErrFenced); err != nil {
		return err
	}
	if err := g.Store.Delete(ctx, 3, one.ID); err != nil {
		return err
	}
	if err := wantErr("save after a delete", g.Store.Save(ctx, 2, two.ID, two.Records, true), scheduler.ErrFenced); err != nil {
		return err
	}
	if err := create(ctx, g.Store, 4, newRun(3)); err != nil {
		return err
	}
	return wantErr("save after a create", g.Store.Save(ctx, 3, two.ID, two.Records, true), scheduler.ErrFenced)
}

func storeFenceEmpty(ctx context.Context, g StoreGround) error {
	one, two := newRun(1), newRun(2)
	if err := create(ctx, g.Store, 1, one); err != nil {
		return err
	}
	if err := g.Store.Save(ctx, 2, one.ID, nil, false); err != nil {
		return err
	}
	// A leader that was deposed may be late with anything: with a new run too.
	_, err := g.Store.Create(ctx, 1, two)
	return errors.Join(
		wantErr("create with the epoch before", err, scheduler.ErrFenced),
		wantErr("save with the epoch before", g.Store.Save(ctx, 1, one.ID, one.Records, false), scheduler.ErrFenced))
}

func storeRestarts(ctx context.Context, g StoreGround) error {
	r := newRun(1)
	if err := create(ctx, g.Store, 1, r); err != nil {
		return err
	}
	for i := range 5 {
		head := scheduler.Record{Key: scheduler.HeadKey, Value: fmt.Appendf(nil, "head %d", i)}
		if err := g.Store.Save(ctx, 1, r.ID, []scheduler.Record{head}, false); err != nil {
			return err
		}
		s, err := g.Restart()
		if err != nil {
			return err
		}
		g.Store = s
		if err := wantRecords(ctx, s, r.ID, r.Records[0], head, r.Records[2]); err != nil {
			return fmt.Errorf("after restart %d: %w", i, err)
		}
	}
	return nil
}

func storeLarge(ctx context.Context, g StoreGround) error {
	r := newRun(1)
	r.Definition.Bytes = pattern(workflow.MaxDefinitionBytes, 3)
	r.Records = nil
	for i := range 8 {
		r.Records = append(r.Records, scheduler.Record{Key: fmt.Sprintf("p/%04d", i), Value: pattern(workflow.MaxTaskOutputBytes, i)})
	}
	if err := create(ctx, g.Store, 1, r); err != nil {
		return err
	}
	changed := scheduler.Record{Key: "p/0003", Value: pattern(workflow.MaxTaskOutputBytes+1000, 99)}
	if err := g.Store.Save(ctx, 1, r.ID, []scheduler.Record{changed}, false); err != nil {
		return err
	}
	s, err := g.Restart()
	if err != nil {
		return err
	}
	r.Records[3] = changed
	records, def, err := s.Load(ctx, r.ID)
	if err != nil {
		return err
	}
	if !bytes.Equal(def.Bytes, r.Definition.Bytes) {
		return fmt.Errorf("definition of %d bytes came back as other %d bytes", len(r.Definition.Bytes), len(def.Bytes))
	}
	if len(records) != len(r.Records) {
		return fmt.Errorf("got %d records, want %d", len(records), len(r.Records))
	}
	for i, rec := range records {
		if rec.Key != r.Records[i].Key || !bytes.Equal(rec.Value, r.Records[i].Value) {
			return fmt.Errorf("record %d: got %s with %d bytes, want %s with %d bytes (or they differ inside)",
				i, rec.Key, len(rec.Value), r.Records[i].Key, len(r.Records[i].Value))
		}
	}
	return nil
}

func pattern(n, seed int) []byte {
	b := make([]byte, n)
	x := uint32(seed)*2654435761 + 1
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return b
}

func storeLists(ctx context.Context, g StoreGround) error {
	one, two, three := newRun(1), newRun(2), newRun(3)
	two.Workflow, two.Namespace = "weekly", "other"
	two.Labels, three.Labels = map[string]string{"team": "data", "tier": "1"}, map[string]string{"team": "data", "tier": "2"}
	if err := create(ctx, g.Store, 1, two, three, one); err != nil {
		return err
	}
	head := scheduler.Record{Key: scheduler.HeadKey, Value: []byte("ended")}
	if err := g.Store.Save(ctx, 1, three.ID, []scheduler.Record{head}, true); err != nil {
		return err
	}
	sum := func(r scheduler.NewRun, head []byte, done bool) scheduler.Summary {
		return summaryOf(r, head, done)
	}
	all := []scheduler.Summary{sum(three, head.Value, true), sum(two, two.Records[1].Value, false), sum(one, one.Records[1].Value, false)}
	var errs []error
	for _, c := range []struct {
		filter scheduler.Filter
		want   []scheduler.Summary
	}{
		{scheduler.Filter{}, all},
		{scheduler.Filter{Active: true}, all[1:]},
		{scheduler.Filter{Workflow: "nightly"}, []scheduler.Summary{all[0], all[2]}},
		{scheduler.Filter{Active: true, Workflow: "nightly"}, all[2:]},
		{scheduler.Filter{Workflow: "unknown"}, nil},
		{scheduler.Filter{Done: true}, all[:1]},
		{scheduler.Filter{Namespace: "other"}, all[1:2]},
		{scheduler.Filter{Labels: map[string]string{"team": "data"}}, all[:2]},
		{scheduler.Filter{Labels: map[string]string{"team": "data", "tier": "1"}}, all[1:2]},
		{scheduler.Filter{Labels: map[string]string{"team": ""}}, nil},
		{scheduler.Filter{Labels: map[string]string{"none": ""}}, nil},
		{scheduler.Filter{Since: two.CreatedAt}, all[:2]},
		{scheduler.Filter{Until: two.CreatedAt}, all[2:]},
		{scheduler.Filter{Since: two.CreatedAt, Until: three.CreatedAt}, all[1:2]},
		{scheduler.Filter{Limit: 2}, all[:2]},
		{scheduler.Filter{Limit: 5}, all},
		{scheduler.Filter{Before: three.ID, Limit: 1}, all[1:2]},
		{scheduler.Filter{Before: two.ID}, all[2:]},
		{scheduler.Filter{Before: one.ID}, nil},
		{scheduler.Filter{Before: runID(9), Workflow: "nightly", Limit: 1}, all[:1]},
		{scheduler.Filter{Workflow: "nightly", Before: three.ID, Limit: 1}, all[2:]},
	} {
		got, err := g.Store.List(ctx, c.filter)
		if err != nil {
			return err
		}
		if len(got) == 0 {
			got = nil
		}
		if d := cmp.Diff(c.want, got); d != "" {
			errs = append(errs, fmt.Errorf("list %+v (-want +got):\n%s", c.filter, d))
		}
	}
	if err := g.Store.Delete(ctx, 1, three.ID); err != nil {
		return err
	}
	got, err := g.Store.List(ctx, scheduler.Filter{Before: three.ID, Limit: 1})
	if d := cmp.Diff(all[1:2], got); err != nil || d != "" {
		errs = append(errs, fmt.Errorf("list behind a run that is gone: %v (-want +got):\n%s", err, d))
	}
	return errors.Join(errs...)
}

func summaryOf(r scheduler.NewRun, head []byte, done bool) scheduler.Summary {
	return scheduler.Summary{
		ID: r.ID, Workflow: r.Workflow, Namespace: r.Namespace, Parent: r.Parent, Labels: r.Labels, CreatedAt: r.CreatedAt, Done: done, Head: head,
	}
}

func storeChildren(ctx context.Context, g StoreGround) error {
	parent, child := newRun(1), newRun(2)
	child.Parent = workflow.MakeAttemptID(parent.ID, 3, 0, 1)
	if err := create(ctx, g.Store, 1, parent, child); err != nil {
		return err
	}
	// Where the run comes from outlives whatever happens to it.
	if err := errors.Join(g.Store.Save(ctx, 1, child.ID, nil, true), g.Store.Save(ctx, 1, child.ID, nil, false)); err != nil {
		return err
	}
	s, err := g.Restart()
	if err != nil {
		return err
	}
	started := []scheduler.Summary{summaryOf(parent, parent.Records[1].Value, false)}
	all := append([]scheduler.Summary{summaryOf(child, child.Records[1].Value, false)}, started...)
	var errs []error
	for _, c := range []struct {
		filter scheduler.Filter
		want   []scheduler.Summary
	}{
		{scheduler.Filter{}, started},
		{scheduler.Filter{Active: true}, started},
		{scheduler.Filter{Children: true}, all},
		{scheduler.Filter{Active: true, Children: true, Workflow: "nightly"}, all},
	} {
		got, err := s.List(ctx, c.filter)
		if err != nil {
			return err
		}
		if d := cmp.Diff(c.want, got); d != "" {
			errs = append(errs, fmt.Errorf("list %+v (-want +got):\n%s", c.filter, d))
		}
	}
	return errors.Join(errs...)
}

func storeDeletes(ctx context.Context, g StoreGround) error {
	r, neighbour := newRun(1), newRun(2)
	r.IdempotencyKey = "key"
	if err := create(ctx, g.Store, 1, r, neighbour); err != nil {
		return err
	}
	if err := wantErr("delete of an active run", g.Store.Delete(ctx, 1, r.ID), scheduler.ErrConflict); err != nil {
		return err
	}
	if err := errors.Join(g.Store.Save(ctx, 1, r.ID, nil, true), g.Store.Delete(ctx, 1, r.ID)); err != nil {
		return err
	}
	_, _, err := g.Store.Load(ctx, r.ID)
	if err := wantErr("load of a deleted run", err, scheduler.ErrNotFound); err != nil {
		return err
	}
	if _, def, err := g.Store.Load(ctx, neighbour.ID); err != nil || !bytes.Equal(def.Bytes, neighbour.Definition.Bytes) {
		return fmt.Errorf("the neighbour's definition after the delete: %q, error %v; want %q", def.Bytes, err, neighbour.Definition.Bytes)
	}
	again := newRun(3)
	again.IdempotencyKey = "key"
	return errors.Join(wantRecords(ctx, g.Store, neighbour.ID, neighbour.Records...), create(ctx, g.Store, 1, again))
}

func storeReopens(ctx context.Context, g StoreGround) error {
	r := newRun(1)
	r.IdempotencyKey = "key"
	if err := create(ctx, g.Store, 1, r); err != nil {
		return err
	}
	for i, done := range []bool{true, false} {
		if err := g.Store.Save(ctx, 1, r.ID, nil, done); err != nil {
			return err
		}
		list, err := g.Store.List(ctx, scheduler.Filter{Active: true})
		if err != nil {
			return err
		}
		if len(list) != i {
			return fmt.Errorf("%d active runs after a save with done = %t, want %d", len(list), done, i)
		}
	}
	if err := wantErr("delete of a run that is active again", g.Store.Delete(ctx, 1, r.ID), scheduler.ErrConflict); err != nil {
		return err
	}
	s, err := g.Restart()
	if err != nil {
		return err
	}
	list, err := s.List(ctx, scheduler.Filter{Active: true})
	if err != nil {
		return err
	}
	if len(list) != 1 || list[0].Done {
		return fmt.Errorf("after a restart the list of active runs is %+v, want the run that was made active again", list)
	}
	second := newRun(2)
	second.IdempotencyKey = "key"
	_, err = s.Create(ctx, 1, second)
	return wantErr("create with the key of a run that was over and is active again", err, scheduler.ErrExists)
}

func storeConcurrent(ctx context.Context, g StoreGround) error {
	const runs, saves = 8, 20
	errs := make([]error, runs)
	var wg sync.WaitGroup
	for n := range runs {
		wg.Go(func() {
			r := newRun(n)
			errs[n] = create(ctx, g.Store, 1, r)
			for i := range saves {
				errs[n] = errors.Join(errs[n], g.Store.Save(ctx, 1, r.ID, []scheduler.Record{
					{Key: fmt.Sprintf("p/%04d", i), Value: fmt.Appendf(nil, "%d of %d", i, n)}}, false))
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	s, err := g.Restart()
	if err != nil {
		return err
	}
	for n := range runs {
		want := newRun(n).Records
		for i := range saves {
			want = append(want, scheduler.Record{Key: fmt.Sprintf("p/%04d", i), Value: fmt.Appendf(nil, "%d of %d", i, n)})
		}
		if err := wantRecords(ctx, s, runID(n), want...); err != nil {
			return err
		}
	}
	return nil
}

func storeConcurrentKey(ctx context.Context, g StoreGround) error {
	const contenders = 8
	ids, errs := make([]workflow.RunID, contenders), make([]error, contenders)
	var wg sync.WaitGroup
	for n := range contenders {
		wg.Go(func() {
			r := newRun(n)
			r.IdempotencyKey = "key"
			ids[n], errs[n] = g.Store.Create(ctx, 1, r)
		})
	}
	wg.Wait()
	made := 0
	for n := range contenders {
		switch {
		case errs[n] == nil:
			made++
		case !errors.Is(errs[n], scheduler.ErrExists):
			return errs[n]
		}
		if ids[n] != ids[0] {
			return fmt.Errorf("two runs for one key: %s and %s", ids[0], ids[n])
		}
	}
	if made != 1 {
		return fmt.Errorf("%d creates with one key succeeded, want 1", made)
	}
	return nil
}

func storeAtomic(ctx context.Context, g StoreGround) error {
	r := newRun(1)
	const parts, saves = 10, 30
	set := func(v int) []scheduler.Record {
		var rs []scheduler.Record
		for p := range parts {
			rs = append(rs, scheduler.Record{Key: fmt.Sprintf("p/%04d", p), Value: fmt.Appendf(nil, "%d", v)})
		}
		return rs
	}
	r.Records = set(0)
	if err := create(ctx, g.Store, 1, r); err != nil {
		return err
	}
	written := make(chan error, 1)
	go func() {
		var err error
		for v := 1; v <= saves && err == nil; v++ {
			err = g.Store.Save(ctx, 1, r.ID, set(v), false)
		}
		written <- err
	}()
	for {
		records, _, err := g.Store.Load(ctx, r.ID)
		if err == nil && len(records) != parts {
			err = fmt.Errorf("%d records, want %d", len(records), parts)
		}
		for _, rec := range records {
			if !bytes.Equal(rec.Value, records[0].Value) {
				err = fmt.Errorf("%s holds save %s, %s holds save %s", records[0].Key, records[0].Value, rec.Key, rec.Value)
			}
		}
		select {
		case werr := <-written:
			return errors.Join(err, werr)
		default:
			if err != nil {
				return errors.Join(err, <-written)
			}
		}
	}
}

func storeCluster(ctx context.Context, g StoreGround) error {
	first, err := g.Store.Cluster(ctx)
	if err != nil {
		return err
	}
	if len(first) != 36 || strings.Count(first, "-") != 4 {
		return fmt.Errorf("cluster %q, want a UUID", first)
	}
	s, err := g.Restart()
	if err != nil {
		return err
	}
	second, err := s.Cluster(ctx)
	if err == nil && first != second {
		err = fmt.Errorf("cluster %s became %s", first, second)
	}
	return err
}

func storeCopies(ctx context.Context, g StoreGround) error {
	r, want := newRun(1), newRun(1)
	if err := create(ctx, g.Store, 1, r); err != nil {
		return err
	}
	for _, rec := range r.Records {
		clear(rec.Value)
	}
	clear(r.Definition.Bytes)
	records, def, err := g.Store.Load(ctx, r.ID)
	if err != nil {
		return err
	}
	for _, rec := range records {
		clear(rec.Value)
	}
	clear(def.Bytes)
	return wantRecords(ctx, g.Store, r.ID, want.Records...)
}
