// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	nomadapi "github.com/hashicorp/nomad/api"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/testcluster"
)

// snapshotOf takes a snapshot of Nomad, and returns what restores it.
func snapshotOf(t *testing.T, n *testcluster.NomadCluster) (restore func()) {
	t.Helper()
	snapshot, err := n.Client().Operator().Snapshot(nil)
	if err != nil {
		t.Fatal(err)
	}
	archive, err := io.ReadAll(snapshot)
	if err := errors.Join(err, snapshot.Close()); err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		if _, err := n.Client().Operator().SnapshotRestore(bytes.NewReader(archive), nil); err != nil {
			t.Fatal(err)
		}
	}
}

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

// slowly is a task that takes so long to start, and one second then.
func slowly(start time.Duration) func(*nomadapi.Task) {
	return func(task *nomadapi.Task) {
		task.Driver = "mock_driver"
		task.Config = map[string]any{"start_block_for": start.String(), "run_for": "1s"}
	}
}

// rolled is a rig of attempts that have ended, run, or are about to start, when Nomad is restored to a moment in which all of
// them ran or were about to; next is that of an executor that begins then.
type rolled struct {
	next                       *rig
	short, starting, long, yet engine.Start
}

func newRolled(t *testing.T, change ...func(*Config)) *rolled {
	change = append([]func(*Config){func(c *Config) { c.ListEvery = 200 * time.Millisecond }}, change...)
	r, n := ownRig(t, testcluster.NomadConfig{}, change...)
	x := &rolled{short: r.shell("sleep 3"), starting: r.shell("", slowly(3*time.Second)), long: r.shell("sleep 25"), yet: r.shell("", slowly(25*time.Second))}
	all := []*engine.Start{&x.short, &x.starting, &x.long, &x.yet}
	for _, s := range all {
		r.begin(*s)
		s.Accepted = r.kind(s.Attempt, engine.Accepted).Index
	}
	r.kind(x.short.Attempt, engine.Started)
	r.kind(x.long.Attempt, engine.Started)
	r.placed(x.starting)
	r.placed(x.yet)
	restore := snapshotOf(t, n)
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
	x := newRolled(t)
	for _, s := range []engine.Start{x.short, x.starting} {
		o := x.next.ended(s.Attempt)
		if ofKind(t, o, engine.OutcomeLost); !strings.Contains(o.Message, "nobody knows how it ended") {
			t.Errorf("it is lost because %s", o.Message)
		}
	}
	exited(t, x.next.ended(x.long.Attempt), 0)
	exited(t, x.next.ended(x.yet.Attempt), 0)
}

// Where the workers may not be asked, everything else goes on.
func TestAgentsNomadRestoredAndTheRollMayNotBeCalled(t *testing.T) {
	var p *proxy
	x := newRolled(t, func(c *Config) {
		p = newProxy(t, c.Address)
		p.set(func(r *http.Request) fault {
			if strings.HasSuffix(r.URL.Path, "/signal") {
				return fault{code: http.StatusForbidden, text: "Permission denied"}
			}
			return fault{}
		})
		p.through(c)
	})
	exited(t, x.next.ended(x.long.Attempt), 0)
	exited(t, x.next.ended(x.yet.Attempt), 0)
	if n := x.next.count(x.short.Attempt, engine.Ended); n != 0 {
		t.Errorf("the end of what nobody could ask for was told %d times", n)
	}
}
