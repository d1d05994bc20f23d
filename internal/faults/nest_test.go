// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package faults

import (
	"path/filepath"
	"slices"
	"testing"

	nomadapi "github.com/hashicorp/nomad/api"

	"github.com/cairnflow/cairn/internal/faults/ledger"
)

// levels are the workflows of a nest, from the one that somebody starts down.
var levels = []string{"outer", "upper", "middle", "inner"}

// nest is a workflow above three child runs, one in the other. On each level something succeeds before, and a finally task
// tidies up afterwards; the work is done by the task "deep" of the innermost.
func (g *ground) nest(deep spec) *plan {
	var below *plan
	for _, name := range slices.Backward(levels) {
		p := g.newPlan(name)
		p.task(spec{name: "solid", work: "-for 20ms"})
		deep.name, deep.after, deep.runs = "deep", []string{"solid"}, below
		if below != nil {
			deep.work = ""
		}
		p.task(deep)
		p.task(spec{name: "last", work: "-for 20ms", after: []string{"deep"}})
		p.task(spec{name: "tidy", kind: "finally", work: "-for 20ms"})
		below = p
	}
	return below
}

// every calls a function with what is expected of each level, from the top.
func every(e *ledger.Expect, do func(*ledger.Expect)) {
	for _, below := range e.Children {
		every(&below[0], do)
	}
	do(e)
}

// family is the runs of a nest, from the top; nil where the child run is not there yet.
func (g *ground) family(id string) (runs []*ledger.Run) {
	g.t.Helper()
	for range levels {
		run := g.show(id)
		runs = append(runs, run)
		id = ""
		for _, task := range run.Tasks {
			if task.Name == "deep" && len(task.Instances) > 0 && len(task.Instances[0].Attempts) > 0 {
				attempts := task.Instances[0].Attempts
				id = attempts[len(attempts)-1].Child
			}
		}
		if id == "" {
			break
		}
	}
	return runs
}

// standing waits until every run of a family has a status, and returns them.
func (g *ground) standing(id, status string) (runs []*ledger.Run) {
	g.t.Helper()
	g.await("every run of the family to be "+status, soon(), func() bool {
		runs = g.family(id)
		return len(runs) == len(levels) && !slices.ContainsFunc(runs, func(r *ledger.Run) bool { return r.Status != status })
	})
	return runs
}

func ids(runs []*ledger.Run) (out []string) {
	for _, r := range runs {
		out = append(out, r.ID)
	}
	return out
}

// jobs reads the jobs of every attempt of some runs from Nomad. It has no others of them.
func (g *ground) jobs(runs []*ledger.Run) map[string]*nomadapi.Job {
	g.t.Helper()
	client := cluster.Nomad(g.t).Client()
	found := map[string]*nomadapi.Job{}
	list, _, err := client.Jobs().ListOptions(&nomadapi.JobListOptions{Fields: &nomadapi.JobListFields{Meta: true}}, nil)
	if err != nil {
		g.t.Fatal(err)
	}
	for _, stub := range list {
		if slices.Contains(ids(runs), stub.Meta["cairn_run"]) {
			found[stub.ID] = nil
		}
	}
	for _, run := range runs {
		for _, task := range run.Tasks {
			for _, in := range task.Instances {
				for _, tried := range in.Attempts {
					if tried.JobID == "" {
						continue
					}
					job, _, err := client.Jobs().Info(tried.JobID, nil)
					if err != nil {
						g.t.Fatalf("the job of task %s: %v", task.Name, err)
					}
					if _, listed := found[tried.JobID]; !listed {
						g.t.Errorf("job %s of task %s does not say that it is of run %s", tried.JobID, task.Name, run.ID)
					}
					found[tried.JobID] = job
				}
			}
		}
	}
	for id, job := range found {
		if job == nil {
			g.t.Errorf("Nomad has the job %s, which is in no run document", id)
			delete(found, id)
		}
	}
	return found
}

// over checks that nothing of some runs goes on in Nomad, and which of their jobs were stopped there.
func (g *ground) over(runs []*ledger.Run, number int, stopped ...string) {
	g.t.Helper()
	jobs := g.jobs(runs)
	if len(jobs) != number {
		g.t.Errorf("Nomad has %d jobs of the runs, want %d", len(jobs), number)
	}
	for id, job := range jobs {
		if *job.Status != "dead" {
			g.t.Errorf("job %s (%s) is %s, want it dead", *job.Name, id, *job.Status)
		}
		if want := slices.Contains(stopped, job.Meta["cairn_task"]); *job.Stop != want {
			g.t.Errorf("job %s (%s) was stopped: %t, want %t", *job.Name, id, *job.Stop, want)
		}
	}
}

func TestPauseResumeAndRetryReachThreeChildRunsOnNomad(t *testing.T) {
	t.Parallel()
	g := newGround(t, "NOMAD_ADDR="+cluster.Nomad(t).Address())
	gate := filepath.Join(g.dir, "gate")
	p := g.nest(spec{work: "-until " + gate + " -fail-first 1", tries: 2})
	every(&p.expect, func(e *ledger.Expect) {
		e.Generation, e.Tries["tidy"] = 2, 2
	})
	run := g.start("run", "-nomad", "-json", p.file())
	g.begun("deep")
	id := g.runID()
	before := ids(g.standing(id, "running"))

	// Paused while the deepest task runs: it ends, and nothing comes of it, no finally task either.
	g.call(0, "runs", "pause", id)
	g.standing(id, "pausing")
	g.write("gate", "")
	paused := g.standing(id, "paused")
	g.over(paused, len(levels)+1)
	if lines := g.lines(); lines[len(lines)-1].Task != "deep" || lines[len(lines)-1].Exit != ledger.Passing {
		t.Errorf("the last line during the pause is %+v, want the failure of the deepest task", lines[len(lines)-1])
	}

	g.call(0, "runs", "resume", id)
	failed := run.wants(1).document()
	if failed.Status != "failed" || failed.Generation != 1 {
		t.Errorf("the run is %s in generation %d, want failed in 1", failed.Status, failed.Generation)
	}
	g.standing(id, "failed")

	whole := g.call(0, "runs", "retry", "-json", id).document()
	g.judge(whole, p.expect)
	again := g.standing(id, "succeeded")
	if after := ids(again); !slices.Equal(after, before) {
		t.Errorf("after the retry the runs are %v, want the same as before, %v", after, before)
	}
	// On each level solid and last once, tidy twice; and the deepest task twice.
	g.over(again, 4*len(levels)+2)
	g.nothingLeft()
}

func TestAStopReachesThreeChildRunsOnNomad(t *testing.T) {
	for verb, tidies := range map[string]bool{"stop": true, "terminate": false} {
		t.Run(verb, func(t *testing.T) {
			t.Parallel()
			g := newGround(t, "NOMAD_ADDR="+cluster.Nomad(t).Address())
			p := g.nest(spec{work: "-for 1h", ends: "cancelled"})
			every(&p.expect, func(e *ledger.Expect) {
				e.Status, e.Tasks["last"], e.Silent = "cancelled", "cancelled", []string{"last"}
				if !tidies {
					e.Tasks["tidy"], e.Silent = "cancelled", []string{"last", "tidy"}
				}
			})
			run := g.start("run", "-nomad", "-json", p.file())
			g.begun("deep")
			id := g.runID()
			g.standing(id, "running")
			g.call(0, "runs", verb, id)
			g.judge(run.wants(3).document(), p.expect)
			number := len(levels) + 1
			if tidies {
				number += len(levels)
			}
			g.over(g.standing(id, "cancelled"), number, "deep")
			g.nothingLeft()
		})
	}
}
