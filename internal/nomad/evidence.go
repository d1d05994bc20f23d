// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cairnflow/cairn/internal/workflow"
)

// alloc is what judging needs of an allocation; it is decoded from events and from lists alike.
type alloc struct {
	ID                    string
	JobID                 string
	Name                  string // job.group[index]
	TaskGroup             string
	NodeID                string
	NodeName              string
	DesiredStatus         string
	DesiredDescription    string
	ClientStatus          string
	ClientDescription     string
	PreemptedByAllocation string
	TaskStates            map[string]*taskState
	CreateIndex           uint64
	ModifyIndex           uint64

	// gone: Nomad calls it over, not all of its tasks were, and its node is no more. Not Nomad's.
	gone bool
	// What follows is not Nomad's. unknown: Nomad does not know it any more, since it was restored. suspect: Nomad says that it
	// runs, and its worker does not. ghost: it is over, by the silence of its worker.
	unknown, suspect, ghost bool
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
	clientPending  = "pending"
	clientRunning  = "running"
	clientComplete = "complete"
	clientFailed   = "failed"
	clientLost     = "lost"
	clientUnknown  = "unknown"
	desiredEvict   = "evict"
	desiredRun     = "run"
	taskDead       = "dead"
	taskRunning    = "running"

	eventStarted    = "Started"
	eventTerminated = "Terminated"
	eventKilling    = "Killing"
	eventUnrestored = "Failed Restoring Task"
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

// end is how a program ended.
type end struct {
	code   int
	signal int
	oom    bool
	task   string // whose, where the group has several
	role   role   // of that task
}

// ok: a sidecar never ends well. Nomad kills it when the work is done; one that ends by itself takes the work with it.
func (e end) ok() bool { return e.code == 0 && e.signal == 0 && !e.oom && e.role != roleSidecar }

func (e end) String() string {
	switch {
	case e.oom:
		return "out of memory"
	case e.signal != 0:
		return fmt.Sprintf("signal %d", e.signal)
	}
	return fmt.Sprintf("exit code %d", e.code)
}

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

// stage classifies the allocation of a group by the evidence of its tasks. A group without a shape has main tasks only.
func (a *alloc) stage(g *shape) (phase, end) {
	g = a.full(g)
	unreachable := a.ClientStatus == clientLost || a.ClientStatus == clientUnknown
	over := a.over(g)
	if over || unreachable {
		// What the main tasks did by themselves decides, whatever that did to the others.
		if e, decided := a.mainEnd(g); decided {
			return phaseExited, e
		}
	}
	if over {
		if e, decided := a.helperEnd(g); decided {
			return phaseExited, e
		}
	}
	switch {
	case unreachable && !over:
		return phaseUnreachable, end{}
	case over && (a.terminal() || unreachable):
		// A kill never marks a task failed; a template that fails, a driver or an artifact does.
		if a.DesiredStatus == desiredRun && (a.ClientStatus == clientFailed || a.anyFailed(g)) {
			return phaseError, end{}
		}
		return phaseKilled, end{}
	case a.started():
		return phaseRunning, end{}
	}
	return phasePending, end{}
}

// full is a shape with every task that is known: those of a group whose job is not known are main tasks, those that Nomad
// adds to a group, as the proxies of Consul, are sidecars.
func (a *alloc) full(g *shape) *shape {
	all, added := shape{}, roleMain
	if g != nil && len(g.tasks) > 0 {
		all, added = *g, roleSidecar
	}
	for _, name := range slices.Sorted(maps.Keys(a.TaskStates)) {
		if !slices.ContainsFunc(all.tasks, func(t part) bool { return t.name == name }) {
			all.tasks = append(slices.Clip(all.tasks), part{name, added})
		}
	}
	return &all
}

// terminal: Nomad calls it ended. It does so at the first task that failed, while others still run.
func (a *alloc) terminal() bool {
	return a.ClientStatus == clientComplete || a.ClientStatus == clientFailed
}

// over reports whether no task of the group runs any more, or ever will.
func (a *alloc) over(g *shape) bool {
	dead := 0
	for _, t := range g.tasks {
		if s := a.TaskStates[t.name]; s != nil && s.State == taskDead {
			dead++
		}
	}
	return len(g.tasks) > 0 && dead == len(g.tasks) || a.terminal() && (dead == len(a.TaskStates) || a.gone)
}

// lingers: Nomad calls it over, and so will say nothing of its node, while tasks of it still run.
func (a *alloc) lingers(g *shape) bool { return a.terminal() && !a.over(a.full(g)) }

func (a *alloc) started() bool {
	for _, s := range a.TaskStates {
		if s.started() {
			return true
		}
	}
	return false
}

// begunAgain: the client came back to find no process of a main task, as after a restart of its machine, and starts the task once
// more by itself, whatever its restart policy. A sidecar that is started again does no harm.
func (a *alloc) begunAgain(g *shape) bool {
	return slices.ContainsFunc(a.full(g).tasks, func(t part) bool {
		s := a.TaskStates[t.name]
		return t.role == roleMain && s != nil && slices.ContainsFunc(s.Events, func(e taskEvent) bool { return e.Type == eventUnrestored })
	})
}

func (a *alloc) anyFailed(g *shape) bool {
	return slices.ContainsFunc(g.tasks, func(t part) bool {
		s := a.TaskStates[t.name]
		return s != nil && s.Failed
	})
}

// mainEnd is how the main tasks ended by themselves: the first one that failed, or all of them well. It is not decided when
// one of them still runs, or all that failed to succeed were killed.
func (a *alloc) mainEnd(g *shape) (e end, decided bool) {
	byItself, several := true, len(g.tasks) > 1
	var failed *end
	for _, t := range g.tasks {
		if t.role != roleMain {
			continue
		}
		s := a.TaskStates[t.name]
		if s == nil || s.State != taskDead {
			return end{}, false
		}
		e, self, _ := s.lastEnd()
		if e.role = roleMain; several {
			e.task = t.name
		}
		if self && !e.ok() && failed == nil {
			failed = &e
		}
		byItself = byItself && self
	}
	if failed != nil {
		return *failed, true
	}
	return end{role: roleMain}, byItself
}

// helperEnd is how a task ended by itself that took the main tasks with it: one that failed before or beside them.
func (a *alloc) helperEnd(g *shape) (e end, decided bool) {
	for _, t := range g.tasks {
		s := a.TaskStates[t.name]
		if t.role == roleMain || t.role == rolePoststop || s == nil || !s.Failed {
			continue
		}
		if e, self, found := s.lastEnd(); found && self {
			e.task, e.role = t.name, t.role
			return e, true
		}
	}
	return end{}, false
}

// aftermath says which other task failed in a group whose main tasks ended well; empty when none did.
func (a *alloc) aftermath(g *shape) string {
	for _, t := range a.full(g).tasks {
		s := a.TaskStates[t.name]
		if t.role == roleMain || s == nil || !s.Failed {
			continue
		}
		how := a.taskComplaint(t.name)
		if e, self, found := s.lastEnd(); found && self {
			how = e.String()
		}
		return fmt.Sprintf("%s task %q failed (%s) when the work of the group was done", t.role, t.name, how)
	}
	return ""
}

// times returns when the first task started and the last one ended, by the client's clock.
func (a *alloc) times() (started, ended workflow.Time) {
	for _, s := range a.TaskStates {
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
func (a *alloc) complaint(g *shape) string {
	g = a.full(g)
	for _, t := range g.tasks {
		text := a.taskComplaint(t.name)
		if text != "" && len(g.tasks) > 1 {
			text = fmt.Sprintf("task %q: %s", t.name, text)
		}
		if text != "" {
			return text
		}
	}
	if a.ClientDescription != "" {
		return a.ClientDescription
	}
	return "the client gave no reason"
}

// taskComplaint is the last event of a task that says what it failed of; empty when there is none.
func (a *alloc) taskComplaint(name string) string {
	s := a.TaskStates[name]
	if s == nil {
		return ""
	}
	for _, ev := range slices.Backward(s.Events) {
		switch {
		case ev.Type == "Not Restarting" || ev.Type == eventTerminated || ev.Type == "Killed" || ev.Type == "Sibling Task Failed":
		case ev.FailsTask || ev.Details["fails_task"] == "true":
			return sentence(ev)
		case strings.Contains(ev.Type, "Fail"):
			return sentence(ev)
		}
	}
	return ""
}

func sentence(ev taskEvent) string {
	if ev.DisplayMessage == "" {
		return ev.Type
	}
	return ev.Type + ": " + ev.DisplayMessage
}
