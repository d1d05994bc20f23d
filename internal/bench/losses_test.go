// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package bench

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	nomadapi "github.com/hashicorp/nomad/api"

	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/client"
	"github.com/cairnflow/cairn/internal/testcluster"
)

const (
	machines = 3
	losses   = 20 // of a machine
	// bounded is the stop_after of the tasks that may not overlap. To it come kill_timeout, the margin of 15 s, and what Nomad
	// takes to miss two heartbeats, 10 to 30 s.
	bounded = 20 * time.Second
)

// BenchmarkWorkerLoss: a machine is gone, with its agents of Consul and Nomad and every task on it, twenty times. On it ran a job
// of Nomad's own with the default settings, which is the reference, a task with on_worker_loss immediate and one that waits for
// its end. Nomad's heartbeats are the default ones. What is measured begins when kill(2) has returned and ends when the task
// writes from another machine. The last loss is also that of a task with the default stop_after of five minutes.
func BenchmarkWorkerLoss(b *testing.B) {
	for b.Loop() {
		consul := testcluster.Consul(b, testcluster.ConsulConfig{Clients: machines, Extra: `log_level = "WARN"`})
		var agents []string
		for _, a := range consul.Clients {
			agents = append(agents, strings.TrimPrefix(a.Address, "http://"))
		}
		nomad := testcluster.Nomad(b, testcluster.NomadConfig{
			Clients: machines, ClientConsul: agents, ExtraServer: `log_level = "WARN"`, ExtraClient: `log_level = "WARN"`,
		})
		s := startServers(b, 3, consul, nomad, "")
		l := &lossBench{s}
		gaps := map[string][]float64{}
		for round := range losses {
			for kind, gap := range l.lose(round, round == losses-1) {
				gaps[kind] = append(gaps[kind], gap.Seconds())
			}
		}
		var ratios []float64
		for i, gap := range gaps["immediate"] {
			ratios = append(ratios, gap/gaps["plain"][i])
		}
		for _, list := range gaps {
			slices.Sort(list)
		}
		slices.Sort(ratios)
		report(b, "from the loss to the next attempt, on_worker_loss immediate", "s", gaps["immediate"], 20)
		report(b, "the same, a job of Nomad's own with the default settings", "s", gaps["plain"], 30)
		report(b, "immediate by Nomad's own", "x", ratios, 1)
		report(b, "the same, wait_for_stop with stop_after = 20s", "s", gaps["bounded"], (bounded + time.Second + 15*time.Second + 30*time.Second).Seconds())
		report(b, "the same, wait_for_stop with the default of 5m, once", "s", gaps["default"], (5*time.Minute + time.Second + 15*time.Second + 30*time.Second).Seconds())
	}
}

type lossBench struct{ *servers }

// lose has a machine gone, and says how long each kind of task was.
func (l *lossBench) lose(round int, standard bool) map[string]time.Duration {
	b := l.b
	n := round % machines
	node := l.nomad.Clients[n].Name
	kinds := map[string]string{"immediate": `mode = "immediate"`, "bounded": fmt.Sprintf("stop_after = %q", bounded)}
	if standard {
		kinds["default"] = `mode = "wait_for_stop"`
	}
	var text strings.Builder
	fmt.Fprintf(&text, "workflow \"losses%d\" {\n", round)
	for kind, loss := range kinds {
		fmt.Fprintf(&text, `  task %q {
    driver = "raw_exec"
    config {
      command = "/bin/sh"
      args    = ["-c", %q]
    }
    affinity {
      attribute = "${node.unique.name}"
      value     = %q
      weight    = 100
    }
    kill_timeout = "1s"
    on_worker_loss {
      %s
    }
    retry {
      delay = "100ms"
    }
  }
`, kind, l.beats(kind, round), node, loss)
	}
	text.WriteString("}\n")
	c, err := client.TCP(client.Server{Address: l.leader(nil).address})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	name := fmt.Sprintf("losses%d", round)
	run, err := c.Submit(b.Context(), api.SubmitRequest{
		Files: []api.File{{Path: name + ".hcl", Bytes: []byte(text.String())}}, Workflow: name, Key: name, By: "bench",
	})
	if err != nil {
		b.Fatal(err)
	}
	plain := l.plain(round, node)
	l.await("all tasks to write", func() bool {
		first := l.look(round)
		return len(first["immediate"]) == 1 && len(first["bounded"]) == 1 && len(first["plain"]) == 1 && (!standard || len(first["default"]) == 1)
	})
	l.pass(time.Second + rand.N(10*time.Second))
	for _, a := range []*testcluster.Agent{l.consul.Clients[n], l.nomad.Clients[n]} {
		if err := a.PowerOff(); err != nil {
			b.Fatal(err)
		}
	}
	at := time.Now()
	l.await("all tasks to write from another machine", func() bool {
		first := l.look(round)
		return len(first["immediate"]) > 1 && len(first["bounded"]) > 1 && len(first["plain"]) > 1 && (!standard || len(first["default"]) > 1)
	})
	gaps := map[string]time.Duration{}
	for kind, firsts := range l.look(round) {
		gaps[kind] = firsts[1].Sub(at)
	}
	b.Logf("loss %d, of %s: immediate %.1f s, plain %.1f s, wait_for_stop %.1f s", round+1, node, gaps["immediate"].Seconds(), gaps["plain"].Seconds(),
		gaps["bounded"].Seconds())
	if _, err := c.Verb(b.Context(), run.ID, api.VerbStop, api.VerbRequest{}); err != nil {
		b.Fatal(err)
	}
	if _, _, err := l.nomad.Client().Jobs().Deregister(plain, true, nil); err != nil {
		b.Fatal(err)
	}
	for _, a := range []*testcluster.Agent{l.consul.Clients[n], l.nomad.Clients[n]} {
		if err := a.Start(); err != nil {
			b.Fatal(err)
		}
	}
	l.await("the machine to be back", func() bool {
		known, err := c.Workers(b.Context())
		well := 0
		for _, w := range known.Workers {
			if w.Status == "ready" && len(w.Attempts) == 0 {
				well++
			}
		}
		return err == nil && well == machines
	})
	l.pass(2 * time.Second) // new tasks are kept off it until the next look
	return gaps
}

// beats is a script that writes as long as it lives.
func (l *lossBench) beats(kind string, round int) string {
	return fmt.Sprintf("while :; do echo %s $NOMAD_SHORT_ALLOC_ID $(date +%%s%%N) >> %s; sleep 0.1; done", kind, l.file(round))
}

// file is what the tasks of a round write to.
func (l *lossBench) file(round int) string {
	return filepath.Join(l.dir, fmt.Sprintf("pulses-%d", round))
}

// plain runs a job of Nomad's own, and returns its ID.
func (l *lossBench) plain(round int, node string) string {
	id := fmt.Sprintf("plain-%d", round)
	task := nomadapi.NewTask("beat", "raw_exec")
	task.Config = map[string]any{"command": "/bin/sh", "args": []string{"-c", l.beats("plain", round)}}
	job := nomadapi.NewBatchJob(id, id, "global", 50).AddDatacenter("*").AddTaskGroup(nomadapi.NewTaskGroup("beat", 1).AddTask(task)).
		AddAffinity(nomadapi.NewAffinity("${node.unique.name}", "=", node, 100))
	if _, _, err := l.nomad.Client().Jobs().Register(job, nil); err != nil {
		l.b.Fatal(err)
	}
	return id
}

// look reads when each allocation of each kind first wrote in a round, in order. The pause before is one in what is looked at, not
// in what is measured: the tasks say themselves when that was.
func (l *lossBench) look(round int) map[string][]time.Time {
	l.pass(200 * time.Millisecond)
	text, err := os.ReadFile(l.file(round))
	if err != nil && !os.IsNotExist(err) {
		l.b.Fatal(err)
	}
	out, seen := map[string][]time.Time{}, map[string]bool{}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) != 3 || seen[fields[1]] {
			continue
		}
		nanos, err := strconv.ParseInt(fields[2], 10, 64)
		if err != nil {
			l.b.Fatal(err)
		}
		seen[fields[1]] = true
		out[fields[0]] = append(out[fields[0]], time.Unix(0, nanos))
	}
	return out
}
