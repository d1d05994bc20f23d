// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package faults

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"syscall"
	"testing"
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
	if g.calls.Add(1) == 1 && g.deaf {
		<-r.Context().Done()
		return
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

// A call that is in flight when its process is killed is made again, with the key of the same attempt, or its outcome is
// unknown and the retry policy decides.
func TestACallInFlightIsRepeatedWhereItMayBe(t *testing.T) {
	for method, attempts := range map[string]int{"GET": 1, "POST": 2} {
		t.Run(method, func(t *testing.T) {
			g := newGround(t)
			g.deaf = true
			p := g.newPlan("calling")
			p.task(spec{name: "call", method: method, other: always})
			p.task(spec{name: "after", work: "-for ${task.call.output.json.n}0ms", after: []string{"call"}})
			p.expect.Severed = true
			run := g.start("run", "-local", "-json", p.file())
			g.await("the call", soon(), func() bool { return len(g.lines()) == 1 })
			run.signal(syscall.SIGKILL)
			run.code()
			resumed := g.call(0, "run", "-local", "-json", "-resume", g.runID()).document()
			g.judge(resumed, p.expect)
			if got := attempt(t, resumed, "call").Number; got != attempts || g.calls.Load() != 2 {
				t.Errorf("%d attempts made %d calls, want %d and 2", got, g.calls.Load(), attempts)
			}
			g.nothingLeft()
		})
	}
}
