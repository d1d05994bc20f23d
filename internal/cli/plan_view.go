// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package cli

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/cairnflow/cairn/internal/workflow"
)

// byLevel is the order in which tasks can begin: by level, finally tasks last.
func byLevel(def *workflow.Definition, level []int) []int {
	order := make([]int, len(def.Tasks))
	for n := range order {
		order[n] = n
	}
	slices.SortStableFunc(order, func(x, y int) int {
		if kx, ky := def.Tasks[x].Kind, def.Tasks[y].Kind; kx != ky {
			if kx == workflow.KindFinally {
				return 1
			}
			return -1
		}
		return level[x] - level[y]
	})
	return order
}

// bodyNote is what a body is about, in a few words; nothing for a plain Nomad task.
func bodyNote(kind workflow.BodyKind, body []byte) string {
	switch kind {
	case workflow.BodyDispatch:
		var b workflow.DispatchBody
		if json.Unmarshal(body, &b) == nil {
			return "dispatches job " + b.Job
		}
	case workflow.BodyRunWorkflow:
		var b workflow.ChildBody
		if json.Unmarshal(body, &b) == nil {
			return "runs " + strings.Join(slices.DeleteFunc([]string{b.Workflow, b.Source}, func(s string) bool { return s == "" }), " of ")
		}
	case workflow.BodyApproval:
		var b workflow.ApprovalBody
		if json.Unmarshal(body, &b) != nil {
			return ""
		}
		who := "anybody"
		if len(b.Approvers) > 0 {
			who = strings.Join(b.Approvers, ", ")
		}
		if b.Timeout == 0 {
			return "asks " + who
		}
		return fmt.Sprintf("asks %s, for at most %s", who, lasting(b.Timeout))
	case workflow.BodyWait:
		var b workflow.WaitBody
		switch {
		case json.Unmarshal(body, &b) != nil:
		case b.Until != 0:
			return "waits until " + moment(b.Until.Time())
		default:
			return "waits for " + lasting(b.Duration)
		}
	case workflow.BodyHTTP:
		var b workflow.HTTPBody
		if json.Unmarshal(body, &b) != nil {
			return ""
		}
		host := b.URL // without what a query or a name and password may hold
		if u, err := url.Parse(b.URL); err == nil {
			host = u.Scheme + "://" + u.Host + u.Path
		}
		return b.Method + " " + host
	}
	return ""
}

// planText lays a plan out for people.
func planText(def *workflow.Definition, doc planDocument, out screen) string {
	var b strings.Builder
	tasks, finally := 0, 0
	rows := [][]string{{"ORDER", "TASK", "DOES", "INSTANCES", "AFTER"}}
	for _, t := range doc.Tasks {
		order := strconv.Itoa(t.Level)
		if t.Kind == string(workflow.KindFinally) {
			order = "finally"
			finally++
		} else {
			tasks++
		}
		after := strings.Join(t.After, ", ")
		if t.TriggerRule != string(workflow.AllSuccess) {
			after += " (" + t.TriggerRule + ")"
		}
		rows = append(rows, []string{order, t.Name, t.Body, t.size(), after})
	}
	fmt.Fprintf(&b, "Workflow %s: %s", out.paint(def.Name, bold), count(tasks, "task"))
	if finally > 0 {
		b.WriteString(" and " + count(finally, "finally task"))
	}
	b.WriteString("\n\n" + columns(rows) + doc.Registered.text(out))
	section := func(title string, lines func(planTask) []string) {
		rows = nil
		for _, t := range doc.Tasks {
			for _, line := range lines(t) {
				rows = append(rows, []string{t.Name, clean(line)})
			}
		}
		if len(rows) > 0 {
			b.WriteString("\n" + title + ":\n" + columns(rows))
		}
	}
	section("What they do", func(t planTask) []string {
		if t.Does == "" {
			return nil
		}
		return []string{t.Does}
	})
	section("Only the run will tell", func(t planTask) []string { return t.Unknown })
	section("Cannot be rendered", func(t planTask) []string {
		if t.Problem == "" {
			return nil
		}
		return []string{t.Problem}
	})
	if doc.Nomad.Address != "" {
		section("Nomad at "+doc.Nomad.Address+", by a dry run", placementLines)
	}
	return b.String()
}

// size is how many instances a task has, in a word.
func (t planTask) size() string {
	switch {
	case t.Skipped:
		return "skipped"
	case t.Instances == nil && t.Problem != "":
		return ""
	case t.Instances == nil:
		return "?"
	}
	return strconv.Itoa(*t.Instances)
}

// placementLines are the verdicts on a task; instances with the same verdict share a line.
func placementLines(t planTask) []string {
	var texts []string
	keys := map[string][]string{}
	for _, p := range t.Placements {
		text := p.text()
		if _, ok := keys[text]; !ok {
			texts = append(texts, text)
		}
		if p.Key != nil {
			keys[text] = append(keys[text], *p.Key)
		} else {
			keys[text] = nil
		}
	}
	for i, text := range texts {
		names := keys[text]
		switch {
		case names == nil, len(names) == len(t.Placements) && t.Instances != nil && *t.Instances == len(names):
		case len(names) == len(t.Placements):
			texts[i] = fmt.Sprintf("the first %d of %d %s", len(names), *t.Instances, text)
		default:
			texts[i] = strings.Join(names, ", ") + " " + text
		}
	}
	return texts
}

func (p planPlacement) text() string {
	out := "would be placed at once"
	if p.Refused != "" {
		out = "would be refused: " + strings.TrimPrefix(p.Refused, "Nomad refuses the job: ")
	}
	for _, g := range p.Groups {
		if g.Unplaced == 0 {
			continue
		}
		out = "would wait for room: " + g.Reason
		if g.Impossible {
			out = "could run on no worker there is: " + g.Reason
		}
		if len(p.Groups) > 1 {
			out = "group " + g.Name + " " + out
		}
		break
	}
	for _, w := range p.Warnings {
		out += "; " + w
	}
	return out
}

// columns lays rows out, each indented by two; the last column is as long as it is.
func columns(rows [][]string) string {
	var width []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(width) {
				width = append(width, 0)
			}
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	for _, row := range rows {
		line := "  "
		for i, cell := range row {
			line += pad(cell, width[i]) + "  "
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	return b.String()
}

// listOf is "a", "a and b", "a, b and c".
func listOf(names []string) string {
	switch len(names) {
	case 0:
		return "nothing"
	case 1:
		return names[0]
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}
