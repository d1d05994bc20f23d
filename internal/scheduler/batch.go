// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package scheduler

import (
	"context"
	"fmt"
	"sync"
)

// batches lets callers that want the same share one reading, so that thousands who wake together are no crowd at the store.
// Whoever comes while a reading is under way gets the next one: what is read is never older than the question.
type batches[V any] struct {
	mu      sync.Mutex // guards everything below
	running map[string]*batch[V]
	next    map[string]*batch[V]
}

type batch[V any] struct {
	done  chan struct{} // closed when what follows is final
	value V
	err   error
}

func newBatches[V any]() *batches[V] {
	return &batches[V]{running: map[string]*batch[V]{}, next: map[string]*batch[V]{}}
}

// do returns what read says for a key. One of the callers reads for all of them, also when his own ctx ends; the others wait
// as long as theirs lasts.
func (b *batches[V]) do(ctx context.Context, key string, read func() (V, error)) (V, error) {
	b.mu.Lock()
	before, mine := b.running[key], b.next[key]
	if mine != nil {
		b.mu.Unlock()
		select {
		case <-mine.done:
			return mine.value, mine.err
		case <-ctx.Done():
			var none V
			return none, fmt.Errorf("wait for a reading: %w", ctx.Err())
		}
	}
	mine = &batch[V]{done: make(chan struct{})}
	if before == nil {
		b.running[key] = mine
	} else {
		b.next[key] = mine
	}
	b.mu.Unlock()
	if before != nil {
		<-before.done
	}
	defer b.end(key, mine)
	mine.value, mine.err = read()
	return mine.value, mine.err
}

// end hands over to those who came meanwhile.
func (b *batches[V]) end(key string, mine *batch[V]) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if next := b.next[key]; next != nil {
		b.running[key] = next
		delete(b.next, key)
	} else {
		delete(b.running, key)
	}
	close(mine.done)
}
