// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package faults

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cairnflow/cairn/internal/faults/ledger"
	"github.com/cairnflow/cairn/internal/testcluster"
)

// Consul is restored under living servers, to a moment in the middle of a run. What ran since then is found in Nomad and not
// run again, and a run that Consul knows nothing of any more is left alone.
func TestServersGoOnAfterARestoreOfConsul(t *testing.T) {
	t.Parallel()
	consul := testcluster.Consul(t, testcluster.ConsulConfig{})
	s := newServers(t, cluster.Nomad(t).Address(), consul.Address())
	g := s.g
	stranger := newGround(t)
	to := "CAIRN_ADDR=http://" + s.leader().address
	g.env, stranger.env = append(g.env, to), append(stranger.env, to)
	p := g.shared()
	watcher := g.start("run", "-json", p.file())
	g.begun("c2")
	archive, _, err := consul.Client().Snapshot().Save(nil)
	if err != nil {
		t.Fatal(err)
	}
	snapshot, err := io.ReadAll(archive)
	if err := errors.Join(err, archive.Close()); err != nil {
		t.Fatal(err)
	}
	late := stranger.newPlan("late")
	over := filepath.Join(stranger.dir, "over")
	late.task(spec{name: "long", work: "-until " + over})
	late.task(spec{name: "next", work: "-for 1ms", after: []string{"long"}})
	stranger.call(0, "run", "-detach", late.file())
	unknown := stranger.begun("long")
	g.begun("c5")
	if err := consul.Client().Snapshot().Restore(nil, bytes.NewReader(snapshot)); err != nil {
		t.Fatal(err)
	}
	watcher.wants(0)
	p.expect.Severed = true
	g.judge(watcher.document(), p.expect)
	contains(t, stranger.call(1, "runs", "show", unknown.Run).stderr(), "There is no run "+unknown.Run)
	// It is said to run on, and is no more when it is over.
	orphans := stranger.call(0, "operator", "orphans").stdout()
	contains(t, orphans, unknown.Run, "-long-", "running")
	if err := os.WriteFile(over, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	stranger.await("the end of the task that nobody knows", soon(), func() bool {
		lines := stranger.lines()
		return lines[len(lines)-1].Event == ledger.End
	})
	if n := len(stranger.lines()); n != 2 {
		t.Errorf("the run that nobody knows went on, or was cut short:\n%s", stranger.text(stranger.ledger))
	}
	stranger.await("its job to be dead", soon(), func() bool {
		return strings.Contains(stranger.call(0, "operator", "orphans").stderr(), "There are none.")
	})
	said := false
	for _, m := range s.all {
		said = said || strings.Contains(m.stderr(), "nothing new begins before everything that was under way is found")
	}
	if !said {
		t.Error("no server says that Consul was restored")
	}
}
