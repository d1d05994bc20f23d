// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package porttest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnflow/cairn/internal/scheduler"
	"github.com/cairnflow/cairn/internal/workflow"
)

// CatalogStore is a catalog and a store that share their definitions and their fence.
type CatalogStore interface {
	scheduler.Catalog
	scheduler.Store
}

// CatalogGround is an empty catalog and store, and how to get a new adapter on the same ground.
type CatalogGround struct {
	CatalogStore
	// Restart makes a new adapter, as after a crash of the process that had the last one; that one is not used any more.
	Restart func() (CatalogStore, error)
}

// Catalog runs the conformance suite of scheduler.Catalog.
func Catalog(t *testing.T, factory func(t testing.TB) CatalogGround) {
	t.Helper()
	run(t, CatalogChecks(), factory)
}

// CatalogChecks lists the rules of scheduler.Catalog.
func CatalogChecks() []Check[CatalogGround] {
	return []Check[CatalogGround]{
		{"what was never registered has no serial", catalogEmpty},
		{"a registration and its definition read back as they were written", catalogReads},
		{"a list has the registered workflows of one namespace by name", catalogLists},
		{"everything is written or nothing", catalogAtomic},
		{"a change of what has changed meanwhile is a conflict", catalogConflict},
		{"of changes made at once one is written", catalogConcurrent},
		{"an older epoch is fenced and writes nothing", catalogFences},
		{"the fence is that of the runs", catalogFenceOfRuns},
		{"the fence holds over a restart", catalogFenceRestart},
		{"everything survives a restart", catalogRestarts},
		{"a deleted workflow is remembered by its number only", catalogDeletes},
		{"an unknown definition is not found", catalogUnknownDefinition},
		{"a definition of another encoding stays as it is", catalogDefinitionOnce},
		{"the definitions that registrations name are listed", catalogNamed},
		{"the definition of a registration outlives the runs of it", catalogOutlivesRuns},
		{"the definition of a run outlives the registrations of it", catalogOutlivesRegistrations},
		{"as many as one apply changes are written at once", catalogLarge},
	}
}

// registration is the nth version of a workflow, and the definition that it names.
func registration(name string, versions int) (workflow.Registration, []scheduler.Definition) {
	r := workflow.Registration{Namespace: "default", Name: name}
	var defs []scheduler.Definition
	for n := 1; n <= versions; n++ {
		def := definitionOf(name, n)
		r, _ = r.Apply(def.Hash, workflow.Time(1_700_000_000_000_000_000+int64(n)), "ada")
		defs = append(defs, def)
	}
	return r, defs
}

func definitionOf(name string, n int) scheduler.Definition {
	return scheduler.Definition{Hash: fmt.Sprintf("sha256:%s%d", name, n), Bytes: fmt.Appendf(nil, "definition %d of %s", n, name)}
}

// register registers workflows version by version.
func register(ctx context.Context, c scheduler.Catalog, epoch uint64, versions int, names ...string) error {
	for n := 1; n <= versions; n++ {
		var all []workflow.Registration
		var defs []scheduler.Definition
		for _, name := range names {
			r, d := registration(name, n)
			all, defs = append(all, r), append(defs, d[n-1])
		}
		if err := c.Register(ctx, epoch, all, defs); err != nil {
			return err
		}
	}
	return nil
}

// wantRegistration compares what is stored of a workflow.
func wantRegistration(ctx context.Context, c scheduler.Catalog, want workflow.Registration) error {
	got, err := c.Registration(ctx, want.Namespace, want.Name)
	if err != nil {
		return err
	}
	if d := cmp.Diff(want, got); d != "" {
		return fmt.Errorf("registration of workflow %s (-want +got):\n%s", want.Name, d)
	}
	return nil
}

func wantDefinition(ctx context.Context, c scheduler.Catalog, want scheduler.Definition) error {
	got, err := c.Definition(ctx, want.Hash)
	if err != nil {
		return err
	}
	if got.Hash != want.Hash || !bytes.Equal(got.Bytes, want.Bytes) {
		return fmt.Errorf("definition %s: got %q of hash %s, want %q", want.Hash, got.Bytes, got.Hash, want.Bytes)
	}
	return nil
}

func catalogEmpty(ctx context.Context, g CatalogGround) error {
	list, err := g.Registrations(ctx, "default")
	if err != nil {
		return err
	}
	named, err := g.Named(ctx)
	if err != nil {
		return err
	}
	if len(list)+len(named) != 0 {
		return fmt.Errorf("an empty catalog lists %v and names %v", list, named)
	}
	return wantRegistration(ctx, g, workflow.Registration{Namespace: "default", Name: "nightly"})
}

func catalogReads(ctx context.Context, g CatalogGround) error {
	if err := register(ctx, g, 1, 2, "nightly"); err != nil {
		return err
	}
	want, defs := registration("nightly", 2)
	return errors.Join(wantRegistration(ctx, g, want), wantDefinition(ctx, g, defs[0]), wantDefinition(ctx, g, defs[1]))
}

func catalogLists(ctx context.Context, g CatalogGround) error {
	if err := register(ctx, g, 1, 1, "weekly", "nightly", "daily"); err != nil {
		return err
	}
	daily, _ := registration("daily", 1)
	near, defs := registration("other", 1)
	near.Namespace = "default2" // begins like the other one
	if err := g.Register(ctx, 1, []workflow.Registration{daily.Delete(), near}, defs); err != nil {
		return err
	}
	nightly, _ := registration("nightly", 1)
	weekly, _ := registration("weekly", 1)
	for namespace, want := range map[string][]workflow.Registration{"default": {nightly, weekly}, "default2": {near}, "default3": nil} {
		got, err := g.Registrations(ctx, namespace)
		if err != nil {
			return err
		}
		if d := cmp.Diff(want, got); d != "" {
			return fmt.Errorf("list of namespace %s (-want +got):\n%s", namespace, d)
		}
	}
	return nil
}

func catalogAtomic(ctx context.Context, g CatalogGround) error {
	if err := register(ctx, g, 1, 1, "second"); err != nil {
		return err
	}
	first, defs := registration("first", 1)
	stale, more := registration("second", 1)
	err := g.Register(ctx, 1, []workflow.Registration{first, stale}, append(defs, more...))
	return errors.Join(
		wantErr("a change of which a part is stale", err, scheduler.ErrConflict),
		wantRegistration(ctx, g, workflow.Registration{Namespace: "default", Name: "first"}))
}

func catalogConflict(ctx context.Context, g CatalogGround) error {
	if err := register(ctx, g, 1, 2, "nightly"); err != nil {
		return err
	}
	first, defs := registration("nightly", 1)
	ahead, _ := registration("nightly", 4)
	now, _ := registration("nightly", 2)
	same := now
	return errors.Join(
		wantErr("the first version again", g.Register(ctx, 1, []workflow.Registration{first}, defs), scheduler.ErrConflict),
		wantErr("the same version again", g.Register(ctx, 1, []workflow.Registration{same}, nil), scheduler.ErrConflict),
		wantErr("a version too far", g.Register(ctx, 1, []workflow.Registration{ahead}, nil), scheduler.ErrConflict),
		wantRegistration(ctx, g, now))
}

func catalogConcurrent(ctx context.Context, g CatalogGround) error {
	const contenders = 8
	if err := register(ctx, g, 1, 1, "nightly"); err != nil {
		return err
	}
	base, _ := registration("nightly", 1)
	wanted, errs := make([]workflow.Registration, contenders), make([]error, contenders)
	var wg sync.WaitGroup
	for n := range contenders {
		wg.Go(func() {
			def := definitionOf("nightly", 100+n)
			wanted[n], _ = base.Apply(def.Hash, workflow.Time(n), "bob")
			errs[n] = g.Register(ctx, 1, []workflow.Registration{wanted[n]}, []scheduler.Definition{def})
		})
	}
	wg.Wait()
	winner := -1
	for n, err := range errs {
		switch {
		case err == nil && winner >= 0:
			return fmt.Errorf("changes %d and %d of one version are both written", winner, n)
		case err == nil:
			winner = n
		case !errors.Is(err, scheduler.ErrConflict):
			return err
		}
	}
	if winner < 0 {
		return fmt.Errorf("none of %d changes made at once is written", contenders)
	}
	return errors.Join(wantRegistration(ctx, g, wanted[winner]), wantDefinition(ctx, g, definitionOf("nightly", 100+winner)))
}

func catalogFences(ctx context.Context, g CatalogGround) error {
	if err := register(ctx, g, 7, 1, "nightly"); err != nil {
		return err
	}
	now, _ := registration("nightly", 1)
	next, defs := registration("nightly", 2)
	if err := wantErr("a change by an older epoch", g.Register(ctx, 6, []workflow.Registration{next}, defs[1:]), scheduler.ErrFenced); err != nil {
		return err
	}
	return errors.Join(wantRegistration(ctx, g, now), g.Register(ctx, 8, []workflow.Registration{next}, defs[1:]))
}

func catalogFenceOfRuns(ctx context.Context, g CatalogGround) error {
	if err := create(ctx, g, 1, newRun(1)); err != nil {
		return err
	}
	if err := register(ctx, g, 7, 1, "nightly"); err != nil {
		return err
	}
	if err := wantErr("a save by an older epoch than a registration's", g.Save(ctx, 6, runID(1), nil, false), scheduler.ErrFenced); err != nil {
		return err
	}
	if err := g.Save(ctx, 9, runID(1), nil, false); err != nil {
		return err
	}
	next, defs := registration("nightly", 2)
	return wantErr("a change by an older epoch than a save's", g.Register(ctx, 8, []workflow.Registration{next}, defs), scheduler.ErrFenced)
}

func catalogFenceRestart(ctx context.Context, g CatalogGround) error {
	if err := register(ctx, g, 7, 1, "nightly"); err != nil {
		return err
	}
	s, err := g.Restart()
	if err != nil {
		return err
	}
	next, defs := registration("nightly", 2)
	return wantErr("a change by an older epoch", s.Register(ctx, 6, []workflow.Registration{next}, defs), scheduler.ErrFenced)
}

func catalogRestarts(ctx context.Context, g CatalogGround) error {
	if err := register(ctx, g, 1, 3, "nightly", "weekly"); err != nil {
		return err
	}
	s, err := g.Restart()
	if err != nil {
		return err
	}
	nightly, defs := registration("nightly", 3)
	weekly, more := registration("weekly", 3)
	errs := []error{wantRegistration(ctx, s, nightly), wantRegistration(ctx, s, weekly)}
	for _, def := range append(defs, more...) {
		errs = append(errs, wantDefinition(ctx, s, def))
	}
	return errors.Join(errs...)
}

func catalogDeletes(ctx context.Context, g CatalogGround) error {
	if err := register(ctx, g, 1, 2, "nightly"); err != nil {
		return err
	}
	now, _ := registration("nightly", 2)
	gone := now.Delete()
	if err := g.Register(ctx, 1, []workflow.Registration{gone}, nil); err != nil {
		return err
	}
	s, err := g.Restart()
	if err != nil {
		return err
	}
	if err := wantRegistration(ctx, s, gone); err != nil {
		return err
	}
	def := definitionOf("nightly", 1)
	again, _ := gone.Apply(def.Hash, 1, "bob")
	if err := s.Register(ctx, 1, []workflow.Registration{again}, []scheduler.Definition{def}); err != nil {
		return err
	}
	if v, _ := again.Current(); v.Number != 3 {
		return fmt.Errorf("after the deletion of version 2 the next one is %d", v.Number)
	}
	return errors.Join(wantRegistration(ctx, s, again), wantDefinition(ctx, s, def))
}

func catalogUnknownDefinition(ctx context.Context, g CatalogGround) error {
	if err := register(ctx, g, 1, 1, "nightly"); err != nil {
		return err
	}
	_, err := g.Definition(ctx, "sha256:none")
	return wantErr("an unknown definition", err, scheduler.ErrNotFound)
}

func catalogDefinitionOnce(ctx context.Context, g CatalogGround) error {
	r := newRun(1)
	r.Definition = realDefinition("etl", "first")
	if err := create(ctx, g, 1, r); err != nil {
		return err
	}
	again := realDefinition("etl", "second")
	again.Hash = r.Definition.Hash
	w, _ := workflow.Registration{Namespace: "default", Name: "etl"}.Apply(again.Hash, 1, "ada")
	if err := g.Register(ctx, 1, []workflow.Registration{w}, []scheduler.Definition{again}); err != nil {
		return err
	}
	s, err := g.Restart()
	if err != nil {
		return err
	}
	return wantDefinition(ctx, s, r.Definition)
}

// realDefinition is one that decodes: stores look at what they find.
func realDefinition(name, description string) scheduler.Definition {
	b, err := workflow.EncodeDefinition(&workflow.Definition{Name: name, Description: description})
	if err != nil {
		panic(err) // it is small
	}
	return scheduler.Definition{Hash: "sha256:" + name, Bytes: b}
}

func catalogNamed(ctx context.Context, g CatalogGround) error {
	if err := register(ctx, g, 1, 2, "b", "c", "a"); err != nil {
		return err
	}
	other, defs := registration("b", 1) // names what another namespace names
	other.Namespace = "other"
	c, _ := registration("c", 2)
	if err := g.Register(ctx, 1, []workflow.Registration{other, c.Delete()}, defs); err != nil {
		return err
	}
	got, err := g.Named(ctx)
	if err != nil {
		return err
	}
	if d := cmp.Diff([]string{"sha256:a1", "sha256:a2", "sha256:b1", "sha256:b2"}, got); d != "" {
		return fmt.Errorf("named definitions (-want +got):\n%s", d)
	}
	return nil
}

func catalogOutlivesRuns(ctx context.Context, g CatalogGround) error {
	if err := register(ctx, g, 1, 1, "nightly"); err != nil {
		return err
	}
	r := newRun(1)
	r.Definition = definitionOf("nightly", 1)
	if err := create(ctx, g, 1, r); err != nil {
		return err
	}
	if err := errors.Join(g.Save(ctx, 1, r.ID, nil, true), g.Delete(ctx, 1, r.ID)); err != nil {
		return err
	}
	s, err := g.Restart()
	if err != nil {
		return err
	}
	return wantDefinition(ctx, s, r.Definition)
}

func catalogOutlivesRegistrations(ctx context.Context, g CatalogGround) error {
	if err := register(ctx, g, 1, 1, "nightly"); err != nil {
		return err
	}
	r := newRun(1)
	r.Definition = definitionOf("nightly", 1)
	if err := create(ctx, g, 1, r); err != nil {
		return err
	}
	now, _ := registration("nightly", 1)
	if err := g.Register(ctx, 1, []workflow.Registration{now.Delete()}, nil); err != nil {
		return err
	}
	s, err := g.Restart()
	if err != nil {
		return err
	}
	_, def, err := s.Load(ctx, r.ID)
	if err == nil && !bytes.Equal(def.Bytes, r.Definition.Bytes) {
		err = fmt.Errorf("the run's definition after the deletion is %q, want %q", def.Bytes, r.Definition.Bytes)
	}
	return err
}

func catalogLarge(ctx context.Context, g CatalogGround) error {
	var all []workflow.Registration
	var defs []scheduler.Definition
	for n := range workflow.MaxApplied {
		r := workflow.Registration{Namespace: "default", Name: fmt.Sprintf("w%03d", n)}
		for v := range workflow.MaxVersions {
			r, _ = r.Apply(fmt.Sprintf("sha256:%d-%d", n, v), workflow.Time(1_700_000_000_000_000_000+int64(v)*987_654_321_987), "ada")
		}
		r.Serial = 1 // as if it had all come at once
		all = append(all, r)
		defs = append(defs, scheduler.Definition{Hash: fmt.Sprintf("sha256:%d", n), Bytes: bytes.Repeat([]byte{byte(n)}, 10_000)})
	}
	if err := g.Register(ctx, 1, all, defs); err != nil {
		return err
	}
	s, err := g.Restart()
	if err != nil {
		return err
	}
	got, err := s.Registrations(ctx, "default")
	if err != nil {
		return err
	}
	if d := cmp.Diff(all, got); d != "" {
		return fmt.Errorf("registrations (-want +got):\n%s", d)
	}
	return wantDefinition(ctx, s, defs[len(defs)-1])
}
