// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/consul"
	"github.com/cairnflow/cairn/internal/httpapi"
)

// echo answers with the name of a server and what it was asked.
func echo(name string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		fmt.Fprintf(w, "%s: %s %s %s", name, r.Method, r.URL.RequestURI(), body)
	})
}

// turns tells who leads: another one at every question, and the last one from then on.
type turns struct {
	mu      sync.Mutex
	holders []consul.Holder
	errs    int // so many questions before have no answer
}

func (t *turns) holder(context.Context) (consul.Holder, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.errs > 0 {
		t.errs--
		return consul.Holder{}, errors.New("Consul is away")
	}
	h := t.holders[0]
	if len(t.holders) > 1 {
		t.holders = t.holders[1:]
	}
	return h, nil
}

// follower is a server that does not lead.
func follower(t *testing.T, errs int, holders ...consul.Holder) *httptest.Server {
	t.Helper()
	who := &turns{holders: holders, errs: errs}
	s := httptest.NewServer(&forwarder{
		name: "follower", own: echo("follower"), leading: func() bool { return false }, holder: who.holder, log: hclog.NewNullLogger(),
	})
	t.Cleanup(s.Close)
	return s
}

func asked(t *testing.T, method, url, body string, header ...string) (int, http.Header, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if len(header) == 2 {
		req.Header.Set(header[0], header[1])
	}
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, answer.Header, string(b)
}

func TestAFollowerPassesRequestsOnToTheLeader(t *testing.T) {
	leader := httptest.NewServer(echo("leader"))
	defer leader.Close()
	gone := httptest.NewServer(echo("gone"))
	gone.Close()
	// Whoever was the leader a moment ago, and knows that it is not any more.
	former := httptest.NewServer(&forwarder{
		name: "former", own: echo("former"), leading: func() bool { return false }, log: hclog.NewNullLogger(),
		holder: func(context.Context) (consul.Holder, error) { t.Error("passed on twice"); return consul.Holder{}, nil },
	})
	defer former.Close()
	nobody, itself := consul.Holder{}, consul.Holder{Name: "follower", URL: "http://127.0.0.1:1"}
	isGone, wasFormer, is := consul.Holder{Name: "gone", URL: gone.URL}, consul.Holder{Name: "former", URL: former.URL}, consul.Holder{Name: "leader", URL: leader.URL}
	for name, c := range map[string]struct {
		errs    int
		holders []consul.Holder
	}{
		"it leads":                            {0, []consul.Holder{is}},
		"it leads once Consul answers":        {2, []consul.Holder{is}},
		"it leads in a moment":                {0, []consul.Holder{nobody, nobody, is}},
		"it leads after one that is gone":     {0, []consul.Holder{isGone, isGone, is}},
		"it leads after one that does not":    {0, []consul.Holder{wasFormer, is}},
		"it leads after this one was to lead": {0, []consul.Holder{itself, is}},
	} {
		for _, method := range []string{"GET", "POST"} {
			f := follower(t, c.errs, c.holders...)
			status, _, body := asked(t, method, f.URL+"/v1/runs?a=b", "text")
			if want := "leader: " + method + " /v1/runs?a=b text"; status != http.StatusOK || body != want {
				t.Errorf("%s: answer %d %q, want %q", name, status, body, want)
			}
		}
	}
	if _, _, body := asked(t, "GET", follower(t, 0, is).URL+httpapi.HealthPath, ""); !strings.HasPrefix(body, "follower: ") {
		t.Errorf("health was answered by %q", body)
	}
	for query, by := range map[string]string{"?stale": "follower", "?stale=true": "follower", "?stale=maybe": "follower", "?stale=false": "leader"} {
		if _, _, body := asked(t, "GET", follower(t, 0, is).URL+"/v1/runs"+query, ""); !strings.HasPrefix(body, by+": ") {
			t.Errorf("%s was answered by %q, want the %s", query, body, by)
		}
	}
	if _, _, body := asked(t, "POST", follower(t, 0, is).URL+"/v1/runs?stale", ""); !strings.HasPrefix(body, "leader: ") {
		t.Errorf("what changes something was answered by %q", body)
	}
	status, header, body := asked(t, "POST", former.URL+"/v1/runs", "", forwardedHeader, "somebody")
	if status != http.StatusServiceUnavailable || header.Get(notLeadingHeader) == "" || !strings.Contains(body, "somebody takes former for the leader") {
		t.Errorf("a request that was passed on to a follower: %d %v %s", status, header, body)
	}
}

// A leader that hangs does not break its connections: that another one leads does.
func TestARequestToALeaderThatHangsGoesToTheNext(t *testing.T) {
	arrived := make(chan struct{}, 2)
	hangs := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.ReadAll(r.Body) // so that the end of the connection is noticed
		arrived <- struct{}{}
		<-r.Context().Done()
	}))
	defer hangs.Close()
	leader := httptest.NewServer(echo("leader"))
	defer leader.Close()
	for method, want := range map[string]string{"GET": "leader: GET /v1/runs ", "POST": api.CodeUnknown} {
		who := &turns{holders: []consul.Holder{{Name: "hangs", URL: hangs.URL}, {Name: "leader", URL: leader.URL}}}
		f := httptest.NewServer(&forwarder{
			name: "follower", own: echo("follower"), leading: func() bool { return false }, holder: who.holder, log: hclog.NewNullLogger(),
			other: func(ctx context.Context, than consul.Holder) bool {
				if than.Name == "hangs" {
					<-arrived
					return true
				}
				<-ctx.Done()
				return false
			},
		})
		if _, _, body := asked(t, method, f.URL+"/v1/runs", ""); !strings.Contains(body, want) {
			t.Errorf("%s: %s, want %s", method, body, want)
		}
		f.Close()
	}
}

func TestTheWatchOfTheLeaderTellsOnlyOfOthers(t *testing.T) {
	a, b := consul.Holder{Name: "a", URL: "http://a"}, consul.Holder{Name: "b", URL: "http://b"}
	answers := make(chan consul.Holder)
	l := newLeaderWatch(func(ctx context.Context) (consul.Holder, error) {
		select {
		case h := <-answers:
			return h, nil
		case <-ctx.Done():
			return consul.Holder{}, ctx.Err()
		}
	})
	ctx, end := context.WithCancel(t.Context())
	kept := make(chan struct{})
	go func() {
		defer close(kept)
		l.keep(ctx)
	}()
	told := make(chan bool, 2)
	go func() { told <- l.other(ctx, a) }()
	for _, h := range []consul.Holder{a, {}, a} { // the first look, nobody, and the same again: no other
		answers <- h
		select {
		case <-told:
			t.Fatalf("%+v leads, and that is told as another one than a", h)
		default:
		}
	}
	answers <- b
	answers <- b // taken when the first was told
	if !<-told {
		t.Error("b leads, and nobody is told")
	}
	go func() { told <- l.other(ctx, b) }()
	end()
	if <-told {
		t.Error("told of another one at the end")
	}
	<-kept
}

// What may have been done is not done again: whoever asked is told that it is not known.
func TestARequestThatMayHaveBeenDoneIsNotRepeated(t *testing.T) {
	var calls atomic.Int32
	breaks := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		calls.Add(1)
		panic(http.ErrAbortHandler)
	}))
	defer breaks.Close()
	leader := httptest.NewServer(echo("leader"))
	defer leader.Close()
	holders := []consul.Holder{{Name: "breaks", URL: breaks.URL}, {Name: "leader", URL: leader.URL}}
	status, _, body := asked(t, "POST", follower(t, 0, holders...).URL+"/v1/run/x/stop", "")
	var said api.Error
	if err := json.Unmarshal([]byte(body), &said); err != nil || status != http.StatusBadGateway || said.Code != api.CodeUnknown || calls.Load() != 1 {
		t.Errorf("%d %s after %d calls, %v", status, body, calls.Load(), err)
	}
	if status, _, body := asked(t, "GET", follower(t, 0, holders...).URL+"/v1/runs", ""); status != http.StatusOK || !strings.HasPrefix(body, "leader: ") {
		t.Errorf("a read: %d %s", status, body)
	}
}

// A request that waits for a leader when its server ends is answered: an empty answer would read as one.
func TestARequestThatWaitsForALeaderIsAnsweredAtTheEnd(t *testing.T) {
	asked := make(chan struct{}, 1)
	f := &forwarder{name: "follower", own: echo("follower"), leading: func() bool { return false }, log: hclog.NewNullLogger(),
		holder: func(context.Context) (consul.Holder, error) {
			select {
			case asked <- struct{}{}:
			default:
			}
			return consul.Holder{}, nil
		}}
	ctx, end := context.WithCancel(t.Context())
	w := httptest.NewRecorder()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.ServeHTTP(w, httptest.NewRequest("GET", "/v1/runs", nil).WithContext(ctx))
	}()
	<-asked
	end()
	<-done
	if w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), api.CodeNotReady) {
		t.Errorf("answered %d %q", w.Code, w.Body)
	}
}

func TestALargeRequestIsRefusedByTheFollower(t *testing.T) {
	f := follower(t, 0, consul.Holder{Name: "leader", URL: "http://127.0.0.1:1"})
	status, _, body := asked(t, "POST", f.URL+"/v1/runs", strings.Repeat("x", httpapi.MaxBody+1))
	if status != http.StatusRequestEntityTooLarge || !strings.Contains(body, api.CodeTooLarge) {
		t.Errorf("%d %s", status, body)
	}
}
