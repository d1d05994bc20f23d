// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package faults

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/faults/ledger"
	"github.com/cairnflow/cairn/internal/testcluster"
)

const (
	machines = 3 // of a workshop
	// The first machine's agents of Consul and Nomad run as these groups, those of the others as the next ones.
	consulGroup = 47_101
	nomadGroup  = 47_201
)

// workshop is three Cairn servers with workers on machines of their own: each has an agent of Consul and a client of Nomad.
type workshop struct {
	*servers
	t      *testing.T
	consul *testcluster.ConsulCluster
	nomad  *testcluster.NomadCluster
	wall   *firewall // nil where the network is not the test's own
	pulses string    // the file that tasks write to as long as they live
}

func newWorkshop(t *testing.T, on testcluster.NomadConfig) *workshop {
	t.Helper()
	w := &workshop{t: t}
	agents := testcluster.ConsulConfig{Clients: machines, Extra: `log_level = "WARN"`}
	if shaped() {
		agents.Group, on.Group, w.wall = consulGroup, nomadGroup, newFirewall(t)
	}
	w.consul = testcluster.Consul(t, agents)
	on.Clients, on.ExtraServer, on.ExtraClient = machines, `log_level = "WARN"`, `log_level = "WARN"`
	for _, a := range w.consul.Clients {
		on.ClientConsul = append(on.ClientConsul, strings.TrimPrefix(a.Address, "http://"))
	}
	w.nomad = testcluster.Nomad(t, on)
	w.servers = newServers(t, w.nomad.Address(), w.consul.Address())
	w.g.env = append(w.g.env, "CAIRN_ADDR=http://"+w.leader().address)
	w.pulses = filepath.Join(w.g.dir, "pulses")
	return w
}

// machine is what a worker consists of.
type machine struct {
	n      int
	name   string // of its node in Nomad
	consul *testcluster.Agent
	nomad  *testcluster.Agent
}

func (w *workshop) machine(n int) machine {
	return machine{n, w.nomad.Clients[n].Name, w.consul.Clients[n], w.nomad.Clients[n]}
}

// powerOff ends a machine with everything that runs on it.
func (w *workshop) powerOff(m machine) {
	w.t.Helper()
	for _, a := range []*testcluster.Agent{m.consul, m.nomad} {
		if err := a.PowerOff(); err != nil {
			w.t.Fatal(err)
		}
	}
}

// freeze stops every process of a machine with SIGSTOP, or has all of them go on with SIGCONT.
func (w *workshop) freeze(m machine, how syscall.Signal) {
	w.t.Helper()
	for _, a := range []*testcluster.Agent{m.consul, m.nomad} {
		for _, pid := range startedBelow(w.t, a.Dir) {
			if err := syscall.Kill(pid, how); err != nil && !errors.Is(err, syscall.ESRCH) {
				w.t.Fatal(err)
			}
		}
	}
}

// startedBelow lists the living processes whose environment names a folder: the agent of it, and what it has started.
func startedBelow(t *testing.T, dir string) (pids []int) {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		// One that ends meanwhile has no files any more.
		if env, err := os.ReadFile(filepath.Join("/proc", e.Name(), "environ")); err == nil && bytes.Contains(env, []byte(dir+"/")) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// powerOn starts a machine again.
func (w *workshop) powerOn(m machine) {
	w.t.Helper()
	for _, a := range []*testcluster.Agent{m.consul, m.nomad} {
		if err := a.Start(); err != nil {
			w.t.Fatal(err)
		}
	}
}

// task is the text of a task that writes down every tenth of a second that it lives, on a machine while there is that one.
func (w *workshop) task(name string, on machine, loss string) string {
	return w.doing(name, on, loss, fmt.Sprintf("%q", fmt.Sprintf(
		"while :; do echo \"$CAIRN_TASK $CAIRN_ATTEMPT $CAIRN_FENCE $NODE $(date +%%s%%N)\" >> %s; sleep 0.1; done", w.pulses)))
}

// doing is the text of a task with a script of its own, given as an expression.
func (w *workshop) doing(name string, on machine, loss, script string) string {
	return fmt.Sprintf(`
task %q {
  driver = "raw_exec"
  config {
    command = "/bin/sh"
    args    = ["-c", %s]
  }
  env {
    NODE = "${node.unique.name}"
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
`, name, script, on.name, loss)
}

// submit starts a run of tasks.
func (w *workshop) submit(name string, tasks ...string) (id string) {
	w.t.Helper()
	file := w.g.write(name+".hcl", fmt.Sprintf("workflow %q {\n%s}\n", name, strings.Join(tasks, "")))
	var run ledger.Run
	if err := json.Unmarshal([]byte(w.g.call(0, "run", "-detach", "-json", file).stdout()), &run); err != nil {
		w.t.Fatal(err)
	}
	return run.ID
}

// pulse is a sign of life of an attempt.
type pulse struct {
	task    string
	attempt int
	fence   int64
	node    string
	at      time.Time
}

// said is what tasks wrote, whole.
func (w *workshop) said() string {
	b, err := os.ReadFile(w.pulses)
	if err != nil && !os.IsNotExist(err) {
		w.t.Fatal(err)
	}
	return string(b)
}

// life is the time in which an attempt is known to have lived.
type life struct{ first, last pulse }

// lives reads the ledger: those of every task, by number.
func (w *workshop) lives() map[string][]life {
	w.t.Helper()
	out := map[string][]life{}
	text := w.said()
	text = text[:strings.LastIndexByte(text, '\n')+1] // what follows is being written
	for line := range strings.Lines(text) {
		p, err := readPulse(line)
		if err != nil {
			w.t.Fatalf("%s: %v: %q", w.pulses, err, line)
		}
		known := out[p.task]
		for len(known) < p.attempt {
			known = append(known, life{})
		}
		if l := &known[p.attempt-1]; l.first.task == "" {
			*l = life{p, p}
		} else {
			l.last = p
		}
		out[p.task] = known
	}
	return out
}

func readPulse(line string) (p pulse, err error) {
	fields := strings.Fields(line)
	if len(fields) != 5 {
		return p, fmt.Errorf("want five words")
	}
	attempt, err1 := strconv.Atoi(fields[1])
	fence, err2 := strconv.ParseInt(fields[2], 10, 64)
	nanos, err3 := strconv.ParseInt(fields[4], 10, 64)
	return pulse{fields[0], attempt, fence, fields[3], time.Unix(0, nanos)}, cmp.Or(err1, err2, err3)
}

// alive waits until an attempt of a task writes, and returns its first sign of life.
func (w *workshop) alive(task string, attempt int) pulse {
	w.t.Helper()
	var found life
	w.g.await(fmt.Sprintf("attempt %d of task %s", attempt, task), soon(), func() bool {
		if l := w.lives()[task]; len(l) >= attempt {
			found = l[attempt-1]
		}
		return found.first.task != ""
	})
	return found.first
}

// tried are the attempts of a plain task of a run, as Cairn tells of them.
func (w *workshop) tried(run, task string) []ledger.Tried {
	w.t.Helper()
	for _, t := range w.g.show(run).Tasks {
		if t.Name == task {
			return t.Instances[0].Attempts
		}
	}
	w.t.Fatalf("run %s has no task %s", run, task)
	return nil
}

// workers asks how the workers are.
func (w *workshop) workers() (list map[string]api.Worker, withheld string) {
	w.t.Helper()
	var known api.Workers
	if err := json.Unmarshal([]byte(w.g.call(0, "operator", "workers", "-json").stdout()), &known); err != nil {
		w.t.Fatal(err)
	}
	list = map[string]api.Worker{}
	for _, one := range known.Workers {
		list[one.Name] = one
	}
	return list, known.Withheld
}
