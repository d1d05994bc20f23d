// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package consul

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	consulapi "github.com/hashicorp/consul/api"

	"github.com/cairnflow/cairn/internal/scheduler"
	"github.com/cairnflow/cairn/internal/workflow"
)

// heavy stores a run that is over and has many keys.
func heavy(t testing.TB, s *Store, epoch uint64, n, packs int) workflow.RunID {
	t.Helper()
	id, err := s.Create(t.Context(), epoch, scheduler.NewRun{
		ID: runID(n), Workflow: "w", Namespace: "default", IdempotencyKey: "key", CreatedAt: 1,
		Definition: scheduler.Definition{Hash: "sha256:abc", Bytes: []byte("definition")},
		Records:    []scheduler.Record{{Key: scheduler.HeadKey, Value: []byte("head")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	var records []scheduler.Record
	for i := range packs {
		records = append(records, scheduler.Record{Key: fmt.Sprintf("p/%05d", i), Value: []byte("pack")})
	}
	for _, done := range []bool{false, true} {
		if err := s.Save(t.Context(), epoch, id, records, done); err != nil {
			t.Fatal(err)
		}
		records = nil
	}
	return id
}

// left lists the keys of the data prefix, without that prefix.
func left(t testing.TB, s *Store) (keys []string) {
	t.Helper()
	prefix := s.keys.prefix + firstData + "/"
	found, err := s.client.names(t.Context(), prefix, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range found {
		keys = append(keys, strings.TrimPrefix(key, prefix))
	}
	return keys
}

// allWrites is how many it takes to delete a run of 400 packs: the cut, 402 keys, and the entry.
const allWrites = 1 + (402+deleteOps-1)/deleteOps + 1

// However far a delete came before its leader was gone: nobody sees the run from its first write on, and the next leader
// finds what is left.
func TestAgentADeleteIsFinishedByTheNextLeader(t *testing.T) {
	for _, writes := range []int{0, 1, 2, 9, allWrites} {
		t.Run(fmt.Sprintf("after %d writes", writes), func(t *testing.T) {
			cfg := testConfig(t)
			link, bad := newLink(t, cfg.Address), cfg
			bad.Address = link.server.URL
			first, epoch := leading(t, bad)
			id := heavy(t, first, epoch, 1, 400)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var mu sync.Mutex
			var most, trees int
			link.set(func(n int, body string) fate {
				mu.Lock()
				defer mu.Unlock()
				if n >= writes {
					cancel()
					return lose
				}
				most, trees = max(most, strings.Count(body, `"delete"`)), trees+strings.Count(body, `"delete-tree"`)
				return deliver
			})
			err := first.Delete(ctx, epoch, id)
			if cut := writes < allWrites; cut == (err == nil) {
				t.Errorf("the delete ended with %v", err)
			}
			if most > deleteOps || trees > 0 && writes < allWrites {
				t.Errorf("up to %d keys and %d trees were deleted in a transaction", most, trees)
			}
			link.set(always(deliver))
			depose(t, first.elector)
			second, epoch := leading(t, cfg)
			index, err := second.Index(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if writes == 0 {
				if len(index) != 1 || index[0].Cut {
					t.Errorf("index before the first write: %+v", index)
				}
				loaded(t, second, id)
				if err := second.Delete(t.Context(), epoch, id); err != nil {
					t.Error(err)
				}
				wantLeft(t, second, "def/")
				return
			}
			list, err := second.List(t.Context(), scheduler.Filter{Children: true})
			if err != nil || len(list) > 0 {
				t.Errorf("list: %+v, %v, want nothing", list, err)
			}
			_, _, loadErr := second.Load(t.Context(), id)
			saveErr := second.Save(t.Context(), epoch, id, nil, false)
			if !errors.Is(loadErr, scheduler.ErrNotFound) || !errors.Is(saveErr, scheduler.ErrNotFound) {
				t.Errorf("load: %v, save: %v, want ErrNotFound", loadErr, saveErr)
			}
			heavy(t, second, epoch, 2, 1) // with the same key
			if writes == allWrites {
				if len(index) > 0 {
					t.Errorf("index after the delete: %+v", index)
				}
				return
			}
			if len(index) != 1 || !index[0].Cut || index[0].ID != id {
				t.Errorf("index in the middle of a delete: %+v", index)
			}
			if err := second.Delete(t.Context(), epoch, id); err != nil {
				t.Error(err)
			}
			wantLeft(t, second, "def/", "key/", "ix/"+string(runID(2)), "run/"+shard(runID(2))+"/"+string(runID(2)))
		})
	}
}

// wantLeft wants nothing but keys that begin so, and one at least of each.
func wantLeft(t testing.TB, s *Store, prefixes ...string) {
	t.Helper()
	met := map[string]bool{}
	for _, key := range left(t, s) {
		n := slices.IndexFunc(prefixes, func(p string) bool { return strings.HasPrefix(key, p) })
		if n < 0 {
			t.Errorf("key %s is left", key)
		} else {
			met[prefixes[n]] = true
		}
	}
	if len(met) != len(prefixes) {
		t.Errorf("keys are left of %v, want of %v", met, prefixes)
	}
}

func noNames(context.Context) ([]string, error) { return nil, nil }

// What was written ahead of a create that never came is swept, a bounded part at a time; runs and what they have stay.
func TestAgentASweepFindsWhatNoRunHas(t *testing.T) {
	s, epoch := leading(t, testConfig(t))
	d, err := s.data(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	stays := begin(t, s, epoch, 1)
	for n := 2; n < 5; n++ {
		var ahead []*consulapi.KVTxnOp
		for i := range 150 {
			ahead = append(ahead, set(d.record(runID(n), fmt.Sprintf("p/%05d", i)), []byte("pack")))
		}
		ahead = append(ahead, set(d.record(runID(n), "g/0000"), []byte("hot")), set(d.definition(fmt.Sprint("sha256:", n))+"00000", []byte("half")))
		if err := s.putAhead(t.Context(), s.elector.current(), runID(n), ahead); err != nil {
			t.Fatal(err)
		}
	}
	total, rounds := 0, 0
	for more := true; more; rounds++ {
		var swept int
		if swept, more, err = s.Sweep(t.Context(), epoch, noNames); err != nil {
			t.Fatal(err)
		}
		total += swept
	}
	if total != 6 || rounds < 2 {
		t.Errorf("%d swept in %d rounds, want 3 definitions and 3 runs in more than one", total, rounds)
	}
	wantLeft(t, s, "def/sha256-abc/", "ix/"+string(stays), "hot/"+shard(stays)+"/"+string(stays), "run/"+shard(stays)+"/"+string(stays))
}

// A create whose caller has given up may be done all the same: the sweep waits for what becomes of it.
func TestAgentASweepWaitsForACreateWithoutAnAnswer(t *testing.T) {
	cfg := testConfig(t)
	link := newLink(t, cfg.Address)
	cfg.Address = link.server.URL
	s, epoch := leading(t, cfg)
	gone := heavy(t, s, epoch, 1, 1)
	if err := s.Delete(t.Context(), epoch, gone); err != nil {
		t.Fatal(err)
	}
	link.set(always(lose))
	short, cancel := within(t, time.Second)
	defer cancel()
	run := scheduler.NewRun{
		ID: runID(2), Workflow: "w", Namespace: "default", CreatedAt: 1,
		Definition: scheduler.Definition{Hash: "sha256:abc", Bytes: []byte("definition")},
		Records:    []scheduler.Record{{Key: scheduler.HeadKey, Value: []byte("head")}},
	}
	if _, err := s.Create(short, epoch, run); err == nil {
		t.Fatal("the create was answered")
	}
	asked := make(chan struct{}, 2)
	swept := make(chan error, 1)
	go func() {
		n, _, err := s.Sweep(t.Context(), epoch, func(context.Context) ([]string, error) {
			asked <- struct{}{}
			return nil, nil
		})
		if err == nil && n != 0 {
			err = fmt.Errorf("%d definitions were swept", n)
		}
		swept <- err
	}()
	<-asked // it has found the definition,
	<-asked // and looks again, alone
	link.set(always(deliver))
	if err := <-swept; err != nil {
		t.Error(err)
	}
	_, def, err := s.Load(t.Context(), run.ID)
	if err != nil || string(def.Bytes) != "definition" {
		t.Errorf("the run is loaded with definition %q, %v", def.Bytes, err)
	}
}

// So it does for a registration. And what registrations name stays.
func TestAgentASweepWaitsForARegistrationWithoutAnAnswer(t *testing.T) {
	cfg := testConfig(t)
	link := newLink(t, cfg.Address)
	cfg.Address = link.server.URL
	s, epoch := leading(t, cfg)
	if err := s.Delete(t.Context(), epoch, heavy(t, s, epoch, 1, 1)); err != nil {
		t.Fatal(err)
	}
	def := scheduler.Definition{Hash: "sha256:abc", Bytes: []byte("definition")} // stored, and named by nobody
	r, _ := workflow.Registration{Namespace: "default", Name: "w"}.Apply(def.Hash, 1, "ada")
	link.set(always(lose))
	short, cancel := within(t, time.Second)
	defer cancel()
	if err := s.Register(short, epoch, []workflow.Registration{r}, []scheduler.Definition{def}); err == nil {
		t.Fatal("the registration was answered")
	}
	asked := 0
	named := func(ctx context.Context) ([]string, error) {
		asked++
		return s.Named(ctx)
	}
	short, cancel = within(t, time.Second)
	defer cancel()
	if _, _, err := s.Sweep(short, epoch, named); err == nil || asked > 1 {
		t.Errorf("a sweep that asked %d times what is named: %v; want it to wait before the second time", asked, err)
	}
	link.set(always(deliver))
	if swept, _, err := s.Sweep(t.Context(), epoch, named); err != nil || swept != 0 {
		t.Errorf("%d definitions were swept, %v, want none", swept, err)
	}
	if got, err := s.Definition(t.Context(), def.Hash); err != nil || string(got.Bytes) != "definition" {
		t.Errorf("the definition reads %q, %v", got.Bytes, err)
	}
}

func TestNamingAndSweepingKeepApart(t *testing.T) {
	var n naming
	leave, err := n.enter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := n.close(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("close while somebody names: %v", err)
	}
	if again, err := n.enter(t.Context()); err != nil {
		t.Errorf("enter after a close was given up: %v", err)
	} else {
		again()
	}
	closed := make(chan func())
	go func() {
		open, err := n.close(t.Context())
		if err != nil {
			t.Error(err)
		}
		closed <- open
	}()
	leave()
	open := <-closed
	if _, err := n.enter(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("enter while the sweep is at work: %v", err)
	}
	if _, err := n.close(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("close while another sweep is at work: %v", err)
	}
	open()
	if leave, err = n.enter(t.Context()); err != nil {
		t.Fatal(err)
	}
	leave()
}

// tallied counts what is read.
type tallied struct {
	io.ReadCloser
	bytes *atomic.Int64
}

func (c *tallied) Read(b []byte) (int, error) {
	n, err := c.ReadCloser.Read(b)
	c.bytes.Add(int64(n))
	return n, err
}

// What retention reads of 2,000 runs, once a minute at most: the entries, in one request.
func TestAgentTheIndexIsOneSmallRead(t *testing.T) {
	cfg := testConfig(t)
	target, err := url.Parse("http://" + strings.TrimPrefix(cfg.Address, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	var requests, received atomic.Int64
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Header.Set("Accept-Encoding", "identity") // these entries are all alike
	}}
	proxy.ModifyResponse = func(r *http.Response) error {
		requests.Add(1)
		r.Body = &tallied{r.Body, &received}
		return nil
	}
	server := httptest.NewServer(proxy)
	t.Cleanup(server.Close)
	cfg.Address = server.URL
	s, epoch := leading(t, cfg)
	id := heavy(t, s, epoch, 0, 20)
	d, err := s.data(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	e, err := s.readEntry(t.Context(), d, id)
	if err != nil {
		t.Fatal(err)
	}
	e.EndedAt, e.Definition = workflow.At(time.Now()), "sha256:"+strings.Repeat("0123456789abcdef", 4)
	const runs = 2000
	var ops []*consulapi.KVTxnOp
	for n := range runs {
		ops = append(ops, set(d.indexOf(runID(n)), encode(e)))
	}
	if err := s.putAhead(t.Context(), s.elector.current(), "", ops); err != nil {
		t.Fatal(err)
	}
	requests.Store(0)
	received.Store(0)
	index, err := s.Index(t.Context())
	if err != nil || len(index) != runs {
		t.Fatalf("%d entries, %v", len(index), err)
	}
	t.Logf("%d requests, %d bytes", requests.Load(), received.Load())
	if got := received.Load(); requests.Load() != 1 || got == 0 || got > runs*800 {
		t.Errorf("the index of %d runs takes %d requests and %d bytes, want 1 and 800 for each run at most", runs, requests.Load(), received.Load())
	}
}
