// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package faults

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"time"

	"github.com/cairnflow/cairn/internal/faults/ledger"
)

// answersAfter leaves time for whoever calls to be killed in flight.
const answersAfter = 100 * time.Millisecond

// service starts a server on this machine, once, that writes every call to the ledger when it hears it, and answers some
// time later. Its address ends in a slash.
func (g *ground) service() string {
	g.t.Helper()
	if g.server == "" {
		server := httptest.NewServer(http.HandlerFunc(g.serve))
		g.t.Cleanup(server.Close)
		g.server = server.URL + "/"
	}
	return g.server
}

func (g *ground) serve(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	attempt, err := strconv.Atoi(q.Get("attempt"))
	if err != nil {
		g.t.Errorf("a call of %s: %v", r.URL, err)
	}
	line := ledger.Line{
		Run: q.Get("run"), Task: q.Get("task"), Attempt: attempt, PID: os.Getpid(), Event: ledger.Call, At: time.Now().UnixNano(),
		Method: r.Method, Idempotency: r.Header.Get("Idempotency-Key"),
	}
	if err := ledger.Append(g.ledger, line); err != nil {
		g.t.Error(err)
	}
	timer := time.NewTimer(answersAfter)
	defer timer.Stop()
	select {
	case <-timer.C:
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"n": 4}`)
	case <-r.Context().Done():
	}
}
