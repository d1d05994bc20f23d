// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package hcl

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/ext/typeexpr"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"

	"github.com/cairnflow/cairn/internal/workflow"
)

// job checks the job file of a task with the variables it is given.
func (c *checker) job(t *task, given cty.Value) {
	names, s := t.job.VariableNames(), t.parts["vars"]
	vars := map[string]cty.Value{}
	whole := given.IsKnown() && given.Type() != cty.DynamicPseudoType
	if whole && !given.IsNull() {
		for it := given.ElementIterator(); it.Next(); {
			k, e := it.Element()
			vars[k.AsString()] = e
		}
	}
	if !c.jobVariables(t, s, vars, whole) {
		return
	}
	if !whole {
		for _, name := range names {
			vars[name] = cty.DynamicVal
		}
	}
	t.jobVars = vars
	secret := s != nil && c.flow.readsSecret(s.refs, c.scope)
	diags := t.job.Check(vars)
	if secret {
		for i, d := range diags {
			hidden := *d
			hidden.Detail = withheld
			diags[i] = &hidden
		}
	}
	c.addNew(diags)
}

// jobVariables checks the values given to a job file at the place where they are given.
func (c *checker) jobVariables(t *task, s *site, vars map[string]cty.Value, whole bool) bool {
	names, declared := t.job.VariableNames(), c.declaredVariables(t.jobFile)
	ok := true
	for _, name := range sortedKeys(vars) {
		if !slices.Contains(names, name) {
			c.errorf(keyRange(s, name), "Unknown variable", "The job file %s declares no variable %s.%s", t.jobFile, shorten(name), c.suggest(name, names))
			ok = false
		} else if v := declared[name]; v != nil && v.want != cty.NilType {
			if _, err := convert.Convert(vars[name], v.want); err != nil {
				err = unfit(v.want, err, c.flow.readsSecret(s.refs, c.scope))
				c.errorf(keyRange(s, name), "Wrong variable", "The variable %s of the job file %s", name, sentence(err))
				ok = false
			}
		}
	}
	for _, name := range names {
		v := declared[name]
		if _, given := vars[name]; whole && !given && v != nil && !v.optional {
			c.errorf(t.content.TypeRange, "Missing variable", "The job file %s needs a value for its variable %s: write vars = { %s = … } in job of task %s.", t.jobFile, name, name, t.name)
			ok = false
		}
	}
	return ok
}

// declaredVariable is what the checks at the place of the call know of a variable of a job file.
type declaredVariable struct {
	want     cty.Type // NilType: any
	optional bool
}

func (c *checker) declaredVariables(name string) map[string]*declaredVariable {
	file := c.flow.module.bundle.files[name]
	parsed, diags := hclsyntax.ParseConfig(file.Bytes, file.Path, hcl.InitialPos)
	if diags.HasErrors() {
		return nil
	}
	out := map[string]*declaredVariable{}
	for _, b := range parsed.Body.(*hclsyntax.Body).Blocks {
		if b.Type != "variable" || len(b.Labels) != 1 {
			continue
		}
		v := &declaredVariable{optional: b.Body.Attributes["default"] != nil}
		if attr := b.Body.Attributes["type"]; attr != nil {
			if ty, diags := typeexpr.Type(attr.Expr); !diags.HasErrors() && ty != cty.DynamicPseudoType {
				v.want = ty
			}
		}
		out[b.Labels[0]] = v
	}
	return out
}

// keyRange is where an element of an object is written.
func keyRange(s *site, name string) hcl.Range {
	if object, ok := s.expr.(*hclsyntax.ObjectConsExpr); ok {
		for _, item := range object.Items {
			if k, diags := item.KeyExpr.Value(nil); !diags.HasErrors() && k.Type() == cty.String && k.AsString() == name {
				return item.KeyExpr.Range()
			}
		}
	}
	return s.at()
}

// foreignJobs says once what Cairn does not promise for jobs that are not its own.
func (c *checker) foreignJobs() {
	var tasks []*task
	for _, t := range c.flow.tasks {
		if t.kindOfBody == workflow.BodyJob || t.kindOfBody == workflow.BodyDispatch {
			tasks = append(tasks, t)
		}
	}
	if len(tasks) == 0 {
		return
	}
	names := make([]string, len(tasks))
	for i, t := range tasks {
		names[i] = t.name
	}
	const shown = 5
	if len(names) > shown {
		names = append(names[:shown], fmt.Sprintf("%d more", len(names)-shown))
	}
	c.warnf(tasks[0].content.TypeRange, "A job that is not Cairn's",
		"The jobs of these tasks run unchanged: %s. Each keeps its own restart, reschedule and disconnect, has no outputs, and nothing keeps an attempt from overlapping one whose worker was lost.",
		strings.Join(names, ", "))
}
