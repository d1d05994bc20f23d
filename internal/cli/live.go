// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/cairnflow/cairn/internal/api"
)

// live shows a run as a table that is drawn again in place.
type live struct {
	out    io.Writer
	screen screen

	run      *api.Run
	children nested
	notes    []string // talk, below the table, oldest first
	drawn    int      // lines that the last drawing took
}

// Notes below the table: more would push the table away.
const maxNotes = 4

// show draws the table anew.
func (l *live) show(run *api.Run, children nested, now time.Time) {
	l.run, l.children = run, children
	l.draw(now, false)
}

// note puts talk below the table.
func (l *live) note(text string, now time.Time) {
	l.notes = append(l.notes, text)
	if len(l.notes) > maxNotes {
		l.notes = l.notes[1:]
	}
	l.draw(now, false)
}

// tick draws the table anew because time has passed.
func (l *live) tick(now time.Time) { l.draw(now, false) }

// end draws the table a last time, all of it, and leaves it there.
func (l *live) end(now time.Time) {
	l.draw(now, true)
	l.drawn = 0
}

// finalHeight bounds the last drawing, which need not fit the terminal.
const finalHeight = 200

func (l *live) draw(now time.Time, final bool) {
	if l.run == nil {
		return
	}
	width, height := l.screen.size()
	if final {
		height = finalHeight
	}
	asked := openQuestions(l.run, l.children)
	if more := len(asked) - maxNotes; more > 0 {
		asked = append(asked[:maxNotes], fmt.Sprintf("… and %s", count(more, "more approval")))
	}
	rows := table(l.run, l.children, now, l.screen, width, height-1-len(l.notes)-len(asked))
	for _, command := range asked {
		rows = append(rows, cut("  "+command, width-1))
	}
	for _, note := range l.notes {
		rows = append(rows, l.screen.paint(cut(clean(note), width-1), yellow))
	}
	var b strings.Builder
	if l.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", l.drawn) // up, to where the last drawing began
	}
	for _, row := range rows {
		b.WriteString("\r\x1b[K" + row + "\n") // each line cleared by itself: no flicker
	}
	b.WriteString("\x1b[J") // what the last drawing had below
	l.drawn = len(rows)
	// A terminal that went away takes no more drawings; the run goes on.
	_, _ = io.WriteString(l.out, b.String())
}

// row is one line of the table before it is laid out.
type row struct {
	name   string
	status string
	try    string
	node   string
	time   string
	note   string
	rank   int
}

// What has to be seen first when not everything fits.
const (
	rankActive = iota
	rankFailed
	rankDone
	rankPending
)

// maxInstanceRows bounds the instances that a task shows below itself.
const maxInstanceRows = 6

// table lays a run out for a terminal: a title, then a row for each task and for the instances that deserve one.
func table(run *api.Run, children nested, now time.Time, s screen, width, height int) []string {
	out := []string{title(run, now, s, width)}
	var rows []row
	for n := range run.Tasks {
		rows = append(rows, taskRows(&run.Tasks[n], children, now)...)
	}
	rows, hidden := fit(rows, max(height-2, 1))
	nameWidth, tryWidth, nodeWidth := 4, 0, 0
	for _, r := range rows {
		nameWidth = max(nameWidth, utf8.RuneCountInString(r.name))
		tryWidth = max(tryWidth, utf8.RuneCountInString(r.try))
		nodeWidth = max(nodeWidth, utf8.RuneCountInString(r.node))
	}
	nameWidth, nodeWidth = min(nameWidth, max(width*2/5, 10)), min(nodeWidth, max(width/5, 6))
	if slices.ContainsFunc(rows, func(r row) bool { return r.note != "" }) {
		// Why something waits or failed comes first: on a narrow terminal the node and the try make room for it.
		for _, column := range []*int{&nodeWidth, &tryWidth} {
			if width-nameWidth-statusWidth-tryWidth-nodeWidth-timeWidth-2*columnGaps < minNote {
				*column = 0
			}
		}
	}
	for _, r := range rows {
		out = append(out, r.lay(s, width-1, nameWidth, tryWidth, nodeWidth))
	}
	if hidden != "" {
		out = append(out, s.paint(cut("  … and "+hidden, width-1), faint))
	}
	return out
}

func title(run *api.Run, now time.Time, s screen, width int) string {
	text := fmt.Sprintf("%s  run %s  ", clean(run.Workflow), run.ID)
	left := width - 1 - utf8.RuneCountInString(text)
	if left < len(run.Status) {
		return cut(text+run.Status, width-1)
	}
	rest := ""
	if !run.StartedAt.IsZero() {
		rest = "  " + lasting(timeOr(run.EndedAt, now).Sub(run.StartedAt))
	}
	if run.Reason != "" {
		rest += "  " + clean(run.Reason)
	}
	return s.paint(text, bold) + s.paint(run.Status, statusStyle(run.Status)) + cut(rest, left-len(run.Status))
}

const (
	// statusWidth is the longest status: "succeeded", "cancelled", "recovered".
	statusWidth = 9
	// timeWidth is "12m05s".
	timeWidth = 6
	// columnGaps is how many gaps of two columns a row has at most.
	columnGaps = 7
	// minNote is how much of a note has to be seen.
	minNote = 24
)

// lay puts a row into its columns. What does not fit is cut from the right, but never wrapped: drawing again in place
// counts on one line being one line.
func (r row) lay(s screen, width, nameWidth, tryWidth, nodeWidth int) string {
	var b strings.Builder
	used := 0
	put := func(text string, columns int, with style) {
		text = cut(text, min(columns, width-used))
		b.WriteString(s.paint(text, with))
		used += utf8.RuneCountInString(text)
		if gap := min(columns-utf8.RuneCountInString(text), width-used); gap > 0 {
			b.WriteString(strings.Repeat(" ", gap))
			used += gap
		}
	}
	put("", 2, plain)
	put(r.name, nameWidth, plain)
	put("", 2, plain)
	put(r.status, statusWidth, statusStyle(r.status))
	for _, c := range []struct {
		text    string
		columns int
	}{{r.try, tryWidth}, {r.node, nodeWidth}, {r.time, timeWidth}} {
		if c.columns > 0 {
			put("", 2, plain)
			put(c.text, c.columns, plain)
		}
	}
	put("", 2, plain)
	put(r.note, width, faint)
	return strings.TrimRight(b.String(), " ")
}

// fit chooses the rows for a terminal of so many lines: what is active or failed first. It says what it left out.
func fit(rows []row, height int) ([]row, string) {
	if len(rows) <= height {
		return rows, ""
	}
	height-- // for the line that says so
	keep := make([]bool, len(rows))
	left := max(height, 0)
	for rank := rankActive; rank <= rankPending; rank++ {
		for i, r := range rows {
			if r.rank == rank && left > 0 {
				keep[i] = true
				left--
			}
		}
	}
	var out []row
	hidden := map[int]int{}
	for i, r := range rows {
		if keep[i] {
			out = append(out, r)
		} else {
			hidden[r.rank]++
		}
	}
	var parts []string
	for _, h := range []struct {
		rank int
		what string
	}{{rankActive, "active"}, {rankFailed, "failed"}, {rankDone, "done"}, {rankPending, "not begun"}} {
		if n := hidden[h.rank]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, h.what))
		}
	}
	return out, strings.Join(parts, ", ")
}

func rankOf(status string) int {
	switch status {
	case "pending", "queued":
		return rankPending
	case "failed", "cancelled":
		return rankFailed
	case "succeeded", "skipped", "omitted":
		return rankDone
	}
	return rankActive
}

// taskRows are the row of a task and, below a fan-out, those of its instances that run, wait or failed.
func taskRows(t *api.Task, children nested, now time.Time) []row {
	if !isFanOut(t) {
		in := &t.Instances[0]
		r := instanceRow(in, children, now)
		r.name, r.status, r.rank = t.Name, t.Status, rankOf(t.Status)
		if r.note == "" {
			r.note = clean(t.Reason)
		}
		return append([]row{recovered(t, r)}, childRows(in, children, now)...)
	}
	counts := countsOf(t)
	total, over := 0, 0
	for status, n := range counts {
		total += n
		if api.Over(status) {
			over += n
		}
	}
	head := row{name: t.Name, status: t.Status, rank: rankOf(t.Status), note: clean(t.Reason)}
	if total > 0 {
		head.name = fmt.Sprintf("%s %d/%d", t.Name, over, total)
	}
	if !t.StartedAt.IsZero() && total > 0 {
		head.time = lasting(timeOr(t.EndedAt, now).Sub(t.StartedAt))
	}
	if t.InstanceCounts != nil && head.note == "" {
		head.note = tally(counts)
	}
	rows := []row{recovered(t, head)}
	left := 0
	for i := range t.Instances {
		in := &t.Instances[i]
		switch in.Status {
		case "running", "starting", "waiting", "failed", "cancelled":
		default:
			continue
		}
		if in.Status == "cancelled" && len(in.Attempts) == 0 {
			continue
		}
		if len(rows) > maxInstanceRows {
			left++
			continue
		}
		r := instanceRow(in, children, now)
		r.name = "  " + clean(*in.Key)
		rows = append(rows, r)
	}
	if left > 0 {
		rows[len(rows)-1].note = strings.TrimSpace(rows[len(rows)-1].note + fmt.Sprintf("  … and %d more", left))
	}
	return rows
}

// maxChildTasks is how many tasks a child run may have for being drawn below the task that started it.
const maxChildTasks = 8

// childRows are those of a small child run that goes on, or failed.
func childRows(in *api.Instance, children nested, now time.Time) []row {
	child := children[childOf(in)]
	if child == nil || len(child.Tasks) > maxChildTasks || child.Terminal() && child.Status != "failed" {
		return nil
	}
	var rows []row
	for n := range child.Tasks {
		t := &child.Tasks[n]
		own := taskRows(t, nil, now)[:1] // one level, and no instances
		own[0].name = "  " + own[0].name
		rows = append(rows, own...)
	}
	return rows
}

func recovered(t *api.Task, r row) row {
	if t.CopiedFrom != "" {
		r.note = strings.TrimSuffix("of run "+t.CopiedFrom+"; "+r.note, "; ")
	}
	if t.Recovered {
		r.rank = rankDone
		r.note = strings.TrimSuffix("recovered; "+r.note, "; ")
	}
	return r
}

func instanceRow(in *api.Instance, children nested, now time.Time) row {
	r := row{status: in.Status, rank: rankOf(in.Status), note: clean(in.Reason)}
	if waits := waitsFor(in, now); waits != "" {
		r.note = waits
		if in.Approval != nil && !in.Approval.Since.IsZero() {
			r.time = lasting(now.Sub(in.Approval.Since))
		}
		return r
	}
	if len(in.Attempts) == 0 {
		return r
	}
	a := &in.Attempts[len(in.Attempts)-1]
	r.try, r.node = fmt.Sprintf("#%d", a.Number), clean(a.Node)
	switch {
	case !a.StartedAt.IsZero():
		r.time = lasting(timeOr(a.EndedAt, now).Sub(a.StartedAt))
	case a.EndedAt.IsZero() && !a.QueuedAt.IsZero():
		r.time = lasting(now.Sub(a.QueuedAt))
	}
	switch {
	case in.Status == "waiting" && !in.RetryAt.IsZero():
		r.note = "tries again in " + lasting(in.RetryAt.Sub(now))
		if why := howEnded(a); why != "" {
			r.note += ": " + why
		}
	case a.Verdict == "" && a.Message != "":
		r.note = clean(a.Message)
	case a.Verdict == "" && a.Child != "":
		r.note = children.standing(a.Child)
	case r.note == "" && a.Verdict != "succeeded":
		r.note = howEnded(a)
	case r.note == "":
		r.note = clean(a.Message)
	}
	return r
}
