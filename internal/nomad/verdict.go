// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workflow"
)

// alloc is what judging needs of an allocation; it is decoded from events and from lists alike.
type alloc struct {
	ID                    string
	JobID                 string
	NodeName              string
	DesiredStatus         string
	DesiredDescription    string
	ClientStatus          string
	ClientDescription     string
	PreemptedByAllocation string
	TaskStates            map[string]*taskState
	CreateIndex           uint64
	ModifyIndex           uint64
}

type taskState struct {
	State      string
	Failed     bool
	StartedAt  time.Time
	FinishedAt time.Time
	Events     []taskEvent // the last ten
}

type taskEvent struct {
	Type           string
	DisplayMessage string
	Details        map[string]string
	ExitCode       int
	Signal         int
	FailsTask      bool
}

// What Nomad calls things.
const (
	clientComplete = "complete"
	clientFailed   = "failed"
	clientLost     = "lost"
	clientUnknown  = "unknown"
	desiredEvict   = "evict"
	desiredRun     = "run"
	taskDead       = "dead"

	eventStarted    = "Started"
	eventTerminated = "Terminated"
	eventKilling    = "Killing"
)

// phase is where an allocation stands, by the evidence of its tasks' events.
type phase string

const (
	phasePending     phase = "pending"
	phaseRunning     phase = "running"
	phaseExited      phase = "exited"      // ended by itself
	phaseKilled      phase = "killed"      // ended by a kill
	phaseError       phase = "error"       // failed before its program ran, or by Nomad's own failure
	phaseUnreachable phase = "unreachable" // its worker does not answer: nobody knows
)

// end is how a task's program ended.
type end struct {
	code   int
	signal int
	oom    bool
}

func (e end) ok() bool { return e.code == 0 && e.signal == 0 && !e.oom }

// lastEnd reads the last Terminated of a task. byItself: nothing was killing the task that ended. A kill that comes while
// the task is being started stands before its Started; one before an older Terminated was about an earlier run.
func (s *taskState) lastEnd() (e end, byItself, found bool) {
	started := false
	for _, ev := range slices.Backward(s.Events) {
		switch ev.Type {
		case eventTerminated:
			if started {
				return e, byItself, found
			}
			if !found {
				found, byItself = true, true
				e = end{code: number(ev.Details["exit_code"], ev.ExitCode), signal: number(ev.Details["signal"], ev.Signal)}
				e.oom = ev.Details["oom_killed"] == "true"
			}
		case eventKilling:
			byItself = false
		case eventStarted:
			if started || !found { // before any end was met: it runs again
				return e, byItself, found
			}
			started = true
		}
	}
	return e, byItself, found
}

func number(text string, otherwise int) int {
	if n, err := strconv.Atoi(text); err == nil {
		return n
	}
	return otherwise
}

func (s *taskState) started() bool {
	return !s.StartedAt.IsZero() || slices.ContainsFunc(s.Events, func(e taskEvent) bool { return e.Type == eventStarted })
}

// stage classifies the allocation by the tasks whose end is its end.
func (a *alloc) stage(mains []string) (phase, end) {
	if len(mains) == 0 {
		for name := range a.TaskStates {
			mains = append(mains, name)
		}
		slices.Sort(mains)
	}
	dead, byItself, started, failed := len(mains) > 0, true, false, false
	var last end
	for _, name := range mains {
		s := a.TaskStates[name]
		if s == nil {
			dead, byItself = false, false
			continue
		}
		dead = dead && s.State == taskDead
		started = started || s.started()
		failed = failed || s.Failed
		e, self, _ := s.lastEnd()
		if s.State == taskDead && self && !e.ok() {
			last = e
		}
		byItself = byItself && self
	}
	switch {
	case dead && !last.ok():
		return phaseExited, last // one that failed by itself decides, whatever that did to the others
	case dead && byItself:
		return phaseExited, last
	}
	unreachable := a.ClientStatus == clientLost || a.ClientStatus == clientUnknown
	over := a.ClientStatus == clientComplete || a.ClientStatus == clientFailed
	switch {
	case unreachable && !dead:
		return phaseUnreachable, end{}
	case over || unreachable:
		// A kill never marks a task failed; a template that fails, a driver or an artifact does.
		if a.DesiredStatus == desiredRun && (failed || a.ClientStatus == clientFailed) {
			return phaseError, end{}
		}
		return phaseKilled, end{}
	case started:
		return phaseRunning, end{}
	}
	return phasePending, end{}
}

// times returns when the main tasks started and ended, by the client's clock.
func (a *alloc) times(mains []string) (started, ended workflow.Time) {
	for name, s := range a.TaskStates {
		if len(mains) > 0 && !slices.Contains(mains, name) {
			continue
		}
		if !s.StartedAt.IsZero() && (started == 0 || workflow.At(s.StartedAt) < started) {
			started = workflow.At(s.StartedAt)
		}
		if !s.FinishedAt.IsZero() {
			ended = max(ended, workflow.At(s.FinishedAt))
		}
	}
	return started, ended
}

// complaint is the sentence that says why an allocation failed without its program having ended.
func (a *alloc) complaint() string {
	names := make([]string, 0, len(a.TaskStates))
	for name := range a.TaskStates {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		for _, ev := range slices.Backward(a.TaskStates[name].Events) {
			switch {
			case ev.Type == "Not Restarting" || ev.Type == eventTerminated || ev.Type == "Killed" || ev.Type == "Sibling Task Failed":
			case ev.FailsTask || ev.Details["fails_task"] == "true":
				return sentence(ev)
			case strings.Contains(ev.Type, "Fail"):
				return sentence(ev)
			}
		}
	}
	if a.ClientDescription != "" {
		return a.ClientDescription
	}
	return "the client gave no reason"
}

func sentence(ev taskEvent) string {
	if ev.DisplayMessage == "" {
		return ev.Type
	}
	return ev.Type + ": " + ev.DisplayMessage
}

// jobState is what is known of a job's stop flag.
type jobState string

const (
	jobUnread  jobState = ""
	jobRuns    jobState = "runs"
	jobStopped jobState = "stopped"
)

// facts is everything known of one attempt's job.
type facts struct {
	mains     []string
	allocs    []*alloc // by the index of their creation
	job       jobState
	tombstone string // reason, when the job was registered as one: nothing was ever placed
	killed    bool   // Cairn has ordered its end
	immediate bool   // on_worker_loss
	// cause is why the job is, or is to be, stopped for good; settled that it is, with everything placed before known.
	cause   *engine.Outcome
	settled bool
	waited  bool // the wait for a lost worker is over
}

// judgement is what the facts mean, and what is missing to know more. At most one of outcome, stop, readJob and lossWait
// is set.
type judgement struct {
	running  *alloc          // a program runs or ran here
	outcome  *engine.Outcome // how the attempt ended
	alloc    *alloc          // the allocation that the outcome is about; nil when none was placed
	cause    *engine.Outcome // why stop
	stop     bool            // stop the job, so that nothing more is placed, and learn what was
	readJob  bool            // read the job's stop flag
	lossWait bool            // wait for what the worker that does not answer may still do
}

// judge folds the facts. It never takes a verdict from Nomad's own statuses (semantics, "Evidence").
func (f *facts) judge() judgement {
	var j judgement
	live, unreachable := 0, 0
	var exit *engine.Outcome
	for i, a := range f.allocs {
		ph, e := a.stage(f.mains)
		switch ph {
		case phaseUnreachable:
			unreachable++
		case phasePending, phaseRunning:
			live++
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
			withTimes.StartedAt, withTimes.EndedAt = j.alloc.times(f.mains)
			j.outcome = &withTimes
		}
	case live == 0:
		j.lossWait = true
	}
	return j
}

// findCause says why a job that has not ended by itself will not go on. It may set the outcome, or what is to be read,
// instead.
func (f *facts) findCause(j *judgement) *engine.Outcome {
	switch {
	case f.killed && f.tombstone == "":
		return outcome(engine.OutcomeKilled, "stopped")
	case len(f.allocs) == 0:
		return f.unplaced(j)
	case len(f.allocs) > 1:
		return outcome(engine.OutcomeLost, "Nomad moved it from %s by itself: %s", f.allocs[0].NodeName, f.allocs[0].why())
	}
	a := f.allocs[0]
	ph, _ := a.stage(f.mains)
	switch ph {
	case phaseUnreachable:
		return outcome(engine.OutcomeLost, "worker %s is lost", a.NodeName)
	case phaseError:
		j.outcome, j.alloc = outcome(engine.OutcomeError, "%s", a.complaint()), a
		j.outcome.StartedAt, j.outcome.EndedAt = a.times(f.mains)
	case phaseKilled:
		return f.killedBy(a, j)
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
		j.outcome.StartedAt, j.outcome.EndedAt = a.times(f.mains)
		return nil
	case a.DesiredStatus == desiredEvict:
		return outcome(engine.OutcomeLost, "preempted on %s by allocation %s", a.NodeName, a.PreemptedByAllocation)
	case strings.Contains(a.DesiredDescription, "lost"): // came back after it was given up, and was killed
		return outcome(engine.OutcomeLost, "worker %s was lost: %s", a.NodeName, a.DesiredDescription)
	case f.job == jobStopped:
		return outcome(engine.OutcomeInterrupted, "its job was stopped in Nomad")
	case f.job == jobUnread:
		j.readJob = true
		return nil
	}
	return outcome(engine.OutcomeLost, "killed on %s: %s", a.NodeName, a.why())
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

func (f *facts) exited(a *alloc, e end) *engine.Outcome {
	o := &engine.Outcome{Kind: engine.OutcomeExited, Signal: e.signal, OOM: e.oom}
	if e.signal == 0 {
		o.ExitCode = ptr(e.code)
	}
	o.StartedAt, o.EndedAt = a.times(f.mains)
	return o
}

func outcome(kind engine.OutcomeKind, format string, args ...any) *engine.Outcome {
	return &engine.Outcome{Kind: kind, Message: fmt.Sprintf(format, args...)}
}

// succeeded reports an end by itself with nothing wrong; only such an attempt has outputs.
func succeeded(o *engine.Outcome) bool {
	return o.Kind == engine.OutcomeExited && o.ExitCode != nil && *o.ExitCode == 0 && o.Signal == 0 && !o.OOM
}
