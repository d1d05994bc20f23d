// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package porttest

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cairnflow/cairn/internal/scheduler"
	"github.com/cairnflow/cairn/internal/workflow"
)

func TestCatalogChecksBite(t *testing.T) {
	bite(t, CatalogChecks(), func(_ testing.TB, bug string) CatalogGround {
		c := &memCatalog{
			memStore:      &memStore{runs: map[workflow.RunID]*memRun{}, cluster: "01234567-89ab-4cde-8f01-23456789abcd"},
			bug:           bug,
			registrations: map[string]workflow.Registration{}, definitions: map[string][]byte{},
		}
		return CatalogGround{CatalogStore: c, Restart: func() (CatalogStore, error) {
			c.restarted()
			return c, nil
		}}
	}, []bitten{
		{"what was never registered has a serial", "what was never"},
		{"who applied is forgotten", "a registration and its definition"},
		{"namespaces are matched by their beginning", "a list has"},
		{"registrations are written one by one", "everything is written or nothing"},
		{"serials do not matter", "a change of what has changed"},
		{"the serial is read before the lock", "of changes made at once"},
		{"nothing is fenced", "an older epoch"},
		{"runs have a fence of their own", "the fence is that of the runs"},
		{"the fence is forgotten in a restart", "the fence holds"},
		{"the last version is lost in a restart", "everything survives"},
		{"a deleted workflow begins anew", "a deleted workflow"},
		{"an unknown definition is empty", "an unknown definition"},
		{"definitions are written again", "a definition of another"},
		{"only newest versions are named", "the definitions that registrations"},
		{"the end of a run takes its definition along", "the definition of a registration"},
		{"a deletion takes definitions along", "the definition of a run"},
		{"large ones are cut", "as many as"},
	})
}

// memCatalog is a catalog in memory beside a store, sound unless bug names one of its bugs.
type memCatalog struct {
	*memStore
	bug string

	// The store's mu guards what follows.
	registrations map[string]workflow.Registration
	definitions   map[string][]byte
}

func (c *memCatalog) restarted() {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch c.bug {
	case "the fence is forgotten in a restart":
		c.epoch = 0
	case "the last version is lost in a restart":
		for key, r := range c.registrations {
			r.Versions = r.Versions[:max(0, len(r.Versions)-1)]
			c.registrations[key] = r
		}
	}
}

func (c *memCatalog) Registration(_ context.Context, namespace, name string) (workflow.Registration, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r, ok := c.registrations[namespace+"/"+name]
	if !ok {
		r = workflow.Registration{Namespace: namespace, Name: name}
		if c.bug == "what was never registered has a serial" {
			r.Serial = 1
		}
	}
	r.Versions = slices.Clone(r.Versions)
	return r, nil
}

func (c *memCatalog) Registrations(_ context.Context, namespace string) ([]workflow.Registration, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []workflow.Registration
	for _, r := range c.registrations {
		near := c.bug == "namespaces are matched by their beginning" && strings.HasPrefix(r.Namespace, namespace)
		if len(r.Versions) > 0 && (r.Namespace == namespace || near) {
			list = append(list, r)
		}
	}
	slices.SortFunc(list, func(a, b workflow.Registration) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

func (c *memCatalog) Register(_ context.Context, epoch uint64, rs []workflow.Registration, defs []scheduler.Definition) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.bug == "nothing is fenced":
	case c.bug == "runs have a fence of their own":
	case epoch < c.epoch:
		return scheduler.ErrFenced
	default:
		c.epoch = epoch
	}
	stale := func(r workflow.Registration) bool {
		return c.registrations[r.Namespace+"/"+r.Name].Serial+1 != r.Serial && c.bug != "serials do not matter"
	}
	if c.bug != "registrations are written one by one" && slices.ContainsFunc(rs, stale) {
		return scheduler.ErrConflict
	}
	if c.bug == "the serial is read before the lock" {
		c.meet(50 * time.Millisecond)
		defer c.passed()
	}
	for _, d := range defs {
		if c.definitions[d.Hash] == nil || c.bug == "definitions are written again" {
			c.definitions[d.Hash] = slices.Clone(d.Bytes)
		}
	}
	for _, r := range rs {
		if c.bug == "registrations are written one by one" && stale(r) {
			return scheduler.ErrConflict
		}
		r.Versions = slices.Clone(r.Versions)
		if c.bug == "who applied is forgotten" {
			for i := range r.Versions {
				r.Versions[i].By = ""
			}
		}
		if c.bug == "large ones are cut" && len(r.Versions) == workflow.MaxVersions {
			r.Versions = r.Versions[1:]
		}
		if len(r.Versions) == 0 && c.bug == "a deletion takes definitions along" {
			for _, v := range c.registrations[r.Namespace+"/"+r.Name].Versions {
				delete(c.definitions, v.Hash)
			}
		}
		c.registrations[r.Namespace+"/"+r.Name] = r
		if len(r.Versions) == 0 && c.bug == "a deleted workflow begins anew" {
			delete(c.registrations, r.Namespace+"/"+r.Name)
		}
	}
	return nil
}

func (c *memCatalog) Definition(_ context.Context, hash string) (scheduler.Definition, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.definitions[hash] == nil && c.bug != "an unknown definition is empty" {
		return scheduler.Definition{}, scheduler.ErrNotFound
	}
	return scheduler.Definition{Hash: hash, Bytes: slices.Clone(c.definitions[hash])}, nil
}

func (c *memCatalog) Named(context.Context) ([]string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []string
	for _, r := range c.registrations {
		versions := r.Versions
		if c.bug == "only newest versions are named" {
			versions = versions[max(0, len(versions)-1):]
		}
		for _, v := range versions {
			out = append(out, v.Hash)
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

func (c *memCatalog) Create(ctx context.Context, epoch uint64, run scheduler.NewRun) (workflow.RunID, error) {
	id, err := c.memStore.Create(ctx, epoch, run)
	if err == nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.definitions[run.Definition.Hash] == nil {
			c.definitions[run.Definition.Hash] = slices.Clone(run.Definition.Bytes)
		}
	}
	return id, err
}

func (c *memCatalog) Load(ctx context.Context, id workflow.RunID) ([]scheduler.Record, scheduler.Definition, error) {
	records, def, err := c.memStore.Load(ctx, id)
	c.mu.Lock()
	defer c.mu.Unlock()
	def.Bytes = slices.Clone(c.definitions[def.Hash])
	return records, def, err
}

func (c *memCatalog) Delete(ctx context.Context, epoch uint64, id workflow.RunID) error {
	c.mu.Lock()
	hash := ""
	if r := c.runs[id]; r != nil {
		hash = r.Definition.Hash
	}
	c.mu.Unlock()
	err := c.memStore.Delete(ctx, epoch, id)
	if c.bug == "the end of a run takes its definition along" {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.definitions, hash)
	}
	return err
}
