// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package httpcall

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workflow"
)

// secret stands in every part of a call that may hold one.
const secret = "hunter2"

// serve answers on loopback, with what the tests ask for by path.
func serve(t *testing.T) *httptest.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		fmt.Fprintf(w, `{"method":%q,"body":%q,"key":%q,"mine":%q,"host":%q,"agent":%q}`,
			r.Method, b, r.Header.Get("Idempotency-Key"), r.Header.Get("X-Mine"), r.Host, r.UserAgent())
	})
	mux.HandleFunc("/text", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello \xff") })
	mux.HandleFunc("/status/{code}", func(w http.ResponseWriter, r *http.Request) {
		code := 0
		if _, err := fmt.Sscan(r.PathValue("code"), &code); err != nil {
			t.Error(err)
		}
		w.WriteHeader(code)
	})
	mux.HandleFunc("/size/{n}", func(w http.ResponseWriter, r *http.Request) {
		n := 0
		if _, err := fmt.Sscan(r.PathValue("n"), &n); err != nil {
			t.Error(err)
		}
		fmt.Fprint(w, strings.Repeat("x", n))
	})
	mux.HandleFunc("/never", func(_ http.ResponseWriter, r *http.Request) {
		// The server notices that the caller has gone once the body is read.
		if _, err := io.ReadAll(r.Body); err == nil {
			<-r.Context().Done()
		}
	})
	mux.HandleFunc("/here", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/echo", http.StatusTemporaryRedirect)
	})
	mux.HandleFunc("/round", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/round", http.StatusFound) })
	mux.HandleFunc("/away", func(w http.ResponseWriter, r *http.Request) {
		_, port, err := net.SplitHostPort(r.Host)
		if err != nil {
			t.Error(err)
		}
		http.Redirect(w, r, "http://localhost:"+port+"/echo?"+secret, http.StatusFound)
	})
	mux.HandleFunc("/broken", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		fmt.Fprint(w, "ten bytes")
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

func TestCalls(t *testing.T) {
	s := serve(t)
	get := func(path string) workflow.HTTPBody {
		return workflow.HTTPBody{Method: "GET", URL: s.URL + path + "?token=" + secret, Timeout: 10 * time.Second}
	}
	with := func(b workflow.HTTPBody, change func(*workflow.HTTPBody)) workflow.HTTPBody {
		change(&b)
		return b
	}
	for name, tc := range map[string]struct {
		body    workflow.HTTPBody
		kind    engine.OutcomeKind
		message string // part of it
		outputs map[string]string
	}{
		"an answer that is no JSON": {body: get("/text"), kind: engine.OutcomeExited,
			outputs: map[string]string{"status": "200", "body": `"hello ` + "\ufffd" + `"`, "json": "null"}},
		"an empty answer": {body: get("/status/204"), kind: engine.OutcomeExited,
			outputs: map[string]string{"status": "204", "body": `""`, "json": "null"}},
		"another status than 200 to 299": {body: get("/status/404"), kind: engine.OutcomeFailed,
			message: "GET " + s.URL + ": answered 404, 200 to 299 was expected"},
		"the status that is expected": {
			body: with(get("/status/404"), func(b *workflow.HTTPBody) { b.ExpectStatus = []int{200, 404} }), kind: engine.OutcomeExited,
			outputs: map[string]string{"status": "404", "body": `""`, "json": "null"}},
		"a good status that is not expected": {
			body: with(get("/status/200"), func(b *workflow.HTTPBody) { b.ExpectStatus = []int{201, 202} }), kind: engine.OutcomeFailed,
			message: "answered 200, 201 or 202 was expected"},
		"the largest answer": {body: get(fmt.Sprintf("/size/%d", workflow.MaxHTTPBodyBytes)), kind: engine.OutcomeExited},
		"an answer that is larger": {body: get(fmt.Sprintf("/size/%d", workflow.MaxHTTPBodyBytes+1)), kind: engine.OutcomeFailed,
			message: "larger than 65536 bytes"},
		"a body that is larger": {
			body: with(get("/echo"), func(b *workflow.HTTPBody) { b.Body = strings.Repeat("x", workflow.MaxHTTPBodyBytes+1) }),
			kind: engine.OutcomeInvalid, message: "65537 bytes, at most 65536"},
		"its own timeout": {
			body: with(get("/never"), func(b *workflow.HTTPBody) { b.Timeout = 50 * time.Millisecond }), kind: engine.OutcomeTimedOut,
			message: "no answer within 50ms"},
		"a redirect to another host": {body: get("/away"), kind: engine.OutcomeFailed, message: "another host, localhost"},
		"a redirect in circles":      {body: get("/round"), kind: engine.OutcomeFailed, message: "redirected 10 times"},
		"a redirect that is expected": {
			body: with(get("/away"), func(b *workflow.HTTPBody) { b.ExpectStatus = []int{302} }), kind: engine.OutcomeExited},
		"an answer that breaks off": {body: get("/broken"), kind: engine.OutcomeFailed, message: "broke off"},
		"nobody there": {
			body: workflow.HTTPBody{Method: "GET", URL: "http://u:" + secret + "@127.0.0.1:1/" + secret}, kind: engine.OutcomeFailed,
			message: "connection refused"},
		"no URL": {body: workflow.HTTPBody{Method: "GET", URL: "ftp://u:" + secret + "@x/"}, kind: engine.OutcomeInvalid,
			message: "want http:// or https://"},
		"no method": {body: workflow.HTTPBody{URL: s.URL}, kind: engine.OutcomeInvalid, message: "no method"},
		"a header that is none": {
			body: with(get("/echo"), func(b *workflow.HTTPBody) { b.Headers = map[string]string{"X-Mine": secret + "\n"} }),
			kind: engine.OutcomeFailed, message: "X-Mine"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := Caller{Policy: Policy{Everything: true}}
			out := c.Call(t.Context(), tc.body, "run-0001")
			if out.Kind != tc.kind || !strings.Contains(out.Message, tc.message) {
				t.Errorf("got %s %q, want %s %q", out.Kind, out.Message, tc.kind, tc.message)
			}
			if strings.Contains(out.Message, secret) {
				t.Errorf("the message %q tells the secret", out.Message)
			}
			if (out.Kind == engine.OutcomeExited) != (out.ExitCode != nil) {
				t.Errorf("outcome %s has exit code %v", out.Kind, out.ExitCode)
			}
			for name, want := range tc.outputs {
				if got := string(out.Values[name].JSON); got != want {
					t.Errorf("output %s is %s, want %s", name, got, want)
				}
			}
		})
	}
}

func TestWhatACallSends(t *testing.T) {
	s := serve(t)
	host := strings.TrimPrefix(s.URL, "http://")
	type heard struct{ Method, Body, Key, Mine, Host, Agent string }
	for name, tc := range map[string]struct {
		path    string
		headers map[string]string
		want    heard
	}{
		"the attempt as its idempotency key": {"/echo", map[string]string{"x-mine": "1"}, heard{"POST", "said", "run-0001", "1", host, "cairn"}},
		"what it says itself": {"/echo", map[string]string{"idempotency-key": "own", "Host": "other", "User-Agent": "me"},
			heard{"POST", "said", "own", "", "other", "me"}},
		"everything again after a redirect": {"/here", map[string]string{"X-Mine": "2"}, heard{"POST", "said", "run-0001", "2", host, "cairn"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := Caller{Policy: Policy{Everything: true}}
			out := c.Call(t.Context(), workflow.HTTPBody{Method: "POST", URL: s.URL + tc.path, Body: "said", Headers: tc.headers}, "run-0001")
			var got heard
			if err := json.Unmarshal(out.Values["json"].JSON, &got); err != nil {
				t.Fatalf("%s %s: %v", out.Kind, out.Message, err)
			}
			if d := cmp.Diff(tc.want, got); d != "" {
				t.Errorf("heard (-want +got):\n%s", d)
			}
		})
	}
}

func TestACallThatIsCalledOffWasKilled(t *testing.T) {
	s := serve(t)
	ctx, cancel := context.WithCancel(t.Context())
	reached := make(chan struct{})
	gate := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(reached)
		s.Config.Handler.ServeHTTP(w, r)
	}))
	defer gate.Close()
	go func() {
		<-reached
		cancel()
	}()
	c := Caller{Policy: Policy{Everything: true}}
	if out := c.Call(ctx, workflow.HTTPBody{Method: "GET", URL: gate.URL + "/never"}, "k"); out.Kind != engine.OutcomeKilled {
		t.Errorf("got %s %q, want killed", out.Kind, out.Message)
	}
}

// The name is allowed; what it resolves to is not.
func TestANameThatLeadsToThisMachineIsNotCalled(t *testing.T) {
	called := false
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { called = true }))
	defer s.Close()
	_, port, err := net.SplitHostPort(s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c := Caller{Policy: Policy{Hosts: []string{"localhost", "127.0.0.0/8", "::1"}}}
	for _, host := range []string{"localhost", "127.0.0.1", "[::1]", "127.1"} {
		out := c.Call(t.Context(), workflow.HTTPBody{Method: "GET", URL: "http://" + host + ":" + port, Timeout: 10 * time.Second}, "k")
		if out.Kind == engine.OutcomeExited || called {
			t.Errorf("%s was called: %s %q", host, out.Kind, out.Message)
		}
		if host == "localhost" && (out.Kind != engine.OutcomeInvalid || !strings.Contains(out.Message, "this machine itself")) {
			t.Errorf("%s: %s %q, want a refusal that says why", host, out.Kind, out.Message)
		}
	}
}
