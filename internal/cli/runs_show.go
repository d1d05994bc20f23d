// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/posener/complete"

	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/client"
)

// instanceStatuses are what -status takes.
var instanceStatuses = []string{
	"pending", "queued", "starting", "running", "waiting", "succeeded", "failed", "cancelled", "skipped", "omitted",
}

func runsShowCommand(a *App) *command {
	var task, status string
	var asJSON bool
	c := &command{
		synopsis:  "Show a run: tasks, instances, attempts, outputs",
		arguments: "ID",
		min:       1,
		max:       1,
		about: `Shows how a run stands or stood: its params, its tasks with every attempt, its outputs. With -json it
prints the run document, the same that "cairn run -json" prints.`,
		examples: []string{"cairn runs show 3kq6t2dlxyvm2hd4wq3a", "cairn runs show -task extract -status failed 3kq6t2"},
		options: []option{
			textOption(&task, "task", "NAME", "Only this task, with all its instances."),
			{
				name: "status", value: "STATUS", usage: "With -task: only its instances with this status: " + strings.Join(instanceStatuses, ", ") + ".",
				bind: textOption(&status, "status", "", "").bind, predict: complete.PredictSet(instanceStatuses...),
			},
			switchOption(&asJSON, "json", "Print it as JSON."),
			a.staleOption(),
		},
		predict: a.predictRuns(),
	}
	c.run = func(args []string) int {
		switch {
		case status != "" && task == "":
			return c.usageError("-status is about the instances of a task: it needs -task")
		case status != "" && !slices.Contains(instanceStatuses, status):
			return c.usageError(noStatus(status, instanceStatuses))
		}
		r, id, code := a.open(args[0])
		if r == nil {
			return code
		}
		defer r.Close()
		if task != "" {
			return a.showInstances(r.Client, string(id), client.InstancesQuery{Task: task, Status: status}, asJSON)
		}
		run, err := r.Run(context.Background(), string(id))
		if err != nil {
			return a.broken(err)
		}
		if asJSON {
			a.printJSON(run)
			return exitOK
		}
		driver := ""
		switch {
		case run.Archived:
		case r.PID != 0:
			driver = fmt.Sprintf("process %d", r.PID)
		case !run.Terminal():
			driver = fmt.Sprintf("nobody: cairn run -%s -resume %s goes on with it", r.Kind, id)
		}
		children := readChildren(context.Background(), r.Client, run)
		a.print(runText(run, children, driver, a.Now(), a.screenOf(a.Stdout)))
		return exitOK
	}
	return c
}

// maxPerPage is the largest page that the API gives.
const maxPerPage = 1000

func (a *App) showInstances(c *client.Client, id string, q client.InstancesQuery, asJSON bool) int {
	q.PerPage = maxPerPage
	all := api.Instances{Instances: []api.Instance{}}
	for {
		page, err := c.Instances(context.Background(), id, q)
		if err != nil {
			return a.broken(err)
		}
		all.Instances = append(all.Instances, page.Instances...)
		if q.Next = page.Next; q.Next == "" {
			break
		}
	}
	if asJSON {
		a.printJSON(all)
		return exitOK
	}
	var b strings.Builder
	t := &api.Task{Name: q.Task}
	for i := range all.Instances {
		writeInstance(&b, t, &all.Instances[i], nil, a.Now(), a.screenOf(a.Stdout))
	}
	if b.Len() == 0 {
		a.say("Task %s has no such instances.", q.Task)
	}
	a.print(b.String())
	return exitOK
}

// runText shows a run to people. driver says who drives it; empty when it is over.
func runText(run *api.Run, children nested, driver string, now time.Time, out screen) string {
	var b strings.Builder
	field := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%-11s %s\n", name, value)
		}
	}
	field("Run", run.ID)
	field("Workflow", clean(run.Workflow))
	status := out.paint(run.Status, statusStyle(run.Status))
	if run.Reason != "" {
		status += ": " + clean(run.Reason)
	}
	field("Status", status)
	field("Driven by", driver)
	if run.Archived {
		field("Kept in", "the archive: it takes no verbs any more, and its logs are gone")
	}
	if run.Parent != nil {
		field("Started by", "a task of run "+run.Parent.Run)
	}
	field("Rerun of", run.CopiedFrom)
	field("Definition", run.Definition)
	if run.Generation > 1 {
		field("Generation", fmt.Sprint(run.Generation))
	}
	field("Created", moment(run.CreatedAt))
	field("Started", moment(run.StartedAt))
	if !run.EndedAt.IsZero() {
		field("Ended", fmt.Sprintf("%s, after %s", moment(run.EndedAt), lasting(run.EndedAt.Sub(run.StartedAt))))
	}
	for _, name := range slices.Sorted(maps.Keys(run.Labels)) {
		field("Label", clean(name)+" = "+clean(run.Labels[name]))
	}
	if len(run.Params) > 0 {
		b.WriteString("\nParams:\n" + outputLines(run.Params))
	}
	if len(run.Verbs) > 0 {
		b.WriteString("\nVerbs:\n" + verbLines(run.Verbs))
	}
	b.WriteString("\nTasks:\n")
	for n := range run.Tasks {
		writeTask(&b, &run.Tasks[n], children, now, out)
	}
	if asked := openQuestions(run, children); len(asked) > 0 {
		b.WriteString("\nTo approve:\n  " + strings.Join(asked, "\n  ") + "\n")
	}
	if len(run.Outputs) > 0 {
		b.WriteString("\nOutputs:\n" + outputLines(run.Outputs))
	}
	return b.String()
}

// verbLines are what people did to a run.
func verbLines(verbs []api.VerbUsed) string {
	var rows [][]string
	for _, v := range verbs {
		what := v.Verb
		if v.Task != "" {
			what += " " + v.Task
		}
		who := "by " + clean(v.By)
		if v.By == "" {
			who = ""
		}
		rows = append(rows, []string{moment(v.At), what, who, clean(v.Reason)})
	}
	return columns(rows)
}

// moment is a time for people, in their zone.
func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format("2006-01-02 15:04:05 MST")
}

func writeTask(b *strings.Builder, t *api.Task, children nested, now time.Time, out screen) {
	if !isFanOut(t) {
		writeInstance(b, t, &t.Instances[0], children, now, out)
		if t.Recovered {
			b.WriteString("      recovered by a handler\n")
		}
		return
	}
	fmt.Fprintf(b, "  %s  %s", t.Name, out.paint(t.Status, statusStyle(t.Status)))
	if counts := tally(countsOf(t)); counts != "" {
		fmt.Fprintf(b, "  (%s)", counts)
	}
	if t.Reason != "" {
		b.WriteString("  " + clean(t.Reason))
	}
	b.WriteString("\n")
	if t.InstanceCounts != nil {
		fmt.Fprintf(b, "      too many to list here: -task %s lists them\n", t.Name)
	}
	for i := range t.Instances {
		var one strings.Builder
		writeInstance(&one, t, &t.Instances[i], children, now, out)
		b.WriteString(indent(one.String(), "    ") + "\n")
	}
}

func writeInstance(b *strings.Builder, t *api.Task, in *api.Instance, children nested, now time.Time, out screen) {
	fmt.Fprintf(b, "  %s  %s", instanceName(t.Name, in.Key), out.paint(in.Status, statusStyle(in.Status)))
	why := clean(in.Reason)
	if waits := waitsFor(in, now); waits != "" {
		why = waits
	}
	if why != "" {
		b.WriteString("  " + why)
	}
	b.WriteString("\n")
	if t.CopiedFrom != "" {
		fmt.Fprintf(b, "      as it ended in run %s\n", t.CopiedFrom)
	}
	if in.Approval != nil {
		for _, line := range askLines(in.Approval) {
			b.WriteString("      " + line + "\n")
		}
	}
	for i := range in.Attempts {
		if in.Attempts[i].Verdict == "" && (in.Approval != nil || in.Wait != nil) {
			continue // all of it has been said
		}
		writeAttempt(b, &in.Attempts[i], now)
		newest := i == len(in.Attempts)-1
		if child := in.Attempts[i].Child; child != "" && (newest || in.Attempts[i+1].Child != child) { // else it was taken up again
			fmt.Fprintf(b, "         %s\n", children.standing(child))
			if newest {
				writeChild(b, children[child], out)
			}
		}
	}
	if len(in.Outputs) > 0 {
		b.WriteString(indent(outputLines(in.Outputs), "      ") + "\n")
	}
}

// writeChild lists the tasks of a child run.
func writeChild(b *strings.Builder, child *api.Run, out screen) {
	if child == nil || len(child.Tasks) > maxChildTasks {
		return
	}
	for n := range child.Tasks {
		t := &child.Tasks[n]
		fmt.Fprintf(b, "           %s  %s", t.Name, out.paint(t.Status, statusStyle(t.Status)))
		if t.Reason != "" {
			b.WriteString("  " + clean(t.Reason))
		}
		b.WriteString("\n")
	}
}

func writeAttempt(b *strings.Builder, a *api.Attempt, now time.Time) {
	fmt.Fprintf(b, "      #%d", a.Number)
	switch {
	case a.Verdict != "":
		b.WriteString(" " + a.Verdict)
	case !a.StartedAt.IsZero():
		b.WriteString(" running")
	default:
		b.WriteString(" not started")
	}
	if !a.StartedAt.IsZero() {
		word := " after "
		if a.Verdict == "" {
			word = " for "
		}
		b.WriteString(word + lasting(timeOr(a.EndedAt, now).Sub(a.StartedAt)))
	}
	if a.Node != "" {
		b.WriteString(" on " + clean(a.Node))
	}
	if why := howEnded(a); why != "" {
		b.WriteString(": " + why)
	}
	b.WriteString("\n")
	if a.JobID != "" {
		fmt.Fprintf(b, "         job %s", clean(a.JobID))
		if a.AllocID != "" {
			fmt.Fprintf(b, ", allocation %s", clean(a.AllocID))
		}
		b.WriteString("\n")
	}
	for _, note := range a.Notes {
		b.WriteString("         note: " + clean(note) + "\n")
	}
}
