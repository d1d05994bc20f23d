// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package cli

import (
	"slices"
	"strings"

	"github.com/cairnflow/cairn/hcl"
	"github.com/cairnflow/cairn/internal/workflow"
)

// renderedRun stands for the ID of a run in rendered jobs.
const renderedRun = workflow.RunID("22222222222222222222")

func renderCommand(a *App) *command {
	var p params
	var name, task string
	var instance instanceFlag
	c := &command{
		synopsis:  "Print the Nomad jobs that tasks become",
		arguments: "FILE",
		min:       1,
		max:       1,
		about: `Prints the Nomad job that each task of the workflow in FILE becomes, as JSON that "nomad job run -json"
accepts: one document for each instance, in the order of the tasks. Of a dispatch it prints the request.
Tasks that need no worker (approvals, waits, calls, child runs, joins) have no job.

Outputs of other tasks are not known before a run. In their place stands the output's default, else 0,
false, an empty collection, or the text "output NAME of task TASK". The run's ID, the cluster and the
fence are placeholders too. Sensitive values read "(sensitive)".`,
		examples: []string{
			"cairn render examples/etl",
			"cairn render -task extract -instance eu examples/etl | nomad job validate -json -",
		},
		options: append(p.options(a),
			predicted(textOption(&name, "workflow", "NAME", "The workflow to render, where FILE holds several."), a.predictWorkflowNames()),
			predicted(textOption(&task, "task", "NAME", "Only this task."), a.predictTasksOfFile()),
			instance.option("With -task: only this instance of a fan-out."),
		),
		predict: predictWorkflow,
	}
	c.run = func(args []string) int {
		if instance.key != nil && task == "" {
			return c.usageError("-instance is about the instances of a task: it needs -task")
		}
		return a.render(args[0], name, &p, func(t *workflow.Task, each *workflow.Each) bool {
			return (task == "" || t.Name == task) && (instance.key == nil || each != nil && each.Key == *instance.key)
		})
	}
	return c
}

func (a *App) render(path, name string, p *params, wanted func(*workflow.Task, *workflow.Each) bool) int {
	def, r, code := a.prepare(path, name, p, false, placeholder)
	if r == nil {
		return code
	}
	found := 0
	var secret, none []string
	for n := range def.Tasks {
		t := &def.Tasks[n]
		if !t.BodyKind.Cluster() {
			if wanted(t, &workflow.Each{}) || wanted(t, nil) {
				found++
				none = append(none, t.Name+" ("+string(t.BodyKind)+")")
			}
			continue
		}
		jobs, seen, err := r.jobs(n, wanted)
		found += seen
		if err != nil {
			a.errorf("Task %s cannot be rendered before a run: %s", t.Name, err)
			code = exitFailed
		}
		for _, j := range jobs {
			a.print(string(j.text))
			if j.sensitive && !slices.Contains(secret, t.Name) {
				secret = append(secret, t.Name)
			}
		}
	}
	if found == 0 && code == exitOK {
		a.errorf("There is no such task or instance in workflow %s.", def.Name)
		return exitUsage
	}
	if len(none) > 0 {
		a.say("No job, as they need no worker: %s.", strings.Join(none, ", "))
	}
	if len(secret) > 0 {
		a.warnf("%s", hiddenNote(secret))
	}
	return code
}

// prepare reads a workflow and its params for showing what would run. Without a renderer the exit code says why.
func (a *App) prepare(
	path, name string, p *params, asJSON bool, give func(*workflow.Task, *workflow.Output) workflow.Value,
) (*workflow.Definition, *renderer, int) {
	s, def, eval, code := a.compile(path, name, asJSON)
	if def == nil {
		return nil, nil, code
	}
	run := runValues(def, renderedRun, workflow.At(a.Now()))
	given, files, diags := p.given()
	s = s.over(files)
	var values map[string]workflow.Value
	if !diags.HasErrors() {
		var found hcl.Diagnostics
		values, found = hcl.Params(def, given, run)
		diags = append(diags, found...)
	}
	if diags.HasErrors() {
		a.report(s, diags, asJSON)
		return nil, nil, exitUsage
	}
	a.report(s, diags, false)
	r, err := newRendererWith(def, eval, run, hideSensitive(def, values), give)
	if err != nil {
		return nil, nil, a.broken(err)
	}
	return def, r, exitOK
}
