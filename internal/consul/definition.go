// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package consul

import (
	"bytes"
	"context"
	"fmt"
	"sync"

	consulapi "github.com/hashicorp/consul/api"

	"github.com/cairnflow/cairn/internal/scheduler"
	"github.com/cairnflow/cairn/internal/workflow"
)

// definitions keeps the definitions read or written last: runs share them. They never change.
type definitions struct {
	mu    sync.Mutex // guards what follows
	bytes map[string][]byte
	order []string // of their coming
	swept int      // counts what may have taken definitions out of the store
}

// maxDefinitions bounds them; each has 1 MiB at most.
const maxDefinitions = 64

func (c *definitions) get(hash string) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bytes[hash]
}

// sweeps is to be asked before a definition is read that is put afterwards.
func (c *definitions) sweeps() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.swept
}

// put keeps a definition that was stored when sweeps was asked, unless it may have been deleted since.
func (c *definitions) put(hash string, b []byte, swept int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.bytes[hash] != nil || c.swept != swept {
		return
	}
	if c.bytes == nil {
		c.bytes = map[string][]byte{}
	}
	if len(c.order) == maxDefinitions {
		delete(c.bytes, c.order[0])
		c.order = c.order[1:]
	}
	c.bytes[hash] = b
	c.order = append(c.order, hash)
}

func (c *definitions) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bytes, c.order = nil, nil
	c.swept++
}

// define stores a definition that is not stored yet, before what names it. The caller has entered naming, and leaves it
// when that is written.
func (s *Store) define(ctx context.Context, o *office, d data, def scheduler.Definition) error {
	if def.Hash == "" || s.parts.get(def.Hash) != nil {
		return nil
	}
	switch stored, err := s.definition(ctx, d, def.Hash); {
	case err != nil:
		return err
	case bytes.Equal(stored, def.Bytes):
		return nil
	case len(stored) > 0:
		// Another version of Cairn may have encoded it in other words. Only what was given up half-written is replaced.
		if _, err := workflow.DecodeDefinition(stored); err == nil {
			return nil
		}
	}
	b, swept := bytes.Clone(def.Bytes), s.parts.sweeps()
	ops := []*consulapi.KVTxnOp{removeTree(d.definition(def.Hash))}
	for n, value := range split(b) {
		ops = append(ops, set(part(d.definition(def.Hash), n), value))
	}
	if err := s.putAhead(ctx, o, "", ops); err != nil {
		return fmt.Errorf("definition %s: %w", def.Hash, err)
	}
	s.parts.put(def.Hash, b, swept)
	return nil
}

// definition reads the bytes of a definition; none where it is not stored.
func (s *Store) definition(ctx context.Context, d data, hash string) ([]byte, error) {
	b := s.parts.get(hash)
	if b == nil {
		pairs, err := s.client.read(ctx, tree(d.definition(hash)))
		if err != nil {
			return nil, fmt.Errorf("definition %s: %w", hash, err)
		}
		for _, p := range pairs {
			b = append(b, p.Value...)
		}
	}
	return bytes.Clone(b), nil
}
