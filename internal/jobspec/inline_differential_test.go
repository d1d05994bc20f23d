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

	"github.com/cairnflow/cairn/internal/testcluster"
)

// inlineExceptions are the files whose task we mean to take otherwise when it is written in a workflow.
var inlineExceptions = map[string]exception{
	"own/roots-of-nobody.nomad.hcl":                                            unknownRoot,
	"nomad/demo/csi/ceph-csi-plugin/plugin-cephrbd-controller-vagrant.nomad":   unknownRoot,
	"nomad/demo/csi/ceph-csi-plugin/plugin-cephrbd-controller.nomad":           unknownRoot,
	"nomad/demo/csi/ceph-csi-plugin/plugin-cephrbd-node.nomad":                 unknownRoot,
	"nomad/demo/csi/digitalocean/plugin.nomad":                                 unknownRoot,
	"nomad/demo/csi/digitalocean/volume-job.nomad":                             unknownRoot,
	"nomad/demo/csi/hostpath/plugin.nomad":                                     unknownRoot,
	"nomad/demo/csi/nfs/jobs/controller-plugin.nomad.hcl":                      unknownRoot,
	"nomad/demo/csi/nfs/jobs/node-plugin.nomad.hcl":                            unknownRoot,
	"nomad/e2e/csi/input/plugin-aws-ebs-controller.nomad":                      unknownRoot,
	"nomad/e2e/csi/input/plugin-aws-ebs-nodes.nomad":                           unknownRoot,
	"nomad/e2e/csi/input/plugin-aws-efs-nodes.nomad":                           unknownRoot,
	"nomad/e2e/ui/input/proxy.nomad":                                           unknownRoot,
	"nomad/enos/modules/run_workloads/jobs/plugin-nfs-controllers.nomad.hcl":   unknownRoot,
	"nomad/enos/modules/run_workloads/jobs/plugin-nfs-nodes.nomad.hcl":         unknownRoot,
	"docs/website/content/docs/reference/runtime-variable-interpolation.mdx#2": unknownRoot,
	"docs/website/content/docs/secure/workload-identity/vault.mdx#4":           unknownRoot,
	"docs/website/content/docs/secure/workload-identity/vault.mdx#5":           unknownRoot,
	"docs/website/content/docs/secure/workload-identity/vault.mdx#6":           unknownRoot,
}

var unknownRoot = exception{"only we refuse", "a name that is neither a root of Nomad's nor declared in env is an error in a workflow, which asks for $${…}"}

func TestInlineBodiesDecodeAsNomadDecodesThem(t *testing.T) {
	binary := testcluster.NomadBinary(t)
	differential(t, corpus(t), inlineExceptions, func(t testing.TB, f corpusFile) (string, string) {
		job, body, ok := inlineForm(f)
		if !ok {
			return notApplicable, ""
		}
		vars := neededVariables(job)
		return outcome(t, nomadVerdict(t, binary, job, vars), inlineVerdict(t, job, body, vars))
	})
}

// inlineForm takes the first group with exactly one task out of a job file and writes it twice, from the same pieces of
// source: as a job file, and as the inline body of a workflow's task. Fields that Cairn owns are left out of both.
func inlineForm(f corpusFile) (job corpusFile, body string, ok bool) {
	file, diags := hclsyntax.ParseConfig(f.src, "job.nomad.hcl", hcl.InitialPos)
	if diags.HasErrors() {
		return f, "", false
	}
	var preamble, jobItems, groupItems, taskItems string
	for _, b := range file.Body.(*hclsyntax.Body).Blocks {
		if b.Type != "job" {
			preamble += sourceOf(f, b.Range()) + "\n"
			continue
		}
		group, task := singleTask(b)
		if task == nil || ok {
			continue
		}
		ok = true
		jobItems, groupItems, taskItems = items(f, b.Body, 2), items(f, group.Body, 1), items(f, task.Body, 0)
	}
	job = f
	job.src = fmt.Appendf(nil, "%sjob \"inline\" {\ntype = \"batch\"\n%sgroup \"work\" {\n%stask \"work\" {\n%s}\n}\n}\n", preamble, jobItems, groupItems, taskItems)
	return job, jobItems + groupItems + taskItems, ok
}

// singleTask returns the first group of a job that has exactly one task, and the task.
func singleTask(job *hclsyntax.Block) (group, task *hclsyntax.Block) {
	for _, g := range job.Body.Blocks {
		if g.Type != "group" {
			continue
		}
		var tasks []*hclsyntax.Block
		for _, b := range g.Body.Blocks {
			if b.Type == "task" || b.Type == dynamicName && b.Labels[0] == "task" {
				tasks = append(tasks, b)
			}
		}
		if len(tasks) == 1 && tasks[0].Type == "task" {
			return g, tasks[0]
		}
	}
	return nil, nil
}

// items are the pieces of a body that an inline body takes from there: those whose field belongs to the nth of its structs.
func items(f corpusFile, b *hclsyntax.Body, target int) string {
	takes := func(name string) bool {
		field := bodies().inline.byName[name]
		if field == nil { // a mistake: keep it where both forms have it
			return target == 0
		}
		return field.target == target && IsTaskField(name)
	}
	var out strings.Builder
	for _, name := range sortedNames(b.Attributes) {
		if takes(name) {
			out.WriteString(sourceOf(f, b.Attributes[name].SrcRange) + "\n")
		}
	}
	for _, block := range b.Blocks {
		name := block.Type
		if name == dynamicName {
			name = block.Labels[0]
		}
		if takes(name) {
			out.WriteString(sourceOf(f, block.Range()) + "\n")
		}
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

// inlineVerdict decodes body the way a workflow would, with the variables and locals of the file.
func inlineVerdict(t testing.TB, job corpusFile, body string, vars map[string]string) verdict {
	t.Helper()
	jobFile, diags := CompileJob("job.nomad.hcl", job.src, AllFunctions(job.dir))
	if diags.HasErrors() {
		return verdict{refused: diags.Error()}
	}
	ctx, diags := jobFile.scope(variableValues(t, jobFile, vars))
	if diags.HasErrors() {
		return verdict{refused: diags.Error()}
	}
	ctx.Functions = Guard(ctx.Functions)
	if diags := authoredLocals(job, jobFile, ctx); diags.HasErrors() {
		return verdict{refused: diags.Error()}
	}
	file, diags := hclsyntax.ParseConfig([]byte(body), "body.hcl", hcl.InitialPos)
	if diags.HasErrors() {
		return verdict{refused: diags.Error()}
	}
	compiled, diags := CompileTask(file.Body.(*hclsyntax.Body), Options{
		Sources: map[string][]byte{"body.hcl": []byte(body)}, Known: jobRoots, NomadDefaults: true,
	})
	if diags.HasErrors() {
		return verdict{refused: diags.Error()}
	}
	if diags := compiled.Check(ctx); diags.HasErrors() {
		return verdict{refused: diags.Error()}
	}
	in, diags := compiled.DecodeTask(ctx)
	if diags.HasErrors() {
		return verdict{refused: diags.Error()}
	}
	out := in.Assemble("work")
	out.ID, out.Name = ptr("inline"), ptr("inline")
	return verdict{job: throughJSON(t, out)}
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
