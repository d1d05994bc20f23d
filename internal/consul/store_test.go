// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package consul

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	consulapi "github.com/hashicorp/consul/api"
	"pgregory.net/rapid"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/scheduler"
	"github.com/cairnflow/cairn/internal/workflow"
)

// leading is a store with the leadership that writes to it.
func leading(t testing.TB, cfg Config) (*Store, uint64) {
	t.Helper()
	e := newElector(t, cfg)
	l := lead(t, e)
	return NewStore(e), l.Epoch
}

func runID(n int) workflow.RunID {
	return workflow.NewRunID(time.UnixMilli(1_700_000_000_000+int64(n)), [6]byte{1, byte(n >> 8), byte(n)})
}

// begin stores a run with a head.
func begin(t testing.TB, s *Store, epoch uint64, n int) workflow.RunID {
	t.Helper()
	id, err := s.Create(t.Context(), epoch, scheduler.NewRun{
		ID: runID(n), Workflow: "w", Namespace: "default", CreatedAt: workflow.Time(n + 1),
		Definition: scheduler.Definition{Hash: "sha256:abc", Bytes: []byte("definition")},
		Records: []scheduler.Record{
			{Key: scheduler.HeadKey, Value: []byte("head 0")}, {Key: engine.InputKey, Value: []byte("input")},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func loaded(t testing.TB, s *Store, id workflow.RunID) []scheduler.Record {
	t.Helper()
	records, _, err := s.Load(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return records
}

// many makes n records that change, of so many bytes each, and head, all saying which save they are of.
func many(n, size, save int) []scheduler.Record {
	records := []scheduler.Record{{Key: scheduler.HeadKey, Value: fmt.Appendf(nil, "head %d", save)}}
	for i := range n {
		value := bytes.Repeat([]byte{byte('a' + save)}, size)
		copy(value, fmt.Sprintf("%d of save %d", i, save))
		records = append(records, scheduler.Record{Key: fmt.Sprintf("g/%04d", i), Value: value})
	}
	return records
}

func wantRecords(t testing.TB, what string, want, got []scheduler.Record) {
	t.Helper()
	want = append(slices.Clone(want), scheduler.Record{Key: engine.InputKey, Value: []byte("input")})
	slices.SortFunc(want, func(a, b scheduler.Record) int { return strings.Compare(a.Key, b.Key) })
	if !slices.EqualFunc(want, got, func(a, b scheduler.Record) bool { return a.Key == b.Key && bytes.Equal(a.Value, b.Value) }) {
		t.Fatalf("%s: %d records came back, want %d, or they differ inside", what, len(got), len(want))
	}
}

// A save of three megabytes is one save, although Consul takes half of one in a transaction; so are the end of such a run and
// its new beginning.
func TestAgentSavesAreOfAnySize(t *testing.T) {
	s, epoch := leading(t, testConfig(t))
	id := begin(t, s, epoch, 1)
	for save, done := range []bool{false, false, true, true, false, true} {
		records := many(300, 10_000, save+1)
		if err := s.Save(t.Context(), epoch, id, records, done); err != nil {
			t.Fatalf("save %d: %v", save, err)
		}
		for _, reader := range []*Store{s, NewStore(newElector(t, s.elector.cfg))} {
			wantRecords(t, fmt.Sprintf("save %d", save), records, loaded(t, reader, id))
			list, err := reader.List(t.Context(), scheduler.Filter{})
			if err != nil {
				t.Fatal(err)
			}
			if len(list) != 1 || list[0].Done != done || string(list[0].Head) != string(records[0].Value) {
				t.Errorf("list after save %d: %+v", save, list)
			}
		}
	}
	if err := s.Delete(t.Context(), epoch, id); err != nil {
		t.Fatal(err)
	}
	pairs, _, err := s.client.api.KV().List(s.keys.prefix+firstData+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pairs {
		if !strings.Contains(p.Key, "/def/") {
			t.Errorf("key %s is left of a run that was deleted", p.Key)
		}
	}
}

// A leader that is gone between the save of what is too much for one transaction and its carrying over leaves a run that
// reads as saved; the next one finishes.
func TestAgentALargeSaveOutlivesItsLeader(t *testing.T) {
	for name, next := range map[string]func(t *testing.T, s *Store, epoch uint64, id workflow.RunID) []scheduler.Record{
		"the next save is small": func(t *testing.T, s *Store, epoch uint64, id workflow.RunID) []scheduler.Record {
			small := many(1, 10, 7)
			if err := s.Save(t.Context(), epoch, id, small, false); err != nil {
				t.Fatal(err)
			}
			return append(small, many(300, 10_000, 1)[2:]...)
		},
		"the next save ends the run": func(t *testing.T, s *Store, epoch uint64, id workflow.RunID) []scheduler.Record {
			if err := s.Save(t.Context(), epoch, id, nil, true); err != nil {
				t.Fatal(err)
			}
			return many(300, 10_000, 1)
		},
		"the next save is as large": func(t *testing.T, s *Store, epoch uint64, id workflow.RunID) []scheduler.Record {
			if err := s.Save(t.Context(), epoch, id, many(300, 10_000, 8), false); err != nil {
				t.Fatal(err)
			}
			return many(300, 10_000, 8)
		},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := testConfig(t)
			link, bad := newLink(t, cfg.Address), cfg
			bad.Address = link.server.URL
			first, epoch := leading(t, bad)
			id := begin(t, first, epoch, 1)
			large := many(300, 10_000, 1)
			link.set(func(n int, _ string) fate { // the packs, the entry, and half of the carrying over
				if n < 5 {
					return deliver
				}
				return lose
			})
			ctx, cancel := within(t, 2*time.Second)
			defer cancel()
			err := first.Save(ctx, epoch, id, large, false)
			if err != nil {
				t.Fatalf("the save is stored once the entry names it: %v", err)
			}
			link.set(always(deliver))
			depose(t, first.elector)
			second, epoch := leading(t, cfg)
			wantRecords(t, "after the takeover", large, loaded(t, second, id))
			list, err := second.List(t.Context(), scheduler.Filter{Active: true})
			if err != nil || len(list) != 1 || string(list[0].Head) != "head 1" {
				t.Errorf("list after the takeover: %+v, %v", list, err)
			}
			wantRecords(t, "after the next save", next(t, second, epoch, id), loaded(t, second, id))
		})
	}
}

// What ends the carrying over may be done after its caller has stopped waiting: the next save goes on from there.
func TestAgentACarryingOverMayEndLate(t *testing.T) {
	cfg := testConfig(t)
	link := newLink(t, cfg.Address)
	cfg.Address = link.server.URL
	s, epoch := leading(t, cfg)
	id := begin(t, s, epoch, 1)
	ends := func(body string) bool {
		return strings.Contains(body, `"check-index"`) && strings.Contains(body, `"delete-tree"`)
	}
	var mu sync.Mutex
	lost := 0
	link.set(func(_ int, body string) fate {
		mu.Lock()
		defer mu.Unlock()
		if ends(body) {
			lost++
		}
		if ends(body) && lost < 6 {
			return lose
		}
		return deliver
	})
	large, ctx := many(300, 10_000, 1), t.Context()
	short, cancel := within(t, 1500*time.Millisecond)
	defer cancel()
	if err := s.Save(short, epoch, id, large, false); err != nil {
		t.Fatalf("the save is stored once the entry names it: %v", err)
	}
	small := many(1, 10, 7)
	for range 2 {
		if err := s.Save(ctx, epoch, id, small, false); err != nil {
			t.Fatal(err)
		}
	}
	wantRecords(t, "in the end", append(small, large[2:]...), loaded(t, s, id))
	mu.Lock()
	defer mu.Unlock()
	if lost < 6 {
		t.Errorf("only %d writes that end the carrying over were lost", lost)
	}
}

// A run may begin with more records than a transaction takes: a rerun takes over the results of many instances.
func TestAgentARunMayBeginLarge(t *testing.T) {
	s, epoch := leading(t, testConfig(t))
	records := append(many(300, 10_000, 1), scheduler.Record{Key: engine.InputKey, Value: []byte("input")})
	run := scheduler.NewRun{ID: runID(1), Workflow: "w", Namespace: "default", CreatedAt: 1, IdempotencyKey: "once", Records: records,
		Definition: scheduler.Definition{Hash: "sha256:abc", Bytes: []byte("definition")}}
	for range 2 {
		id, err := s.Create(t.Context(), epoch, run)
		if id != run.ID || err != nil && !errors.Is(err, scheduler.ErrExists) {
			t.Fatalf("create: %s, %v", id, err)
		}
	}
	wantRecords(t, "a run that begins large", records[:len(records)-1], loaded(t, s, run.ID))
	if err := s.Save(t.Context(), epoch, run.ID, many(1, 10, 2), false); err != nil {
		t.Fatal(err)
	}
}

// Every answer of Consul may be lost, before the write is done, after, or long before: each save happens once all the same.
func TestAgentLostAnswers(t *testing.T) {
	cfg := testConfig(t)
	link := newLink(t, cfg.Address)
	cfg.Address = link.server.URL
	s, epoch := leading(t, cfg)
	const runs, saves = 4, 25
	ids := make([]workflow.RunID, runs)
	for n := range runs {
		ids[n] = begin(t, s, epoch, n)
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	seen := map[fate]int{}
	link.set(func(int, string) fate {
		f := fate(random.IntN(int(fates)))
		seen[f]++
		return f
	})
	var wg sync.WaitGroup
	for n := range runs {
		wg.Go(func() {
			for i := range saves {
				key := fmt.Sprintf("g/%04d", i)
				if err := s.Save(t.Context(), epoch, ids[n], []scheduler.Record{{Key: key, Value: fmt.Appendf(nil, "%d", n)}}, false); err != nil {
					t.Errorf("save %d of run %d: %v", i, n, err)
				}
			}
		})
	}
	wg.Wait()
	for n := range runs {
		want := []scheduler.Record{{Key: scheduler.HeadKey, Value: []byte("head 0")}}
		for i := range saves {
			want = append(want, scheduler.Record{Key: fmt.Sprintf("g/%04d", i), Value: fmt.Appendf(nil, "%d", n)})
		}
		wantRecords(t, fmt.Sprintf("run %d", n), want, loaded(t, s, ids[n]))
	}
	link.set(always(deliver))
	for f := range fates {
		if seen[f] == 0 {
			t.Errorf("fate %d of a request never came", f)
		}
	}
}

// A save whose caller has stopped waiting is done or not done before the run is loaded again.
func TestAgentLoadWaitsForWhatIsOpen(t *testing.T) {
	cfg := testConfig(t)
	link := newLink(t, cfg.Address)
	cfg.Address = link.server.URL
	s, epoch := leading(t, cfg)
	id := begin(t, s, epoch, 1)
	link.set(func(n int, _ string) fate {
		if n < 4 {
			return lose
		}
		return deliver
	})
	ctx, cancel := within(t, 50*time.Millisecond)
	defer cancel()
	head := scheduler.Record{Key: scheduler.HeadKey, Value: []byte("head 1")}
	if err := s.Save(ctx, epoch, id, []scheduler.Record{head}, false); err == nil {
		t.Fatal("the save has an answer, although Consul gives none")
	}
	wantRecords(t, "loaded", []scheduler.Record{head}, loaded(t, s, id))
}

// Writes that come while one is on its way share the next transaction.
func TestAgentWritesShareTransactions(t *testing.T) {
	s, epoch := leading(t, testConfig(t))
	const runs = 200
	for n := range runs {
		begin(t, s, epoch, n)
	}
	before, _, err := s.client.counter(t.Context(), s.keys)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for n := range runs {
		wg.Go(func() {
			if err := s.Save(t.Context(), epoch, runID(n), []scheduler.Record{{Key: "g/0000", Value: []byte("x")}}, false); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	after, _, err := s.client.counter(t.Context(), s.keys)
	if err != nil {
		t.Fatal(err)
	}
	if n := after.N - before.N; n > runs/2 || n < runs*2/maxOps {
		t.Errorf("%d saves at once made %d transactions", runs, n)
	}
}

// A refused guard of one write does not hurt those that share its transaction.
func TestAgentARefusedWriteIsAlone(t *testing.T) {
	s, epoch := leading(t, testConfig(t))
	const runs = 20
	for n := range runs {
		begin(t, s, epoch, n)
	}
	var wg sync.WaitGroup
	for n := range 2 * runs { // the first half exists
		wg.Go(func() {
			id, err := s.Create(t.Context(), epoch, scheduler.NewRun{ID: runID(n), Workflow: "w", CreatedAt: 1,
				Definition: scheduler.Definition{Hash: "sha256:abc", Bytes: []byte("definition")},
				Records:    []scheduler.Record{{Key: scheduler.HeadKey, Value: []byte("new")}}})
			if id != runID(n) || errors.Is(err, scheduler.ErrExists) != (n < runs) || n >= runs && err != nil {
				t.Errorf("create %d: %q, %v", n, id, err)
			}
		})
	}
	wg.Wait()
	list, err := s.List(t.Context(), scheduler.Filter{})
	if err != nil || len(list) != 2*runs {
		t.Errorf("%d runs, %v; want %d", len(list), err, 2*runs)
	}
}

// Of two writes in one transaction that exclude each other, the second is told no only when the first is stored: it looks then
// for what was in its way.
func TestAgentARefusedWriteFindsWhatRefusedIt(t *testing.T) {
	s, _ := leading(t, testConfig(t))
	o := s.elector.current()
	key := func(name string) string { return s.keys.prefix + "test/" + name }
	once := func(name string) *write {
		return newWrite(key(name), &consulapi.KVTxnOp{Verb: consulapi.KVCheckNotExists, Key: key(name)}, set(key(name), []byte("x")))
	}
	stored := func(name string) bool {
		pairs, err := s.client.read(t.Context(), get(key(name)))
		if err != nil {
			t.Error(err)
		}
		return len(pairs) == 1
	}
	group := []*write{once("other"), once("one"), once("one"), once("another"), once("one")}
	for i, w := range group {
		w.over = func() {
			if !stored([]string{"other", "one", "one", "another", "one"}[i]) {
				t.Errorf("write %d of the transaction is over, and what it is about is not stored", i)
			}
		}
	}
	o.commit(group) // the lane has nothing to do meanwhile
	for i, w := range group {
		<-w.done
		if refused := i == 2 || i == 4; errors.Is(w.err, errGuard) != refused || !refused && w.err != nil {
			t.Errorf("write %d: %v", i, w.err)
		}
	}
}

// caughtUp waits until the first server of Consul, which may not lead, knows of every write under a prefix.
func caughtUp(t *testing.T, prefix string) {
	t.Helper()
	kv := cluster.Consul(t).Client().KV()
	_, leader, err := kv.Keys(prefix, "", &consulapi.QueryOptions{RequireConsistent: true})
	if err != nil {
		t.Fatal(err)
	}
	_, own, err := kv.Keys(prefix, "", &consulapi.QueryOptions{AllowStale: true, WaitIndex: leader.LastIndex - 1, WaitTime: time.Minute})
	if err != nil || own.LastIndex < leader.LastIndex {
		t.Fatalf("the first server knows of %+v, the leader of %+v: %v", own, leader, err)
	}
}

// What a stale read finds may be half of what there is: nobody else is to go by it.
func TestAgentAStaleReadLeavesNothingBehind(t *testing.T) {
	cfg := testConfig(t)
	s, epoch := leading(t, cfg)
	run := begin(t, s, epoch, 1)
	reader := NewStore(newElector(t, cfg))
	load := func(ctx context.Context) {
		t.Helper()
		if _, def, err := reader.Load(ctx, run); err != nil || len(def.Bytes) == 0 {
			t.Fatalf("%+v, %v", def, err)
		}
	}
	hash := func() string {
		t.Helper()
		_, def, err := s.Load(t.Context(), run)
		if err != nil {
			t.Fatal(err)
		}
		return def.Hash
	}()
	caughtUp(t, cfg.Prefix)
	load(scheduler.Stale(t.Context()))
	if reader.parts.get(hash) != nil || reader.root != "" {
		t.Errorf("a stale read keeps the definition (%t) or the root %q", reader.parts.get(hash) != nil, reader.root)
	}
	load(t.Context())
	if reader.parts.get(hash) == nil || reader.root != "" {
		t.Errorf("a read that is not stale keeps no definition, or, without leading, the root %q", reader.root)
	}
	if s.root != firstData {
		t.Errorf("the leader keeps the root %q", s.root)
	}
}

func TestRecordsThatCannotBeStoredAreRefused(t *testing.T) {
	for name, r := range map[string]scheduler.Record{
		"without a key": {Value: []byte("x")}, "too long": {Key: "p/1", Value: make([]byte, maxRecord+1)}, "upper case": {Key: "A"},
	} {
		if err := checkRecords([]scheduler.Record{r}); err == nil {
			t.Errorf("a record %s was taken", name)
		}
	}
	if err := checkRecords([]scheduler.Record{{Key: "p/0001", Value: make([]byte, maxRecord)}}); err != nil {
		t.Error(err)
	}
}

func TestPacksKeepWhatTheyHold(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var want []scheduler.Record
		for range rapid.IntRange(0, 20).Draw(t, "records") {
			r := scheduler.Record{Key: rapid.StringMatching(`[a-z0-9/]{1,12}`).Draw(t, "key")}
			if rapid.Bool().Draw(t, "there") {
				r.Value = append([]byte{}, rapid.SliceOf(rapid.Byte()).Draw(t, "value")...)
			}
			want = append(want, r)
		}
		packed, err := pack(want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := unpack(packed)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("unpacked (-want +got):\n%s", diff)
		}
		if cut := rapid.IntRange(0, len(packed)-1).Draw(t, "cut"); cut < len(packed) {
			if got, err := unpack(packed[:cut]); err == nil {
				t.Fatalf("%d of %d bytes unpack to %d records", cut, len(packed), len(got))
			}
		}
	})
}

func FuzzUnpack(f *testing.F) {
	for _, records := range [][]scheduler.Record{nil, {{Key: "h", Value: []byte("x")}, {Key: "gone"}}} {
		packed, err := pack(records)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(packed)
	}
	f.Fuzz(func(t *testing.T, packed []byte) {
		records, err := unpack(packed)
		if err != nil {
			return
		}
		again, err := pack(records)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := unpack(again); err != nil || !cmp.Equal(records, got) {
			t.Errorf("%v packed and unpacked is %v, %v", records, got, err)
		}
	})
}
