// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package consul

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	consulapi "github.com/hashicorp/consul/api"
	"golang.org/x/sync/errgroup"

	"github.com/cairnflow/cairn/internal/scheduler"
	"github.com/cairnflow/cairn/internal/workflow"
)

var _ scheduler.Bulk = (*Store)(nil)

// Store keeps runs in Consul's KV store. It reads with or without a leadership, and writes with that of its Elector. It is
// safe for concurrent use, but for two writes of one run at once.
type Store struct {
	elector *Elector
	client  *client
	keys    keys

	known   known
	parts   definitions
	naming  naming
	formats formats

	mu    sync.Mutex // guards what follows
	epoch uint64     // of the leadership in which everything kept here was learnt
	root  string     // name of the data prefix; empty: not read yet
	open  map[workflow.RunID]*open
}

// NewStore returns the store that the elector's leadership writes to.
func NewStore(e *Elector) *Store {
	return &Store{elector: e, client: e.client, keys: e.keys, open: map[workflow.RunID]*open{}}
}

// Create implements scheduler.Store.
func (s *Store) Create(ctx context.Context, epoch uint64, run scheduler.NewRun) (workflow.RunID, error) {
	id, err := s.create(ctx, epoch, run)
	if err != nil {
		return id, fmt.Errorf("create run %s: %w", run.ID, err)
	}
	return id, nil
}

func (s *Store) create(ctx context.Context, epoch uint64, run scheduler.NewRun) (workflow.RunID, error) {
	if err := checkRecords(run.Records); err != nil {
		return "", err
	}
	o, err := s.officeOf(epoch)
	if err != nil {
		return "", err
	}
	d, err := s.data(ctx)
	if err != nil {
		return "", err
	}
	if taken, err := s.taken(ctx, d, run); taken != "" || err != nil {
		return taken, err
	}
	leave, err := s.naming.enter(ctx)
	if err != nil {
		return "", err
	}
	defer leave()
	if err := s.define(ctx, o, d, run.Definition); err != nil {
		return "", err
	}
	e := entry{Version: s.format(ctx), Workflow: run.Workflow, Namespace: run.Namespace, Key: run.IdempotencyKey, Parent: run.Parent,
		Labels: run.Labels, CreatedAt: run.CreatedAt, Definition: run.Definition.Hash}
	key := d.indexOf(run.ID)
	first := func() []*consulapi.KVTxnOp {
		return []*consulapi.KVTxnOp{{Verb: consulapi.KVCheckNotExists, Key: key}, set(key, encode(e))}
	}
	ops := first()
	if run.IdempotencyKey != "" {
		k := d.idempotency(run.Namespace, run.Workflow, run.IdempotencyKey)
		ops = append(ops, &consulapi.KVTxnOp{Verb: consulapi.KVCheckNotExists, Key: k}, set(k, []byte(run.ID)))
	}
	named := ops[2:]
	ops, ahead := spread(d, run.ID, run.Records, ops)
	if tooMuch(ops) { // a rerun that takes over the results of many instances
		e.Staged, e.Stages = 1, 1
		if ahead, err = stagedAhead(d, run.ID, e.Staged, run.Records); err != nil {
			return "", err
		}
		ops = append(first(), named...)
	}
	if err := s.putAhead(ctx, o, run.ID, ahead); err != nil {
		return "", err
	}
	w := newWrite(key, ops...)
	err = s.put(ctx, o, run.ID, w)
	if errors.Is(err, errGuard) {
		taken, readErr := s.taken(ctx, d, run)
		if taken == "" && readErr == nil {
			readErr = err
		}
		return taken, readErr
	}
	if err != nil {
		return "", err
	}
	e.index = w.index
	s.known.put(run.ID, e)
	if e.Staged != 0 {
		s.carryOverNow(ctx, o, d, run.ID, e)
	}
	return run.ID, nil
}

// taken returns the run that has the ID or the idempotency key already, with ErrExists.
func (s *Store) taken(ctx context.Context, d data, run scheduler.NewRun) (workflow.RunID, error) {
	ops := []*consulapi.KVTxnOp{get(d.indexOf(run.ID))}
	if run.IdempotencyKey != "" {
		ops = append(ops, get(d.idempotency(run.Namespace, run.Workflow, run.IdempotencyKey)))
	}
	pairs, err := s.client.read(ctx, ops...)
	if err != nil {
		return "", err
	}
	for _, p := range pairs {
		if p.Key == d.indexOf(run.ID) {
			return run.ID, scheduler.ErrExists
		}
	}
	for _, p := range pairs {
		return workflow.RunID(p.Value), scheduler.ErrExists
	}
	return "", nil
}

// Load implements scheduler.Store.
func (s *Store) Load(ctx context.Context, id workflow.RunID) ([]scheduler.Record, scheduler.Definition, error) {
	records, def, err := s.load(ctx, id)
	if err != nil {
		return nil, scheduler.Definition{}, fmt.Errorf("load run %s: %w", id, err)
	}
	return records, def, nil
}

func (s *Store) load(ctx context.Context, id workflow.RunID) ([]scheduler.Record, scheduler.Definition, error) {
	if err := s.settled(ctx, id); err != nil {
		return nil, scheduler.Definition{}, err
	}
	swept := s.parts.sweeps() // before it is known what is in use: nothing of something else is kept
	d, err := s.data(ctx)
	if err != nil {
		return nil, scheduler.Definition{}, err
	}
	e, records, err := s.readRun(ctx, d, id)
	if err != nil {
		return nil, scheduler.Definition{}, err
	}
	def := scheduler.Definition{Hash: e.Definition}
	if def.Hash != "" {
		if def.Bytes, err = s.definition(ctx, d, def.Hash); err == nil && len(def.Bytes) > 0 && !scheduler.IsStale(ctx) {
			s.parts.put(def.Hash, def.Bytes, swept) // a run names only what was stored whole
			def.Bytes = bytes.Clone(def.Bytes)
		}
	}
	return records, def, err
}

// LoadAll implements scheduler.Bulk.
func (s *Store) LoadAll(ctx context.Context, ids []workflow.RunID) (map[workflow.RunID]scheduler.Loaded, error) {
	loaded, err := s.loadAll(ctx, ids)
	if err != nil {
		return nil, fmt.Errorf("load %d runs: %w", len(ids), err)
	}
	return loaded, nil
}

func (s *Store) loadAll(ctx context.Context, ids []workflow.RunID) (map[workflow.RunID]scheduler.Loaded, error) {
	swept := s.parts.sweeps()
	d, err := s.data(ctx)
	if err != nil {
		return nil, err
	}
	var ops []*consulapi.KVTxnOp
	owner := map[string]workflow.RunID{} // by what its keys begin with
	for _, id := range ids {
		if err := s.settled(ctx, id); err != nil {
			return nil, err
		}
		ops = append(ops, get(d.indexOf(id)), tree(d.hot(id)), tree(d.run(id)))
		owner[d.indexOf(id)], owner[d.hot(id)], owner[d.run(id)] = id, id, id
	}
	pairs, err := s.client.read(ctx, ops...)
	if err != nil {
		return nil, err
	}
	of := map[workflow.RunID][]*consulapi.KVPair{}
	for _, p := range pairs {
		id, ok := owner[p.Key]
		if !ok {
			id = owner[d.ownerPart(p.Key)]
		}
		of[id] = append(of[id], p)
	}
	loaded := map[workflow.RunID]scheduler.Loaded{}
	definitions := map[string][]byte{}
	for id, pairs := range of {
		if pairs[0].Key != d.indexOf(id) {
			continue
		}
		e, records, err := assemble(d, id, pairs)
		if err != nil {
			continue // Load says why
		}
		if e.Definition != "" && definitions[e.Definition] == nil {
			b, err := s.definition(ctx, d, e.Definition)
			if err != nil {
				return nil, err
			}
			if definitions[e.Definition] = b; len(b) > 0 && !scheduler.IsStale(ctx) {
				s.parts.put(e.Definition, b, swept)
			}
		}
		loaded[id] = scheduler.Loaded{Records: records, Definition: scheduler.Definition{Hash: e.Definition, Bytes: definitions[e.Definition]}}
	}
	return loaded, nil
}

// readRun reads all of a run as of one moment, its records sorted by key.
func (s *Store) readRun(ctx context.Context, d data, id workflow.RunID) (entry, []scheduler.Record, error) {
	pairs, err := s.client.read(ctx, get(d.indexOf(id)), tree(d.hot(id)), tree(d.run(id)))
	if err != nil {
		return entry{}, nil, err
	}
	if len(pairs) == 0 || pairs[0].Key != d.indexOf(id) {
		return entry{}, nil, scheduler.ErrNotFound // what else is there was written ahead of a create that never came
	}
	return assemble(d, id, pairs)
}

// assemble makes the records of a run, sorted by key, of its entry and everything else that is stored of it.
func assemble(d data, id workflow.RunID, pairs []*consulapi.KVPair) (entry, []scheduler.Record, error) {
	e, err := decodeEntry(id, pairs[0].Value, pairs[0].ModifyIndex)
	if err == nil && e.Cut {
		err = scheduler.ErrNotFound
	}
	if err != nil {
		return e, nil, err
	}
	var records []scheduler.Record
	var packs, staged []*consulapi.KVPair
	for _, p := range pairs[1:] {
		record, fixed := strings.CutPrefix(p.Key, d.fixed(id))
		if !fixed && !e.Done {
			record, fixed = strings.CutPrefix(p.Key, d.hot(id))
		}
		switch {
		case fixed:
			records = append(records, scheduler.Record{Key: record, Value: whole(p.Value)})
		case e.Done && p.Key == d.head(id, true):
			records = append(records, scheduler.Record{Key: scheduler.HeadKey, Value: whole(p.Value)})
		case e.Done && strings.HasPrefix(p.Key, d.packed(id, e.Packed)):
			packs = append(packs, p)
		case e.Staged != 0 && strings.HasPrefix(p.Key, d.staged(id, e.Staged)):
			staged = append(staged, p)
		}
	}
	if e.Done {
		hot, err := unpackAll(packs)
		if err != nil {
			return e, nil, err
		}
		records = append(records, hot...)
	}
	if e.Staged != 0 {
		changes, err := unpackAll(staged)
		if err != nil {
			return e, nil, err
		}
		hot, _ := merge(records, changes)
		records = slices.DeleteFunc(records, func(r scheduler.Record) bool { return !isFixed(r.Key) })
		records = append(records, hot...)
	}
	slices.SortFunc(records, func(a, b scheduler.Record) int { return cmp.Compare(a.Key, b.Key) })
	return e, records, nil
}

// unpackAll unpacks what was packed and cut into parts.
func unpackAll(parts []*consulapi.KVPair) ([]scheduler.Record, error) {
	var packed []byte
	for _, p := range parts {
		packed = append(packed, p.Value...)
	}
	return unpack(packed)
}

// whole is a value that is there: JSON makes no difference between an empty one and none.
func whole(value []byte) []byte {
	if value == nil {
		return []byte{}
	}
	return value
}

// Save implements scheduler.Store.
func (s *Store) Save(ctx context.Context, epoch uint64, id workflow.RunID, records []scheduler.Record, done bool) error {
	if err := s.save(ctx, epoch, id, records, done); err != nil {
		return fmt.Errorf("save run %s: %w", id, err)
	}
	return nil
}

func (s *Store) save(ctx context.Context, epoch uint64, id workflow.RunID, records []scheduler.Record, done bool) error {
	if err := checkRecords(records); err != nil {
		return err
	}
	o, err := s.officeOf(epoch)
	if err != nil {
		return err
	}
	d, err := s.data(ctx)
	if err != nil {
		return err
	}
	for tries := 0; ; tries++ {
		e, err := s.entryOf(ctx, d, id)
		if err != nil {
			return err
		}
		switch {
		case done || e.Done:
			err = s.turn(ctx, o, d, id, records, done)
		default:
			err = s.saveHot(ctx, o, d, id, e, records)
		}
		if err == nil {
			return nil
		}
		s.known.forget(id) // it may have been written all the same, and be another one now
		if !errors.Is(err, errGuard) || tries > 0 {
			return err
		}
	}
}

// unchanged checks that the entry of a run is the one that is known.
func unchanged(d data, id workflow.RunID, e entry) *consulapi.KVTxnOp {
	return &consulapi.KVTxnOp{Verb: consulapi.KVCheckIndex, Key: d.indexOf(id), Index: e.index}
}

// entryOf returns the entry of a run as it is known or, where it is not, as it is stored.
func (s *Store) entryOf(ctx context.Context, d data, id workflow.RunID) (entry, error) {
	if e, ok := s.known.get(id); ok {
		return e, nil
	}
	e, err := s.readEntry(ctx, d, id)
	if err == nil && e.Cut {
		err = scheduler.ErrNotFound
	}
	if err == nil {
		s.known.put(id, e)
	}
	return e, err
}

// readEntry reads the entry of a run, even of one that is being deleted.
func (s *Store) readEntry(ctx context.Context, d data, id workflow.RunID) (entry, error) {
	pairs, err := s.client.read(ctx, get(d.indexOf(id)))
	if err != nil {
		return entry{}, err
	}
	if len(pairs) == 0 {
		return entry{}, scheduler.ErrNotFound
	}
	return decodeEntry(id, pairs[0].Value, pairs[0].ModifyIndex)
}

// List implements scheduler.Store.
func (s *Store) List(ctx context.Context, filter scheduler.Filter) ([]scheduler.Summary, error) {
	list, err := s.list(ctx, filter)
	if err != nil {
		return nil, fmt.Errorf("list runs: %w", err)
	}
	return list, nil
}

func (s *Store) list(ctx context.Context, filter scheduler.Filter) ([]scheduler.Summary, error) {
	d, err := s.data(ctx)
	if err != nil {
		return nil, err
	}
	pairs, err := s.client.read(ctx, tree(d.index()))
	if err != nil {
		return nil, err
	}
	var list []scheduler.Summary
	staged := map[workflow.RunID]bool{}
	for _, p := range pairs {
		id := workflow.RunID(strings.TrimPrefix(p.Key, d.index()))
		e, err := decodeEntry(id, p.Value, p.ModifyIndex)
		if err != nil {
			s.elector.log.Error("a run is left out: it cannot be read", "run", id, "error", err)
			continue // the others are not to wait for it
		}
		sum := scheduler.Summary{
			ID: id, Workflow: e.Workflow, Namespace: e.Namespace, Parent: e.Parent, Labels: e.Labels, CreatedAt: e.CreatedAt, Done: e.Done,
		}
		if e.Cut || !filter.Matches(&sum) {
			continue
		}
		if e.Staged != 0 {
			staged[id] = true
		}
		list = append(list, sum)
	}
	scheduler.NewestFirst(list)
	if filter.Limit == 0 {
		return s.heads(ctx, d, list, staged)
	}
	var page []scheduler.Summary
	for len(list) > 0 && len(page) < filter.Limit { // again where runs are gone meanwhile
		n := min(len(list), filter.Limit-len(page))
		there, err := s.heads(ctx, d, list[:n], staged)
		if err != nil {
			return nil, err
		}
		page, list = append(page, there...), list[n:]
	}
	return page, nil
}

// heads fills in the heads. A run that has ended or begun again meanwhile is read again, one that is gone is left out.
func (s *Store) heads(ctx context.Context, d data, list []scheduler.Summary, staged map[workflow.RunID]bool) ([]scheduler.Summary, error) {
	at := map[string]int{}
	var ops []*consulapi.KVTxnOp
	for i, sum := range list {
		if staged[sum.ID] { // its head may be staged too
			continue
		}
		op := get(d.head(sum.ID, sum.Done))
		at[op.Key] = i
		ops = append(ops, op)
	}
	reads, shared := errgroup.WithContext(ctx)
	reads.SetLimit(readsAtOnce)
	for chunk := range slices.Chunk(ops, maxOps) {
		reads.Go(func() error {
			pairs, err := s.client.read(shared, chunk...)
			for _, p := range pairs {
				list[at[p.Key]].Head = whole(p.Value)
			}
			return err
		})
	}
	if err := reads.Wait(); err != nil {
		return nil, err
	}
	kept := list[:0]
	for _, sum := range list {
		if sum.Head == nil {
			e, records, err := s.readRun(ctx, d, sum.ID)
			if errors.Is(err, scheduler.ErrNotFound) {
				continue
			}
			if err != nil {
				return nil, err
			}
			sum.Done = e.Done
			for _, r := range records {
				if r.Key == scheduler.HeadKey {
					sum.Head = r.Value
				}
			}
		}
		kept = append(kept, sum)
	}
	return kept, nil
}

// readsAtOnce is how many transactions one call has Consul read at the same time.
const readsAtOnce = 8

// KnownCluster is the UUID of the cluster; empty where nobody has made one yet.
func (s *Store) KnownCluster(ctx context.Context) (string, error) {
	pairs, err := s.client.read(ctx, get(s.keys.cluster()))
	if err != nil {
		return "", fmt.Errorf("read the cluster's ID: %w", err)
	}
	if len(pairs) == 0 {
		return "", nil
	}
	return string(pairs[0].Value), nil
}

// Cluster implements scheduler.Store. Whoever asks first makes the UUID, without leading: it is needed before anybody can.
func (s *Store) Cluster(ctx context.Context) (string, error) {
	refused := ""
	for range 2 {
		known, err := s.KnownCluster(ctx)
		if err != nil || known != "" {
			return known, err
		}
		// Another one may be faster; what is there then is the answer.
		create := &consulapi.KVTxnOp{Verb: consulapi.KVCAS, Key: s.keys.cluster(), Index: 0, Value: []byte(newUUID())}
		r, err := s.client.txn(ctx, []*consulapi.KVTxnOp{create})
		if err != nil {
			return "", fmt.Errorf("make the cluster's ID: %w", err)
		}
		if len(r.errors) > 0 {
			refused = r.errors[0].What
		}
	}
	return "", fmt.Errorf("make the cluster's ID: key %s cannot be written: %s", s.keys.cluster(), refused)
}

// data names the keys of the data prefix in use.
func (s *Store) data(ctx context.Context) (data, error) {
	// It is known for as long as this server leads: whoever restores a backup changes the root, and ends the leadership with it.
	o := s.elector.current()
	leads := o != nil && o.err() == nil
	if leads {
		s.mu.Lock()
		s.begin(o.epoch)
		root := s.root
		s.mu.Unlock()
		if root != "" {
			return data{s.keys.prefix + root + "/"}, nil
		}
	}
	pairs, err := s.client.read(ctx, get(s.keys.root()))
	if err != nil {
		return data{}, err
	}
	root := firstData // nobody has led yet, and there is nothing to read
	if len(pairs) > 0 {
		root = string(pairs[0].Value)
	}
	if leads && len(pairs) > 0 && !scheduler.IsStale(ctx) {
		s.mu.Lock()
		if s.epoch == o.epoch {
			s.root = root
		}
		s.mu.Unlock()
	}
	return data{s.keys.prefix + root + "/"}, nil
}

// begin forgets what was learnt in another leadership than that of an epoch: others may have written since. The caller holds mu.
func (s *Store) begin(epoch uint64) {
	if s.epoch < epoch {
		s.epoch, s.root = epoch, ""
		s.known.clear()
		s.parts.clear()
	}
}

// officeOf is the office of an epoch, if this server holds it.
func (s *Store) officeOf(epoch uint64) (*office, error) {
	o := s.elector.current()
	switch {
	case o == nil || o.epoch != epoch:
		return nil, fmt.Errorf("%w: this server does not lead with epoch %d", scheduler.ErrFenced, epoch)
	case o.err() != nil:
		return nil, o.err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.begin(epoch)
	return o, nil
}

func checkRecords(records []scheduler.Record) error {
	for _, r := range records {
		switch {
		case r.Key == "":
			return errors.New("a record without a key")
		case len(r.Value) > maxRecord:
			return fmt.Errorf("record %s has %d bytes, at most %d are possible", r.Key, len(r.Value), maxRecord)
		}
		for _, c := range []byte(r.Key) {
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '/' {
				return fmt.Errorf("record key %q: want a-z, 0-9 and /", r.Key)
			}
		}
	}
	return nil
}
