// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workflow"
)

// seat is one of the count of a group: the allocations that Nomad has placed for it, the first one first. A later one
// replaces the one before, by the job's own rules or because its worker was lost.
type seat struct {
	group  *shape
	index  int
	allocs []*alloc
}

// seats sorts the allocations. A seat without one was not placed yet.
func (f *facts) seats() []seat {
	var all []seat
	at := map[string]int{}
	for i := range f.groups {
		g := &f.groups[i]
		for index := range g.count {
			at[seatName(g.name, index)] = len(all)
			all = append(all, seat{group: g, index: index})
		}
	}
	for _, a := range f.allocs {
		i, known := at[seatName(a.TaskGroup, a.index())]
		if !known { // scaled up by somebody
			i = len(all)
			at[seatName(a.TaskGroup, a.index())] = i
			all = append(all, seat{group: f.shape(a), index: a.index()})
		}
		all[i].allocs = append(all[i].allocs, a)
	}
	return all
}

func seatName(group string, index int) string { return group + "[" + strconv.Itoa(index) + "]" }

// index is the position of an allocation in its group: the number at the end of its name.
func (a *alloc) index() int {
	number := strings.TrimSuffix(a.Name[strings.LastIndexByte(a.Name, '[')+1:], "]")
	n, err := strconv.Atoi(number)
	if err != nil {
		return 0 // Nomad gives every allocation one
	}
	return n
}

// standing is where a seat stands: succeeded if any of its allocations did, else where the newest one stands.
func (s *seat) standing() (phase, end, *alloc) {
	ph := phasePending
	var e end
	var of *alloc
	for _, a := range s.allocs {
		of = a
		if ph, e = a.stage(s.group); ph == phaseExited && e.ok() {
			break
		}
	}
	return ph, e, of
}

// judgeWhole folds the facts of a job that places, restarts and replaces by its own rules. It has succeeded when every
// allocation that it asks for has ended well by itself. It has failed when one has not, and Nomad will place no other.
func (f *facts) judgeWhole() judgement {
	var j judgement
	seats := f.seats()
	live, unreachable := 0, 0
	for _, a := range f.allocs {
		switch ph, _ := a.stage(f.shape(a)); ph {
		case phaseUnreachable, phasePending, phaseRunning:
			f.count(a, ph, &live, &unreachable)
		}
	}
	well, bySelf := len(f.groups) > 0, len(f.groups) > 0
	for i := range seats {
		ph, e, _ := seats[i].standing()
		well = well && ph == phaseExited && e.ok()
		bySelf = bySelf && ph == phaseExited
	}
	j.running = f.underWay(seats)
	if len(f.allocs) > 0 {
		j.alloc = f.allocs[0]
	}
	switch {
	case well && live == 0 && (len(seats) > 0 || f.dead):
		j.outcome = &engine.Outcome{Kind: engine.OutcomeExited, ExitCode: ptr(0)}
		j.outcome.StartedAt, j.outcome.EndedAt = f.times()
		return j
	case f.cause != nil:
		f.stopFor(&j, f.cause, live, unreachable)
	case f.killed && f.tombstone == "":
		f.stopFor(&j, outcome(engine.OutcomeKilled, "stopped"), live, unreachable)
	case f.vanished() != nil:
		f.stopFor(&j, f.vanished(), live, unreachable)
	case f.job == jobStopped && bySelf && live == 0, f.dead:
		f.failed(&j, seats)
	case len(f.allocs) == 0:
		if cause := f.unplaced(&j); cause != nil {
			f.stopFor(&j, cause, 0, 0)
		}
		j.final = j.outcome == nil && !j.stop && !j.lossWait
	case f.job == jobStopped:
		f.stopFor(&j, outcome(engine.OutcomeInterrupted, "its job was stopped in Nomad"), live, unreachable)
	case live == 0:
		j.final = true
	}
	return j
}

// underWay returns an allocation that runs or ran, once every group has one: a job of which a group waits for a place has not
// begun.
func (f *facts) underWay(seats []seat) *alloc {
	begun := map[string]*alloc{}
	var first *alloc
	for i := range seats {
		for _, a := range seats[i].allocs {
			if a.started() && begun[a.TaskGroup] == nil {
				begun[a.TaskGroup] = a
				if first == nil {
					first = a
				}
			}
		}
	}
	for i := range f.groups {
		if f.groups[i].count > 0 && begun[f.groups[i].name] == nil {
			return nil
		}
	}
	return first
}

// times is when the first task of the job started and the last one ended.
func (f *facts) times() (started, ended workflow.Time) {
	for _, a := range f.allocs {
		s, e := a.times()
		if s != 0 && (started == 0 || s < started) {
			started = s
		}
		ended = max(ended, e)
	}
	return started, ended
}

// failed sets the outcome of a job that is over and has not succeeded. A program that failed counts more than one that never
// ran, and that more than one whose worker went away.
func (f *facts) failed(j *judgement, seats []seat) {
	for _, kind := range []phase{phaseExited, phaseError, phaseKilled, phaseUnreachable, phasePending} {
		for i := range seats {
			ph, e, a := seats[i].standing()
			if ph == phaseRunning {
				ph = phasePending
			}
			if ph != kind || ph == phaseExited && e.ok() {
				continue
			}
			j.outcome = f.seatOutcome(&seats[i], ph, e, a)
			j.outcome.StartedAt, j.outcome.EndedAt = f.times()
			if a != nil {
				j.alloc = a
			}
			return
		}
	}
	j.outcome = outcome(engine.OutcomeError, "Nomad has given its job up without placing anything")
}

// seatOutcome says what became of a seat for good.
func (f *facts) seatOutcome(s *seat, ph phase, e end, a *alloc) *engine.Outcome {
	where := "its job"
	if s.group != nil {
		where = fmt.Sprintf("group %q", s.group.name)
		switch {
		case s.index >= s.group.count:
			where += fmt.Sprintf(", allocation %d", s.index+1)
		case s.group.count > 1:
			where += fmt.Sprintf(", allocation %d of %d", s.index+1, s.group.count)
		}
	}
	if n := len(s.allocs); n > 1 {
		where += fmt.Sprintf(", placed %d times", n)
	}
	var o *engine.Outcome
	switch ph {
	case phaseExited:
		o = f.exited(a, e)
		if o.Message == "" && s.group != nil && len(s.group.tasks) == 1 {
			o.Message = fmt.Sprintf("task %q failed (%s)", s.group.tasks[0].name, e)
		}
	case phaseError:
		o = outcome(engine.OutcomeError, "%s", a.complaint(s.group))
	case phaseKilled:
		o = f.replaced(a)
	case phaseUnreachable:
		o = outcome(engine.OutcomeLost, "worker %s is lost, and the job asks for no replacement", a.NodeName)
	default:
		o = outcome(engine.OutcomeError, "it was never placed, and Nomad has given its job up")
	}
	o.Message = where + ": " + o.Message
	return o
}

// replaced says why a job is over whose allocation was killed and not placed again.
func (f *facts) replaced(a *alloc) *engine.Outcome {
	switch {
	case strings.Contains(a.ClientDescription, "max_run_duration"):
		return outcome(engine.OutcomeTimedOut, "%s", a.ClientDescription)
	case f.job == jobStopped:
		return outcome(engine.OutcomeInterrupted, "its job was stopped in Nomad")
	}
	return outcome(engine.OutcomeEvicted, "killed on %s: %s", a.NodeName, a.why())
}
