// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package ledger

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"
)

// enlist reads the document of a run, and of every run that an attempt in it names.
func (j *judge) enlist(id string, run *Run, expect Expect, within attempt) {
	j.members[id] = &member{run, expect, within}
	if run.Status != expect.Status {
		j.blame("the run%s ended %q (%s), want %q", instance{run: id}.where(), run.Status, run.Reason, expect.Status)
	}
	if want := max(expect.Generation, 1); run.Generation != want {
		j.blame("the run%s ended in generation %d, want %d", instance{run: id}.where(), run.Generation, want)
	}
	seen, starters := map[string]bool{}, map[string]attempt{}
	for _, t := range run.Tasks {
		seen[t.Name] = true
		if want, ok := expect.Tasks[t.Name]; !ok {
			j.blame("the document%s lists task %s, which nobody wrote", instance{run: id}.where(), t.Name)
		} else if t.Status != want {
			j.blame("task %s%s ended %q (%s), want %q", t.Name, instance{run: id}.where(), t.Status, t.Reason, want)
		}
		for _, in := range t.Instances {
			a := attempt{instance{run: id, task: t.Name}, 0}
			if in.Key != nil {
				a.key = *in.Key
			}
			for _, tried := range in.Attempts {
				a.number = tried.Number
				if _, doubled := j.tried[a]; doubled {
					j.blame("the document lists %s twice", a)
				}
				j.tried[a] = tried
				if tried.Child == "" {
					continue
				}
				// A retry by hand takes up the run of the attempt before; nobody else shares one.
				if other, taken := starters[tried.Child]; taken && other.instance != a.instance {
					j.blame("%s and %s have the same run %s", other, a, tried.Child)
				}
				starters[tried.Child] = a
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(expect.Tasks)) {
		if !seen[name] {
			j.blame("the document%s does not list task %s", instance{run: id}.where(), name)
		}
	}
	for _, child := range slices.Sorted(maps.Keys(starters)) {
		j.enlistChild(child, starters[child])
	}
}

func (j *judge) enlistChild(id string, within attempt) {
	parent := j.members[within.run]
	expected := parent.expect.Children[within.task]
	at := slices.IndexFunc(j.Children, func(r *Run) bool { return r.ID == id })
	switch {
	case len(expected) == 0:
		j.blame("%s started run %s, and nobody wrote that", within, id)
	case at < 0:
		if v := j.tried[within].Verdict; v == "succeeded" || v == "failed" {
			j.blame("%s %s, and its run %s is not in the store", within, v, id)
		}
	case j.members[id] != nil:
		j.blame("run %s was started by %s and by %s", id, j.members[id].within, within)
	default:
		child := j.Children[at]
		if child.Parent == nil || child.Parent.Run != parent.run.ID || !strings.HasPrefix(child.Parent.Attempt, parent.run.ID+"-") {
			j.blame("run %s, which %s started, says that its parent is %+v", id, within, child.Parent)
		}
		j.enlist(id, child, expected[min(within.number, len(expected))-1], within)
	}
}

// strays: every child run in the store is named by an attempt.
func (j *judge) strays() {
	for _, child := range j.Children {
		if j.members[child.ID] == nil {
			j.blame("run %s is in the store, and no attempt that should have one names it", child.ID)
		}
	}
}

// childEnd: the last attempt that started a run, or had it retried, ended as the run did.
func (j *judge) childEnd(a attempt, tried Tried) {
	m := j.members[tried.Child]
	switch {
	case tried.Child == "":
		j.blame("the document says that %s %s, and it names no run", a, tried.Verdict)
	case m == nil: // said already
	case m.within != a && tried.Verdict == "succeeded":
		j.blame("%s succeeded, and %s ran it again", a, m.within)
	case m.within == a && (tried.Verdict == "succeeded") != (m.run.Status == "succeeded"):
		j.blame("%s %s, and its run %s %s", a, tried.Verdict, tried.Child, m.run.Status)
	}
}

// called: a call that was answered was heard, and one that must not be repeated was heard once.
func (j *judge) called(a attempt, tried Tried, method string) {
	heard := len(j.calls[a])
	switch {
	case j.unknown(a, tried):
		if !j.expect.Severed {
			j.blame("%s ended %q, and nothing was taken from it", a, tried.Message)
		}
		if repeatable(method) {
			j.blame("%s ended %q, and a %s may be repeated", a, tried.Message, method)
		}
	case heard == 0:
		j.blame("the document says that %s %s, and nobody was called", a, tried.Verdict)
	}
	if heard > 1 && (!repeatable(method) || !j.expect.Severed) {
		j.blame("%s called %d times, lines %v, by %s", a, heard, places(j.calls[a]), method)
	}
}

// unknown reports whether an attempt is one that was not repeated because nobody knows how it ended.
func (j *judge) unknown(a attempt, tried Tried) bool {
	return j.members[a.run].expect.Calls[a.task] != "" && tried.Verdict == "failed" && strings.HasPrefix(tried.Message, "outcome unknown")
}

func repeatable(method string) bool { return method != "POST" && method != "PATCH" }

// keys: a key is that of one attempt, all calls of which carry it, and no call is of anybody else.
func (j *judge) keys() {
	keys, owners := map[attempt]string{}, map[string]attempt{}
	for i := range j.Lines {
		l := &j.Lines[i]
		a := j.attempt(l)
		if l.Event != Call || j.members[a.run] == nil {
			continue
		}
		if _, ok := j.tried[a]; !ok {
			j.blame("%s called, line %d, and is not in the document", a, i+1)
		}
		if want := j.members[a.run].expect.Calls[a.task]; want != l.Method {
			j.blame("%s called by %s, line %d, want %q", a, l.Method, i+1, want)
		}
		if key, ok := keys[a]; ok && key != l.Idempotency {
			j.blame("%s called with the key %q, line %d, after %q", a, l.Idempotency, i+1, key)
		}
		if owner, ok := owners[l.Idempotency]; ok && owner != a {
			j.blame("%s called with the key of %s, line %d", a, owner, i+1)
		}
		keys[a], owners[l.Idempotency] = l.Idempotency, a
	}
}

// span is where the lines of something begin and end.
type span struct{ first, last int }

func (s *span) take(line int) *span {
	if s == nil {
		return &span{line, line}
	}
	s.last = line
	return s
}

// place is a task of a run, or with no task the run.
type place struct{ run, task string }

// spans finds the lines of every task and every run. Those of a child run are also those of the task that started it.
func (j *judge) spans() map[place]*span {
	out := map[place]*span{}
	for i := range j.Lines {
		a := j.attempt(&j.Lines[i])
		for m := j.members[a.run]; m != nil; m = j.members[a.run] {
			for _, p := range []place{{a.run, a.task}, {a.run, ""}} {
				out[p] = out[p].take(i)
			}
			if a.run == "" {
				break
			}
			a = m.within
		}
	}
	return out
}

// order: no task begins before what it waits for has ended, in a child run or not.
func (j *judge) order() {
	spans := j.spans()
	for _, id := range slices.Sorted(maps.Keys(j.members)) {
		for _, task := range slices.Sorted(maps.Keys(j.members[id].expect.After)) {
			// Whether one without lines should have run is for others to say.
			if s := spans[place{id, task}]; s != nil {
				j.precede(spans, place{id, task}, task, 0)
			}
		}
	}
}

// precede holds a task against what comes before another one: itself, or a silent one between them, which took some time.
func (j *judge) precede(spans map[place]*span, of place, through string, took time.Duration) {
	e, begin := &j.members[of.run].expect, spans[of].first
	for _, before := range e.After[through] {
		s := spans[place{of.run, before}]
		switch {
		case slices.Contains(e.Silent, before):
			j.precede(spans, of, before, took+e.Takes[before])
		case s == nil && j.stopped(place{of.run, before}):
			j.precede(spans, of, before, took)
		case s == nil:
			j.blame("%s%s began, line %d, and %s has no line at all", of.task, instance{run: of.run}.where(), begin+1, before)
		case s.last > begin:
			j.blame("%s%s began, line %d, and its predecessor %s still wrote line %d", of.task, instance{run: of.run}.where(), begin+1, before, s.last+1)
		default:
			if passed := time.Duration(j.Lines[begin].At - j.Lines[s.last].At); passed < took && !j.expect.Stepped {
				j.blame("%s%s began, line %d, %s after %s, want at least %s between them", of.task, instance{run: of.run}.where(), begin+1, passed, before, took)
			}
		}
	}
}

// stopped reports whether a task was tried, and every attempt was stopped, or lost where that may be: maybe before its first
// line, as agreement allows.
func (j *judge) stopped(task place) bool {
	some := false
	for a, tried := range j.tried {
		if a.run == task.run && a.task == task.task {
			some = true
			if !mayBeUnseen(tried.Verdict) && (tried.Verdict != "lost" || !j.expect.Lost) {
				return false
			}
		}
	}
	return some
}

// mayBeUnseen is true of verdicts on attempts that may have been killed before their first line.
func mayBeUnseen(verdict string) bool { return verdict == "timed_out" || verdict == "cancelled" }

// successors: of the runs that one instance starts one after the other, none begins before the one before has ended.
func (j *judge) successors() {
	spans, started := j.spans(), map[instance][]string{}
	for id, m := range j.members {
		if id != "" && spans[place{id, ""}] != nil {
			started[m.within.instance] = append(started[m.within.instance], id)
		}
	}
	for _, in := range sortedBy(started, instance.String) {
		runs := started[in]
		slices.SortFunc(runs, func(a, b string) int { return cmp.Compare(j.members[a].within.number, j.members[b].within.number) })
		for n := 1; n < len(runs); n++ {
			if before, s := spans[place{runs[n-1], ""}], spans[place{runs[n], ""}]; s.first < before.last {
				j.blame("run %s of %s began, line %d, and run %s before it still wrote line %d", runs[n], in, s.first+1, runs[n-1], before.last+1)
			}
		}
	}
}

// afterlife: nothing happens after the moment at which the run is said to have ended, and no run goes on after the one that
// started it.
func (j *judge) afterlife() {
	for _, id := range slices.Sorted(maps.Keys(j.members)) {
		if j.members[id].run.EndedAt.IsZero() {
			j.blame("the document%s does not say when the run ended", instance{run: id}.where())
			return
		}
	}
	for i := range j.Lines {
		a := j.attempt(&j.Lines[i])
		at := time.Unix(0, j.Lines[i].At)
		for run := a.run; j.members[run] != nil; run = j.members[run].within.run {
			if end := j.members[run].run.EndedAt; at.After(end) && !j.expect.Stepped {
				j.blame("%s wrote line %d %s after the end of the run%s", a, i+1, at.Sub(end), instance{run: run}.where())
			}
			if run == "" {
				break
			}
		}
	}
}
