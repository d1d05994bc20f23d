// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cairnflow/cairn/internal/workflow"
)

func graphCommand(a *App) *command {
	var name string
	var dot, mermaid, asJSON bool
	c := &command{
		synopsis:  "Show which task waits for which",
		arguments: "FILE",
		min:       1,
		max:       1,
		about: `Prints the graph of the workflow in FILE, with the edges that come from references as well as those of
depends_on: as text, for Graphviz (-dot), as a Mermaid diagram (-mermaid) or as JSON (-json).

In the diagrams the shape of a task says what it does: a box is a Nomad task, a diamond an approval, a
circle a join. Edges into a handler of failures are dotted, those of one_success thick; finally tasks
stand in a frame of their own, as they follow everything else.`,
		examples: []string{"cairn graph examples/etl", "cairn graph -dot examples/etl | dot -Tsvg > etl.svg"},
		options: []option{
			predicted(textOption(&name, "workflow", "NAME", "The workflow to show, where FILE holds several."), a.predictWorkflowNames()),
			switchOption(&dot, "dot", "Print it in the DOT language of Graphviz."),
			switchOption(&mermaid, "mermaid", "Print it as a Mermaid flowchart, as GitHub draws it."),
			switchOption(&asJSON, "json", "Print tasks and edges as JSON."),
		},
		predict: predictWorkflow,
	}
	c.run = func(args []string) int {
		if dot && mermaid || dot && asJSON || mermaid && asJSON {
			return c.usageError("-dot, -mermaid and -json exclude each other")
		}
		_, def, _, code := a.compile(args[0], name, asJSON)
		if def == nil {
			return code
		}
		g, err := workflow.NewGraph(def)
		if err != nil {
			return a.broken(err)
		}
		switch {
		case dot:
			a.print(dotGraph(def, g))
		case mermaid:
			a.print(mermaidGraph(def, g))
		case asJSON:
			a.printJSON(graphDocument(def, g))
		default:
			a.print(textGraph(def, g))
		}
		return exitOK
	}
	return c
}

// textGraph lists the tasks level by level: nobody in a level waits for another one of it.
func textGraph(def *workflow.Definition, g *workflow.Graph) string {
	level := levels(def, g)
	order := byLevel(def, level)
	width := 0
	for n := range def.Tasks {
		width = max(width, len(taskLabel(&def.Tasks[n])))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", def.Name)
	finally := false
	for _, n := range order {
		t := &def.Tasks[n]
		if t.Kind == workflow.KindFinally && !finally {
			finally = true
			b.WriteString("finally\n")
		}
		line := fmt.Sprintf("  %s%s", strings.Repeat("  ", level[n]), taskLabel(t))
		if before := predecessors(def, g, n); len(before) > 0 {
			line = pad(line, width+2+2*maxLevel(level)+2) + "← " + strings.Join(before, ", ")
		}
		if t.TriggerRule != workflow.AllSuccess {
			line += "  (" + string(t.TriggerRule) + ")"
		}
		b.WriteString(line + "\n")
	}
	return b.String()
}

func maxLevel(level []int) int {
	out := 0
	for _, l := range level {
		out = max(out, l)
	}
	return min(out, maxIndent)
}

// maxIndent bounds the indentation of a long chain.
const maxIndent = 12

// levels gives each task the length of the longest way to it, at most maxIndent.
func levels(def *workflow.Definition, g *workflow.Graph) []int {
	level, open := make([]int, len(def.Tasks)), make([]int, len(def.Tasks))
	var ready []int
	for n := range def.Tasks {
		if open[n] = len(g.Predecessors(n)); open[n] == 0 {
			ready = append(ready, n)
		}
	}
	for len(ready) > 0 {
		n := ready[0]
		ready = ready[1:]
		for _, d := range g.Dependents(n) {
			level[d] = min(max(level[d], level[n]+1), maxIndent)
			if open[d]--; open[d] == 0 {
				ready = append(ready, d)
			}
		}
	}
	return level
}

// taskLabel names a task, how it fans out, and what it does when that is not running a Nomad task.
func taskLabel(t *workflow.Task) string {
	out := t.Name
	switch t.Shape() {
	case workflow.ShapeMap:
		out += "[for_each]"
	case workflow.ShapeList:
		out += "[count]"
	}
	if t.BodyKind != workflow.BodyTask {
		out += " (" + string(t.BodyKind) + ")"
	}
	return out
}

func predecessors(def *workflow.Definition, g *workflow.Graph, n int) []string {
	var out []string
	for _, p := range g.Predecessors(n) {
		out = append(out, def.Tasks[p].Name)
	}
	return out
}

// edgeLabel names the rule of the waiting task when it is not the usual one.
func edgeLabel(def *workflow.Definition, g *workflow.Graph, from, to int) string {
	rule := def.Tasks[to].TriggerRule
	if rule == workflow.AllSuccess || !slices.Contains(g.Rule(to), from) {
		return ""
	}
	return string(rule)
}

// look is how a kind of body is drawn.
type look struct {
	dot       string // shape
	open, end string // Mermaid's brackets
}

func lookOf(kind workflow.BodyKind) look {
	switch kind {
	case workflow.BodyGroup:
		return look{"box3d", "[[", "]]"}
	case workflow.BodyJob:
		return look{"component", "[(", ")]"}
	case workflow.BodyDispatch:
		return look{"cds", ">", "]"}
	case workflow.BodyRunWorkflow:
		return look{"folder", "{{", "}}"}
	case workflow.BodyApproval:
		return look{"diamond", "{", "}"}
	case workflow.BodyWait:
		return look{"octagon", "([", "])"}
	case workflow.BodyHTTP:
		return look{"ellipse", "[/", "/]"}
	case workflow.BodyJoin:
		return look{"circle", "((", "))"}
	}
	return look{"box", "[", "]"}
}

// eachKind calls nodes for the normal tasks, then for the finally tasks if there are any.
func eachKind(def *workflow.Definition, nodes func(kind workflow.TaskKind, tasks []int)) {
	byKind := map[workflow.TaskKind][]int{}
	for n := range def.Tasks {
		byKind[def.Tasks[n].Kind] = append(byKind[def.Tasks[n].Kind], n)
	}
	for _, kind := range []workflow.TaskKind{workflow.KindTask, workflow.KindFinally} {
		if len(byKind[kind]) > 0 {
			nodes(kind, byKind[kind])
		}
	}
}

func dotGraph(def *workflow.Definition, g *workflow.Graph) string {
	var b strings.Builder
	fmt.Fprintf(&b, "digraph %q {\n  rankdir = LR\n  node [shape = box]\n", def.Name)
	eachKind(def, func(kind workflow.TaskKind, tasks []int) {
		indent := "  "
		if kind == workflow.KindFinally {
			b.WriteString("  subgraph cluster_finally {\n    label = \"finally\"\n    style = dashed\n")
			indent = "    "
		}
		for _, n := range tasks {
			t := &def.Tasks[n]
			shape := ""
			if dot := lookOf(t.BodyKind).dot; dot != "box" {
				shape = ", shape = " + dot
			}
			fmt.Fprintf(&b, "%s%q [label = %q%s]\n", indent, t.Name, taskLabel(t), shape)
		}
		if kind == workflow.KindFinally {
			b.WriteString("  }\n")
		}
	})
	for n := range def.Tasks {
		for _, p := range g.Predecessors(n) {
			style := ""
			switch rule := edgeLabel(def, g, p, n); {
			case rule == "":
			case workflow.TriggerRule(rule).Handler():
				style = fmt.Sprintf(" [label = %q, style = dotted, color = red]", rule)
			case rule == string(workflow.OneSuccess):
				style = fmt.Sprintf(" [label = %q, style = bold]", rule)
			default:
				style = fmt.Sprintf(" [label = %q, style = dashed]", rule)
			}
			fmt.Fprintf(&b, "  %q -> %q%s\n", def.Tasks[p].Name, def.Tasks[n].Name, style)
		}
	}
	b.WriteString("}\n")
	return b.String()
}

func mermaidGraph(def *workflow.Definition, g *workflow.Graph) string {
	var b strings.Builder
	b.WriteString("flowchart LR\n")
	eachKind(def, func(kind workflow.TaskKind, tasks []int) {
		indent := "  "
		if kind == workflow.KindFinally {
			b.WriteString("  subgraph finally\n")
			indent = "    "
		}
		for _, n := range tasks {
			t := &def.Tasks[n]
			like := lookOf(t.BodyKind)
			// Numbers as IDs: some names are words of the Mermaid language.
			fmt.Fprintf(&b, "%st%d%s\"%s\"%s\n", indent, n, like.open, taskLabel(t), like.end)
		}
		if kind == workflow.KindFinally {
			b.WriteString("  end\n")
		}
	})
	for n := range def.Tasks {
		for _, p := range g.Predecessors(n) {
			arrow := "-->"
			switch rule := edgeLabel(def, g, p, n); {
			case rule == "":
			case workflow.TriggerRule(rule).Handler():
				arrow = "-. " + rule + " .->"
			case rule == string(workflow.OneSuccess):
				arrow = "== " + rule + " ==>"
			default:
				arrow = "-- " + rule + " -->"
			}
			fmt.Fprintf(&b, "  t%d %s t%d\n", p, arrow, n)
		}
	}
	return b.String()
}

type graphJSON struct {
	Workflow string      `json:"workflow"`
	Tasks    []graphTask `json:"tasks"`
	Edges    []graphEdge `json:"edges"`
}

type graphTask struct {
	Name        string `json:"name"`
	Kind        string `json:"kind"` // "task" or "finally"
	Body        string `json:"body"`
	FanOut      bool   `json:"fan_out"`
	TriggerRule string `json:"trigger_rule"`
}

type graphEdge struct {
	From string `json:"from"`
	To   string `json:"to"`
	Kind string `json:"kind"` // "depends_on" or "reference"
}

func graphDocument(def *workflow.Definition, g *workflow.Graph) graphJSON {
	out := graphJSON{Workflow: def.Name, Tasks: []graphTask{}, Edges: []graphEdge{}}
	for n := range def.Tasks {
		t := &def.Tasks[n]
		out.Tasks = append(out.Tasks, graphTask{
			t.Name, string(t.Kind), string(t.BodyKind), t.Shape() != workflow.ShapePlain, string(t.TriggerRule),
		})
		for _, p := range g.Predecessors(n) {
			kind := "reference"
			if slices.Contains(g.Depends(n), p) {
				kind = "depends_on"
			}
			out.Edges = append(out.Edges, graphEdge{def.Tasks[p].Name, t.Name, kind})
		}
	}
	return out
}
