// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package hcl

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"

	"github.com/cairnflow/cairn/internal/jobspec"
	"github.com/cairnflow/cairn/internal/workflow"
)

// The names an expression may begin with.
var roots = []string{"param", "local", "each", "attempt", "run", "task"}

// statusRoot is the hidden root that task.x.status of a fan-out is turned into: there task.x is a collection of instances,
// which has no room for the status of the whole.
const statusRoot = "status of a task"

// knownRoots are the roots for jobspec: it leaves them alone.
var knownRoots = map[string]bool{"param": true, "local": true, "each": true, "attempt": true, "run": true, "task": true, statusRoot: true}

var (
	runNames     = []string{"id", "workflow", "version", "namespace", "scheduled_at", "started_at", "trigger", "url", "status", "failed_tasks"}
	eachNames    = []string{"key", "value", "index"}
	attemptNames = []string{"number", "exit_code", "signal", "oom", "reason", "message", "node", "duration"}
)

// resolver finds out what expressions refer to, and reports what is not there or may not be read.
type resolver struct {
	*findings
	flow *flow
}

// resolve returns the names that the references of a site read.
func (r *resolver) resolve(s *site, traversals []hcl.Traversal) *refs {
	out := &refs{}
	if m := r.flow.module; m.marks {
		switch {
		case s.expr != nil:
			out.secret = m.callsSensitive(s.expr)
		case s.task != nil && r.flow.defaults != nil:
			out.secret = m.callsSensitive(s.task.block.Body, r.flow.defaults)
		case s.task != nil:
			out.secret = m.callsSensitive(s.task.block.Body)
		}
	}
	for _, t := range traversals {
		if !t.IsRelative() {
			r.traversal(s, t, out)
		}
	}
	return out
}

func (r *resolver) traversal(s *site, t hcl.Traversal, out *refs) {
	switch root := t.RootName(); {
	case root == "param":
		r.param(s, t, out)
	case root == "local":
		r.local(s, t, out)
	case root == "each":
		r.each(s, t, out)
	case root == "attempt":
		r.attempt(s, t, out)
	case root == "run":
		r.run(s, t, out)
	case root == "task":
		r.task(s, t, out)
	case root == statusRoot:
		if name, ok := stepName(t, 1); ok {
			out.status = true
			out.tasks = appendNew(out.tasks, name)
		}
	case jobspec.IsRuntimeRoot(root):
		out.nomad = true
		if s.access&readNomad == 0 {
			r.errorf(t.SourceRange(), "Known only on the worker", "%s is known only on the machine where the task runs, so %s cannot use it. It can stand in an inline Nomad task, or in a group.",
				traversalText(t), s.name)
		}
	default:
		r.unknownRoot(s, t)
	}
}

func (r *resolver) unknownRoot(s *site, t hcl.Traversal) {
	if r.covers(rangeOf(t.SourceRange())) {
		return
	}
	root, text := t.RootName(), traversalText(t)
	hint := didYouMean(root, append(slices.Clone(roots), jobspec.RuntimeRoots()...))
	switch {
	case root == "var":
		hint = " Did you mean `param`?"
	case root == "locals", root == "params", root == "tasks":
		hint = fmt.Sprintf(" Did you mean `%s`?", strings.TrimSuffix(root, "s"))
	case r.flow != nil && r.flow.blockNamed(root):
		hint = fmt.Sprintf(" Did you mean `task.%s`?", root)
	}
	if s.access&readNomad != 0 {
		hint += fmt.Sprintf(" For the text itself write $${%s}.", text)
	}
	if len(t) == 1 && hint == "" {
		hint = fmt.Sprintf(" Text stands in quotes: %q.", root)
	}
	r.errorf(t.SourceRange(), "Unknown name", "%s is not known here: an expression begins with %s.%s", text, either(roots...), hint)
}

// member reads the name behind the root and checks that it is one of known.
func (r *resolver) member(t hcl.Traversal, what string, known []string) (string, bool) {
	name, ok := stepName(t, 1)
	if !ok {
		r.errorf(t.SourceRange(), "Incomplete reference", "%s alone is no value: write %s.<name>.", t.RootName(), t.RootName())
		return "", false
	}
	if slices.Contains(known, name) {
		return name, true
	}
	if in, ok := strings.CutPrefix(what, "name in "); ok {
		r.errorf(t.SourceRange(), "Unknown "+what, "%s has no %s.%s", in, name, r.suggest(name, known))
	} else {
		hint := r.suggest(name, known)
		if form := map[string]string{"param": "param %q { … } in the workflow", "local": "%s = … in locals { … }"}[what]; r.near(name, known) == "" && form != "" {
			hint += fmt.Sprintf(" To have it, write "+form+".", name)
		}
		r.errorf(t.SourceRange(), "Unknown "+what, "There is no %s %s.%s", what, name, hint)
	}
	return "", false
}

func (r *resolver) param(s *site, t hcl.Traversal, out *refs) {
	if s.access&readParams == 0 {
		r.notHere(s, t, "It is needed before any param is known.")
		return
	}
	name, ok := stepName(t, 1)
	if ok && r.flow.paramByName[name] != nil {
		out.params = appendNew(out.params, name)
		return
	}
	names := make([]string, len(r.flow.params))
	for i, p := range r.flow.params {
		names[i] = p.name
	}
	r.member(t, "param", names)
}

func (r *resolver) local(s *site, t hcl.Traversal, out *refs) {
	name, ok := stepName(t, 1)
	if ok {
		if l := r.lookupLocal(name); l != nil {
			if !l.file && s.access&readLocals == 0 {
				r.notHere(s, t, "Only locals at the top of the file, outside of the workflow, are known that early.")
				return
			}
			if !slices.Contains(out.locals, l) {
				out.locals = append(out.locals, l)
			}
			return
		}
	}
	var names []string
	for n := range r.flow.module.locals {
		names = append(names, n)
	}
	for n := range r.flow.locals {
		names = append(names, n)
	}
	slices.Sort(names)
	r.member(t, "local", names)
}

func (r *resolver) lookupLocal(name string) *local {
	if l := r.flow.locals[name]; l != nil {
		return l
	}
	return r.flow.module.locals[name]
}

func (r *resolver) notHere(s *site, t hcl.Traversal, why string) {
	r.errorf(t.SourceRange(), "Not known here", "%s cannot refer to %s. %s", upperFirst(s.name), traversalText(t), why)
}

func (r *resolver) each(s *site, t hcl.Traversal, out *refs) {
	out.each = true
	if s.access&(readEach|readElement) == 0 {
		why := "each.* belongs to one instance, and this is evaluated once for the whole task."
		if s.task == nil {
			why = "each.* exists only inside a task with for_each or count."
		}
		r.notHere(s, t, why)
		return
	}
	if s.task == nil || !s.task.fanned() {
		r.notHere(s, t, "The task has neither for_each nor count, so it has no instances.")
		return
	}
	name, ok := r.member(t, "name in each", eachNames)
	if ok && name == "key" && s.access&readElement != 0 {
		r.notHere(s, t, "The key is just being made: use each.value or each.index.")
	}
}

func (r *resolver) attempt(s *site, t hcl.Traversal, out *refs) {
	out.attempt = true
	if s.access&readNumber == 0 {
		r.notHere(s, t, "There is no attempt yet when this is evaluated.")
		return
	}
	name, ok := r.member(t, "name in attempt", attemptNames)
	if ok && name != "number" && s.access&readAttempt == 0 {
		r.notHere(s, t, "How an attempt ended is known in retry.when only; here there is attempt.number.")
	}
	out.exit = out.exit || name == "exit_code"
}

func (r *resolver) run(s *site, t hcl.Traversal, out *refs) {
	out.run = true
	if s.access&readRun == 0 {
		r.notHere(s, t, "It is needed before any run exists.")
		return
	}
	name, ok := r.member(t, "name in run", runNames)
	if !ok {
		return
	}
	switch name {
	case "status", "failed_tasks":
		out.end = true
		if s.access&readEnd == 0 && (s.task == nil || s.task.kind != workflow.KindFinally) {
			r.notHere(s, t, "How a run ends is known in finally tasks only.")
		}
	case "started_at":
		if s.access&readSubmit != 0 {
			r.notHere(s, t, "The run has not started when its params are settled; use run.scheduled_at.")
		}
	}
}

func (r *resolver) task(s *site, t hcl.Traversal, out *refs) {
	if s.access&readTasks == 0 {
		r.notHere(s, t, "It is needed before any task runs.")
		return
	}
	name, ok := stepName(t, 1)
	if !ok {
		r.errorf(t.SourceRange(), "Incomplete reference", "task alone is no value: write task.<name>.")
		return
	}
	target := r.flow.taskByName[name]
	if target == nil {
		r.unknownTask(name, t.SourceRange())
		return
	}
	out.tasks = appendNew(out.tasks, name)
	if out.taskAt == nil {
		out.taskAt = map[string]hcl.Range{}
	}
	if _, known := out.taskAt[name]; !known {
		out.taskAt[name] = t.SourceRange()
	}
	single := len(out.outputs)
	r.taskSteps(target, t, out)
	if last, _ := stepName(t, len(t)-1); len(out.outputs) == single && last != "status" {
		out.wholly = appendNew(out.wholly, name)
	}
}

func (r *resolver) unknownTask(name string, at hcl.Range) {
	if r.flow.blockNamed(name) {
		return // its block has an error of its own
	}
	names := make([]string, len(r.flow.tasks))
	for i, t := range r.flow.tasks {
		names[i] = t.name
	}
	r.errorf(at, "Unknown task", "There is no task %s in workflow %s.%s", name, r.flow.name, r.suggest(name, names))
}

// taskSteps checks what a reference reads of a task.
func (r *resolver) taskSteps(target *task, t hcl.Traversal, out *refs) {
	i := 2
	if target.shape() != workflow.ShapePlain {
		if len(t) == i {
			return // the whole collection
		}
		if attr, ok := t[i].(hcl.TraverseAttr); ok {
			switch {
			case attr.Name == "status" && len(t) == i+1:
				// The slice is that of the expression itself: what is written here is what will be evaluated.
				root := t[0].(hcl.TraverseRoot)
				root.Name = statusRoot
				t[0] = root
				out.status = true
			case target.forEach != nil:
				r.errorf(t.SourceRange(), "A task with instances", "task %s has for_each, so its instances are told apart by key: write task.%s[\"key\"].%s, or walk all of them with values(task.%s).",
					target.name, target.name, attr.Name, target.name)
			default:
				r.errorf(t.SourceRange(), "A task with instances", "task %s has count, so its instances are told apart by position: write task.%s[0].%s, or walk all of them with a for expression.",
					target.name, target.name, attr.Name)
			}
			return
		}
		if !r.keyed(target, t) {
			return
		}
		i++ // the key
	}
	if len(t) <= i {
		return
	}
	if step, ok := t[i].(hcl.TraverseIndex); ok && i == 2 {
		if name, _ := stepName(t, i); step.Key.Type() == cty.Number || name != "status" && name != "output" {
			r.errorf(t.SourceRange(), "A task without instances", "task %s has neither for_each nor count, so there is nothing to pick: write task.%s.output.<name>, or task.%s.status.",
				target.name, target.name, target.name)
			return
		}
	}
	what, ok := stepName(t, i)
	if !ok {
		return
	}
	switch what {
	case "status":
	case "output":
		if len(t) > i+1 {
			r.outputStep(target, t, i+1, out)
		}
	default:
		hint := didYouMean(what, []string{"status", "output"})
		if target.outputByID[what] != nil {
			hint = fmt.Sprintf(" Did you mean `output.%s`?", what)
		}
		r.errorf(t.SourceRange(), "Unknown attribute", "A task has status and output, not %s.%s", what, hint)
	}
}

// keyed checks the step that picks an instance.
func (r *resolver) keyed(target *task, t hcl.Traversal) bool {
	step, ok := t[2].(hcl.TraverseIndex)
	if !ok || !step.Key.IsKnown() || step.Key.IsNull() {
		return true
	}
	switch {
	case target.forEach != nil && step.Key.Type() == cty.Number:
		r.errorf(t.SourceRange(), "A task with instances", "task %s has for_each, so its instances are told apart by key, not by position: write task.%s[\"key\"], or values(task.%s)%s.",
			target.name, target.name, target.name, traversalText(t[2:3]))
		return false
	case target.count != nil && step.Key.Type() == cty.String:
		if _, err := convert.Convert(step.Key, cty.Number); err != nil {
			r.errorf(t.SourceRange(), "A task with instances", "task %s has count, so its instances are told apart by position, not by key: write task.%s[0].", target.name, target.name)
			return false
		}
	}
	return true
}

// howToDeclare says where an output would have to be declared that a task does not have.
func howToDeclare(t *task, name string) string {
	switch {
	case t.spec == nil || t.kindOfBody == workflow.BodyGroup:
		return fmt.Sprintf(" Declare it: output \"%s\" { … } in task %s.", name, t.name)
	case t.spec == joinSpec:
		return " It has no body, so nothing can write one: give it a driver, or refer to a task that has one."
	}
	return " " + t.spec.outputs
}

func (r *resolver) outputStep(target *task, t hcl.Traversal, i int, out *refs) {
	name, ok := stepName(t, i)
	if !ok {
		return
	}
	if target.outputByID[name] != nil {
		out.outputs = append(out.outputs, outputRef{target.name, name})
		return
	}
	if slices.ContainsFunc(target.block.Body.Blocks, func(b *hclsyntax.Block) bool { return b.Type == "output" && slices.Equal(b.Labels, []string{name}) }) {
		return // its block has an error of its own
	}
	names := make([]string, len(target.outputs))
	for i, o := range target.outputs {
		names[i] = o.name
	}
	hint := r.near(name, names)
	if hint == "" {
		hint = howToDeclare(target, name)
	}
	r.errorf(t.SourceRange(), "Unknown output", "task %s has no output %s.%s", target.name, name, hint)
}

// stepName is the i-th step of a traversal as a name: .name or ["name"].
func stepName(t hcl.Traversal, i int) (string, bool) {
	if len(t) <= i {
		return "", false
	}
	switch step := t[i].(type) {
	case hcl.TraverseAttr:
		return step.Name, true
	case hcl.TraverseIndex:
		if step.Key.Type() == cty.String && step.Key.IsKnown() && !step.Key.IsNull() {
			return step.Key.AsString(), true
		}
	}
	return "", false
}

// traversalText writes a reference as an author would.
func traversalText(t hcl.Traversal) string {
	var b strings.Builder
	for _, step := range t {
		switch step := step.(type) {
		case hcl.TraverseRoot:
			if step.Name == statusRoot {
				b.WriteString("task")
				continue
			}
			b.WriteString(step.Name)
		case hcl.TraverseAttr:
			b.WriteString("." + step.Name)
		case hcl.TraverseIndex:
			switch {
			case step.Key.Type() == cty.String:
				fmt.Fprintf(&b, "[%q]", step.Key.AsString())
			case step.Key.Type() == cty.Number:
				b.WriteString("[" + step.Key.AsBigFloat().Text('f', -1) + "]")
			}
		}
	}
	return b.String()
}

func appendNew(list []string, s string) []string {
	if slices.Contains(list, s) {
		return list
	}
	return append(list, s)
}

// upperFirst begins a sentence, unless it begins with a name.
func upperFirst(s string) string {
	if s == "" || s[0] < 'a' || s[0] > 'z' {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}
