// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package server

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/cairnflow/cairn/internal/consul"
)

// A leader without Nomad makes way after half a minute for a server that has it, stays where no other has it, and stands back
// for a minute.
func TestALeaderWithoutNomadMakesWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex // guards trouble and other
		var trouble error
		other := ""
		is := func(err error, name string) {
			mu.Lock()
			defer mu.Unlock()
			trouble, other = err, name
		}
		var leading atomic.Bool
		var stepped atomic.Int64
		leading.Store(true)
		n := &nomadWatch{
			reach: func(context.Context) error {
				mu.Lock()
				defer mu.Unlock()
				return trouble
			},
			leading: leading.Load,
			has: func(context.Context) (string, error) {
				mu.Lock()
				defer mu.Unlock()
				return other, nil
			},
			stepDown: func(context.Context) error {
				stepped.Add(1)
				leading.Store(false)
				return nil
			},
			log: hclog.NewNullLogger(),
		}
		ctx, cancel := context.WithCancel(t.Context())
		over := make(chan struct{})
		go func() {
			n.keep(ctx)
			close(over)
		}()
		pass := func(d time.Duration) {
			<-time.After(d)
			synctest.Wait()
		}
		pass(time.Hour)
		if n.trouble() != "" || stepped.Load() != 0 {
			t.Errorf("trouble %q, stepped down %d times while Nomad answers", n.trouble(), stepped.Load())
		}
		is(errors.New("connection refused"), "")
		pass(time.Hour)
		if n.trouble() != "connection refused" || stepped.Load() != 0 {
			t.Errorf("trouble %q, stepped down %d times although no other server has Nomad", n.trouble(), stepped.Load())
		}
		is(nil, "server-2")
		pass(time.Minute)
		is(errors.New("connection refused"), "server-2")
		pass(nomadPatience - time.Second)
		if stepped.Load() != 0 {
			t.Error("stepped down before its time")
		}
		pass(2 * nomadLook)
		if stepped.Load() != 1 {
			t.Fatalf("stepped down %d times", stepped.Load())
		}
		began := time.Now()
		n.standBack(ctx)
		if waited := time.Since(began); waited > nomadPause || waited < nomadPause-3*nomadLook {
			t.Errorf("stood back for %s more, want about %s", waited, nomadPause)
		}
		n.standBack(ctx) // it has
		cancel()
		<-over
	})
}

// What the other servers say of themselves decides; those that Consul takes for unhealthy are not asked.
func TestWhoHasNomadIsAsked(t *testing.T) {
	serve := func(body string) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte(body)) }))
		t.Cleanup(s.Close)
		return strings.TrimPrefix(s.URL, "http://")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	me := consul.Member{Name: "me", Address: serve(`{"healthy": true}`)}
	for name, c := range map[string]struct {
		others  []consul.Member
		want    string
		wantErr bool
	}{
		"nobody else":                {},
		"one that has it":            {others: []consul.Member{{Name: "b", Address: serve(`{"healthy": true}`)}}, want: "b"},
		"one that has it not either": {others: []consul.Member{{Name: "b", Address: serve(`{"healthy": true, "nomad": "refused"}`)}}},
		"one that is unhealthy":      {others: []consul.Member{{Name: "b", Address: serve(`{"healthy": true}`), Problem: "down"}}},
		"one that is gone":           {others: []consul.Member{{Name: "b", Address: gone}}, wantErr: true},
		"one that talks nonsense":    {others: []consul.Member{{Name: "b", Address: serve(`<html>`)}}, wantErr: true},
		"the second of two":          {others: []consul.Member{{Name: "b", Address: gone}, {Name: "c", Address: serve(`{"healthy": true}`)}}, want: "c"},
	} {
		t.Run(name, func(t *testing.T) {
			p := &peers{name: "me", url: func(address string) string { return "http://" + address }, members: func(context.Context) ([]consul.Member, error) {
				return append([]consul.Member{me}, c.others...), nil
			}, transport: func() http.RoundTripper { return http.DefaultTransport }}
			got, err := p.hasNomad(t.Context())
			if got != c.want || (err != nil) != c.wantErr {
				t.Errorf("got %q and the error %v, want %q", got, err, c.want)
			}
		})
	}
}
