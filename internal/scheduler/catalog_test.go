// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package scheduler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnflow/cairn/internal/workflow"
)

// fakeCatalog is a catalog in memory. before, where it is set, is asked before a change is looked at: an error is what
// Register returns.
type fakeCatalog struct {
	before func(c *fakeCatalog, changes []workflow.Registration) error

	mu            sync.Mutex // guards what follows
	registrations map[string]workflow.Registration
	definitions   map[string][]byte
	writes        int
}

func newFakeCatalog() *fakeCatalog {
	return &fakeCatalog{registrations: map[string]workflow.Registration{}, definitions: map[string][]byte{}}
}

func (c *fakeCatalog) Registration(_ context.Context, namespace, name string) (workflow.Registration, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r, ok := c.registrations[namespace+"/"+name]; ok {
		return r, nil
	}
	return workflow.Registration{Namespace: namespace, Name: name}, nil
}

func (c *fakeCatalog) Registrations(context.Context, string) ([]workflow.Registration, error) {
	return nil, errors.New("nobody asks")
}

func (c *fakeCatalog) Named(context.Context) ([]string, error) { return nil, errors.New("nobody asks") }

func (c *fakeCatalog) Register(_ context.Context, _ uint64, changes []workflow.Registration, defs []Definition) error {
	if c.before != nil {
		if err := c.before(c, changes); err != nil {
			return err
		}
	}
	return c.write(changes, defs)
}

func (c *fakeCatalog) write(changes []workflow.Registration, defs []Definition) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range changes {
		if c.registrations[r.Namespace+"/"+r.Name].Serial+1 != r.Serial {
			return ErrConflict
		}
	}
	c.writes++
	for _, r := range changes {
		c.registrations[r.Namespace+"/"+r.Name] = r
	}
	for _, d := range defs {
		c.definitions[d.Hash] = d.Bytes
	}
	return nil
}

func (c *fakeCatalog) Definition(_ context.Context, hash string) (Definition, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if b := c.definitions[hash]; b != nil {
		return Definition{Hash: hash, Bytes: b}, nil
	}
	return Definition{}, ErrNotFound
}

// cataloguing is a leader with a catalog, which ends with the test.
func cataloguing(t *testing.T) (*process, *fakeCatalog) {
	p, c := newProcess(t, newWorld()), newFakeCatalog()
	p.cfg.Catalog = c
	t.Cleanup(func() {
		if err := p.end(); err != nil && !errors.Is(err, ErrFenced) {
			t.Errorf("the end of the process: %v", err)
		}
	})
	return p.launch(), c
}

func applying(name, hash string) Applying {
	return Applying{Definition: &workflow.Definition{Name: name, Namespace: "default", Hash: hash}}
}

func application(workflows ...Applying) Application {
	return Application{By: "ada", Workflows: workflows}
}

// outcome says what Apply did, in a word for each workflow.
func outcome(applied []Applied) (out []string) {
	for _, a := range applied {
		now, _ := a.Current()
		out = append(out, fmt.Sprintf("%s %d %t", a.Name, now.Number, a.Changed))
	}
	return out
}

func TestWhatIsAppliedTwiceIsOneVersion(t *testing.T) {
	p, c := cataloguing(t)
	for _, step := range []struct {
		given []Applying
		want  []string
	}{
		{[]Applying{applying("a", "1"), applying("b", "1")}, []string{"a 1 true", "b 1 true"}},
		{[]Applying{applying("a", "1"), applying("b", "1")}, []string{"a 1 false", "b 1 false"}},
		{[]Applying{applying("a", "2"), applying("b", "1")}, []string{"a 2 true", "b 1 false"}},
		{[]Applying{applying("a", "1")}, []string{"a 3 true"}},
	} {
		got, err := p.s.Apply(p.ctx, application(step.given...))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(step.want, outcome(got)); d != "" {
			t.Errorf("apply (-want +got):\n%s", d)
		}
	}
	if c.writes != 3 {
		t.Errorf("%d writes, want 3: what is registered already is not written again", c.writes)
	}
	def, err := p.s.Definition(p.ctx, "2")
	if err != nil || def.Name != "a" {
		t.Errorf("definition 2: %+v, %v", def, err)
	}
}

func TestWhatWasLookedAtMustStillHold(t *testing.T) {
	p, _ := cataloguing(t)
	none, one := 0, 1
	at := func(w Applying, version *int) Application {
		w.Expect = version
		return application(applying("other", "1"), w)
	}
	if _, err := p.s.Apply(p.ctx, at(applying("a", "1"), &none)); err != nil {
		t.Fatal(err)
	}
	var stale *StaleError
	if _, err := p.s.Apply(p.ctx, at(applying("a", "2"), &none)); !errors.As(err, &stale) || stale.Now.Number != 1 ||
		!strings.Contains(err.Error(), "was not registered when it was looked at and is at version 1, applied by ada") {
		t.Errorf("expecting none: %v", err)
	}
	// A repeated request finds its own work done.
	if got, err := p.s.Apply(p.ctx, at(applying("a", "1"), &none)); err != nil || outcome(got)[1] != "a 1 false" {
		t.Errorf("the same again: %v, %v", got, err)
	}
	if got, err := p.s.Apply(p.ctx, at(applying("a", "2"), &one)); err != nil || outcome(got)[1] != "a 2 true" {
		t.Errorf("expecting the first version: %v, %v", got, err)
	}
	if _, err := p.s.DeleteWorkflow(p.ctx, "default", "a"); err != nil {
		t.Fatal(err)
	}
	if _, err := p.s.Apply(p.ctx, at(applying("a", "3"), &one)); !errors.As(err, &stale) ||
		!strings.Contains(err.Error(), "was at version 1 when it was looked at and is not registered any more") {
		t.Errorf("expecting what was deleted: %v", err)
	}
}

func TestAnApplyThatMeetsAnotherIsComputedAgain(t *testing.T) {
	p, c := cataloguing(t)
	met := false
	c.before = func(c *fakeCatalog, _ []workflow.Registration) error {
		if met {
			return nil
		}
		met = true
		other, _ := workflow.Registration{Namespace: "default", Name: "a"}.Apply("other", 1, "bob")
		return c.write([]workflow.Registration{other}, nil)
	}
	got, err := p.s.Apply(p.ctx, application(applying("a", "mine")))
	if err != nil || !slices.Equal(outcome(got), []string{"a 2 true"}) {
		t.Errorf("got %v, %v; want version 2 after the other one's", outcome(got), err)
	}
}

func TestAnApplySaysWhatBecameOfIt(t *testing.T) {
	many := make([]Applying, workflow.MaxApplied+1)
	for n := range many {
		many[n] = applying(fmt.Sprint("w", n), "1")
	}
	for name, tc := range map[string]struct {
		answer error
		given  []Applying
		want   error
	}{
		"no answer of the catalog":       {errors.New("timeout"), []Applying{applying("a", "1")}, ErrUnknown},
		"a catalog that never settles":   {ErrConflict, []Applying{applying("a", "1")}, ErrConflict},
		"more than fits one transaction": {nil, many, ErrInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			p, c := cataloguing(t)
			c.before = func(*fakeCatalog, []workflow.Registration) error { return tc.answer }
			if _, err := p.s.Apply(p.ctx, application(tc.given...)); !errors.Is(err, tc.want) {
				t.Errorf("got %v, want %v", err, tc.want)
			}
			if c.writes != 0 {
				t.Errorf("%d writes", c.writes)
			}
		})
	}
}

func TestAFencedApplyEndsTheLeadership(t *testing.T) {
	p, c := cataloguing(t)
	c.before = func(*fakeCatalog, []workflow.Registration) error { return ErrFenced }
	if _, err := p.s.Apply(p.ctx, application(applying("a", "1"))); !errors.Is(err, ErrFenced) {
		t.Errorf("apply: %v, want ErrFenced", err)
	}
	if err := p.gone(); !errors.Is(err, ErrFenced) {
		t.Errorf("the leadership ended with %v, want ErrFenced", err)
	}
}

func TestADeletedWorkflowIsNotFound(t *testing.T) {
	p, _ := cataloguing(t)
	if _, err := p.s.Workflow(p.ctx, "default", "a"); !errors.Is(err, ErrNotFound) {
		t.Errorf("before: %v", err)
	}
	if _, err := p.s.DeleteWorkflow(p.ctx, "default", "a"); !errors.Is(err, ErrNotFound) {
		t.Errorf("delete of nothing: %v", err)
	}
	if _, err := p.s.Apply(p.ctx, application(applying("a", "1"))); err != nil {
		t.Fatal(err)
	}
	was, err := p.s.DeleteWorkflow(p.ctx, "default", "a")
	if now, _ := was.Current(); err != nil || now.Number != 1 {
		t.Errorf("delete: %+v, %v; want what was registered", was, err)
	}
	for range 2 {
		if _, err := p.s.DeleteWorkflow(p.ctx, "default", "a"); !errors.Is(err, ErrNotFound) {
			t.Errorf("delete again: %v", err)
		}
	}
	got, err := p.s.Apply(p.ctx, application(applying("a", "1")))
	if err != nil || !slices.Equal(outcome(got), []string{"a 2 true"}) {
		t.Errorf("applied again: %v, %v; want version 2", outcome(got), err)
	}
}

func TestAFollowerAppliesNothing(t *testing.T) {
	p, c := newProcess(t, newWorld()), newFakeCatalog()
	p.cfg.Catalog = c
	s, err := New(p.cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Apply(ctx, application(applying("a", "1"))); !errors.Is(err, context.Canceled) || c.writes != 0 {
		t.Errorf("got %v and %d writes", err, c.writes)
	}
}
