// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cairnflow/cairn/internal/api"
)

// appliedText shows what an apply does, a workflow at a time.
func appliedText(a applied, out screen) string {
	var b strings.Builder
	for i, w := range a.Workflows {
		if i > 0 && (w.Action != api.ActionNone || a.Workflows[i-1].Action != api.ActionNone) {
			b.WriteByte('\n')
		}
		b.WriteString(workflowText(w, out))
	}
	return b.String()
}

// workflowText is what becomes of one workflow.
func workflowText(w api.AppliedWorkflow, out screen) string {
	var b strings.Builder
	name := out.paint(clean(w.Name), bold)
	switch w.Action {
	case api.ActionNone:
		fmt.Fprintf(&b, "  Workflow %s: no changes, version %d\n", name, w.Version)
		return b.String()
	case api.ActionCreate:
		fmt.Fprintf(&b, "%s Workflow %s: new, version %d\n", out.paint("+", green), name, w.Version)
	default:
		fmt.Fprintf(&b, "%s Workflow %s: version %d -> %d\n", out.paint("~", yellow), name, w.Was, w.Version)
	}
	b.WriteString(changesText(w, out))
	return b.String()
}

// changesText lays changes out as Terraform does: each in the blocks that it stands in. Of a new workflow it only says what
// there is.
func changesText(w api.AppliedWorkflow, out screen) string {
	l := &changeLines{out: out, brief: w.Action == api.ActionCreate}
	for _, c := range w.Changes {
		if len(c.Path) > 0 {
			l.change(c)
		}
	}
	l.enter(nil)
	if w.Action == api.ActionUpdate && len(w.Changes) == 0 {
		l.line(1, "", "only layout, comments, order or names of files differ", faint)
	}
	return l.b.String()
}

// changeLines writes changes.
type changeLines struct {
	b     strings.Builder
	out   screen
	brief bool
	open  []string // the blocks that the last change stands in
}

// The columns of one level of blocks.
const changeIndent = 4

func (l *changeLines) line(depth int, sign, text string, with style) {
	indent := strings.Repeat(" ", changeIndent*depth)
	if sign != "" {
		indent = indent[:len(indent)-2] + l.out.paint(sign, with) + " "
		with = plain
	}
	l.b.WriteString(strings.TrimRight(indent+l.out.paint(clean2(text), with), " ") + "\n")
}

// enter closes the blocks that are left, and opens those that are entered.
func (l *changeLines) enter(path []string) {
	same := 0
	for same < min(len(path), len(l.open)) && path[same] == l.open[same] {
		same++
	}
	for depth := len(l.open); depth > same; depth-- {
		l.line(depth, "", "}", plain)
	}
	for depth := same; depth < len(path); depth++ {
		l.line(depth+1, "~", path[depth]+" {", yellow)
	}
	l.open = slices.Clone(path)
}

func (l *changeLines) change(c api.Change) {
	last := len(c.Path) - 1
	name, depth := c.Path[last], len(c.Path)
	l.enter(c.Path[:last])
	isBlock := func(text string) bool {
		return strings.HasPrefix(text, name+" {") || strings.HasPrefix(text, name+" = {")
	}
	switch {
	case c.Action == "added" && (l.brief || c.New == ""):
		l.line(depth, "+", name, green)
	case c.Action == "added" && isBlock(c.New):
		l.lines(depth, "+", strings.Split(c.New, "\n"), green)
	case c.Action == "added":
		l.value(depth, "+", name, c.New, green)
	case c.Action == "removed" && (c.Old == "" || isBlock(c.Old)):
		l.line(depth, "-", name, red)
	case c.Action == "removed":
		l.value(depth, "-", name, c.Old, red)
	case c.Old == "" || c.New == "" || c.Old == c.New:
		l.line(depth, "~", name, yellow)
	case isBlock(c.Old) || isBlock(c.New) || strings.Contains(c.Old+c.New, "\n"):
		l.line(depth, "~", name+":", yellow)
		old, new := between(strings.Split(c.Old, "\n"), strings.Split(c.New, "\n"))
		l.lines(depth+1, "-", old, red)
		l.lines(depth+1, "+", new, green)
	default:
		l.line(depth, "~", fmt.Sprintf("%s = %s -> %s", name, c.Old, c.New), yellow)
	}
}

// value is an attribute that is new or gone, or a file.
func (l *changeLines) value(depth int, sign, name, text string, with style) {
	if strings.HasPrefix(name, "file ") {
		l.line(depth, sign, name, with)
		return
	}
	l.lines(depth, sign, strings.Split(name+" = "+text, "\n"), with)
}

// maxChangedLines bounds the lines of one text: who wants all of them has the files.
const maxChangedLines = 20

func (l *changeLines) lines(depth int, sign string, lines []string, with style) {
	for i, line := range lines {
		if i == maxChangedLines {
			l.line(depth, "", fmt.Sprintf("… and %s", count(len(lines)-i, "more line")), faint)
			return
		}
		l.line(depth, sign, line, with)
	}
}

// between leaves out the lines at the beginning and at the end that two texts have in common.
func between(old, new []string) (was, is []string) {
	for len(old) > 0 && len(new) > 0 && old[0] == new[0] {
		old, new = old[1:], new[1:]
	}
	for len(old) > 0 && len(new) > 0 && old[len(old)-1] == new[len(new)-1] {
		old, new = old[:len(old)-1], new[:len(new)-1]
	}
	return old, new
}

// unchanged reports whether there is nothing to do.
func (a applied) unchanged() bool {
	return !slices.ContainsFunc(a.Workflows, func(w api.AppliedWorkflow) bool { return w.Action != api.ActionNone })
}

// outcome counts what an apply has done.
func (a applied) outcome() string {
	counts := map[string]int{}
	for _, w := range a.Workflows {
		counts[w.Action]++
	}
	return fmt.Sprintf("Applied: %d new, %d changed, %d as they were.",
		counts[api.ActionCreate], counts[api.ActionUpdate], counts[api.ActionNone])
}
