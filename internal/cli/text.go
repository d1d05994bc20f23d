// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package cli

import (
	"fmt"
	"os"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"

	"github.com/cairnflow/cairn/internal/api"
)

// screen says what an output can do.
type screen struct {
	file  *os.File // nil unless it is a terminal
	color bool
	live  bool // lines can be drawn again
}

// screenOf looks at an output: a terminal unless TERM says that it is a dumb one, in colour unless NO_COLOR is set.
func (a *App) screenOf(out any) screen {
	if o, is := out.(*output); is {
		out = o.to
	}
	f, ok := out.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return screen{}
	}
	kind := a.Getenv("TERM")
	able := kind != "" && kind != "dumb"
	return screen{file: f, live: able, color: able && a.Getenv("NO_COLOR") == ""}
}

// The size of a terminal that does not tell.
const (
	defaultWidth  = 80
	defaultHeight = 24
)

func (s screen) size() (width, height int) {
	if s.file != nil {
		if w, h, err := term.GetSize(int(s.file.Fd())); err == nil && w > 0 && h > 0 {
			return w, h
		}
	}
	return defaultWidth, defaultHeight
}

// style is an SGR code of a terminal.
type style string

const (
	plain  style = ""
	bold   style = "1"
	faint  style = "2"
	red    style = "31"
	green  style = "32"
	yellow style = "33"
	cyan   style = "36"
)

func (s screen) paint(text string, with style) string {
	if !s.color || with == plain || text == "" {
		return text
	}
	return "\x1b[" + string(with) + "m" + text + "\x1b[0m"
}

// statusStyle is how a status of a run, a task or an instance looks.
func statusStyle(status string) style {
	switch status {
	case "succeeded":
		return green
	case "failed":
		return red
	case "cancelled", "stopping", "waiting", "pausing", "paused":
		return yellow
	case "running", "starting":
		return cyan
	}
	return faint
}

// clean makes text of others fit for one line of a terminal: no control characters, no line ends.
func clean(s string) string {
	s = strings.TrimSpace(s)
	return strings.Map(func(r rune) rune {
		switch {
		case r == utf8.RuneError, !unicode.IsPrint(r) && unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return '?'
		}
		return r
	}, s)
}

// cut shortens text to a number of columns.
func cut(s string, columns int) string {
	if columns <= 0 {
		return ""
	}
	if utf8.RuneCountInString(s) <= columns {
		return s
	}
	if columns == 1 {
		return "…"
	}
	return string([]rune(s)[:columns-1]) + "…"
}

// pad fills text with spaces up to a number of columns.
func pad(s string, columns int) string {
	if n := columns - utf8.RuneCountInString(s); n > 0 {
		return s + strings.Repeat(" ", n)
	}
	return s
}

// lasting is a duration as people read it: 12ms, 0.4s, 12s, 3m05s, 2h10m.
func lasting(d time.Duration) string {
	switch {
	case d < 0:
		return "0ms"
	case d < 100*time.Millisecond:
		return fmt.Sprintf("%dms", d.Milliseconds())
	case d < 9950*time.Millisecond:
		return fmt.Sprintf("%.1fs", d.Seconds())
	}
	d = d.Round(time.Second)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd%02dh", int(d.Hours())/24, int(d.Hours())%24)
}

// byteSize is a size as people read it: 812 B, 3.4 KiB, 12.0 MiB.
func byteSize(n int64) string {
	if n < 1<<10 {
		return fmt.Sprintf("%d B", n)
	}
	size := float64(n)
	for _, unit := range []string{"KiB", "MiB", "GiB"} {
		if size /= 1 << 10; size < 1<<10 || unit == "GiB" {
			return fmt.Sprintf("%.1f %s", size, unit)
		}
	}
	return "" // the loop ends with GiB
}

// labelled are lines, each behind its label, which may be empty.
func labelled(width int, rows [][]string) string {
	var b strings.Builder
	for _, row := range rows {
		fmt.Fprintf(&b, "%s %s\n", pad(row[0], width), row[1])
	}
	return b.String()
}

// count is "1 task" or "3 tasks".
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// taskStatuses is the order in which statuses are counted up.
var taskStatuses = []string{
	"succeeded", "failed", "recovered", "cancelled", "skipped", "omitted", "running", "starting", "waiting", "queued", "pending",
}

// tally is "3 succeeded, 1 failed".
func tally(counts map[string]int) string {
	var parts []string
	for _, status := range taskStatuses {
		if n := counts[status]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, status))
		}
	}
	return strings.Join(parts, ", ")
}

// countsOf are a task's instances by status.
func countsOf(t *api.Task) map[string]int {
	if t.InstanceCounts != nil {
		return t.InstanceCounts
	}
	out := map[string]int{}
	for i := range t.Instances {
		out[t.Instances[i].Status]++
	}
	return out
}

// isFanOut reports whether a task is a fan-out, as far as its document tells.
func isFanOut(t *api.Task) bool {
	return t.InstanceCounts != nil || len(t.Instances) != 1 || t.Instances[0].Key != nil
}

// instanceName is how an instance is called: extract, extract[eu].
func instanceName(task string, key *string) string {
	if key == nil {
		return task
	}
	return fmt.Sprintf("%s[%s]", task, clean(*key))
}

// howEnded is what an attempt ended with: "exit code 3", "signal 9 (killed)", "out of memory".
func howEnded(a *api.Attempt) string {
	var parts []string
	switch {
	case a.OOM:
		parts = append(parts, "out of memory")
	case a.Signal != 0:
		parts = append(parts, fmt.Sprintf("signal %d", a.Signal))
	case a.ExitCode != nil && *a.ExitCode != 0:
		parts = append(parts, fmt.Sprintf("exit code %d", *a.ExitCode))
	}
	if m := clean(a.Message); m != "" && (len(parts) == 0 || !strings.Contains(strings.ToLower(m), parts[0])) {
		parts = append(parts, m)
	}
	return strings.Join(parts, ": ")
}
