// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package sim

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workflow"
)

// epoch0 is where virtual time begins; any moment far from 0 will do.
const epoch0 = workflow.Time(1_700_000_000_000_000_000)

// world is everything around the engine for one run. All of it happens on one virtual clock, in one goroutine.
type world struct {
	seed    uint64
	r       *rand.Rand
	faults  Faults
	profile profile
	def     *workflow.Definition
	graph   *workflow.Graph
	eval    *evaluator
	machine *engine.Machine
	input   engine.Input

	now    workflow.Time
	queue  eventQueue
	seq    int
	limit  int // of events
	steps  int // engine steps of all leaders
	events int // events of the world
	calm   bool

	store    *store
	executor *executor
	leader   *leader   // the newest; nil between a crash and the takeover
	zombies  []*leader // deposed ones that do not know yet
	maxAt    workflow.Time
	history  []journalEntry // committed events, oldest first
	undone   bool           // a rollback has happened
	undoneAt workflow.Time  // the newest moment of the history that it undid
	fences   map[place]int64
	flying   map[workflow.AttemptID]int // starts and kills on their way
	scopes   map[scopeKey]workflow.Scope
	resets   map[int]*resetWant                      // what retries had to reset, by generation, as saved
	verdicts map[workflow.AttemptID]workflow.Verdict // every one that was ever seen saved
	bodies   map[workflow.AttemptID]string           // of child runs
	slow     time.Duration                           // how long the run waits for its Begin
	fragile  int                                     // how many leaders may still die while they take up a retry
	revivals int                                     // how often a run that was over is still to be taken up again

	stats   *Stats
	verbose bool
	lines   []string
}

// journalEntry is an event whose effect is saved, with the run's status before it.
type journalEntry struct {
	event      engine.Event
	before     workflow.RunStatus
	ending     engine.Ending // before it
	generation int           // before it
	begun      bool          // before it
	// open says whether the task that a CancelTask names was terminal before it.
	open bool
}

type happening struct {
	at  workflow.Time
	seq int
	do  func()
}

type eventQueue []happening

func (q eventQueue) Len() int { return len(q) }
func (q eventQueue) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].seq < q[j].seq
}
func (q eventQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *eventQueue) Push(x any)   { *q = append(*q, x.(happening)) }
func (q *eventQueue) Pop() any {
	old := *q
	x := old[len(old)-1]
	old[len(old)-1] = happening{}
	*q = old[:len(old)-1]
	return x
}

// after runs do once d has passed.
func (w *world) after(d time.Duration, do func()) {
	w.seq++
	heap.Push(&w.queue, happening{at: w.now.Add(max(d, 0)), seq: w.seq, do: do})
}

func (w *world) chance(p float64) bool { return p > 0 && w.r.Float64() < p }

// between draws a duration, short ones more often.
func (w *world) between(low, high time.Duration) time.Duration {
	f := w.r.Float64()
	return low + time.Duration(f*f*float64(high-low))
}

// violation is how a broken promise travels up to Run.
type violation struct{ text string }

func (w *world) fail(format string, args ...any) {
	panic(violation{fmt.Sprintf(format, args...)})
}

func (w *world) logf(format string, args ...any) {
	if !w.verbose {
		return
	}
	w.lines = append(w.lines, fmt.Sprintf("%9.3fs  ", float64(w.now-epoch0)/1e9)+fmt.Sprintf(format, args...))
}

// Bounds of liveness. The slowest honest run waits for a handful of hours: five tries with waits of 5 minutes each for a
// chain of tasks, and an hour for every hanging finally task.
const (
	maxVirtual = 14 * 24 * time.Hour
	maxEvents  = 1_000_000
)

// run lets the world turn until the run has ended and nothing is in flight any more.
func (w *world) run() {
	w.takeover()
	if w.faults.Verbs && w.chance(0.04) { // the run waits for its turn, and may be skipped meanwhile
		w.slow = time.Minute
	}
	w.after(w.slow/2, func() { w.deliver(engine.Event{Kind: engine.Begin}) })
	w.planFaults()
	w.planVerbs()
	w.after(relistEvery, w.relist)
	for len(w.queue) > 0 {
		x := heap.Pop(&w.queue).(happening)
		if x.at > w.now {
			w.now = x.at
		}
		if w.events++; w.events > w.limit {
			w.fail("liveness: the world did not come to rest within %d events; %s", w.limit, w.situation())
		}
		if w.now > epoch0.Add(maxVirtual) {
			w.fail("liveness: the run did not end within %s; %s", maxVirtual, w.situation())
		}
		x.do()
		if w.over() && !w.revive() {
			break
		}
	}
	if !w.over() {
		w.fail("liveness: nothing is left to happen and the run has not ended; %s", w.situation())
	}
	w.aftermath()
}

// over reports whether the run has ended for good: its end is saved, the living leader knows, and no fault is to come.
func (w *world) over() bool {
	return w.calm && w.leader != nil && w.leader.state.Head.Status.Terminal() && len(w.leader.inbox) == 0
}

// revive takes a run up again that is over, a few times: by hand, then by Begin.
func (w *world) revive() bool {
	if w.revivals == 0 || w.undone && w.chance(0.5) {
		return false
	}
	w.revivals--
	s := w.leader.state
	for range w.r.IntN(3) {
		w.use(w.drawVerb([]engine.EventKind{engine.SkipTask, engine.SucceedTask}[w.r.IntN(2)]))
	}
	e := w.drawVerb(engine.Retry)
	if w.chance(0.35) {
		e = w.drawVerb(engine.RetryTask)
	}
	if w.chance(0.3) {
		e.Generation = s.Head.Generation + 1
	}
	w.stats.hit("run taken up when it was over")
	w.use(e)
	if w.chance(0.3) {
		w.use(e)
	}
	return true
}

// aftermath lets everything that is still under way arrive: nothing may start any more.
func (w *world) aftermath() {
	w.checkQuiet("when the run ended")
	until := w.now.Add(time.Hour)
	for len(w.queue) > 0 && w.queue[0].at < until {
		x := heap.Pop(&w.queue).(happening)
		w.now = x.at
		if w.events++; w.events > 2*w.limit {
			w.fail("liveness: the world did not come to rest after the end")
		}
		x.do()
	}
	w.checkQuiet("an hour after the run ended")
	w.checkVerdicts(w.leader.state)
	w.judgeEnd(w.leader.state)
	w.rerun(w.leader.state)
}

// checkQuiet holds that a run that is over runs nothing.
func (w *world) checkQuiet(when string) {
	for _, j := range w.executor.order {
		if j.phase == jobRunning && !j.orphan {
			w.fail("%s runs %s", j.id, when)
		}
	}
}

// situation describes where a run stands, for a liveness failure.
func (w *world) situation() string {
	if w.leader == nil {
		return "there is no leader"
	}
	s := w.leader.state
	var b strings.Builder
	fmt.Fprintf(&b, "run %s %s ending=%q; out: %s; open:", s.Head.Status, s.Head.Reason, s.Head.Ending, w.leader.out)
	n := 0
	for i, t := range s.Tasks {
		if t.Status.Terminal() {
			continue
		}
		if n++; n > 8 {
			b.WriteString(" …")
			break
		}
		fmt.Fprintf(&b, " %s(%s %s)=%s", w.def.Tasks[i].Name, w.def.Tasks[i].Kind, w.def.Tasks[i].TriggerRule, t.Status)
	}
	return b.String()
}
