// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package cli

import (
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/cairnflow/cairn/internal/api"
)

// lines shows a run as plain text, one line for each transition, for pipes and dumb terminals. It compares each document
// with the one before; attempts that came and went in between are not lost, their times tell.
type lines struct {
	out io.Writer

	status string // of the run, as last printed
	tasks  []taskSeen
}

type taskSeen struct {
	status    string
	counts    string
	instances map[int]instanceSeen
}

type instanceSeen struct {
	attempt int    // the newest that was printed as running or over
	ended   int    // the newest that was printed as over
	held    string // why it does not start, as last printed
	waited  int    // the newest whose wait, or open approval, was printed
	status  string
}

// line is one transition.
type line struct {
	at   time.Time
	text string
}

// show prints what has changed. now dates what has no time of its own.
func (l *lines) show(run *api.Run, _ nested, now time.Time) {
	for _, x := range l.news(run, now) {
		l.print(x)
	}
}

// skip takes a document for printed: only what comes after it is news.
func (l *lines) skip(run *api.Run) { l.news(run, time.Time{}) }

// news is what has changed since the document before, in the order of time.
func (l *lines) news(run *api.Run, now time.Time) []line {
	var news []line
	if len(l.tasks) == 0 {
		l.tasks = make([]taskSeen, len(run.Tasks))
	}
	for n := range run.Tasks {
		if n < len(l.tasks) {
			news = append(news, l.tasks[n].compare(run.ID, &run.Tasks[n], now)...)
		}
	}
	slices.SortStableFunc(news, func(a, b line) int { return a.at.Compare(b.at) })
	var before, after []line
	if l.status != run.Status {
		change := line{now, runLine(run)}
		if l.status == "" && run.Status == "running" {
			change.at = timeOr(run.StartedAt, now)
		}
		l.status = run.Status
		if run.Terminal() {
			change.at = run.EndedAt
			after = append(after, change)
		} else {
			before = append(before, change)
		}
	}
	return slices.Concat(before, news, after)
}

// note prints talk between the transitions.
func (l *lines) note(text string, now time.Time) { l.print(line{now, text}) }

func (l *lines) print(x line) {
	fmt.Fprintf(l.out, "%s %s\n", x.at.Local().Format(time.TimeOnly), x.text)
}

func runLine(run *api.Run) string {
	text := fmt.Sprintf("run %s %s", run.ID, run.Status)
	if run.Reason != "" {
		text += ": " + clean(run.Reason)
	}
	return text
}

func (s *taskSeen) compare(run string, t *api.Task, now time.Time) []line {
	var news []line
	for i := range t.Instances {
		if s.instances == nil {
			s.instances = map[int]instanceSeen{}
		}
		in := &t.Instances[i]
		seen := s.instances[in.Index]
		news = append(news, seen.compare(run, t, in, now)...)
		s.instances[in.Index] = seen
	}
	if t.InstanceCounts != nil {
		if counts := tally(t.InstanceCounts); counts != s.counts {
			s.counts = counts
			news = append(news, line{now, t.Name + ": " + counts})
		}
	}
	if s.status != t.Status {
		s.status = t.Status
		// The transitions of a plain task that ran are those of its instance.
		if api.Over(t.Status) && (isFanOut(t) || len(t.Instances[0].Attempts) == 0) {
			at := timeOr(t.EndedAt, now)
			if t.CopiedFrom != "" {
				at = now // it ended long before
			}
			news = append(news, line{at, taskLine(t)})
		}
	}
	return news
}

// taskLine is the end of a task as a whole.
func taskLine(t *api.Task) string {
	text := t.Name + " " + t.Status
	if isFanOut(t) && t.Status != "skipped" && t.Status != "omitted" {
		if counts := countsOf(t); len(counts) > 0 {
			text += " (" + tally(counts) + ")"
		}
	}
	if t.CopiedFrom != "" {
		text += ", as in run " + t.CopiedFrom
	}
	if t.Reason != "" {
		text += ": " + clean(t.Reason)
	}
	return text
}

func (s *instanceSeen) compare(run string, t *api.Task, in *api.Instance, now time.Time) []line {
	var news []line
	name := instanceName(t.Name, in.Key)
	for i := range in.Attempts {
		a := &in.Attempts[i]
		who := fmt.Sprintf("%s #%d", name, a.Number)
		if a.Number > s.attempt && !a.StartedAt.IsZero() {
			s.attempt, s.held = a.Number, ""
			if in.Approval != nil || in.Wait != nil {
				continue
			}
			text := who + " running"
			if a.Node != "" {
				text += " on " + clean(a.Node)
			}
			if a.Child != "" {
				text += " as run " + a.Child
			}
			news = append(news, line{a.StartedAt, text})
		}
		if a.Number > s.ended && a.Verdict != "" {
			s.ended, s.held = a.Number, ""
			news = append(news, line{timeOr(a.EndedAt, now), attemptLine(who, t, in, a, i == len(in.Attempts)-1)})
		}
		if a.Verdict == "" && a.Message != "" && a.Message != s.held {
			s.held = a.Message
			news = append(news, line{now, fmt.Sprintf("%s %s: %s", who, in.Status, clean(a.Message))})
		}
	}
	if waits := waitsFor(in, now); waits != "" && s.waited != max(1, len(in.Attempts)) {
		s.waited = max(1, len(in.Attempts))
		text := name + " " + waits
		if in.Approval != nil {
			text += ": " + question{t.Name, in.Key, in.Approval}.command(run)
		}
		news = append(news, line{now, text})
	}
	if s.status != in.Status {
		s.status = in.Status
		// An instance of a fan-out that never ran has no other line.
		if in.Key != nil && len(in.Attempts) == 0 && api.Over(in.Status) && in.Status != t.Status {
			news = append(news, line{timeOr(in.EndedAt, now), name + " " + because(in.Status, in.Reason)})
		}
	}
	return news
}

func attemptLine(who string, t *api.Task, in *api.Instance, a *api.Attempt, newest bool) string {
	text := who + " " + a.Verdict
	if !a.StartedAt.IsZero() && !a.EndedAt.IsZero() {
		text += " after " + lasting(a.EndedAt.Sub(a.StartedAt))
	}
	if why := howEnded(a); why != "" {
		text += ": " + why
	}
	if newest && in.Status == "waiting" && !in.RetryAt.IsZero() {
		text += fmt.Sprintf("; tries again in %s", lasting(in.RetryAt.Sub(timeOr(a.EndedAt, in.RetryAt))))
	}
	for _, note := range a.Notes {
		text += "; " + clean(note)
	}
	return text
}

func because(what, reason string) string {
	if reason == "" {
		return what
	}
	return what + ": " + clean(reason)
}

func timeOr(t, otherwise time.Time) time.Time {
	if t.IsZero() {
		return otherwise
	}
	return t
}
