// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package engine

import (
	"github.com/cairnflow/cairn/internal/workflow"
)

// Machine is the state machine of one definition. It is immutable and may be shared by runs and goroutines; a State has one
// owner.
type Machine struct {
	def   *workflow.Definition
	graph *workflow.Graph
	eval  Evaluator
	out   [][]outEdge // by task: who waits for it
}

// outEdge leads from a task to one that waits for it.
type outEdge struct {
	to         int
	rule, data bool // counted by the trigger rule; a data edge
}

// New returns the machine of a definition. It fails when the definition's graph does not hold together, which a checked
// definition's always does.
func New(def *workflow.Definition, eval Evaluator) (*Machine, error) {
	g, err := workflow.NewGraph(def)
	if err != nil {
		return nil, err
	}
	m := &Machine{def: def, graph: g, eval: eval, out: make([][]outEdge, len(def.Tasks))}
	for n := range def.Tasks {
		rule, data := asSet(g.Rule(n)), asSet(g.Data(n))
		for _, p := range g.Predecessors(n) {
			m.out[p] = append(m.out[p], outEdge{to: n, rule: rule[p], data: data[p]})
		}
	}
	return m, nil
}

func asSet(ns []int) map[int]bool {
	set := make(map[int]bool, len(ns))
	for _, n := range ns {
		set[n] = true
	}
	return set
}

// Definition returns the definition the machine runs.
func (m *Machine) Definition() *workflow.Definition { return m.def }

// Graph returns the graph of the definition.
func (m *Machine) Graph() *workflow.Graph { return m.graph }

// NewState returns the state of a run that has not begun: everything pending, nothing saved yet.
func (m *Machine) NewState(in Input) *State {
	in.Version = recordVersion
	s := &State{
		Input:      in,
		Head:       Head{Version: recordVersion, Status: workflow.RunQueued, Generation: 1, LastAt: in.CreatedAt},
		Tasks:      make([]*TaskState, len(m.def.Tasks)),
		Instances:  make([][]*Instance, len(m.def.Tasks)),
		Expansions: make([]*Expansion, len(m.def.Tasks)),
	}
	for n := range s.Tasks {
		s.Tasks[n] = &TaskState{Status: workflow.Pending}
		s.dirty.task(n)
	}
	s.dirty.input, s.dirty.head = true, true
	m.rebuild(s)
	return s
}

// maxRecords and maxChunks bound what one step changes, so that every save fits one transaction (architecture, "The core").
// A single unit of work may add a few more: the budget stops before the documented 500 and 30.
const (
	maxRecords = 480
	maxChunks  = 26
)

// turn is one step under way.
type turn struct {
	m        *Machine
	s        *State
	e        Event
	at       workflow.Time
	touched  bool // a durable field changed without a record being marked: timers
	commands []Command
}

// room reports whether the step may change more.
func (t *turn) room() bool {
	return t.s.dirty.stepRecords < maxRecords && t.s.dirty.stepChunks < maxChunks
}

func (t *turn) emit(c Command) { t.commands = append(t.commands, c) }

// Step folds e into s and returns the commands that became due. e.At is the only clock. The same (s, e) gives the same
// result on every machine. Events that do not fit, stale and doubled ones are dropped.
func (m *Machine) Step(s *State, e Event) []Command {
	if s.Head.Status.Terminal() && !e.Kind.revives() {
		if e.Kind == Ended {
			return []Command{{Kind: Settle, Attempt: e.Attempt}}
		}
		return nil
	}
	t := &turn{m: m, s: s, e: e, at: max(e.At, s.Head.LastAt)}
	s.dirty.beginStep()
	// The event first: what ended is not timed out by the step that learns of it.
	t.dispatch()
	t.fire()
	t.drain()
	t.conclude()
	if t.touched || s.dirty.stepped() {
		s.Head.LastAt, s.Head.Fired = t.at, m.firedUpTo(s, t.at)
		s.dirty.markHead()
	}
	t.rewake()
	return t.commands
}

func (t *turn) dispatch() {
	switch t.e.Kind {
	case Begin:
		t.begin()
	case Admit:
		t.admit()
	case Tick, Continue:
		// Timers are handled after every event, and what is left to do by drain.
	case Accepted, Refused, Held, Started, Ended, WorkerLost, ChildPaused, ChildResumed:
		t.observe()
	default:
		t.verb()
	}
}

func (t *turn) begin() {
	s := t.s
	if s.Head.Status != workflow.RunQueued || s.Head.Ending == EndingSkip {
		return
	}
	if g := t.e.Generation; g != 0 && g != s.Head.Generation {
		return
	}
	s.Head.Status, s.Head.StartedAt = workflow.RunRunning, t.at
	s.dirty.markHead()
	t.m.armRun(s)
	t.lookAtAll()
}

// lookAtAll puts every task that is not terminal on the work list.
func (t *turn) lookAtAll() {
	for n, ts := range t.s.Tasks {
		if !ts.Status.Terminal() {
			t.s.work.add(n)
		}
	}
}

// drain looks at the tasks on the work list until the step's budget is used up; what is left goes on with Continue. The
// resets of a retry by hand come first: until they are done, what the tasks say is not to be acted upon.
func (t *turn) drain() {
	m, s := t.m, t.s
	for s.Head.Resetting == nil || t.reset() {
		for len(s.work.order) > 0 && t.room() {
			n := s.work.take()
			if !t.look(n) {
				s.work.add(n)
				break
			}
		}
		if len(s.work.order) > 0 || len(s.blocked.order) == 0 || !m.runHasRoom(s) || !t.room() {
			break
		}
		s.work.add(s.blocked.take())
	}
	if m.unfinished(s) {
		t.emit(Command{Kind: Proceed})
	}
}

// unfinished reports whether the work list holds work, and drops from its front what became moot.
func (m *Machine) unfinished(s *State) bool {
	if s.Head.Resetting != nil {
		return true
	}
	for len(s.work.order) > 0 {
		n := s.work.order[0]
		if m.wantsLook(s, n) {
			return true
		}
		s.work.take()
		if m.isBlocked(s, n) {
			s.blocked.add(n)
		}
	}
	return false
}

func (t *turn) rewake() {
	next := t.m.nextWake(t.s)
	if next != t.s.wake {
		t.s.wake = next
		t.emit(Command{Kind: WakeAt, At: next})
	}
}

// Outstanding lists every command that s still waits for, in a fixed order: a new leader needs nothing else.
func (m *Machine) Outstanding(s *State) []Command {
	if s.Head.Status.Terminal() {
		return nil
	}
	var out []Command
	for n := range s.Tasks {
		d := &s.tasks[n]
		if m.mayStart(s, n) {
			for _, i := range d.queued.sorted() {
				out = append(out, Command{Kind: Want, Task: n, Instance: i})
			}
		}
		for _, i := range d.live.sorted() {
			out = append(out, m.command(s, n, i))
		}
	}
	if m.unfinished(s) {
		out = append(out, Command{Kind: Proceed})
	}
	if s.wake = m.nextWake(s); s.wake != 0 {
		out = append(out, Command{Kind: WakeAt, At: s.wake})
	}
	return out
}
