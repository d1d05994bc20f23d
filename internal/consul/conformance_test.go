// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package consul

import (
	"context"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	consulapi "github.com/hashicorp/consul/api"

	"github.com/cairnflow/cairn/internal/porttest"
	"github.com/cairnflow/cairn/internal/scheduler"
	"github.com/cairnflow/cairn/internal/workflow"
)

// testConfig is that of a server with keys of its own.
func testConfig(t testing.TB) Config {
	cfg := DefaultConfig()
	cfg.Address = cluster.Consul(t).Address()
	cfg.Prefix = "cairn-" + newUUID() + "/"
	cfg.Name = "server of " + t.Name()
	cfg.Logger = testLogger(t)
	return cfg
}

func newElector(t testing.TB, cfg Config) *Elector {
	t.Helper()
	e, err := NewElector(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resign(t, e) })
	return e
}

// resign gives the leadership up, if the elector still thinks that it has one.
func resign(t testing.TB, e *Elector) {
	if o := e.current(); o != nil {
		if err := e.Release(context.Background(), scheduler.Leadership{Epoch: o.epoch}); err != nil {
			t.Logf("release: %v", err)
		}
	}
}

func lead(t testing.TB, e *Elector) scheduler.Leadership {
	t.Helper()
	l, err := e.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// depose takes the leadership away behind the back of whoever has it.
func depose(t testing.TB, e *Elector) {
	t.Helper()
	if _, err := e.client.api.Session().Destroy(e.current().session, nil); err != nil {
		t.Fatal(err)
	}
}

func TestAgentStoreConforms(t *testing.T) {
	porttest.Store(t, func(t testing.TB) porttest.StoreGround {
		s := &serverSuccession{t: t, cfg: testConfig(t)}
		s.restart()
		return porttest.StoreGround{Store: s, Restart: func() (scheduler.Store, error) {
			s.restart()
			return s, nil
		}}
	})
}

func TestAgentStoreIsKeptInOrder(t *testing.T) {
	porttest.Housekept(t, func(t testing.TB) porttest.HousekeptGround {
		s := &serverSuccession{t: t, cfg: testConfig(t)}
		s.restart()
		return porttest.HousekeptGround{Store: s, Restart: func() (porttest.KeptStore, error) {
			s.restart()
			return s, nil
		}}
	})
}

// serverSuccession is a store to which server after server writes. The suite makes up epochs; the first write with one that
// is new makes another server take office. A write with an older one comes from a server that was deposed and does not know.
type serverSuccession struct {
	t   testing.TB
	cfg Config

	mu      sync.Mutex // guards what follows
	highest uint64     // of the suite's epochs
	current *Elector   // nil: none leads
	servers map[uint64]*Store
	reader  *Store
}

var _ porttest.KeptStore = (*serverSuccession)(nil)

// restart kills the leader: its session ends, and nothing else.
func (s *serverSuccession) restart() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current != nil {
		depose(s.t, s.current)
		s.current = nil
	}
	s.reader = NewStore(newElector(s.t, s.cfg))
}

// server returns the store of the server that writes with an epoch of the suite, and its real epoch.
func (s *serverSuccession) server(epoch uint64) (*Store, uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.servers == nil {
		s.servers = map[uint64]*Store{}
	}
	switch {
	case epoch > s.highest, epoch == s.highest && s.current == nil:
		if s.current != nil {
			depose(s.t, s.current)
		}
		s.highest, s.current = epoch, newElector(s.t, s.cfg)
		lead(s.t, s.current)
		s.servers[epoch] = NewStore(s.current)
	case s.servers[epoch] == nil: // it led before anybody looked
		e := newElector(s.t, s.cfg)
		e.office = newOffice(e, newUUID(), seq{Epoch: epoch}, 1)
		s.servers[epoch] = NewStore(e)
	}
	store := s.servers[epoch]
	return store, store.elector.current().epoch
}

func (s *serverSuccession) read() *Store {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current != nil {
		return s.servers[s.highest]
	}
	return s.reader
}

func (s *serverSuccession) Create(ctx context.Context, epoch uint64, run scheduler.NewRun) (workflow.RunID, error) {
	store, epoch := s.server(epoch)
	return store.Create(ctx, epoch, run)
}

func (s *serverSuccession) Save(ctx context.Context, epoch uint64, id workflow.RunID, records []scheduler.Record, done bool) error {
	store, epoch := s.server(epoch)
	return store.Save(ctx, epoch, id, records, done)
}

func (s *serverSuccession) Delete(ctx context.Context, epoch uint64, id workflow.RunID) error {
	store, epoch := s.server(epoch)
	return store.Delete(ctx, epoch, id)
}

func (s *serverSuccession) Load(ctx context.Context, id workflow.RunID) ([]scheduler.Record, scheduler.Definition, error) {
	return s.read().Load(ctx, id)
}

func (s *serverSuccession) List(ctx context.Context, filter scheduler.Filter) ([]scheduler.Summary, error) {
	return s.read().List(ctx, filter)
}

func (s *serverSuccession) Index(ctx context.Context) ([]scheduler.Stored, error) {
	return s.read().Index(ctx)
}

func (s *serverSuccession) Sweep(
	ctx context.Context, epoch uint64, named func(context.Context) ([]string, error),
) (swept int, more bool, err error) {
	store, epoch := s.server(epoch)
	return store.Sweep(ctx, epoch, named)
}

func (s *serverSuccession) Cluster(ctx context.Context) (string, error) {
	return s.read().Cluster(ctx)
}

func TestAgentElectorConforms(t *testing.T) {
	porttest.Elector(t, func(t testing.TB) porttest.ElectorGround {
		cfg := testConfig(t)
		leader := newElector(t, cfg) // only to see who leads
		return porttest.ElectorGround{
			Contend: func() (scheduler.Elector, func(), error) {
				mine := cfg
				check, crash := process(t)
				mine.Checks = []string{check}
				return newElector(t, mine), crash, nil
			},
			Depose: func() error {
				pair, _, err := leader.client.api.KV().Get(leader.keys.leader(), nil)
				if err != nil {
					return err
				}
				_, err = leader.client.api.Session().Destroy(pair.Session, nil)
				return err
			},
		}
	})
}

// process registers a service with a check that fails when crash is called, as the end of its process makes it.
func process(t testing.TB) (check string, crash func()) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(listener) // it ends with the listener
	}()
	crash = sync.OnceFunc(func() {
		server.Close()
		<-ended
	})
	t.Cleanup(crash)
	id := "cairn-" + newUUID()
	check = id + ":process"
	agent := cluster.Consul(t).Client().Agent()
	if err := agent.ServiceRegister(&consulapi.AgentServiceRegistration{ID: id, Name: "cairn-of-a-test", Check: &consulapi.AgentServiceCheck{
		CheckID: check, HTTP: "http://" + listener.Addr().String(), Interval: "100ms", Timeout: "1s", Status: consulapi.HealthPassing,
	}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := agent.ServiceDeregister(id); err != nil {
			t.Errorf("deregister %s: %v", id, err)
		}
	})
	awaitCheck(t, check)
	return check, crash
}

// awaitCheck waits until the catalog knows a check: a session cannot be bound to one before.
func awaitCheck(t testing.TB, id string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), porttest.Patience)
	defer cancel()
	q := (&consulapi.QueryOptions{WaitTime: 10 * time.Second}).WithContext(ctx)
	for {
		checks, meta, err := cluster.Consul(t).Client().Health().Checks("cairn-of-a-test", q)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range checks {
			if strings.HasPrefix(c.CheckID, id) {
				return
			}
		}
		q.WaitIndex = meta.LastIndex
	}
}
