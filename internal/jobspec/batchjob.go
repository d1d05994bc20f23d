// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package jobspec

import (
	"strings"

	"github.com/hashicorp/hcl/v2"
	nomadapi "github.com/hashicorp/nomad/api"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
)

// CompileBatchJob is CompileJob for a file that a workflow's task runs: a job that begins when it is registered and is over when
// its tasks are. Others are refused here or, where their type is computed, by Check and Decode. Values for variables may come from
// the author of the workflow, rewritten, or from data (see Data); data that Nomad would take for a template is refused, because the
// file is taken as it is and may use the value where nothing can be escaped.
func CompileBatchJob(filename string, src []byte, functions map[string]function.Function) (*JobFile, hcl.Diagnostics) {
	j, diags := CompileJob(filename, src, functions)
	if j == nil {
		return nil, diags
	}
	j.forTask = true
	for _, b := range j.job.Body.Blocks {
		name, at := b.Type, b.TypeRange
		if name == dynamicName && len(b.Labels) == 1 {
			name, at = b.Labels[0], b.LabelRanges[0]
		}
		if advice := unfitBlocks[name]; advice != "" {
			diags = append(diags, errorAt(at, "Not for a workflow's task", "%s", advice)...)
		}
	}
	typ := j.job.Body.Attributes["type"]
	if typ == nil {
		diags = append(diags, errorAt(j.job.DefRange(), "Not for a workflow's task", "%s", unfitTypes[""])...)
	} else if v, more := typ.Expr.Value(nil); !more.HasErrors() && v.Type() == cty.String && v.IsKnown() && !v.IsNull() {
		diags = append(diags, unfitTypeAt(v.AsString(), typ.Expr.Range())...)
	}
	if diags.HasErrors() {
		return nil, sorted(diags)
	}
	return j, diags
}

// unfitBlocks are blocks of a job that is not started by being registered.
var unfitBlocks = map[string]string{
	"parameterized": "A parameterized job does nothing until it is dispatched. Register it with Nomad, and write a dispatch block in the task instead of job.",
	"periodic": "A periodic job is started by Nomad's clock and not by a workflow. Take the block out of the file, or register a parameterized job with " +
		"Nomad and write a dispatch block in the task.",
}

// unfitTypes are the types of job that a task cannot wait for. The empty one is a file that says none.
var unfitTypes = map[string]string{
	"": "A job file that says no type is a service, which never ends by itself, and a task of a workflow has to end. Write type = \"batch\" in the file.",
	nomadapi.JobTypeService: "A service never ends by itself, and a task of a workflow has to end. Run it with nomad job run, or write type = \"batch\" " +
		"if its tasks end.",
	nomadapi.JobTypeSystem: "A system job runs on every node for ever, and a task of a workflow has to end. Run it with nomad job run.",
	nomadapi.JobTypeSysbatch: "A sysbatch job runs on every node, those that join later included, so there is no moment when it is over. Write type = " +
		"\"batch\", with for_each in the task to run it several times.",
}

func unfitTypeAt(typ string, at hcl.Range) hcl.Diagnostics {
	if typ == nomadapi.JobTypeBatch {
		return nil
	}
	advice := unfitTypes[typ]
	if typ == "" || advice == "" {
		return errorAt(at, "Not for a workflow's task", "A task of a workflow runs jobs of type batch; Nomad knows no type %q.", typ)
	}
	return errorAt(at, "Not for a workflow's task", "%s", advice)
}

// unfitType judges a job whose type was computed. It is nil while it is unknown.
func (j *JobFile) unfitType(job *nomadapi.Job) hcl.Diagnostics {
	at := j.job.Body.Attributes["type"].Expr.Range()
	if job.Type == nil {
		return nil
	}
	return unfitTypeAt(*job.Type, at)
}

// plainValues are the values that a workflow gives to the variables, as ordinary text.
func (j *JobFile) plainValues(vars map[string]cty.Value, diags hcl.Diagnostics) (map[string]cty.Value, hcl.Diagnostics) {
	out := make(map[string]cty.Value, len(vars))
	for name, v := range vars {
		if anyText(v, dataReadsAsTemplate) {
			diags = append(diags, errorAt(j.declaredAt(name), "Value that Nomad would evaluate",
				"The value given for %s contains ${, %%{ or {{ that comes from data. A job file is taken as it is, so Nomad would evaluate it. "+
					"Write the job's task inline, where it is escaped, or let the task fetch the value.", name)...)
		}
		out[name] = Plain(v)
	}
	return out, diags
}

func (j *JobFile) declaredAt(name string) hcl.Range {
	for _, v := range j.variables {
		if v.name == name {
			return v.at
		}
	}
	return j.job.DefRange()
}

// dataReadsAsTemplate reports whether evaluated text holds a template, or a part of one, that the author did not write.
func dataReadsAsTemplate(s string) bool {
	safe, err := actionText(s, defaultLeft, defaultRight)
	bare := withoutActions(s)
	return err != nil || safe != plainText(s) || strings.Contains(bare, "${") || strings.Contains(bare, "%{")
}
