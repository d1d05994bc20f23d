// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package server

import (
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/testcluster"
)

// onNomad makes the rig's runs go to the shared Nomad.
func (r *rig) onNomad() *testcluster.NomadCluster {
	r.t.Helper()
	n := cluster.Nomad(r.t)
	r.cfg.Getenv = func(name string) string {
		if name == "NOMAD_ADDR" {
			return n.Address()
		}
		return os.Getenv(name)
	}
	return n
}

func TestRunOnRealNomadFromFileToFinishedDocument(t *testing.T) {
	t.Parallel()
	r := newRig(t, small)
	nomad := r.onNomad().Client()
	s := r.start(Nomad)
	run, err := follow(within(t), s.Client(), s.Run)
	if err != nil {
		t.Fatal(err)
	}
	if run.Status != "succeeded" || string(run.Outputs["line"]) != `"hello, world"` {
		t.Errorf("got %s (%s), outputs %s", run.Status, run.Reason, run.Outputs)
	}
	for _, task := range run.Tasks {
		job := task.Instances[0].Attempts[0].JobID
		found, _, err := nomad.Jobs().Info(job, nil)
		if err != nil {
			t.Errorf("the job of task %s: %v", task.Name, err)
			continue
		}
		if *found.Type != "batch" || !strings.Contains(*found.Name, task.Name) {
			t.Errorf("task %s is a %s job named %s, want a batch job named after it", task.Name, *found.Type, *found.Name)
		}
	}
	log, err := s.Client().Logs(within(t), string(s.Run), api.LogQuery{Task: "again"})
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(log)
	if err := errors.Join(err, log.Close()); err != nil || string(b) != "hello, world\n" {
		t.Errorf("the log says %q, %v", b, err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestKilledAtRandomMomentsARunOnRealNomadGoesOn(t *testing.T) {
	t.Parallel()
	text, tasks := lattice("0.2")
	r := newRig(t, text)
	r.onNomad()
	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)
	id := NewRunID(time.Now())
	for range 6 {
		c := r.drive(Nomad, id, "", 0)
		if line, err := c.out.ReadString('\n'); err != nil {
			t.Fatalf("got %q, %v\n%s", line, err, c.stderr)
		}
		timer := time.NewTimer(time.Duration(random.IntN(1500)) * time.Millisecond)
		<-timer.C
		if err := c.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		c.wait()
	}
	r.toTheEnd(Nomad, id)
	r.once(tasks)
}

func TestUnreachableNomadIsToldBeforeAnythingStarts(t *testing.T) {
	r := newRig(t, small)
	r.cfg.Getenv = func(name string) string {
		return map[string]string{"NOMAD_ADDR": "http://127.0.0.1:1"}[name]
	}
	run, err := newRunOf(r.file, Nomad, "")
	if err != nil {
		t.Fatal(err)
	}
	run.IdempotencyKey = "nightly" // and the key stays free
	var unreachable *UnreachableError
	for range 2 {
		run.ID = NewRunID(time.Now())
		if _, err := Start(within(t), r.cfg, run); !errors.As(err, &unreachable) {
			t.Errorf("got %v, want to hear that Nomad cannot be reached", err)
		}
	}
	if _, err := Start(within(t), r.cfg, run); !errors.As(err, &unreachable) || !strings.Contains(err.Error(), "http://127.0.0.1:1") {
		t.Errorf("got %v, want to hear that Nomad cannot be reached there", err)
	}
	if _, err := os.Stat(string(folderOf(r.cfg.StateDir, run.ID))); !os.IsNotExist(err) {
		t.Errorf("the run folder: %v, want none", err)
	}
}
