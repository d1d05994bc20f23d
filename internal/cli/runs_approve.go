// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/client"
)

func runsApproveCommand(a *App) *command {
	return answerCommand(a, api.VerbApprove, "Approve what a run asks for",
		`Says yes to an approval that a run waits for; its inputs and the comment become outputs of the task.
TASK may be left out when the run waits for exactly one approval, and -instance when the task does.
If nobody drives the run, this process does until it has ended.`,
		[]string{
			"cairn runs approve 3kq6t2dlxyvm2hd4wq3a",
			"cairn runs approve -input limit=500 -comment 'checked with finance' 3kq6t2dlxyvm2hd4wq3a release",
		})
}

func runsRejectCommand(a *App) *command {
	return answerCommand(a, api.VerbReject, "Reject what a run asks for",
		`Says no to an approval that a run waits for: the task fails and is not tried again. TASK may be left out
when the run waits for exactly one approval, and -instance when the task does. If nobody drives the run,
this process does until it has ended.`,
		[]string{"cairn runs reject -comment 'numbers look wrong' 3kq6t2dlxyvm2hd4wq3a"})
}

// answerCommand is a command that answers an approval.
func answerCommand(a *App, verb api.Verb, synopsis, about string, examples []string) *command {
	var v verbFlags
	var comment string
	var inputs pairs
	var instance instanceFlag
	c := &command{
		synopsis:  synopsis,
		arguments: "ID [TASK]",
		min:       1,
		max:       2,
		about:     about,
		examples:  examples,
		options:   []option{instance.option("The instance of a fan-out.")},
		predict:   a.predictRunAndTask(),
	}
	if verb == api.VerbApprove {
		c.options = append(c.options, inputs.option("input", `Give an input of the approval. One of type string takes the text as it is, any other an HCL
expression. May be repeated.`))
	}
	c.options = append(append(c.options, textOption(&comment, "comment", "TEXT", "What others should know: the output comment of the task. The same as -reason.")), v.options()...)
	c.run = func(args []string) int {
		if comment != "" && v.reason != "" {
			return c.usageError("-comment and -reason are the same: give one of them")
		}
		req := v.request(a)
		req.Reason, req.Texts, req.Key = comment+v.reason, inputs, instance.key
		if len(args) > 1 {
			req.Task = args[1]
		}
		return a.answerApproval(args[0], verb, req, v.json)
	}
	return c
}

func (a *App) answerApproval(text string, verb api.Verb, req api.VerbRequest, asJSON bool) int {
	r, id, code := a.open(text)
	if r == nil {
		return code
	}
	defer r.Close()
	run, err := r.Run(context.Background(), string(id))
	if err != nil {
		return a.broken(err)
	}
	if problem := chooseApproval(context.Background(), r.Client, run, verb, &req); problem != "" {
		a.errorf("%s", problem)
		return exitFailed
	}
	return a.useVerbOn(r, id, verb, req, asJSON)
}

// question is an approval that a run waits for.
type question struct {
	task string
	key  *string
	ask  *api.Approval
}

func (q question) String() string {
	if q.key == nil {
		return q.task
	}
	return q.task + " -instance " + quoteWord(*q.key)
}

// questions are the approvals that a run waits for, as far as its document lists them.
func questions(run *api.Run) []question {
	var out []question
	for n := range run.Tasks {
		out = append(out, questionsOf(run.Tasks[n].Name, run.Tasks[n].Instances)...)
	}
	return out
}

func questionsOf(task string, instances []api.Instance) []question {
	var out []question
	for i := range instances {
		if in := &instances[i]; in.Approval != nil {
			out = append(out, question{task, in.Key, in.Approval})
		}
	}
	return out
}

// chooseApproval fills in the task and the instance where only one is possible. It returns what is wrong, or nothing.
func chooseApproval(ctx context.Context, c *client.Client, run *api.Run, verb api.Verb, req *api.VerbRequest) string {
	open := questions(run)
	for n := range run.Tasks { // a large fan-out is not in the document
		t := &run.Tasks[n]
		if t.Body != "approval" || t.InstanceCounts["waiting"] == 0 {
			continue
		}
		page, err := c.Instances(ctx, run.ID, client.InstancesQuery{Task: t.Name, Status: "waiting", PerPage: maxPerPage})
		if err != nil {
			return sentence(err)
		}
		open = append(open, questionsOf(t.Name, page.Instances)...)
	}
	if req.Task != "" {
		open = slices.DeleteFunc(open, func(q question) bool { return q.task != req.Task })
	}
	switch {
	case req.Task != "" && (req.Key != nil || len(open) == 0):
		return "" // whether it fits is for the answer to say
	case len(open) == 0:
		return fmt.Sprintf("Run %s is %s and waits for no approval.", run.ID, run.Status)
	case req.Key != nil && req.Task == "":
		return "-instance names an instance of a task: name the task, too."
	case len(open) > 1:
		var lines []string
		for _, q := range open[:min(len(open), maxQuestions)] {
			lines = append(lines, fmt.Sprintf("  cairn runs %s %s %s", verb, run.ID, q))
		}
		if more := len(open) - maxQuestions; more > 0 {
			lines = append(lines, fmt.Sprintf("  … and %d more", more))
		}
		return fmt.Sprintf("Run %s waits for %d approvals. Say which one is meant:\n%s", run.ID, len(open), strings.Join(lines, "\n"))
	}
	req.Task, req.Key = open[0].task, open[0].key
	return ""
}

// maxQuestions bounds how many open approvals a message lists.
const maxQuestions = 10
