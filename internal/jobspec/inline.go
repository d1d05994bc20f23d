// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package jobspec

import (
	"cmp"
	"reflect"
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	nomadapi "github.com/hashicorp/nomad/api"
)

// Options say how a body stands in its file. The zero value is enough for a body without anything of the caller's in it.
type Options struct {
	// Sources are the contents of the files, by the name they were parsed under. A run-time reference is copied from there;
	// without it, it is written anew, which may lose the author's spaces.
	Sources map[string][]byte
	// Own are the names in the body that are the caller's (retry, when, output, …): neither checked nor decoded, but offered as
	// suggestions for a name that is nobody's.
	Own map[string]bool
	// Known are roots the caller defines (param, local, task, …). They win over names that the body's env declares.
	Known map[string]bool
	// Tainted reports whether the value of a reference (a local, say) carries run-time text. It may be nil.
	Tainted func(hcl.Traversal) bool
	// AsNomad takes the body the way Nomad's parser takes a job file, to compare the two. Otherwise the change_mode of a template is
	// noop by default, because a batch task that is restarted behind Cairn's back would run twice, and a group is an error
	// that a server would refuse or that has no main task.
	AsNomad bool
}

// Body is a checked and rewritten body, ready to be evaluated any number of times, by several goroutines at once.
type Body struct {
	schema *schema
	body   *hclsyntax.Body
	opts   Options
	at     hcl.Range
}

// CompileTask prepares the body of an inline task: a Nomad task plus the placement fields of its group and job. The diagnostics
// name every argument and block that does not belong, and every run-time reference that is computed with. The Body may be
// used even if there are errors, to find more of them.
func CompileTask(b *hclsyntax.Body, opts Options) (*Body, hcl.Diagnostics) {
	declared := map[string]bool{}
	declaredEnv(b, declared)
	return compile(b, bodies().inline, levelInline, opts, declared)
}

func compile(b *hclsyntax.Body, s *schema, l level, opts Options, declared map[string]bool) (*Body, hcl.Diagnostics) {
	r := newRewriter(&opts, declared)
	out := r.body(b, nil, opts.Own)
	names := &namesCheck{owned: true, extra: opts.Own}
	names.body(out, s, l)
	return &Body{schema: s, body: out, opts: opts, at: b.MissingItemRange()}, sorted(append(names.diags, r.diags...))
}

// Variables lists the references of the body that are left for the caller to give values for.
func (b *Body) Variables() []hcl.Traversal {
	var out []hcl.Traversal
	collectVariables(b.body, nil, &out)
	return out
}

// Expressions lists the expressions of the body as they will be evaluated, but for those in dynamic blocks, which depend on
// iterators.
func (b *Body) Expressions() []hclsyntax.Expression {
	var out []hclsyntax.Expression
	var walk func(*hclsyntax.Body)
	walk = func(body *hclsyntax.Body) {
		for _, name := range sortedNames(body.Attributes) {
			out = append(out, body.Attributes[name].Expr)
		}
		for _, block := range body.Blocks {
			if block.Type != dynamicName {
				walk(block.Body)
			}
		}
	}
	walk(b.body)
	return out
}

// collectVariables walks a body in source order as far as there is one, leaving out what dynamic blocks bind.
func collectVariables(b *hclsyntax.Body, bound []string, out *[]hcl.Traversal) {
	for _, name := range sortedNames(b.Attributes) {
		for _, t := range Variables(b.Attributes[name].Expr) {
			if !slices.Contains(bound, t.RootName()) {
				*out = append(*out, t)
			}
		}
	}
	for _, block := range b.Blocks {
		if block.Type != dynamicName || len(block.Labels) != 1 {
			collectVariables(block.Body, bound, out)
			continue
		}
		if attr := block.Body.Attributes["for_each"]; attr != nil {
			for _, t := range Variables(attr.Expr) {
				if !slices.Contains(bound, t.RootName()) {
					*out = append(*out, t)
				}
			}
		}
		inner := append(slices.Clip(bound), iteratorName(block))
		if attr := block.Body.Attributes["labels"]; attr != nil {
			collectVariables(&hclsyntax.Body{Attributes: hclsyntax.Attributes{"labels": attr}}, inner, out)
		}
		if content := contentOf(block); content != nil {
			collectVariables(content.Body, inner, out)
		}
	}
}

// Check evaluates the body with values that may be unknown and reports what cannot be right whatever they turn out to be.
func (b *Body) Check(ctx *hcl.EvalContext) hcl.Diagnostics {
	_, diags := b.decode(ctx, true)
	return diags
}

// Inline is a decoded inline body. Group and Job hold what the body says beside its task: Group has no name and no tasks, Job
// no groups.
type Inline struct {
	Task  *nomadapi.Task
	Group *nomadapi.TaskGroup
	Job   *nomadapi.Job
}

// DecodeTask evaluates the body of an inline task. There must be no unknown value in ctx that the body uses.
func (b *Body) DecodeTask(ctx *hcl.EvalContext) (*Inline, hcl.Diagnostics) {
	targets, diags := b.decode(ctx, false)
	if diags.HasErrors() {
		return nil, diags
	}
	return &Inline{
		Task:  targets[0].Interface().(*nomadapi.Task),
		Group: targets[1].Interface().(*nomadapi.TaskGroup),
		Job:   targets[2].Interface().(*nomadapi.Job),
	}, diags
}

// Job evaluates a body of either form and assembles the job of one attempt, whose group is called name.
func (b *Body) Job(ctx *hcl.EvalContext, name string) (*nomadapi.Job, hcl.Diagnostics) {
	if b.schema == bodies().grouped {
		g, diags := b.DecodeGroup(ctx)
		if diags.HasErrors() {
			return nil, diags
		}
		return g.Assemble(name), diags
	}
	in, diags := b.DecodeTask(ctx)
	if diags.HasErrors() {
		return nil, diags
	}
	return in.Assemble(name), diags
}

func (b *Body) decode(ctx *hcl.EvalContext, checking bool) ([]reflect.Value, hcl.Diagnostics) {
	d := &decoder{checking: checking, asNomad: b.opts.AsNomad}
	targets := newTargets(b.schema)
	d.body(b.body, ctx, b.schema, targets, b.at)
	return targets, sorted(d.diags)
}

// Assemble makes the batch job of an inline body: one group with one task, both called name. Everything that identifies an
// attempt (ID, meta, environment, policies) is the adapter's to set. The job shares memory with in.
func (in *Inline) Assemble(name string) *nomadapi.Job {
	group, task := *in.Group, *in.Task
	task.Name = name
	group.Tasks = []*nomadapi.Task{&task}
	return batchJob(in.Job, &group, name)
}

// batchJob is job with one group. group is changed.
func batchJob(job *nomadapi.Job, group *nomadapi.TaskGroup, name string) *nomadapi.Job {
	out, batch := *job, nomadapi.JobTypeBatch
	group.Name = &name
	out.Type = &batch
	out.TaskGroups = []*nomadapi.TaskGroup{group}
	return &out
}

// sorted puts diagnostics in the order of the source, which people read from the top.
func sorted(diags hcl.Diagnostics) hcl.Diagnostics {
	slices.SortStableFunc(diags, func(a, b *hcl.Diagnostic) int {
		if a.Subject == nil || b.Subject == nil {
			return 0
		}
		return cmp.Or(cmp.Compare(a.Subject.Filename, b.Subject.Filename), cmp.Compare(a.Subject.Start.Byte, b.Subject.Start.Byte))
	})
	return diags
}

// Placement is the region and the namespace that the body names, as far as they are known with values that may be unknown;
// empty where it names none.
func (b *Body) Placement(ctx *hcl.EvalContext) (region, namespace string) {
	targets, _ := b.decode(ctx, true) // what is wrong was told by Check
	for _, target := range targets {
		if job, ok := target.Interface().(*nomadapi.Job); ok {
			return placement(job)
		}
	}
	return "", ""
}

func placement(job *nomadapi.Job) (region, namespace string) {
	if job == nil {
		return "", ""
	}
	if job.Region != nil {
		region = *job.Region
	}
	if job.Namespace != nil {
		namespace = *job.Namespace
	}
	return region, namespace
}
