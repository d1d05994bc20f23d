// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package scheduler

import (
	"context"
	"errors"
	"fmt"

	"github.com/cairnflow/cairn/internal/workflow"
)

// Catalog keeps the registered workflows: a registration by namespace and name, and their definitions, each stored once
// whoever names it, a run or a registration. Its writes are fenced like those of Store, and by the same epoch. Any error
// other than the named ones leaves the outcome of a write unknown.
type Catalog interface {
	// Registration returns what is kept under a name. Serial 0: nothing ever was.
	Registration(ctx context.Context, namespace, name string) (workflow.Registration, error)
	// Registrations returns those of a namespace that have versions, sorted by name.
	Registrations(ctx context.Context, namespace string) ([]workflow.Registration, error)
	// Register writes all registrations or none, durably before it returns, and before them the definitions that they name
	// and that are not stored yet. Each takes the place of the one whose Serial is one less: ErrConflict if that is not what
	// is stored. ErrFenced: a newer epoch has written. At most workflow.MaxApplied fit.
	Register(ctx context.Context, epoch uint64, registrations []workflow.Registration, definitions []Definition) error
	// Definition returns a stored definition; ErrNotFound when there is none of the hash.
	Definition(ctx context.Context, hash string) (Definition, error)
	// Named lists the hashes of all definitions that registrations name, sorted, each once: they are not to be removed. It
	// fails rather than leave one out.
	Named(ctx context.Context) ([]string, error)
}

// Application is what Apply registers: everything of it or nothing.
type Application struct {
	By        string
	Workflows []Applying
}

// Applying is one workflow to be registered, under the namespace and the name of its definition.
type Applying struct {
	Definition *workflow.Definition
	// Expect is the version that it has to be at, 0 = none; nil = whatever it is at.
	Expect *int
}

// Applied is what became of one of them.
type Applied struct {
	workflow.Registration
	Changed bool // false: it was registered already
}

// StaleError: somebody else has applied, or deleted, a workflow since it was looked at.
type StaleError struct {
	Workflow string
	Expected int              // 0 = none
	Now      workflow.Version // the zero value = none
}

func (e *StaleError) Error() string {
	was, is := "not registered", "not registered any more"
	if e.Expected != 0 {
		was = fmt.Sprintf("at version %d", e.Expected)
	}
	if e.Now.Number != 0 {
		is = fmt.Sprintf("at version %d", e.Now.Number)
		if e.Now.By != "" {
			is += ", applied by " + e.Now.By
		}
	}
	return fmt.Sprintf("workflow %s was %s when it was looked at and is %s: look again, nothing was applied", e.Workflow, was, is)
}

// ErrInvalid: what is to be applied cannot be kept.
var ErrInvalid = errors.New("cannot be applied")

// conflictTries bounds how often a change of the catalog is computed again. Of those that meet one succeeds each time.
const conflictTries = 32

// Apply registers workflows. One whose newest version has the same definition stays as it is. It waits, as long as ctx lasts,
// until this process leads. *StaleError: one is not at the version that was expected. ErrUnknown: it may have been done.
func (s *Scheduler) Apply(ctx context.Context, a Application) ([]Applied, error) {
	var definitions []Definition
	for _, w := range a.Workflows {
		encoded, err := workflow.EncodeDefinition(w.Definition)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
		}
		definitions = append(definitions, Definition{Hash: w.Definition.Hash, Bytes: encoded})
	}
	var out []Applied
	err := s.change(ctx, func(ctx context.Context, t *term) (changes []workflow.Registration, used []Definition, err error) {
		out = nil
		for i, w := range a.Workflows {
			r, err := s.cfg.Catalog.Registration(ctx, w.Definition.Namespace, w.Definition.Name)
			if err != nil {
				return nil, nil, err
			}
			next, changed := r.Apply(w.Definition.Hash, t.clock.now(), a.By)
			if now, _ := r.Current(); changed && w.Expect != nil && *w.Expect != now.Number {
				return nil, nil, &StaleError{Workflow: w.Definition.Name, Expected: *w.Expect, Now: now}
			}
			if changed {
				changes, used = append(changes, next), append(used, definitions[i])
			}
			out = append(out, Applied{next, changed})
		}
		return changes, used, nil
	})
	if err != nil {
		return nil, fmt.Errorf("apply workflows: %w", err)
	}
	for _, w := range out {
		if now, _ := w.Current(); w.Changed {
			s.log.Info("workflow applied", "namespace", w.Namespace, "workflow", w.Name, "version", now.Number, "by", a.By)
		}
	}
	return out, nil
}

// DeleteWorkflow takes a workflow out of the catalog and returns what was registered. Its runs go on. ErrNotFound: there is
// none. ErrUnknown: it may have been done.
func (s *Scheduler) DeleteWorkflow(ctx context.Context, namespace, name string) (workflow.Registration, error) {
	var was workflow.Registration
	err := s.change(ctx, func(ctx context.Context, _ *term) (_ []workflow.Registration, _ []Definition, err error) {
		if was, err = s.Workflow(ctx, namespace, name); err != nil {
			return nil, nil, err
		}
		return []workflow.Registration{was.Delete()}, nil, nil
	})
	if err != nil {
		return workflow.Registration{}, fmt.Errorf("delete workflow %s: %w", name, err)
	}
	s.log.Info("workflow deleted", "namespace", namespace, "workflow", name)
	return was, nil
}

// change writes what compute makes of the catalog as it is, again when somebody else was faster.
func (s *Scheduler) change(
	ctx context.Context, compute func(context.Context, *term) ([]workflow.Registration, []Definition, error),
) error {
	for tries := 1; ; tries++ {
		t, err := s.leading(ctx)
		if err != nil {
			return err
		}
		changes, definitions, err := compute(ctx, t)
		if err != nil || len(changes) == 0 {
			return err
		}
		if len(changes) > workflow.MaxApplied {
			return fmt.Errorf("%w: %d workflows have changed, at most %d are applied at once: apply a part of them first",
				ErrInvalid, len(changes), workflow.MaxApplied)
		}
		write, cancel := context.WithTimeout(ctx, s.cfg.CallTimeout)
		err = s.cfg.Catalog.Register(write, t.epoch, changes, definitions)
		cancel()
		switch {
		case err == nil:
			t.wrote.Store(true)
			return nil
		case errors.Is(err, ErrFenced):
			t.lost(err)
			return err
		case !errors.Is(err, ErrConflict):
			return fmt.Errorf("%w: %w", ErrUnknown, err)
		case tries == conflictTries:
			return err
		}
	}
}

// Workflow returns what is registered under a name. ErrNotFound: nothing is.
func (s *Scheduler) Workflow(ctx context.Context, namespace, name string) (workflow.Registration, error) {
	r, err := s.cfg.Catalog.Registration(ctx, namespace, name)
	if err != nil {
		return r, err
	}
	if len(r.Versions) == 0 {
		return r, fmt.Errorf("workflow %s in namespace %s: %w", name, namespace, ErrNotFound)
	}
	return r, nil
}

// Workflows returns the registered workflows of a namespace, sorted by name.
func (s *Scheduler) Workflows(ctx context.Context, namespace string) ([]workflow.Registration, error) {
	return s.cfg.Catalog.Registrations(ctx, namespace)
}

// Definition returns the definition of a hash that a registration names. ErrNotFound: it is not stored (any more).
func (s *Scheduler) Definition(ctx context.Context, hash string) (*workflow.Definition, error) {
	stored, err := s.cfg.Catalog.Definition(ctx, hash)
	if err != nil {
		return nil, err
	}
	def, err := workflow.DecodeDefinition(stored.Bytes)
	if err != nil {
		return nil, fmt.Errorf("definition %s: %w", hash, err)
	}
	return def, nil
}
