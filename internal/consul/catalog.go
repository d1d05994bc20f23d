// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package consul

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	consulapi "github.com/hashicorp/consul/api"

	"github.com/cairnflow/cairn/internal/scheduler"
	"github.com/cairnflow/cairn/internal/workflow"
)

var _ scheduler.Catalog = (*Store)(nil)

// Registration implements scheduler.Catalog.
func (s *Store) Registration(ctx context.Context, namespace, name string) (workflow.Registration, error) {
	d, err := s.data(ctx)
	if err == nil {
		var found []registered
		if found, err = s.registered(ctx, d, get(d.workflow(namespace, name))); err == nil && len(found) > 0 {
			return found[0].Registration, nil
		}
	}
	if err != nil {
		return workflow.Registration{}, fmt.Errorf("read workflow %s: %w", name, err)
	}
	return workflow.Registration{Namespace: namespace, Name: name}, nil
}

// Registrations implements scheduler.Catalog.
func (s *Store) Registrations(ctx context.Context, namespace string) ([]workflow.Registration, error) {
	list, err := s.registrations(ctx, namespace)
	if err != nil {
		return nil, fmt.Errorf("list workflows: %w", err)
	}
	return list, nil
}

func (s *Store) registrations(ctx context.Context, namespace string) ([]workflow.Registration, error) {
	d, err := s.data(ctx)
	if err != nil {
		return nil, err
	}
	pairs, err := s.client.read(ctx, tree(d.workflow(namespace, "")))
	if err != nil {
		return nil, err
	}
	var list []workflow.Registration
	for _, p := range pairs {
		r, err := workflow.DecodeRegistration(p.Value)
		if err != nil {
			s.elector.log.Error("a workflow is left out: it cannot be read", "key", p.Key, "error", err)
			continue // the others are not to wait for it
		}
		if len(r.Versions) > 0 {
			list = append(list, r)
		}
	}
	slices.SortFunc(list, func(a, b workflow.Registration) int { return cmp.Compare(a.Name, b.Name) })
	return list, nil
}

// registered is a registration with the index of its key.
type registered struct {
	workflow.Registration
	index uint64
}

// registered reads the registrations of keys and trees. It fails rather than leave one out.
func (s *Store) registered(ctx context.Context, d data, ops ...*consulapi.KVTxnOp) ([]registered, error) {
	pairs, err := s.client.read(ctx, ops...)
	if err != nil {
		return nil, err
	}
	var list []registered
	for _, p := range pairs {
		r, err := workflow.DecodeRegistration(p.Value)
		if err != nil {
			return nil, fmt.Errorf("key %s: %w", p.Key, err)
		}
		if d.workflow(r.Namespace, r.Name) != p.Key {
			return nil, fmt.Errorf("key %s holds workflow %s of namespace %s", p.Key, r.Name, r.Namespace)
		}
		list = append(list, registered{r, p.ModifyIndex})
	}
	return list, nil
}

// Register implements scheduler.Catalog.
func (s *Store) Register(
	ctx context.Context, epoch uint64, registrations []workflow.Registration, definitions []scheduler.Definition,
) error {
	if err := s.register(ctx, epoch, registrations, definitions); err != nil {
		return fmt.Errorf("register workflows: %w", err)
	}
	return nil
}

func (s *Store) register(
	ctx context.Context, epoch uint64, registrations []workflow.Registration, definitions []scheduler.Definition,
) error {
	o, err := s.officeOf(epoch)
	if err != nil {
		return err
	}
	d, err := s.data(ctx)
	if err != nil {
		return err
	}
	keys := make([]*consulapi.KVTxnOp, len(registrations))
	for i, r := range registrations {
		keys[i] = get(d.workflow(r.Namespace, r.Name))
	}
	found, err := s.registered(ctx, d, keys...)
	if err != nil {
		return err
	}
	now := map[string]registered{}
	for _, r := range found {
		now[d.workflow(r.Namespace, r.Name)] = r
	}
	var ops []*consulapi.KVTxnOp
	for i, r := range registrations {
		was := now[keys[i].Key]
		if was.Serial+1 != r.Serial {
			return fmt.Errorf("%w: workflow %s has changed", scheduler.ErrConflict, r.Name)
		}
		value, err := workflow.EncodeRegistration(r)
		if err != nil {
			return err
		}
		// It is the guard too: a write of before that had no answer in time may come between.
		ops = append(ops, &consulapi.KVTxnOp{Verb: consulapi.KVCAS, Key: keys[i].Key, Index: was.index, Value: value})
	}
	leave, err := s.naming.enter(ctx)
	if err != nil {
		return err
	}
	for _, def := range definitions {
		if err := s.define(ctx, o, d, def); err != nil {
			leave()
			return err
		}
	}
	w := newWrite("", ops...)
	w.over = leave // not before: a write that had no answer in time may be done all the same
	err = o.put(ctx, w)
	if errors.Is(err, errGuard) {
		return fmt.Errorf("%w: %w", scheduler.ErrConflict, err)
	}
	return err
}

// Definition implements scheduler.Catalog.
func (s *Store) Definition(ctx context.Context, hash string) (scheduler.Definition, error) {
	d, err := s.data(ctx)
	if err != nil {
		return scheduler.Definition{}, fmt.Errorf("definition %s: %w", hash, err)
	}
	b, err := s.definition(ctx, d, hash)
	if err != nil {
		return scheduler.Definition{}, err
	}
	if len(b) == 0 {
		return scheduler.Definition{}, fmt.Errorf("definition %s: %w", hash, scheduler.ErrNotFound)
	}
	return scheduler.Definition{Hash: hash, Bytes: b}, nil
}

// Named implements scheduler.Catalog.
func (s *Store) Named(ctx context.Context) ([]string, error) {
	var found []registered
	d, err := s.data(ctx)
	if err == nil {
		found, err = s.registered(ctx, d, tree(d.workflows()))
	}
	if err != nil {
		return nil, fmt.Errorf("list the definitions of workflows: %w", err)
	}
	var hashes []string
	for _, r := range found {
		for _, v := range r.Versions {
			hashes = append(hashes, v.Hash)
		}
	}
	slices.Sort(hashes)
	return slices.Compact(hashes), nil
}
