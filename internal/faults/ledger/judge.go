// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package ledger

import (
	"fmt"
	"maps"
	"slices"
)

// Evidence is what there is of a run.
type Evidence struct {
	Lines    []Line
	Run      *Run
	Children []*Run // every child run that the store holds, whoever started it
}

// Judge holds a ledger of one run against its document and those of its child runs, and returns what is wrong, nothing when
// all is well.
func Judge(e Evidence, expect Expect) []string {
	j := &judge{
		Evidence: e, expect: expect, members: map[string]*member{},
		begins: map[attempt][]int{}, ends: map[attempt][]int{}, calls: map[attempt][]int{}, tried: map[attempt]Tried{},
	}
	j.enlist("", e.Run, expect, attempt{})
	j.strays()
	j.readLines()
	j.once()
	j.overlaps()
	j.fences()
	j.agreement()
	j.keys()
	j.numbers()
	j.order()
	j.successors()
	j.afterlife()
	return j.wrong
}

type judge struct {
	Evidence
	expect  Expect
	members map[string]*member // by run as in instance

	begins, ends, calls map[attempt][]int // to indices of lines
	tried               map[attempt]Tried
	wrong               []string
}

// member is one run of the family.
type member struct {
	run    *Run
	expect Expect
	within attempt // that started it, and was the last to; zero for the run that is judged
}

func (j *judge) blame(format string, args ...any) {
	j.wrong = append(j.wrong, fmt.Sprintf(format, args...))
}

// attempt is the attempt of a line.
func (j *judge) attempt(l *Line) attempt {
	run := l.Run
	if run == j.Run.ID {
		run = ""
	}
	return attempt{instance{run, l.Task, l.Key}, l.Attempt}
}

func (j *judge) readLines() {
	for i := range j.Lines {
		a := j.attempt(&j.Lines[i])
		if j.members[a.run] == nil {
			j.blame("line %d is of run %s, which no document names", i+1, j.Lines[i].Run)
			continue
		}
		switch j.Lines[i].Event {
		case Begin:
			j.begins[a] = append(j.begins[a], i)
		case End:
			j.ends[a] = append(j.ends[a], i)
		case Call:
			j.calls[a] = append(j.calls[a], i)
		}
	}
}

// once: no attempt begins or ends twice, and none ends that has not begun.
func (j *judge) once() {
	for _, a := range sorted(j.begins) {
		if n := len(j.begins[a]); n > 1 {
			j.blame("%s began %d times, lines %v", a, n, places(j.begins[a]))
		}
	}
	for _, a := range sorted(j.ends) {
		if n := len(j.ends[a]); n > 1 {
			j.blame("%s ended %d times, lines %v", a, n, places(j.ends[a]))
		}
		if begins := j.begins[a]; len(begins) == 0 || begins[0] > j.ends[a][0] {
			j.blame("%s ended, line %d, without having begun", a, j.ends[a][0]+1)
		} else if b, e := j.Lines[begins[0]], j.Lines[j.ends[a][0]]; b.PID != e.PID || b.Fence != e.Fence {
			j.blame("%s began as process %d under fence %d and ended as process %d under fence %d", a, b.PID, b.Fence, e.PID, e.Fence)
		}
	}
}

// overlaps: no two attempts of an instance run at the same time, by the order of their lines and by the instance's lock.
func (j *judge) overlaps() {
	open := map[instance]attempt{}
	for i := range j.Lines {
		a := j.attempt(&j.Lines[i])
		switch {
		case j.Lines[i].Event == Call:
			continue
		case j.Lines[i].Event == End:
			if open[a.instance] == a {
				delete(open, a.instance)
			}
			continue
		case j.Lines[i].Overlap:
			j.blame("%s began, line %d, while another process of its instance was alive", a, i+1)
		}
		// One that never wrote an end was killed; whether in time, the lock tells.
		if before, ok := open[a.instance]; ok && before != a && len(j.ends[before]) > 0 {
			j.blame("%s began, line %d, before %s had ended, line %d", a, i+1, before, j.ends[before][0]+1)
		}
		open[a.instance] = a
	}
}

// fences: each attempt of an instance has a larger fence than those before it, and a larger number.
func (j *judge) fences() {
	last := map[instance]*Line{}
	for i := range j.Lines {
		l := &j.Lines[i]
		if l.Event != Begin {
			continue
		}
		a := j.attempt(l)
		if before := last[a.instance]; before != nil {
			if l.Fence <= before.Fence {
				j.blame("%s began, line %d, under fence %d after one under %d", a, i+1, l.Fence, before.Fence)
			}
			if l.Attempt <= before.Attempt {
				j.blame("%s began, line %d, after attempt %d", a, i+1, before.Attempt)
			}
		}
		last[a.instance] = l
	}
}

// quiet reports whether a task writes no lines of its own.
func (j *judge) quiet(a attempt) bool {
	e := &j.members[a.run].expect
	return slices.Contains(e.Silent, a.task) || e.Calls[a.task] != "" || e.Children[a.task] != nil
}

// agreement: document and ledger tell the same of every attempt.
func (j *judge) agreement() {
	for _, a := range sorted(j.tried) {
		tried, e := j.tried[a], &j.members[a.run].expect
		switch verdict := tried.Verdict; {
		case verdict == "succeeded" || verdict == "failed":
			switch {
			case slices.Contains(e.Silent, a.task):
			case e.Calls[a.task] != "":
				j.called(a, tried, e.Calls[a.task])
			case e.Children[a.task] != nil:
				j.childEnd(a, tried)
			default:
				j.ownEnd(a, tried)
			}
		case mayBeUnseen(verdict): // or it has written its last line
		case verdict == "lost":
			if !j.expect.Lost || j.quiet(a) {
				j.blame("%s was lost (%s), and nothing was taken from it", a, tried.Message)
			}
		case verdict == "":
			j.blame("the run has ended, and %s has no verdict", a)
		default:
			j.blame("%s ended %q (%s): nothing here could cause that; lines %v and %v", a, tried.Verdict, tried.Message, places(j.begins[a]), places(j.ends[a]))
		}
	}
	for _, a := range sorted(j.begins) {
		if _, ok := j.tried[a]; !ok {
			j.blame("%s ran, line %d, and is not in the document", a, j.begins[a][0]+1)
		} else if j.quiet(a) {
			j.blame("%s ran, line %d, and should not have", a, j.begins[a][0]+1)
		}
	}
}

// ownEnd: an attempt that ended by itself has both lines, and the exit code that the document says.
func (j *judge) ownEnd(a attempt, tried Tried) {
	begins, ends := j.begins[a], j.ends[a]
	if len(begins) == 0 {
		j.blame("the document says that %s %s, and it never began", a, tried.Verdict)
		return
	}
	if tried.Signal != 0 {
		if len(ends) > 0 {
			j.blame("the document says that %s died of signal %d, and it ended by itself, line %d", a, tried.Signal, ends[0]+1)
		}
		return
	}
	if len(ends) == 0 {
		j.blame("the document says that %s %s, and it never ended", a, tried.Verdict)
		return
	}
	exit := j.Lines[ends[0]].Exit
	if tried.ExitCode == nil || *tried.ExitCode != exit {
		j.blame("%s exited with code %d, the document says %s", a, exit, code(tried.ExitCode))
	}
	if tried.Verdict == "succeeded" && exit != 0 {
		j.blame("%s exited with code %d and is called succeeded", a, exit)
	}
}

// numbers: attempts count from 1 without a gap, and there are as many as there should be.
func (j *judge) numbers() {
	all, excused := map[instance][]int{}, map[instance]int{}
	for a, tried := range j.tried {
		all[a.instance] = append(all[a.instance], a.number)
		// A failure that passes has had its effect on the attempts after it even if it was lost before anybody was told. One
		// that comes again has none.
		ends := j.ends[a]
		told := len(ends) > 0 && j.Lines[ends[0]].Exit == Passing
		if tried.Verdict == "lost" && !told || j.unknown(a, tried) {
			excused[a.instance]++
		}
	}
	for _, in := range sortedBy(all, instance.String) {
		slices.Sort(all[in])
		if n := len(all[in]); all[in][0] != 1 || all[in][n-1] != n {
			j.blame("the attempts of %s are %v", in, all[in])
		}
		tries := j.members[in.run].expect.Tries
		want, single := tries[in.name()]
		if !single {
			want = tries[in.task]
		}
		if got := len(all[in]) - excused[in]; got != max(want, 1) {
			j.blame("%s has %d attempts that ended, want %d", in, got, max(want, 1))
		}
	}
}

func code(c *int) string {
	if c == nil {
		return "nothing of it"
	}
	return fmt.Sprint(*c)
}

// places counts lines from 1.
func places(indices []int) []int {
	out := make([]int, len(indices))
	for i, n := range indices {
		out[i] = n + 1
	}
	return out
}

func sorted[V any](m map[attempt]V) []attempt { return sortedBy(m, attempt.String) }

func sortedBy[K comparable, V any](m map[K]V, name func(K) string) []K {
	return slices.SortedFunc(maps.Keys(m), func(a, b K) int {
		if name(a) < name(b) {
			return -1
		}
		return 1
	})
}
