// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package jobspec

import (
	"reflect"
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	nomadapi "github.com/hashicorp/nomad/api"
)

// CompileGroup prepares the body of a workflow's task that holds a group block: a whole Nomad group without the fields that
// Cairn owns, and beside it what says where the job may run (see IsPlacement). b is the body of the task. Everything else is as
// it is for CompileTask.
func CompileGroup(b *hclsyntax.Body, opts Options) (*Body, hcl.Diagnostics) {
	if opts.Own[groupName] { // the caller's word for the kind of body, and ours for the body itself
		own := make(map[string]bool, len(opts.Own))
		for name := range opts.Own {
			own[name] = name != groupName
		}
		opts.Own = own
	}
	body, diags := compile(b, bodies().grouped, levelGrouped, opts, nil)
	if !opts.AsNomad {
		diags = sorted(append(diags, groupProblems(body.body)...))
	}
	return body, diags
}

// groupProblems finds what a Nomad server would refuse, or what would leave Cairn without a verdict, where it can be seen
// before anything is evaluated.
func groupProblems(b *hclsyntax.Body) hcl.Diagnostics {
	i := slices.IndexFunc(b.Blocks, func(b *hclsyntax.Block) bool { return b.Type == groupName })
	if i < 0 {
		for _, block := range b.Blocks {
			if block.Type == dynamicName && slices.Equal(block.Labels, []string{groupName}) {
				return errorAt(block.DefRange(), "No dynamic group", "A task has one group, which no dynamic block can make. Write group { … }.")
			}
		}
		return errorAt(b.MissingItemRange(), "Missing group block", "Write group { … } with the tasks that run together.")
	}
	group := b.Blocks[i]
	var diags hcl.Diagnostics
	named := map[string]hcl.Range{}
	main, sure := false, true
	for _, task := range group.Body.Blocks {
		switch {
		case task.Type == dynamicName && slices.Equal(task.Labels, []string{"task"}):
			sure = false
		case task.Type != "task" || len(task.Labels) != 1:
		default:
			if first, ok := named[task.Labels[0]]; ok {
				diags = append(diags, errorAt(task.LabelRanges[0], "Duplicate task",
					"The group has a task %q at %s already. Each task of a group has a name of its own.", task.Labels[0], lineOf(first))...)
			}
			named[task.Labels[0]] = task.LabelRanges[0]
			main = main || !hasBlock(task.Body.Blocks, "lifecycle")
			if task.Body.Attributes["driver"] == nil {
				diags = append(diags, errorAt(task.LabelRanges[0], "Missing driver",
					"Task %q of the group has no driver. Write driver = \"docker\" (or exec, raw_exec, java, …).", task.Labels[0])...)
			}
		}
	}
	if sure && !main {
		diags = append(diags, noMainTask(group.DefRange(), len(named))...)
	}
	return diags
}

func noMainTask(at hcl.Range, tasks int) hcl.Diagnostics {
	if tasks == 0 {
		return errorAt(at, "No task", "This group has no task. Write task \"name\" { … } in it for each program that it runs.")
	}
	return errorAt(at, "No main task", "Every task of this group has a lifecycle block, so none does the work that the group is for. "+
		"The group's verdict is that of its main tasks: give it at least one task without lifecycle.")
}

// Grouped is a decoded body with a group block. Job holds what stands beside it and has no groups; Group has no name.
type Grouped struct {
	Group *nomadapi.TaskGroup
	Job   *nomadapi.Job
}

// DecodeGroup evaluates the body of a task with a group block. There must be no unknown value in ctx that the body uses.
func (b *Body) DecodeGroup(ctx *hcl.EvalContext) (*Grouped, hcl.Diagnostics) {
	targets, diags := b.decode(ctx, false)
	if diags.HasErrors() {
		return nil, diags
	}
	return &Grouped{
		Group: targets[0].Interface().(*groupHolder).Group,
		Job:   targets[1].Interface().(*nomadapi.Job),
	}, diags
}

// finishHolder refuses a group whose tasks turned out to be helpers without anybody to help.
func finishHolder(d *decoder, targets []reflect.Value, at hcl.Range) hcl.Diagnostics {
	h := targets[0].Interface().(*groupHolder)
	isMain := func(t *nomadapi.Task) bool { return t.Lifecycle == nil || t.Lifecycle.Hook == "" }
	if d.asNomad || h.Group == nil || slices.ContainsFunc(h.Group.Tasks, isMain) {
		return nil
	}
	return noMainTask(at, len(h.Group.Tasks))
}

// Assemble makes the batch job of a group, called name; its tasks keep their names. Everything that identifies an attempt is
// the adapter's to set. The job shares memory with g.
func (g *Grouped) Assemble(name string) *nomadapi.Job {
	group := *g.Group
	return batchJob(g.Job, &group, name)
}
