// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package jobspec

import (
	"fmt"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// bodyForm is one way in which a workflow's task can hold what a group of a job file says.
type bodyForm struct {
	name    string
	compile func(*hclsyntax.Body, Options) (*Body, hcl.Diagnostics)
	// write takes a group out of a job and writes it twice, from the same pieces of source: as a group of a job file, called
	// name, and as the body of a workflow's task. Fields that Cairn owns are in neither. Without a reason, it can be written.
	write func(f corpusFile, job, group *hclsyntax.Block, name string) (p piece, reason string)
}

// piece is one group of a file in both writings. job is what both have in the job.
type piece struct {
	form                   *bodyForm
	index                  int
	name, job, group, body string
}

var (
	groupForm  = bodyForm{name: "group", compile: CompileGroup, write: writeGroup}
	inlineForm = bodyForm{name: "inline", compile: CompileTask, write: writeInline}
)

// pieces are the groups of a file in one form, and for each group whether it can be written so, or why not. A file without
// groups has one reason.
func (form *bodyForm) pieces(f corpusFile) (preamble string, pieces []piece, reasons []string) {
	file, diags := hclsyntax.ParseConfig(f.src, "job.nomad.hcl", hcl.InitialPos)
	if diags.HasErrors() {
		return "", nil, []string{"the file does not parse"}
	}
	for _, b := range file.Body.(*hclsyntax.Body).Blocks {
		if b.Type != "job" {
			preamble += sourceOf(f, b.Range()) + "\n"
			continue
		}
		for _, g := range b.Body.Blocks {
			if g.Type == dynamicName && g.Labels[0] == groupName {
				reasons = append(reasons, "the group is made by a dynamic block")
			}
			if g.Type != groupName {
				continue
			}
			p, reason := form.write(f, b, g, fmt.Sprintf("%s%d", form.name, len(reasons)))
			if reason == "" {
				p.form, p.index = form, len(reasons)
				pieces = append(pieces, p)
			}
			reasons = append(reasons, reason)
		}
	}
	if len(reasons) == 0 {
		reasons = []string{"the job has no group"}
	}
	return preamble, pieces, reasons
}

// jobOf is a job file of pieces. All of them have the same in the job.
func jobOf(f corpusFile, preamble string, pieces ...piece) corpusFile {
	groups := ""
	for _, p := range pieces {
		groups += p.group
	}
	f.src = fmt.Appendf(nil, "%sjob \"form\" {\ntype = \"batch\"\n%s%s}\n", preamble, pieces[0].job, groups)
	return f
}

func writeGroup(f corpusFile, job, group *hclsyntax.Block, name string) (p piece, reason string) {
	allowed := func(n string) bool { return refusedWords[n] == "" }
	inner := ""
	for _, item := range itemsOf(f, group.Body, allowed) {
		if item.block != nil && item.block.Type == "task" && len(item.block.Labels) == 1 {
			item.text = fmt.Sprintf("task %q {\n%s}\n", item.block.Labels[0], joined(itemsOf(f, item.block.Body, allowed)))
		}
		inner += item.text
	}
	beside := joined(itemsOf(f, job.Body, IsPlacement))
	return piece{
		name:  name,
		job:   beside,
		group: fmt.Sprintf("group %q {\n%s}\n", name, inner),
		body:  fmt.Sprintf("%sgroup {\n%s}\n", beside, inner),
	}, ""
}

func writeInline(f corpusFile, job, group *hclsyntax.Block, name string) (p piece, reason string) {
	var tasks []*hclsyntax.Block
	for _, b := range group.Body.Blocks {
		switch {
		case b.Type == dynamicName && b.Labels[0] == "task":
			return p, "its tasks are made by a dynamic block"
		case b.Type == "task":
			tasks = append(tasks, b)
		}
	}
	switch len(tasks) {
	case 0:
		return p, "the group has no task"
	case 1:
	default:
		return p, "the group has several tasks"
	}
	// An inline body takes of each level what belongs to the matching one of its structs.
	takes := func(target int) func(string) bool {
		return func(n string) bool {
			field := bodies().inline.byName[n]
			if field == nil { // a mistake: keep it where both forms have it
				return target == 0
			}
			return field.target == target && IsTaskField(n)
		}
	}
	jobItems, groupItems := joined(itemsOf(f, job.Body, takes(2))), joined(itemsOf(f, group.Body, takes(1)))
	taskItems := joined(itemsOf(f, tasks[0].Body, takes(0)))
	return piece{
		name:  name,
		job:   jobItems,
		group: fmt.Sprintf("group %q {\n%stask %q {\n%s}\n}\n", name, groupItems, name, taskItems),
		body:  jobItems + groupItems + taskItems,
	}, ""
}

// item is the source of an argument or a block.
type item struct {
	text  string
	block *hclsyntax.Block
}

func itemsOf(f corpusFile, b *hclsyntax.Body, takes func(name string) bool) []item {
	var out []item
	for _, name := range sortedNames(b.Attributes) {
		if takes(name) {
			out = append(out, item{text: sourceOf(f, b.Attributes[name].SrcRange)})
		}
	}
	for _, block := range b.Blocks {
		name := block.Type
		if name == dynamicName {
			name = block.Labels[0]
		}
		if takes(name) {
			out = append(out, item{sourceOf(f, block.Range()), block})
		}
	}
	return out
}

func joined(items []item) string {
	var out strings.Builder
	for _, i := range items {
		out.WriteString(i.text)
	}
	return out.String()
}

func sourceOf(f corpusFile, r hcl.Range) string {
	src := string(f.src[r.Start.Byte:r.End.Byte])
	if !strings.HasSuffix(src, "\n") {
		src += "\n" // a heredoc ends with its own newline
	}
	return src
}

// bodyResults compares all groups of a file in both forms.
func bodyResults(t testing.TB, binary string, f corpusFile) []result {
	var results []result
	var all []piece
	var preamble string
	for _, form := range []*bodyForm{&groupForm, &inlineForm} {
		outer, pieces, reasons := form.pieces(f)
		preamble, all = outer, append(all, pieces...)
		for i, reason := range reasons {
			if reason != "" {
				results = append(results, result{form: form.name, name: fmt.Sprintf("%s group %d", f.name, i), outcome: notApplicable, detail: reason})
			}
		}
	}
	return append(results, compareBodies(t, binary, f, preamble, all)...)
}

// compareBodies asks Nomad for all pieces at once as far as they stand in the same job, and if it refuses them, for each by itself.
func compareBodies(t testing.TB, binary string, f corpusFile, preamble string, pieces []piece) []result {
	var results []result
	for len(pieces) > 0 {
		n := 1
		for n < len(pieces) && pieces[n].job == pieces[0].job {
			n++
		}
		results = append(results, compareAtOnce(t, binary, f, preamble, pieces[:n])...)
		pieces = pieces[n:]
	}
	return results
}

func compareAtOnce(t testing.TB, binary string, f corpusFile, preamble string, pieces []piece) []result {
	job := jobOf(f, preamble, pieces...)
	vars := neededVariables(job)
	nomads := nomadVerdict(t, binary, job, vars)
	var results []result
	if nomads.job == nil && len(pieces) > 1 {
		for _, p := range pieces {
			results = append(results, compareAtOnce(t, binary, f, preamble, []piece{p})...)
		}
		return results
	}
	if nomads.job != nil && len(nomads.job.TaskGroups) != len(pieces) {
		t.Errorf("%s: Nomad made %d groups of %d", f.name, len(nomads.job.TaskGroups), len(pieces))
		return nil
	}
	for i, p := range pieces {
		want := nomads
		if nomads.job != nil {
			single := *throughJSON(t, nomads.job)
			single.TaskGroups = single.TaskGroups[i : i+1]
			want.job = &single
		}
		r := result{form: p.form.name, name: fmt.Sprintf("%s group %d", f.name, p.index)}
		r.outcome, r.detail = outcome(t, want, p.verdict(t, f, preamble, vars))
		results = append(results, r)
	}
	return results
}

// verdict decodes a body the way a workflow would, with the variables and locals of the file.
func (p piece) verdict(t testing.TB, f corpusFile, preamble string, vars map[string]string) verdict {
	t.Helper()
	refused := func(diags hcl.Diagnostics) verdict { return verdict{refused: diags.Error()} }
	outer, diags := CompileJob("job.nomad.hcl", []byte(preamble+"job \"form\" {}\n"), f.functions())
	if diags.HasErrors() {
		return refused(diags)
	}
	ctx, diags := outer.scope(variableValues(t, outer, vars))
	if diags.HasErrors() {
		return refused(diags)
	}
	ctx.Functions = Guard(ctx.Functions)
	if diags := authoredLocals(f, outer, ctx); diags.HasErrors() {
		return refused(diags)
	}
	file, diags := hclsyntax.ParseConfig([]byte(p.body), "body.hcl", hcl.InitialPos)
	if diags.HasErrors() {
		return refused(diags)
	}
	body, diags := p.form.compile(file.Body.(*hclsyntax.Body), Options{
		Sources: map[string][]byte{"body.hcl": []byte(p.body)}, Known: jobRoots, AsNomad: true,
	})
	if diags.HasErrors() {
		return refused(diags)
	}
	if diags := body.Check(ctx); diags.HasErrors() {
		return refused(diags)
	}
	job, diags := body.Job(ctx, p.name)
	if diags.HasErrors() {
		return refused(diags)
	}
	job.ID, job.Name = ptr("form"), ptr("form")
	return verdict{job: throughJSON(t, job)}
}

// authoredLocals evaluates the locals of a file as a workflow's: as text of the author, whose templates stay templates.
func authoredLocals(f corpusFile, job *JobFile, ctx *hcl.EvalContext) hcl.Diagnostics {
	file, diags := hclsyntax.ParseConfig(f.src, "job.nomad.hcl", hcl.InitialPos)
	if diags.HasErrors() {
		return diags
	}
	exprs := map[string]hclsyntax.Expression{}
	for _, b := range file.Body.(*hclsyntax.Body).Blocks {
		if b.Type == "locals" {
			for name, attr := range b.Body.Attributes {
				exprs[name] = attr.Expr
			}
		}
	}
	locals := map[string]cty.Value{}
	for _, l := range job.locals {
		expr, diags := RewriteExpr(exprs[l.Name], Options{Sources: map[string][]byte{"job.nomad.hcl": f.src}, Known: jobRoots})
		if diags.HasErrors() {
			return diags
		}
		ctx.Variables["local"] = cty.ObjectVal(locals)
		if locals[l.Name], diags = expr.Value(ctx); diags.HasErrors() {
			return diags
		}
	}
	ctx.Variables["local"] = cty.ObjectVal(locals)
	return nil
}
