// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package engine

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/cairnflow/cairn/internal/workflow"
)

// Misfit: a verb does not fit the state that something is in. Its text says which state that is and what would fit.
type Misfit struct{ Text string }

func (e *Misfit) Error() string { return e.Text }

func misfit(format string, args ...any) error { return &Misfit{fmt.Sprintf(format, args...)} }

// word is how people say a verb.
func (k EventKind) word() string {
	switch k {
	case CancelTask:
		return "cancel"
	case RetryTask:
		return "task retry"
	case SkipTask:
		return "task skip"
	case SucceedTask:
		return "task succeed"
	case SkipRun:
		return "skip"
	case WorkerLost:
		return "loss of a worker for"
	}
	return string(k)
}

// revives reports whether a verb is heard by a run that is over.
func (k EventKind) revives() bool {
	return k == Retry || k == RetryTask || k == SkipTask || k == SucceedTask
}

// runRule says when a verb on a run fits. done are the statuses in which it has been done already.
type runRule struct{ fits, done []workflow.RunStatus }

var runRules = map[EventKind]runRule{
	Stop: {
		fits: []workflow.RunStatus{workflow.RunQueued, workflow.RunRunning, workflow.RunPausing, workflow.RunPaused},
		done: []workflow.RunStatus{workflow.RunStopping, workflow.RunCancelled},
	},
	Terminate: {
		fits: []workflow.RunStatus{
			workflow.RunQueued, workflow.RunRunning, workflow.RunPausing, workflow.RunPaused, workflow.RunStopping,
		},
		done: []workflow.RunStatus{workflow.RunCancelled},
	},
	Pause: {
		fits: []workflow.RunStatus{workflow.RunRunning},
		done: []workflow.RunStatus{workflow.RunPausing, workflow.RunPaused},
	},
	Resume: {
		fits: []workflow.RunStatus{workflow.RunPausing, workflow.RunPaused},
		done: []workflow.RunStatus{workflow.RunRunning},
	},
	Retry:   {fits: []workflow.RunStatus{workflow.RunFailed, workflow.RunCancelled, workflow.RunSkipped}},
	SkipRun: {fits: []workflow.RunStatus{workflow.RunQueued}, done: []workflow.RunStatus{workflow.RunSkipped}},
}

// Fits reports whether a verb would change anything; false means that what it asks for is done already. It returns a
// *Misfit for a verb that does not fit. Step drops what Fits does not let through.
func (m *Machine) Fits(s *State, e Event) (due bool, err error) {
	if rule, ok := runRules[e.Kind]; ok {
		return m.fitsRun(s, e, rule)
	}
	switch e.Kind {
	case WorkerLost:
		return m.fitsWorkerLost(s, e)
	case CancelTask, RetryTask, SkipTask, SucceedTask, Approve, Reject:
	default:
		return false, misfit("%s is no verb", e.Kind)
	}
	tg, err := m.target(s, e)
	if err != nil {
		return false, err
	}
	switch e.Kind {
	case CancelTask:
		return m.fitsCancel(s, tg)
	case RetryTask:
		return m.fitsRetryTask(s, e, tg)
	case Approve, Reject:
		return m.fitsApproval(s, e, tg)
	}
	return m.fitsByHand(s, e, tg)
}

func (m *Machine) fitsRun(s *State, e Event, rule runRule) (due bool, err error) {
	h := &s.Head
	status := h.Status
	if h.Ending == EndingSkip {
		status = workflow.RunSkipped // in all but the tasks that are still to be told
	}
	switch {
	case e.Kind == Retry && e.Generation != 0 && h.Generation >= e.Generation:
		return false, nil
	case e.Kind == Terminate && h.Terminated, slices.Contains(rule.done, status):
		return false, nil
	case !slices.Contains(rule.fits, status):
		return false, misfit("run %s is %s; %s is for runs that are %s", s.Input.Run, status, e.Kind.word(), either(rule.fits))
	case e.Kind == SkipRun && h.Generation > 1:
		return false, misfit("run %s has begun before and waits to go on; skip is for runs that never began", s.Input.Run)
	}
	return true, nil
}

// target is what a verb on a task is about.
type target struct {
	n, i   int // i is -1 for a whole task, and for the one instance of a plain task
	what   string
	status workflow.Status
}

func (m *Machine) target(s *State, e Event) (target, error) {
	tg := target{n: e.Task, i: e.Instance}
	if tg.n < 0 || tg.n >= len(s.Tasks) {
		return tg, misfit("the workflow has no task number %d", tg.n)
	}
	task := &m.def.Tasks[tg.n]
	tg.what, tg.status = "task "+task.Name, s.Tasks[tg.n].Status
	if tg.i < 0 || task.Shape() == workflow.ShapePlain && tg.i == 0 {
		tg.i = -1
		return tg, nil
	}
	if _, seen := s.position(tg.n, tg.i); !seen || !s.Tasks[tg.n].Expanded {
		return tg, misfit("%s is %s and has no instance number %d", tg.what, tg.status, tg.i)
	}
	tg.what = fmt.Sprintf("instance %q of %s", m.Key(s, tg.n, tg.i), tg.what)
	tg.status = m.InstanceStatus(s, tg.n, tg.i)
	return tg, nil
}

// record is the instance that a target names, when it has one of its own.
func (s *State) record(tg target) *Instance {
	if i := max(tg.i, 0); i < len(s.Instances[tg.n]) {
		return s.Instances[tg.n][i]
	}
	return nil
}

func (tg *target) unfit(k EventKind, fits []workflow.Status) error {
	return misfit("%s is %s; %s is for what is %s", tg.what, tg.status, k.word(), either(fits))
}

// cancellable are the statuses in which a task or an instance can be cancelled.
var cancellable = []workflow.Status{workflow.Queued, workflow.Waiting, workflow.Starting, workflow.Running}

func (m *Machine) fitsCancel(s *State, tg target) (due bool, err error) {
	switch {
	case tg.status == workflow.Cancelled:
		return false, nil
	case !slices.Contains(cancellable, tg.status):
		return false, tg.unfit(CancelTask, cancellable)
	case tg.i < 0:
		return s.Tasks[tg.n].Cancelling != CancelByHand, nil
	}
	in := s.record(tg)
	return in.Current == nil || in.Current.Kill != workflow.VerdictCancelled, nil
}

// fitsApproval holds who may decide what, and once.
func (m *Machine) fitsApproval(s *State, e Event, tg target) (due bool, err error) {
	task := &m.def.Tasks[tg.n]
	if task.BodyKind != workflow.BodyApproval {
		return false, misfit("%s is no approval; %s is for approvals that are waiting", tg.what, e.Kind)
	}
	if tg.i < 0 && task.Shape() != workflow.ShapePlain {
		return false, misfit("%s is fanned out; say which instance is meant", tg.what)
	}
	in := s.record(tg)
	if in != nil && in.Status.Terminal() && m.attempted(s, tg.n, max(tg.i, 0)) {
		verdict := in.Past[len(in.Past)-1].Verdict
		switch {
		case verdict == workflow.VerdictSucceeded && e.Kind == Approve, verdict == workflow.VerdictFailed && e.Kind == Reject:
			return false, nil
		case verdict == workflow.VerdictSucceeded, verdict == workflow.VerdictFailed:
			return false, misfit("%s is decided (%s); %s is for approvals that are waiting",
				tg.what, in.Past[len(in.Past)-1].Message, e.Kind)
		}
	}
	if in == nil || in.Status != workflow.Waiting || in.Current == nil {
		return false, misfit("%s is %s; %s is for approvals that are waiting", tg.what, tg.status, e.Kind)
	}
	if c := m.scopeOf(s, tg.n); c.attempted != "" {
		return false, misfit("%s is being ended (%s); %s is for approvals that are waiting", tg.what, c.why, e.Kind)
	}
	if err := m.mayDecide(tg, in, e); err != nil {
		return false, err
	}
	if e.Kind == Approve {
		if _, err := m.inputs(s, tg.n, e.Values); err != nil {
			return false, &Misfit{err.Error()}
		}
	}
	return true, nil
}

// mayDecide holds the approvers of an approval that waits.
func (m *Machine) mayDecide(tg target, in *Instance, e Event) error {
	if a := in.Current.Approvers; len(a) > 0 && !slices.Contains(a, e.By) {
		return misfit("%s waits for %s; %s may not decide it", tg.what, either(a), cmp.Or(e.By, "nobody in particular"))
	}
	return nil
}

func either[S ~string](names []S) string {
	out := string(names[0])
	for i, name := range names[1:] {
		if i == len(names)-2 {
			out += " or " + string(name)
		} else {
			out += ", " + string(name)
		}
	}
	return out
}

// verb does what a verb asks for, if it fits.
func (t *turn) verb() {
	if due, err := t.m.Fits(t.s, t.e); err != nil || !due {
		return
	}
	t.record()
	switch t.e.Kind {
	case Stop, Terminate:
		t.stop(t.e.Kind == Terminate)
	case Pause:
		t.s.Head.Pauses++
		t.s.idle = 0
		t.changeStatus(workflow.RunPausing)
	case Resume:
		t.changeStatus(workflow.RunRunning)
		t.lookAtAll()
	case Retry:
		t.retry()
	case SkipRun:
		t.skipRun()
	case CancelTask:
		t.cancelTask()
	case RetryTask:
		t.retryTask()
	case SkipTask, SucceedTask:
		t.byHand()
	case Approve, Reject:
		t.decide()
	}
}

// verbsKept is how many of the newest verbs a run's head keeps; the audit has all of them.
const verbsKept = 20

// record notes a verb that somebody used.
func (t *turn) record() {
	h := &t.s.Head
	v := Verb{At: t.at, Kind: t.e.Kind, By: t.e.By, Reason: t.e.Reason}
	if _, ok := runRules[t.e.Kind]; !ok {
		v.Task = t.m.def.Tasks[t.e.Task].Name
		if t.e.Instance >= 0 {
			v.Key = t.m.Key(t.s, t.e.Task, t.e.Instance)
		}
	}
	h.Verbs = append(h.Verbs, v)
	if len(h.Verbs) > verbsKept {
		h.Verbs = h.Verbs[len(h.Verbs)-verbsKept:]
	}
	t.s.dirty.markHead()
}

// who is a sentence about a verb: what was done, by whom, and why.
func (t *turn) who(done string) string {
	if t.e.By != "" {
		done += " by " + t.e.By
	}
	if t.e.Reason != "" {
		done += ": " + t.e.Reason
	}
	return done
}

// stop is the verbs stop and terminate. A run that never began, or not again, has no finally.
func (t *turn) stop(terminate bool) {
	h := &t.s.Head
	why := t.who("stopped")
	if terminate {
		why = t.who("terminated")
	}
	if h.Status == workflow.RunQueued {
		terminate = true
	}
	t.dooming(func() {
		if terminate {
			t.regate(func() { h.Terminated = true })
		}
		if h.Ending == EndingStop {
			h.Reason = why
		}
		if EndingStop.outranks(h.Ending) {
			h.Ending, h.Reason = EndingStop, why
			t.changeStatus(workflow.RunStopping)
		}
	})
}

// skipRun ends a run that never began.
func (t *turn) skipRun() {
	h := &t.s.Head
	h.Ending, h.Reason = EndingSkip, cmp.Or(t.e.Reason, "its workflow has enough runs already")
	t.lookAtAll()
}

// cancelTask is the verb on a task or one of its instances.
func (t *turn) cancelTask() {
	m, s, n := t.m, t.s, t.e.Task
	ts := s.Tasks[n]
	ts.ByHand = true
	s.dirty.task(n)
	if t.e.Instance < 0 || m.def.Tasks[n].Shape() == workflow.ShapePlain {
		before := t.doomed()
		ts.Cancelling = CancelByHand
		t.killNewly(before)
		s.work.add(n)
		return
	}
	i := t.e.Instance
	in := s.Instances[n][i]
	if in.Current == nil {
		t.settleInstance(n, i, workflow.Cancelled, "cancelled by hand")
		return
	}
	if verdict, _ := m.doom(s, n, in); verdict != "" && !m.def.Tasks[n].BodyKind.Engine() {
		in.Current.Kill, in.Current.KillWhy = workflow.VerdictCancelled, "cancelled by hand"
		s.dirty.instance(n, i)
		return
	}
	t.kill(n, i, workflow.VerdictCancelled, "cancelled by hand")
}

// decide is the verbs approve and reject.
func (t *turn) decide() {
	m, n, i := t.m, t.e.Task, max(t.e.Instance, 0)
	if t.e.Kind == Reject {
		t.reject(n, i, t.who("rejected"))
		return
	}
	outputs, err := m.inputs(t.s, n, t.e.Values)
	if err != nil {
		return // Fits has said so
	}
	for _, o := range m.def.Tasks[n].Outputs {
		text, ok := map[string]string{outputBy: t.e.By, outputComment: t.e.Reason}[o.Name]
		if !ok {
			continue
		}
		if outputs == nil {
			outputs = map[string]workflow.Value{}
		}
		outputs[o.Name] = workflow.Text(text, o.Sensitive)
	}
	t.approve(n, i, t.who("approved"), outputs)
}
