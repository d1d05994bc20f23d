// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	nomadapi "github.com/hashicorp/nomad/api"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/testcluster"
)

// placed waits until Nomad has placed an attempt.
func (r *rig) placed(s engine.Start) {
	r.t.Helper()
	query := (&nomadapi.QueryOptions{WaitTime: 10 * time.Second}).WithContext(r.ctx())
	for {
		list, meta, err := r.api().Jobs().Allocations(r.jobOf(s), true, query)
		if err != nil {
			r.t.Fatal(err)
		}
		if len(list) > 0 {
			return
		}
		query.WaitIndex = meta.LastIndex
	}
}

// rolled is a rig of attempts that have ended, run, or are about to start, when Nomad is restored to a moment in which all of
// them ran or were about to; next is that of an executor that begins then.
type rolled struct {
	next *rig
	// short ran and has ended; starting had its first task run, and all have ended; long runs; yet is about to start for a while.
	short, starting, long, yet engine.Start

	asked atomic.Int32 // signals that were sent
	end   func()       // of long
}

// newRolled makes one, in which this happens to signals.
func newRolled(t *testing.T, signals fault) *rolled {
	x := &rolled{}
	r, n := ownRig(t, testcluster.NomadConfig{}, func(c *Config) {
		p := newProxy(t, c.Address)
		p.set(func(r *http.Request) fault {
			if strings.HasSuffix(r.URL.Path, "/signal") {
				x.asked.Add(1)
				return signals
			}
			return fault{}
		})
		p.through(c)
		c.ListEvery, c.RollPatience, c.LossMargin = 200*time.Millisecond, 2*time.Second, time.Second
	})
	dir := t.TempDir()
	until := func(name string) string { return "until [ -e '" + filepath.Join(dir, name) + "' ]; do sleep 0.1; done" }
	open := func(name string) {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	x.end = func() { open("long") }
	x.short, x.long = r.shell(until("short")), r.shell(until("long"))
	x.starting = r.group(script("setup", until("short"), lifecycle("prestart", false)), script("main", "true"))
	x.yet = r.shell("", func(task *nomadapi.Task) {
		task.Driver, task.Config = "mock_driver", map[string]any{"start_block_for": "20s", "run_for": "1s"}
	})
	all := []*engine.Start{&x.short, &x.starting, &x.long, &x.yet}
	for _, s := range all {
		r.begin(*s)
		s.Accepted = r.kind(s.Attempt, engine.Accepted).Index
		if s != &x.yet {
			r.kind(s.Attempt, engine.Started)
		}
	}
	r.placed(x.yet)
	restore := n.Snapshot(t)
	open("short")
	exited(t, r.ended(x.short.Attempt), 0)
	exited(t, r.ended(x.starting.Attempt), 0)
	restore()
	x.next = r.again(t)
	x.next.exec.Doubt()
	for _, s := range all {
		x.next.begin(*s)
	}
	return x
}

// Nomad calls running, or about to start, what had ended before it was restored. The workers know better, and what they still run
// is awaited.
func TestAgentsNomadRestoredToBeforeTheEndOfTasks(t *testing.T) {
	x := newRolled(t, fault{})
	if !x.next.exec.Doubts() {
		t.Error("what nobody was asked for is certain")
	}
	for _, s := range []engine.Start{x.short, x.starting} {
		o := x.next.ended(s.Attempt)
		if ofKind(t, o, engine.OutcomeLost); !strings.Contains(o.Message, "nobody knows how it ended") {
			t.Errorf("it is lost because %s", o.Message)
		}
	}
	exited(t, x.next.ended(x.yet.Attempt), 0)
	if x.next.exec.Doubts() {
		t.Error("when all have answered there is doubt")
	}
	if n := x.next.count(x.long.Attempt, engine.Ended); n != 0 {
		t.Error("what runs has ended")
	}
	x.end()
	exited(t, x.next.ended(x.long.Attempt), 0)
}

// Where the workers may not be asked, everything else goes on, and nothing is taken for over.
func TestAgentsNomadRestoredAndTheRollMayNotBeCalled(t *testing.T) {
	x := newRolled(t, fault{code: http.StatusForbidden, text: "Permission denied"})
	exited(t, x.next.ended(x.yet.Attempt), 0)
	x.end()
	exited(t, x.next.ended(x.long.Attempt), 0)
	if n := x.next.count(x.short.Attempt, engine.Ended); n != 0 {
		t.Errorf("the end of what nobody could ask for was told %d times", n)
	}
	if n := x.asked.Load(); n == 0 || n > 8 {
		t.Errorf("workers were asked %d times in vain, want it to be tried, and left", n)
	}
	if !x.next.exec.Doubts() {
		t.Error("there is no doubt")
	}
}

// What a worker says of an allocation, again and again, and what follows.
func TestWhoIsSilentForLongEnoughIsStoppedFirst(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Address, cfg.Cluster = "http://127.0.0.1:1", testCluster
	for name, c := range map[string]struct {
		answers []presence
		every   time.Duration
		news    int // before this answer the allocation changes; 0: never
		settled int // before this answer the job is stopped, and what it placed known; 0: never
		unknown bool
		want    string
	}{
		"present":                         {[]presence{present}, 0, 0, 0, false, "done"},
		"nobody can ask":                  {[]presence{unasked, unasked, unasked}, time.Hour, 0, 0, false, ""},
		"nobody can ask after its stop":   {[]presence{unasked, unasked, unasked}, 9 * time.Minute, 0, 1, false, ""},
		"and not for long after its stop": {[]presence{unasked, unasked, unasked}, 11 * time.Minute, 0, 1, false, "ghost"},
		"silent once":                     {[]presence{absent}, 0, 0, 0, false, ""},
		"silent for long":                 {[]presence{absent, absent}, cfg.RollPatience, 0, 0, false, "suspect"},
		"silent, then there":              {[]presence{absent, present}, cfg.RollPatience, 0, 0, false, "done"},
		"silent, not reached, silent":     {[]presence{absent, unreached, absent}, cfg.RollPatience, 0, 0, false, ""},
		"news in between":                 {[]presence{absent, absent}, cfg.RollPatience, 1, 0, false, ""},
		"about to begin":                  {[]presence{unclear, unclear, unclear}, cfg.RollPatience, 0, 0, false, ""},
		"about to begin for ever":         {[]presence{unclear, unclear}, unclearFactor * cfg.RollPatience, 0, 0, false, "suspect"},
		"silent since before its stop":    {[]presence{absent, absent}, time.Minute, 0, 1, false, ""},
		"silent for long after its stop":  {[]presence{absent, absent, absent}, defaultKillTimeout + cfg.LossMargin, 0, 1, false, "ghost"},
		"about to begin after its stop":   {[]presence{unclear, unclear, unclear}, 10 * time.Minute, 0, 1, false, ""},
		"and for ever":                    {[]presence{unclear, unclear, unclear}, 10*time.Minute + defaultKillTimeout, 0, 1, false, "ghost"},
		"it resists its stop":             {[]presence{absent, absent, present}, time.Minute, 0, 1, false, "done"},
		"Nomad has forgotten it":          {[]presence{absent, absent}, cfg.LostAfter, 0, 0, true, "suspect"},
	} {
		synctest.Test(t, func(t *testing.T) {
			e, err := New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			of := &alloc{ID: "a", ClientStatus: clientRunning, ModifyIndex: 5, unknown: c.unknown}
			a := &attempt{jobID: "j", killTimeout: defaultKillTimeout, allocs: map[string]*alloc{"a": of}}
			for i, is := range c.answers {
				if i > 0 {
					<-time.After(c.every)
				}
				if i > 0 && i == c.news {
					of.ModifyIndex++
				}
				if i > 0 && i == c.settled {
					a.settledJob, a.settledAt = true, time.Now()
				}
				e.conclude(a, of, is)
			}
			got := map[bool]string{true: "done"}[a.inquiry(of).done]
			if of.suspect {
				got += "suspect"
			}
			if of.ghost {
				got += "ghost"
			}
			if got != c.want {
				t.Errorf("%s: %q, want %q", name, got, c.want)
			}
		})
	}
}
