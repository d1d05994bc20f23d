// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/cairnflow/cairn/internal/backup"
	"github.com/cairnflow/cairn/internal/client"
	"github.com/cairnflow/cairn/internal/consul"
	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/scheduler"
	"github.com/cairnflow/cairn/internal/testcluster"
	"github.com/cairnflow/cairn/internal/workflow"
)

// storedBytes is what a run that is over holds beside its head: about that of twenty tasks.
const storedBytes = 8 << 10

// BenchmarkBackup: how large a snapshot is with so many runs that are over, and how long it takes to be saved with all that is
// verified, to be read and surveyed, and to be restored beside what is there. The default of retention is 2,000. The reference is
// Consul's own snapshot, streamed to the same disk.
func BenchmarkBackup(b *testing.B) {
	for _, n := range []int{1000, 10_000, 50_000} {
		b.Run(fmt.Sprintf("%d runs", n), func(b *testing.B) {
			for b.Loop() {
				newStored(b, n, testcluster.Consul(b, testcluster.ConsulConfig{})).measure()
			}
		})
	}
}

// BenchmarkBackupBesideWork: what backups do to the work that goes on. Ten thousand runs that are over are stored, two hundred
// others are under way, as in BenchmarkLoad, with five tasks a second. In every other half minute one backup is taken after the
// other, as nobody does; the reference is the half minutes without.
func BenchmarkBackupBesideWork(b *testing.B) {
	for b.Loop() {
		agents := testcluster.Consul(b, testcluster.ConsulConfig{Servers: 3, Extra: `log_level = "WARN"`})
		newStored(b, 10_000, agents).leave()
		s := startServers(b, 3, agents, testcluster.Nomad(b, quietNomad), fmt.Sprintf(
			"retention {\n  runs = 20000\n  age = \"87600h\"\n  bytes = \"4GiB\"\n}\nbackup {\n  enabled = false\n  retain = 2\n  folder = %q\n}\n", b.TempDir()))
		leader := s.leader(nil)
		s.chains(leader, 200, 5)
		s.besideBackups(leader)
	}
}

// besideBackups measures how long after the end of a task its successor is submitted, with and without backups.
func (s *servers) besideBackups(leader *member) {
	s.b.Helper()
	const window = 30 * time.Second
	c, err := client.TCP(client.Server{Address: leader.address})
	if err != nil {
		s.b.Fatal(err)
	}
	defer c.Close()
	told := s.ends()
	var began []time.Time // of windows: without, with, without, and so on
	saved := 0
	for range pairs {
		began = append(began, time.Now())
		s.pass(window)
		began = append(began, time.Now())
		for time.Since(began[len(began)-1]) < window {
			m, err := c.SaveSnapshot(s.b.Context())
			if err != nil {
				s.b.Fatal(err)
			}
			if saved++; m.Stock.Ended < 10_000 {
				s.b.Fatalf("the backup has %d runs that are over", m.Stock.Ended)
			}
		}
	}
	ends := told()
	within := func(n int) map[string]time.Time {
		in := map[string]time.Time{}
		for job, at := range ends {
			if at.After(began[n]) && (n+1 == len(began) || at.Before(began[n+1])) {
				in[job] = at
			}
		}
		return in
	}
	var ratios []float64
	var all [2][]float64
	for n := 0; n < len(began); n += 2 {
		without, with := s.latencies(within(n)), s.latencies(within(n+1))
		if len(without) == 0 || len(with) == 0 {
			s.b.Fatal("no task has ended")
		}
		ratios = append(ratios, with[len(with)/2]/without[len(without)/2])
		all[0], all[1] = append(all[0], without...), append(all[1], with...)
	}
	for n, what := range []string{"without backups", "with one backup after the other"} {
		slices.Sort(all[n])
		s.b.Logf("%s, %d tasks: their successors are submitted after %.0f ms, one of a hundred after %.0f", what, len(all[n]), all[n][len(all[n])/2], all[n][len(all[n])*99/100])
	}
	s.b.Logf("%d backups in %d half minutes", saved, pairs)
	slices.Sort(ratios)
	report(s.b, "from the end of a task to the submission of its successor, with backups and without", "times", ratios, 3)
}

// stored is a Consul with runs that are over.
type stored struct {
	b       *testing.B
	runs    int
	config  consul.Config
	cluster string
	folder  backup.Folder
	leave   func() // for others to lead
}

func newStored(b *testing.B, runs int, agents *testcluster.ConsulCluster) *stored {
	b.Helper()
	s := &stored{b: b, runs: runs, config: consul.DefaultConfig(), folder: backup.Folder(filepath.Join(b.TempDir(), "backups"))}
	s.config.Address, s.config.TTL = agents.Address(), time.Hour // nobody renews
	elector, err := consul.NewElector(s.config)
	if err != nil {
		b.Fatal(err)
	}
	l, err := elector.Acquire(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	s.leave = func() {
		if err := elector.Release(b.Context(), l); err != nil {
			b.Fatal(err)
		}
	}
	store := consul.NewStore(elector)
	if s.cluster, err = store.Cluster(b.Context()); err != nil {
		b.Fatal(err)
	}
	next := make(chan int)
	var group sync.WaitGroup
	for range 64 {
		group.Go(func() {
			for n := range next {
				if err := s.store(store, l.Epoch, n); err != nil {
					b.Error(err)
				}
			}
		})
	}
	for n := range runs {
		next <- n
	}
	close(next)
	group.Wait()
	return s
}

// store stores a run, with what does not compress.
func (s *stored) store(store *consul.Store, epoch uint64, n int) error {
	id := workflow.NewRunID(time.UnixMilli(1_700_000_000_000+int64(n)), [6]byte{1, byte(n >> 16), byte(n >> 8), byte(n)})
	noise := make([]byte, storedBytes/2)
	for i := range noise {
		noise[i] = "0123456789abcdef"[rand.IntN(16)]
	}
	head := scheduler.Record{Key: scheduler.HeadKey, Value: []byte("{}")}
	_, err := store.Create(s.b.Context(), epoch, scheduler.NewRun{
		ID: id, Workflow: "w", Namespace: "default", CreatedAt: workflow.At(time.Now()), Definition: scheduler.Definition{Hash: "sha256:ab", Bytes: []byte("definition")},
		Records: []scheduler.Record{head, {Key: engine.InputKey, Value: []byte("{}")}, {Key: "p/00000000", Value: noise}},
	})
	if err != nil {
		return err
	}
	return store.Save(s.b.Context(), epoch, id, []scheduler.Record{head, {Key: "g/0000", Value: noise}}, true)
}

// leader leads always.
type leader struct{}

func (leader) Leading() bool                                   { return true }
func (leader) AwaitReconciled(context.Context) (uint64, error) { return 1, nil }

func (s *stored) measure() {
	s.b.Helper()
	snapshots, err := consul.NewSnapshots(s.config)
	if err != nil {
		s.b.Fatal(err)
	}
	keeper := backup.NewKeeper(backup.Config{
		Source: snapshots, Survey: func() backup.Survey { return consul.NewSurvey(s.config.Prefix) }, Target: s.folder, Leadership: leader{},
		Cluster: s.cluster, Prefix: s.config.Prefix, Retain: 100, Age: 1000 * time.Hour, By: "bench", Logger: hclog.NewNullLogger(),
	})
	var m backup.Manifest
	var ratios []float64
	for n := range pairs {
		alone := s.took(func() error { return s.stream(snapshots, fmt.Sprint("reference ", n)) })
		saved := s.took(func() (err error) {
			m, err = keeper.Save(s.b.Context())
			return err
		})
		ratios = append(ratios, saved/alone)
		s.b.Logf("%d runs: %.1f MiB; Consul's own snapshot %.3f s, saved and verified %.3f s", s.runs, float64(m.Size)/(1<<20), alone, saved)
	}
	slices.Sort(ratios)
	report(s.b, fmt.Sprintf("saving a snapshot of %d runs and verifying it, beside Consul's own", s.runs), "times", ratios, 5)
	if m.Stock.Ended != s.runs || m.Stock.Unreadable > 0 {
		s.b.Errorf("the snapshot has %d runs, of which %d cannot be read", m.Stock.Ended, m.Stock.Unreadable)
	}
	file, err := backup.NewFile(filepath.Join(s.folder.String(), m.Name), "")
	if err != nil {
		s.b.Fatal(err)
	}
	read := func(show func(backup.Entry) error) error {
		_, err := file.Read(show)
		return err
	}
	verified := s.took(func() error { return read(consul.NewSurvey(s.config.Prefix).Look) })
	restorer, err := consul.NewRestorer(s.config)
	if err != nil {
		s.b.Fatal(err)
	}
	restored := s.took(func() error {
		p, err := restorer.Plan(s.b.Context(), read)
		if err != nil {
			return err
		}
		return restorer.Restore(s.b.Context(), p, read, func(int) {})
	})
	whole := s.took(func() error {
		plain, err := file.Open()
		if err != nil {
			return err
		}
		return errors.Join(snapshots.Restore(s.b.Context(), plain), plain.Close())
	})
	s.b.Logf("%d runs, %d keys: read and surveyed %.3f s, restored beside what is there %.3f s, all of Consul restored %.3f s",
		s.runs, m.Stock.Keys, verified, restored, whole)
}

// stream has Consul's snapshot written to the disk as it comes.
func (s *stored) stream(snapshots *consul.Snapshots, name string) error {
	body, err := snapshots.Snapshot(s.b.Context())
	if err != nil {
		return err
	}
	err = s.folder.Put(s.b.Context(), name, func(w io.Writer) error {
		_, err := io.Copy(w, body)
		return err
	})
	return errors.Join(err, body.Close())
}

// took is how many seconds something takes.
func (s *stored) took(do func() error) float64 {
	s.b.Helper()
	began := time.Now()
	if err := do(); err != nil {
		s.b.Fatal(err)
	}
	return time.Since(began).Seconds()
}
