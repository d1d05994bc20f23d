// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package server

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/cairnflow/cairn/internal/scheduler"
	"github.com/cairnflow/cairn/internal/workflow"
)

// Thirty tasks in a lattice, every one of which writes to the ledger when it begins and when it ends, and so does the one of
// a run that it starts. The task "stuck" never ends by itself and is killed by its timeout.
func lattice(pause string) (text string, tasks []string) {
	var b strings.Builder
	b.WriteString("workflow \"lattice\" {\n")
	for row := range 6 {
		for column := range 5 {
			name := fmt.Sprintf("t%d_%d", row, column)
			tasks = append(tasks, name)
			fmt.Fprintf(&b, "  task %q {\n    driver = \"raw_exec\"\n", name)
			if row > 0 {
				fmt.Fprintf(&b, "    depends_on = [task.t%d_%d, task.t%d_%d]\n", row-1, column, row-1, (column+1)%5)
			}
			fmt.Fprintf(&b, `    config {
      command = "/bin/sh"
      args    = ["-c", "echo begin %s >> LEDGER; sleep %s; echo end %s >> LEDGER"]
    }
  }
`, name, pause, name)
		}
	}
	tasks = append(tasks, "inner")
	b.WriteString(`  task "sub" {
    run_workflow {
      source = "child.hcl"
    }
  }
  task "stuck" {
    driver        = "raw_exec"
    timeout       = "200ms"
    allow_failure = true
    kill_timeout  = "1s"
    config {
      command = "/bin/sh"
      args    = ["-c", "echo begin stuck >> LEDGER; exec sleep 3600"]
    }
  }
}
`)
	return b.String(), tasks
}

// once checks that every task began and ended exactly once.
func (r *rig) once(tasks []string) {
	r.t.Helper()
	lines := r.lines()
	for _, name := range tasks {
		if lines["begin "+name] != 1 || lines["end "+name] != 1 {
			r.t.Errorf("task %s began %d times and ended %d times, want once", name, lines["begin "+name], lines["end "+name])
		}
	}
	// Its timeout may kill it before it writes: then it has no line.
	stuck := lines["begin stuck"]
	if stuck > 1 {
		r.t.Errorf("task stuck began %d times, want once", stuck)
	}
	if want := 2*len(tasks) + min(stuck, 1); len(lines) != want {
		r.t.Errorf("the ledger has %d different lines, want %d", len(lines), want)
	}
}

// toTheEnd drives a run to its end after its processes were killed.
func (r *rig) toTheEnd(kind Kind, id workflow.RunID) {
	r.t.Helper()
	c := r.drive(kind, id, "", 0)
	if last, err := c.wait(); err != nil || last != "succeeded" {
		r.t.Errorf("at the end: %q, %v\n%s", last, err, c.stderr)
	}
}

func TestKilledAtRandomMomentsALocalRunGoesOn(t *testing.T) {
	text, tasks := lattice("0.05")
	r := newRig(t, text)
	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)
	id := NewRunID(time.Now())
	for range 8 {
		c := r.drive(Local, id, "", 0)
		if line, err := c.out.ReadString('\n'); err != nil {
			t.Fatalf("got %q, %v\n%s", line, err, c.stderr)
		}
		timer := time.NewTimer(time.Duration(random.IntN(80)) * time.Millisecond)
		<-timer.C
		if err := c.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		c.wait()
	}
	r.toTheEnd(Local, id)
	r.once(tasks)
}

func TestKilledAtEveryFaultPointALocalRunGoesOn(t *testing.T) {
	for _, point := range scheduler.FaultPoints() {
		for _, n := range []int{1, 7} {
			t.Run(fmt.Sprintf("%s %d", point, n), func(t *testing.T) {
				t.Parallel()
				text, tasks := lattice("0.01")
				r := newRig(t, text)
				id := NewRunID(time.Now())
				c := r.drive(Local, id, point, n)
				last, err := c.wait()
				if killed := err != nil && strings.Contains(err.Error(), "killed"); !killed && last != "succeeded" {
					t.Fatalf("%q, %v\n%s", last, err, c.stderr)
				} else if n == 1 && !killed {
					t.Errorf("the point was not hit: %q, %v", last, err)
				} else if !killed {
					r.once(tasks) // the point is met less often
					return
				}
				if point == scheduler.FaultBeforeCreate {
					// The run was never stored: the folder is tolerated, and there is nothing to go on with.
					if runs, problems, err := List(within(t), r.cfg, Query{}); err != nil || len(runs) > 0 || len(problems) > 0 {
						t.Errorf("list: %v, %v, %v, want nothing", runs, problems, err)
					}
					return
				}
				r.toTheEnd(Local, id)
				r.once(tasks)
			})
		}
	}
}
