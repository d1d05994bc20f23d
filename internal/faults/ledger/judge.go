// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package ledger

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Run is what the judge reads of a run document, as `cairn run -json` prints it.
type Run struct {
	ID      string    `json:"id"`
	Status  string    `json:"status"`
	Reason  string    `json:"reason"`
	EndedAt time.Time `json:"ended_at"`
	Tasks   []struct {
		Name      string `json:"name"`
		Status    string `json:"status"`
		Reason    string `json:"reason"`
		Instances []struct {
			Key      *string `json:"key"`
			Status   string  `json:"status"`
			Reason   string  `json:"reason"`
			Attempts []Tried `json:"attempts"`
		} `json:"instances"`
	} `json:"tasks"`
}

// Tried is an attempt in a run document.
type Tried struct {
	Number   int    `json:"number"`
	Verdict  string `json:"verdict"`
	ExitCode *int   `json:"exit_code"`
	Signal   int    `json:"signal"`
	Message  string `json:"message"`
}

// ParseRun reads a run document.
func ParseRun(b []byte) (*Run, error) {
	var r Run
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, fmt.Errorf("read the run document: %w", err)
	}
	if r.ID == "" {
		return nil, fmt.Errorf("read the run document: it names no run: %.200q", b)
	}
	return &r, nil
}

// Expect is what is known of a run beforehand.
type Expect struct {
	Status string              // how the run ends
	Tasks  map[string]string   // task to its final status: all tasks of the workflow
	After  map[string][]string // task to the tasks whose last end comes before its first begin
	// Tries is how many attempts a task's instances have that ended by themselves, whoever was told; one that is not listed
	// has one.
	Tries map[string]int
	// Lost says that attempts may be lost; such an attempt appears at most once, and another one follows.
	Lost bool
	// Silent lists tasks that write no ledger: joins, and those whose rule is not met.
	Silent []string
}

// Judge holds a ledger of one run against its document and returns what is wrong, nothing when all is well.
func Judge(lines []Line, run *Run, expect Expect) []string {
	j := &judge{lines: lines, run: run, expect: expect, begins: map[attempt][]int{}, ends: map[attempt][]int{}, tried: map[attempt]Tried{}}
	j.readLines()
	j.readDocument()
	j.once()
	j.overlaps()
	j.fences()
	j.agreement()
	j.numbers()
	j.order()
	j.afterlife()
	return j.wrong
}

type judge struct {
	lines  []Line
	run    *Run
	expect Expect

	begins, ends map[attempt][]int // to indices of lines
	tried        map[attempt]Tried
	wrong        []string
}

func (j *judge) blame(format string, args ...any) {
	j.wrong = append(j.wrong, fmt.Sprintf(format, args...))
}

func (j *judge) readLines() {
	for i, l := range j.lines {
		if l.Run != j.run.ID {
			j.blame("line %d is of run %s, the document of %s", i+1, l.Run, j.run.ID)
			continue
		}
		if l.Event == Begin {
			j.begins[l.attempt()] = append(j.begins[l.attempt()], i)
		} else {
			j.ends[l.attempt()] = append(j.ends[l.attempt()], i)
		}
	}
}

func (j *judge) readDocument() {
	if j.run.Status != j.expect.Status {
		j.blame("the run ended %q (%s), want %q", j.run.Status, j.run.Reason, j.expect.Status)
	}
	seen := map[string]bool{}
	for _, t := range j.run.Tasks {
		seen[t.Name] = true
		if want, ok := j.expect.Tasks[t.Name]; !ok {
			j.blame("the document lists task %s, which nobody wrote", t.Name)
		} else if t.Status != want {
			j.blame("task %s ended %q (%s), want %q", t.Name, t.Status, t.Reason, want)
		}
		for _, in := range t.Instances {
			a := attempt{instance{run: j.run.ID, task: t.Name}, 0}
			if in.Key != nil {
				a.key = *in.Key
			}
			for _, tried := range in.Attempts {
				a.number = tried.Number
				if _, doubled := j.tried[a]; doubled {
					j.blame("the document lists %s twice", a)
				}
				j.tried[a] = tried
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(j.expect.Tasks)) {
		if !seen[name] {
			j.blame("the document does not list task %s", name)
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
		} else if b, e := j.lines[begins[0]], j.lines[j.ends[a][0]]; b.PID != e.PID || b.Fence != e.Fence {
			j.blame("%s began as process %d under fence %d and ended as process %d under fence %d", a, b.PID, b.Fence, e.PID, e.Fence)
		}
	}
}

// overlaps: no two attempts of an instance run at the same time, by the order of their lines and by the instance's lock.
func (j *judge) overlaps() {
	open := map[instance]attempt{}
	for i := range j.lines {
		a := j.lines[i].attempt()
		switch {
		case j.lines[i].Event == End:
			if open[a.instance] == a {
				delete(open, a.instance)
			}
			continue
		case j.lines[i].Overlap:
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
	last := map[instance]Line{}
	for i, l := range j.lines {
		a := l.attempt()
		if before, ok := last[a.instance]; ok && l.Event == Begin {
			if l.Fence <= before.Fence {
				j.blame("%s began, line %d, under fence %d after one under %d", a, i+1, l.Fence, before.Fence)
			}
			if l.Attempt <= before.Attempt {
				j.blame("%s began, line %d, after attempt %d", a, i+1, before.Attempt)
			}
		}
		if l.Event == Begin {
			last[a.instance] = l
		}
	}
}

// agreement: document and ledger tell the same of every attempt.
func (j *judge) agreement() {
	silent := func(a attempt) bool { return slices.Contains(j.expect.Silent, a.task) }
	for _, a := range sorted(j.tried) {
		tried, begins, ends := j.tried[a], j.begins[a], j.ends[a]
		if silent(a) {
			continue
		}
		switch tried.Verdict {
		case "succeeded", "failed":
			j.ownEnd(a, tried)
		case "timed_out", "cancelled":
			// It may have been killed before its first line, or have written its last one.
		case "lost":
			if !j.expect.Lost {
				j.blame("%s was lost (%s), and nothing was taken from it", a, tried.Message)
			}
		case "":
			j.blame("the run has ended, and %s has no verdict", a)
		default:
			j.blame("%s ended %q (%s): nothing here could cause that; lines %v and %v", a, tried.Verdict, tried.Message, places(begins), places(ends))
		}
	}
	for _, a := range sorted(j.begins) {
		if _, ok := j.tried[a]; !ok {
			j.blame("%s ran, line %d, and is not in the document", a, j.begins[a][0]+1)
		} else if silent(a) {
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
	exit := j.lines[ends[0]].Exit
	if tried.ExitCode == nil || *tried.ExitCode != exit {
		j.blame("%s exited with code %d, the document says %s", a, exit, code(tried.ExitCode))
	}
	if tried.Verdict == "succeeded" && exit != 0 {
		j.blame("%s exited with code %d and is called succeeded", a, exit)
	}
}

// numbers: attempts count from 1 without a gap, and there are as many as there should be.
func (j *judge) numbers() {
	all, lost := map[instance][]int{}, map[instance]int{}
	for a, tried := range j.tried {
		all[a.instance] = append(all[a.instance], a.number)
		// One that failed, and was lost before anybody was told, has had its effect on those after it.
		ends := j.ends[a]
		if told := len(ends) > 0 && j.lines[ends[0]].Exit != 0; tried.Verdict == "lost" && !told {
			lost[a.instance]++
		}
	}
	for _, in := range sortedBy(all, instance.String) {
		slices.Sort(all[in])
		if n := len(all[in]); all[in][0] != 1 || all[in][n-1] != n {
			j.blame("the attempts of %s are %v", in, all[in])
		}
		want := max(j.expect.Tries[in.task], 1)
		if got := len(all[in]) - lost[in]; got != want {
			j.blame("%s has %d attempts that ended, want %d", in, got, want)
		}
	}
}

// order: no task begins before what it waits for has ended.
func (j *judge) order() {
	first, last := map[string]int{}, map[string]int{}
	for i, l := range j.lines {
		if _, ok := first[l.Task]; !ok {
			first[l.Task] = i
		}
		last[l.Task] = i
	}
	for _, task := range slices.Sorted(maps.Keys(j.expect.After)) {
		begin, ok := first[task]
		if !ok {
			continue // whether it should have run is for others to say
		}
		for _, before := range j.expect.After[task] {
			if end, ok := last[before]; !ok {
				j.blame("%s began, line %d, and %s has no line at all", task, begin+1, before)
			} else if end > begin {
				j.blame("%s began, line %d, and its predecessor %s still wrote line %d", task, begin+1, before, end+1)
			}
		}
	}
}

// afterlife: nothing happens after the moment at which the run is said to have ended.
func (j *judge) afterlife() {
	if j.run.EndedAt.IsZero() {
		j.blame("the document does not say when the run ended")
		return
	}
	for i, l := range j.lines {
		if at := time.Unix(0, l.At); at.After(j.run.EndedAt) {
			j.blame("%s wrote line %d %s after the end of the run", l.attempt(), i+1, at.Sub(j.run.EndedAt))
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
