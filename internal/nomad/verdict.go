// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"fmt"
	"strings"

	"github.com/cairnflow/cairn/internal/engine"
)

// jobState is what is known of a job's stop flag.
type jobState string

const (
	jobUnread  jobState = ""
	jobRuns    jobState = "runs"
	jobStopped jobState = "stopped"
)

// facts is everything known of one attempt's job.
type facts struct {
	groups    []shape  // of the job; empty when it is not known
	whole     bool     // the job is not Cairn's own: it may have several groups and places by its own rules
	dead      bool     // whole only: Nomad will place nothing more
	allocs    []*alloc // by the index of their creation
	job       jobState
	tombstone string // reason, when the job was registered as one: nothing was ever placed
	killed    bool   // Cairn has ordered its end
	immediate bool   // on_worker_loss
	// deadAlloc is the allocation whose worker is taken for dead, deadName the name of that; empty: none is.
	deadAlloc string
	deadName  string
	// cause is why the job is, or is to be, stopped for good; settled that it is, with everything placed before known.
	cause   *engine.Outcome
	settled bool
	waited  bool // the wait for a lost worker is over
	looked  bool // what was unclear has been looked at for long enough
}

// judgement is what the facts mean, and what is missing to know more. At most one of outcome, stop, readJob, final, lossWait
// and unclear is set.
type judgement struct {
	running  *alloc          // a program runs or ran here
	outcome  *engine.Outcome // how the attempt ended
	alloc    *alloc          // the allocation that the outcome is about; nil when none was placed
	cause    *engine.Outcome // why stop
	stop     bool            // stop the job, so that nothing more is placed, and learn what was
	readJob  bool            // read the job's stop flag
	final    bool            // find out whether Nomad will place anything more
	lossWait bool            // wait for what the worker that does not answer may still do
	unclear  bool            // the news are not all there: look at the allocations
}

// judge folds the facts. It never takes a verdict from Nomad's own statuses (semantics, "Evidence").
func (f *facts) judge() judgement {
	if f.whole {
		return f.judgeWhole()
	}
	var j judgement
	live, unreachable := 0, 0
	var exit *engine.Outcome
	for i, a := range f.allocs {
		ph, e := a.stage(f.shape(a))
		switch ph {
		case phaseUnreachable, phasePending, phaseRunning:
			f.count(a, ph, &live, &unreachable)
		case phaseExited:
			// The first allocation decides unless a later one, placed by Nomad while nobody watched, succeeded.
			if i == 0 || e.ok() && (exit == nil || !succeeded(exit)) {
				exit, j.alloc = f.exited(a, e), a
			}
		}
		if ph == phaseRunning || ph == phaseExited {
			j.running = a
		}
	}
	if exit != nil && live+unreachable == 0 {
		j.outcome = exit
		return j
	}
	cause := f.cause
	if exit != nil {
		cause = exit
	}
	if cause == nil {
		cause = f.findCause(&j)
	}
	if cause == nil || j.outcome != nil {
		return j
	}
	if j.alloc == nil && len(f.allocs) > 0 {
		j.alloc = f.allocs[0]
	}
	f.stopFor(&j, cause, live, unreachable)
	return j
}

// count counts an allocation that is not over, unless it is a ghost, or its worker is taken for dead: nobody waits for what may
// run there.
func (f *facts) count(a *alloc, ph phase, live, unreachable *int) {
	switch {
	case a.ghost, f.onDead(a):
	case ph == phaseUnreachable:
		*unreachable++
	default:
		*live++
	}
}

// onDead reports whether an allocation is on the worker that is taken for dead. Names of nodes may be used again, by a machine
// that was made anew.
func (f *facts) onDead(a *alloc) bool {
	if f.deadName == "" {
		return false
	}
	for _, other := range f.allocs {
		if other.ID == f.deadAlloc {
			return a.NodeID == other.NodeID
		}
	}
	return a.NodeName == f.deadName
}

// stopFor has the job stopped for good, with what is still alive of it, and ends with the cause of that.
func (f *facts) stopFor(j *judgement, cause *engine.Outcome, live, unreachable int) {
	j.cause = cause
	if f.immediate {
		unreachable = 0 // its tasks may run twice
	}
	switch {
	case !f.settled:
		j.stop = true
	case live+unreachable == 0 || live == 0 && f.waited:
		j.outcome = cause
		if j.alloc != nil && cause.StartedAt == 0 {
			withTimes := *cause
			withTimes.StartedAt, withTimes.EndedAt = j.alloc.times()
			j.outcome = &withTimes
		}
	case live == 0:
		j.lossWait = true
	}
}

// shape describes the group of an allocation; nil when it is not known.
func (f *facts) shape(a *alloc) *shape {
	for i := range f.groups {
		if !f.whole || f.groups[i].name == a.TaskGroup {
			return &f.groups[i]
		}
	}
	return nil
}

// findCause says why a job that has not ended by itself will not go on. It may set the outcome, or what is to be read,
// instead.
func (f *facts) findCause(j *judgement) *engine.Outcome {
	switch {
	case f.killed && f.tombstone == "":
		return outcome(engine.OutcomeKilled, "stopped")
	case f.vanished() != nil:
		return f.vanished()
	case len(f.allocs) == 0:
		return f.unplaced(j)
	case len(f.allocs) > 1:
		kind, known := f.allocs[0].departure()
		if j.unclear = !known && !f.looked; j.unclear {
			return nil
		}
		return outcome(kind, "Nomad moved it from %s by itself: %s", f.allocs[0].NodeName, f.allocs[0].why())
	}
	a := f.allocs[0]
	ph, _ := a.stage(f.shape(a))
	switch ph {
	case phaseUnreachable:
		return outcome(engine.OutcomeLost, "worker %s is lost", a.NodeName)
	case phaseError:
		j.outcome, j.alloc = outcome(engine.OutcomeError, "%s", a.complaint(f.shape(a))), a
		j.outcome.StartedAt, j.outcome.EndedAt = a.times()
	case phaseKilled:
		return f.killedBy(a, j)
	case phasePending, phaseRunning:
		if a.begunAgain(f.shape(a)) {
			return outcome(engine.OutcomeLost, "worker %s was restarted, and its Nomad client began the task once more", a.NodeName)
		}
	}
	return nil
}

func (f *facts) unplaced(j *judgement) *engine.Outcome {
	switch {
	case f.tombstone != "":
		j.outcome = barredBy(f.tombstone)
	case f.job == jobStopped:
		return outcome(engine.OutcomeInterrupted, "its job was stopped in Nomad before it started")
	}
	return nil
}

// barredBy is the outcome of an attempt whose tombstone was registered for reason.
func barredBy(reason string) *engine.Outcome {
	switch reason {
	case tombUnknown:
		return outcome(engine.OutcomeLost, "%s", tombUnknown)
	case tombNoBody:
		return outcome(engine.OutcomeInvalid, "its body cannot be rendered as it was when the attempt was recorded")
	}
	return outcome(engine.OutcomeKilled, "stopped before it started")
}

func (f *facts) killedBy(a *alloc, j *judgement) *engine.Outcome {
	switch {
	case strings.Contains(a.ClientDescription, "max_run_duration"):
		j.outcome, j.alloc = outcome(engine.OutcomeTimedOut, "%s", a.ClientDescription), a
		j.outcome.StartedAt, j.outcome.EndedAt = a.times()
		return nil
	case a.DesiredStatus == desiredEvict:
		return outcome(engine.OutcomeEvicted, "preempted on %s by allocation %s", a.NodeName, a.PreemptedByAllocation)
	case strings.Contains(a.DesiredDescription, "lost"): // came back after it was given up, and was killed
		return outcome(engine.OutcomeLost, "worker %s was lost: %s", a.NodeName, a.DesiredDescription)
	case f.job == jobStopped:
		return outcome(engine.OutcomeInterrupted, "its job was stopped in Nomad")
	case f.job == jobUnread:
		j.readJob = true
		return nil
	}
	if a.DesiredStatus == desiredRun { // nobody asked for that: a client without its servers, say
		return outcome(engine.OutcomeLost, "killed on %s by its Nomad client: %s", a.NodeName, a.why())
	}
	return outcome(engine.OutcomeEvicted, "killed on %s: %s", a.NodeName, a.why())
}

// departure is what became of an allocation instead of which Nomad has placed another: lost with its worker, or made to leave it.
// It is not known where the news of the other one came first.
func (a *alloc) departure() (kind engine.OutcomeKind, known bool) {
	if a.ClientStatus == clientLost || a.ClientStatus == clientUnknown || strings.Contains(a.DesiredDescription, "lost") {
		return engine.OutcomeLost, true
	}
	return engine.OutcomeEvicted, a.DesiredStatus != desiredRun || a.terminal()
}

// why says in Nomad's words what an allocation's end has to do with its worker.
func (a *alloc) why() string {
	switch {
	case a.DesiredStatus == desiredEvict:
		return "preempted by allocation " + a.PreemptedByAllocation
	case a.DesiredDescription != "":
		return a.DesiredDescription
	case a.ClientDescription != "":
		return a.ClientDescription
	}
	return "Nomad gives no reason"
}

// exited is the outcome of an allocation that ended by itself.
func (f *facts) exited(a *alloc, e end) *engine.Outcome {
	o := &engine.Outcome{Kind: engine.OutcomeExited, Signal: e.signal, OOM: e.oom}
	if e.signal == 0 {
		o.ExitCode = ptr(e.code)
	}
	o.StartedAt, o.EndedAt = a.times()
	switch {
	case e.ok():
		o.Message = a.aftermath(f.shape(a))
	case e.role == roleSidecar:
		o.Kind, o.ExitCode, o.Signal, o.OOM = engine.OutcomeFailed, nil, 0, false
		o.Message = fmt.Sprintf("sidecar task %q ended by itself (%s), and Nomad stopped the others with it", e.task, e)
	case e.role == roleMain && e.task != "":
		o.Message = fmt.Sprintf("task %q failed (%s)", e.task, e)
	case e.task != "":
		o.Message = fmt.Sprintf("%s task %q failed (%s), and Nomad ended the others with it", e.role, e.task, e)
	}
	return o
}

func outcome(kind engine.OutcomeKind, format string, args ...any) *engine.Outcome {
	return &engine.Outcome{Kind: kind, Message: fmt.Sprintf(format, args...)}
}

// succeeded reports an end by itself with nothing wrong; only such an attempt has outputs.
func succeeded(o *engine.Outcome) bool {
	return o.Kind == engine.OutcomeExited && o.ExitCode != nil && *o.ExitCode == 0 && o.Signal == 0 && !o.OOM
}
