// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package consul

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	consulapi "github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"

	"github.com/cairnflow/cairn/internal/scheduler"
)

// ErrRestored: Consul holds an older state than this server has seen; it was restored from a snapshot.
var ErrRestored = errors.New("restored from a snapshot")

// office is the right to write: the session that holds the leader's key, and the counter.
//
//	Acquire ──▶ held ──▶ lost (by a refused write, a refused renewal) ──▶ nothing is written any more
//	             └─────▶ given up (Release)                            ──▶ the same
type office struct {
	client  *client
	backoff scheduler.Backoff
	log     hclog.Logger
	keys    keys
	seen    *seen
	session string
	epoch   uint64

	restored atomic.Bool // what was done since the state that is stored is not known yet

	writes chan *write
	ctx    context.Context // ends with the office; its cause says why
	end    context.CancelCauseFunc
	lane   sync.WaitGroup

	// Only the lane's goroutine uses what follows.
	seq   seq
	index uint64 // of the counter's key
}

// Consul takes 128 operations and 512 KiB of JSON in one transaction. Ours are less than that, and base64 makes bytes a
// third more.
const (
	maxOps   = 120
	maxBytes = 350_000
)

// write is a part of a transaction: everything of it or nothing.
type write struct {
	ops  []*consulapi.KVTxnOp
	key  string        // whose index is wanted afterwards; may be empty
	over func()        // called when what became of it is known; may be nil
	done chan struct{} // closed then, and what follows is final
	err  error
	// index is the ModifyIndex of key after the write.
	index uint64
}

func newWrite(key string, ops ...*consulapi.KVTxnOp) *write {
	return &write{ops: ops, key: key, done: make(chan struct{})}
}

// size is what an operation takes of a transaction's bytes, before base64.
func size(op *consulapi.KVTxnOp) int { return len(op.Value) + len(op.Key) }

func sizes(ops []*consulapi.KVTxnOp) (n int) {
	for _, op := range ops {
		n += size(op)
	}
	return n
}

// errGuard: an operation that only checks found something else.
var errGuard = errors.New("what the write was based on has changed")

func newOffice(parent *Elector, session string, now seq, index uint64) *office {
	o := &office{
		client: parent.client, backoff: parent.cfg.Backoff, log: parent.log, keys: parent.keys, seen: parent.seen,
		session: session, epoch: now.Epoch, seq: now, index: index, writes: make(chan *write),
	}
	o.restored.Store(now.Restored)
	o.ctx, o.end = context.WithCancelCause(context.Background())
	o.lane.Go(o.run)
	return o
}

// close ends the office, and waits until nothing of it is on its way from here.
func (o *office) close(cause error) {
	o.end(cause)
	o.lane.Wait()
}

// put hands a write to the lane. When ctx ends first its outcome is open, and the lane goes on to find it out.
func (o *office) put(ctx context.Context, w *write) error {
	if len(w.ops) > maxOps || sizes(w.ops) > maxBytes {
		w.end(fmt.Errorf("%d operations with %d bytes are too much for one transaction", len(w.ops), sizes(w.ops)), 0)
		return w.err
	}
	select {
	case o.writes <- w:
	case <-o.ctx.Done():
		w.end(context.Cause(o.ctx), 0)
	case <-ctx.Done():
		w.end(ctx.Err(), 0)
	}
	select {
	case <-w.done:
		return w.err
	case <-ctx.Done():
		return fmt.Errorf("no answer from Consul yet: %w", ctx.Err())
	}
}

// run is the lane: one transaction is on its way at most.
func (o *office) run() {
	var next *write
	for {
		group := o.gather(next)
		if group == nil {
			return
		}
		next = nil
		if n := len(group) - 1; n > 0 && !fits(group) {
			next, group = group[n], group[:n]
		}
		o.commit(group)
	}
}

// gather waits for a write, and takes those that wait with it as long as they fit; the last one may not. Nil: the office is
// over.
func (o *office) gather(first *write) []*write {
	if first == nil {
		select {
		case first = <-o.writes:
		case <-o.ctx.Done():
			return nil
		}
	}
	group := []*write{first}
	for fits(group) {
		select {
		case w := <-o.writes:
			group = append(group, w)
		default:
			return group
		}
	}
	return group
}

func fits(group []*write) bool {
	ops, bytes := 2, 0 // the session's and the counter's
	for _, w := range group {
		ops, bytes = ops+len(w.ops), bytes+sizes(w.ops)
	}
	return ops <= maxOps+2 && bytes <= maxBytes
}

func (w *write) end(err error, index uint64) {
	w.err, w.index = err, index
	if w.over != nil {
		w.over()
	}
	close(w.done)
}

// commit makes the writes durable, or says why not. It ends when that is known, or the office is over.
func (o *office) commit(group []*write) {
	sent, restored := false, o.restored.Load() // a transaction like this one may still be on its way, which is to be the same
	for failures := 0; len(group) > 0; {
		if o.ctx.Err() != nil {
			endAll(group, context.Cause(o.ctx))
			return
		}
		next := o.seq
		next.N++
		next.Restored = restored
		r, err := o.client.txn(o.ctx, o.transaction(group, next))
		switch {
		case err == nil && len(r.errors) == 0:
			o.settle(group, next, r.pairs)
			return
		case err == nil && r.errors[0].OpIndex >= opFirst:
			// A guard moved no counter, and one like it that is late will meet the same guard, or another counter.
			group, sent, failures = o.refuse(group, r.errors[0]), false, 0
			continue
		case err == nil && r.errors[0].OpIndex == opSession:
			o.lose(fmt.Errorf("%w: the session does not hold the leader's key any more: %s", scheduler.ErrFenced, r.errors[0].What))
			continue
		case errors.Is(err, errRefused) && !sent && len(group) > 1:
			for i := range group { // it may be about one of them
				o.commit(group[i : i+1])
			}
			return
		case errors.Is(err, errRefused) && !sent:
			endAll(group, err)
			return
		}
		// No answer; or the counter has moved, maybe by the one before that had none.
		if err == nil {
			err = errors.New(r.errors[0].What)
		}
		sent = true
		failures++
		if o.ask(group, next) {
			return
		}
		if errors.Is(err, errRefused) {
			// The one that had no answer may still come; whoever takes office next need not wait for it.
			o.lose(fmt.Errorf("%w: Consul refuses what it has not answered before: %w", scheduler.ErrFenced, err))
			continue
		}
		o.log.Warn("a write was not done, or that is not known; trying again", "writes", len(group), "failures", failures, "error", err)
		if o.backoff.Wait(o.ctx, failures) != nil {
			endAll(group, context.Cause(o.ctx))
			return
		}
	}
}

func endAll(group []*write, err error) {
	for _, w := range group {
		w.end(err, 0)
	}
}

// Where the operations of the writes begin in a transaction.
const (
	opSession = 0
	opCounter = 1
	opFirst   = 2
)

func (o *office) transaction(group []*write, next seq) []*consulapi.KVTxnOp {
	ops := []*consulapi.KVTxnOp{
		opSession: {Verb: consulapi.KVCheckSession, Key: o.keys.leader(), Session: o.session},
		opCounter: {Verb: consulapi.KVCAS, Key: o.keys.seq(), Index: o.index, Value: encode(next)},
	}
	for _, w := range group {
		ops = append(ops, w.ops...)
	}
	return ops
}

// settle notes that the group is done.
func (o *office) settle(group []*write, next seq, pairs []*consulapi.KVPair) {
	o.seq = next
	indexes := make(map[string]uint64, len(pairs))
	for _, p := range pairs {
		indexes[p.Key] = p.ModifyIndex
	}
	o.index = indexes[o.keys.seq()]
	o.seen.note(next)
	for _, w := range group {
		w.end(nil, indexes[w.key])
	}
}

// refuse deals with the write whose guard made Consul refuse the transaction, and returns those that are still to be
// committed. A guard that met what is stored ends its write. One that may have met a write ahead of it in the transaction,
// of which nothing is stored yet, is judged again after that one: only then does whoever is refused find what refused it.
func (o *office) refuse(group []*write, why *consulapi.TxnError) []*write {
	at := opFirst
	for i, w := range group {
		if at += len(w.ops); why.OpIndex >= at {
			continue
		}
		if i > 0 {
			o.commit(group[:i])
			return group[i:]
		}
		w.end(fmt.Errorf("%w: %s", errGuard, why.What), 0)
		return group[1:]
	}
	o.lose(fmt.Errorf("%w: Consul refuses operation %d of %d: %s", scheduler.ErrFenced, why.OpIndex, at, why.What))
	return group
}

// ask reads the counter after a write without an answer. It is false when the write was not done yet.
func (o *office) ask(group []*write, next seq) (settled bool) {
	found, index, err := o.client.counter(o.ctx, o.keys)
	if err != nil {
		o.log.Warn("the counter cannot be read", "error", err)
		return false
	}
	switch {
	case found == next && index > o.index:
		o.settleUnseen(group, next, index)
		return true
	case found == o.seq && index == o.index:
		return false
	case index == 0 || found.Session == o.session || found.before(o.seq) || found.Restored:
		o.lose(fmt.Errorf("%w: %w: its counter is at %d.%d, this server left it at %d.%d", scheduler.ErrFenced, ErrRestored,
			found.Epoch, found.N, o.seq.Epoch, o.seq.N))
	default:
		o.lose(fmt.Errorf("%w: epoch %d leads", scheduler.ErrFenced, found.Epoch))
	}
	endAll(group, context.Cause(o.ctx))
	return true
}

// settleUnseen notes that the group is done although the answer was lost: what it set has the index of the counter.
func (o *office) settleUnseen(group []*write, next seq, index uint64) {
	pairs := []*consulapi.KVPair{{Key: o.keys.seq(), ModifyIndex: index}}
	for _, w := range group {
		pairs = append(pairs, &consulapi.KVPair{Key: w.key, ModifyIndex: index})
	}
	o.settle(group, next, pairs)
}

// lose ends the office from within.
func (o *office) lose(err error) {
	o.log.Warn("leadership lost", "epoch", o.epoch, "error", err)
	o.end(err)
}

// err says why the office is over; nil while it is held.
func (o *office) err() error {
	if o.ctx.Err() == nil {
		return nil
	}
	return context.Cause(o.ctx)
}

func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // strings and numbers
	}
	return b
}
