// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package hcl

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/cairnflow/cairn/internal/jobspec"
	"github.com/cairnflow/cairn/internal/workflow"
)

// bodySpec is what a body that is a block of its own looks like, and what may stand beside it in its task.
type bodySpec struct {
	kind      workflow.BodyKind
	words     *words
	parts     []part
	placement []string // Nomad's fields beside it
	// outputs says why the task declares none itself; empty where a program writes them.
	outputs string
	// refused are attributes and blocks of the task that make no sense beside it, and what to write instead.
	refused map[string]string
}

// part is an attribute of a body that may be computed.
type part struct {
	name    string
	kind    kind
	example string // of one that must be written; empty for the others
}

const (
	whyNoWorker = "It runs on no worker."
	whyNotAgain = "It is not tried again: "
)

// withoutAttempts are the words of a task that bound and repeat attempts.
func withoutAttempts(instead, timeout string) map[string]string {
	return map[string]string{
		"retry": instead, "timeout": timeout, "start_timeout": timeout, "deadline": timeout,
		"on_worker_loss": whyNoWorker + " Leave it out.",
	}
}

var bodySpecs = []*bodySpec{
	{
		kind: workflow.BodyGroup, words: &words{where: "in group"}, placement: placementNames,
	},
	{
		kind: workflow.BodyJob, words: jobWords, placement: []string{"namespace", "region"},
		parts:   []part{{name: "vars", kind: kindNames("variables", false)}},
		outputs: "The job runs unchanged, so nothing in it writes outputs of Cairn's. Write its tasks as a group block if their results are needed.",
	},
	{
		kind: workflow.BodyDispatch, words: dispatchWords, placement: []string{"namespace", "region"},
		parts: []part{
			{name: "job", kind: kindJobName, example: `"etl"`}, {name: "meta", kind: kindNames("text", true)}, {name: "payload", kind: kindSized(workflow.MaxPayloadBytes)},
		},
		outputs: "The job runs unchanged, so nothing in it writes outputs of Cairn's. Let a task after it read what the job left behind.",
	},
	{
		kind: workflow.BodyRunWorkflow, words: runWorkflowWords,
		parts:   []part{{name: "params", kind: kindNames("params", false)}},
		outputs: "Its outputs are those of the workflow it runs: declare them there.",
		refused: map[string]string{
			"start_timeout":  "A child run waits for no worker itself. Write timeout, or start_timeout in the tasks of the child.",
			"on_worker_loss": "A child run has no worker itself. Write it in the tasks of the child.",
		},
	},
	{
		kind: workflow.BodyApproval, words: approvalWords,
		parts: []part{
			{name: "approvers", kind: kindTexts}, {name: "timeout", kind: kindDuration},
			{name: "on_timeout", kind: kindWord(workflow.OnTimeoutReject, workflow.OnTimeoutApprove)},
		},
		outputs: "The outputs of an approval are its inputs, and by and comment. Write input \"name\" { … } in the approval.",
		refused: withoutAttempts(whyNotAgain+"what somebody rejected stays rejected. Leave it out.", "Write timeout in the approval block."),
	},
	{
		kind: workflow.BodyWait, words: waitWords,
		parts:   []part{{name: "duration", kind: kindDuration}, {name: "until", kind: kindMoment}},
		outputs: "A wait has no outputs.",
		refused: withoutAttempts(whyNotAgain+"a wait does not fail. Leave it out.", "A wait ends by itself. Write duration or until in the wait block."),
	},
	{
		kind: workflow.BodyHTTP, words: httpWords,
		parts: []part{
			{name: "method", kind: kindMethod}, {name: "url", kind: kindURL, example: `"https://example.com/load"`}, {name: "headers", kind: kindHeaders},
			{name: "body", kind: kindSized(workflow.MaxHTTPBodyBytes)}, {name: "expect_status", kind: kindStatusCodes},
			{name: "timeout", kind: kindHTTPTimeout}, {name: "idempotent", kind: kindBool},
		},
		outputs: "The outputs of a call are status, body and json.",
		refused: map[string]string{
			"start_timeout":  whyNoWorker + " Write timeout in the http block.",
			"on_worker_loss": whyNoWorker + " Write idempotent = true in the http block if the call may be repeated.",
		},
	},
}

// joinSpec is a task without a body.
var joinSpec = &bodySpec{
	kind:    workflow.BodyJoin,
	outputs: "so nothing can write its outputs",
	refused: withoutAttempts("It has no body that could fail. Leave it out.", "It has no body that could take long. Bound the tasks it joins."),
}

// placementNames are the fields that say where a job runs: those that a workflow may write for all its tasks.
var placementNames = []string{"namespace", "region", "datacenters", "node_pool"}

// withoutWorker are the words of retry that look at a worker or a process.
var withoutWorker = map[string]string{
	"on_exit_codes": "There is no exit code here. Write when = … over attempt.message, or leave it out.",
	"avoid_nodes":   whyNoWorker + " Leave it out.",
	"max_lost":      whyNoWorker + " Leave it out.",
}

func specOf(name string) *bodySpec {
	for _, s := range bodySpecs {
		if string(s.kind) == name {
			return s
		}
	}
	return nil
}

func bodyNames() []string {
	names := make([]string, len(bodySpecs))
	for i, s := range bodySpecs {
		names[i] = string(s.kind)
	}
	return names
}

// decodeBody finds out what the body of a task is, and reads it.
func (d *decoder) decodeBody(t *task) {
	own := t.block.Body
	for _, block := range own.Blocks {
		spec := specOf(block.Type)
		switch {
		case spec == nil:
		case t.content == nil:
			t.content, t.spec = block, spec
		case block.Type == t.content.Type:
			d.errorf(block.TypeRange, "Two bodies", "task %s has %s twice. A task does one thing: make the second a task of its own.", t.name, block.Type)
		default:
			d.errorf(block.TypeRange, "Two bodies", "task %s has both %s and %s. A task has one body: make the second a task of its own.", t.name, t.content.Type, block.Type)
		}
	}
	t.reserved = hasPlanned(own)
	switch {
	case t.content == nil && hasNomadBody(own):
		t.kindOfBody = workflow.BodyTask
		t.body = d.mergedBody(own)
		if t.body.Attributes["driver"] == nil && !t.reserved {
			d.errorf(t.block.TypeRange, "Missing driver", "task %s has a body but no driver. Write driver = \"docker\" (or exec, raw_exec, java, …), in the task or in defaults.", t.name)
		}
		return
	case t.content == nil:
		t.kindOfBody, t.spec = workflow.BodyJoin, joinSpec
	default:
		t.kindOfBody = t.spec.kind
		d.labels(t.content)
		d.foreign(t)
		if t.kindOfBody == workflow.BodyJob || t.kindOfBody == workflow.BodyDispatch {
			t.placement = d.placed(t)
		}
		d.decodeContent(t)
	}
	if t.reserved {
		return
	}
	d.beside(t)
}

// hasPlanned reports whether a task uses a word that is reserved: then it is not known what its body is.
func hasPlanned(b *hclsyntax.Body) bool {
	for name := range b.Attributes {
		if planned[name] != "" {
			return true
		}
	}
	return slices.ContainsFunc(b.Blocks, func(b *hclsyntax.Block) bool { return planned[b.Type] != "" })
}

// foreign reports what is Nomad's, or nobody's, beside a body that is a block.
func (d *decoder) foreign(t *task) {
	own := t.block.Body
	if attr := own.Attributes["driver"]; attr != nil {
		d.errorf(attr.NameRange, "Two bodies", "task %s has both a driver, whose body is a Nomad task, and %s. A task has one body: make one of them a task of its own.", t.name, t.content.Type)
		return
	}
	if t.kindOfBody == workflow.BodyGroup {
		return // what may stand beside a group is Nomad's to know
	}
	one := func(name string, at hcl.Range) {
		if ownTaskWords[name] || slices.Contains(t.spec.placement, name) {
			return
		}
		advice, refused := jobspec.Refused(name)
		switch {
		case slices.Contains(t.spec.words.attrs, name) || slices.Contains(t.spec.words.blocks, name):
			d.errorf(at, "In the wrong place", "%s belongs into the %s block of task %s.", name, t.content.Type, t.name)
		case refused:
			d.errorf(at, "Not for a workflow's task", "%s cannot be written here. %s", name, advice)
		case !jobspec.IsTaskField(name) && name != "dynamic":
			names := slices.Concat(taskWords.attrs, taskWords.blocks, t.spec.placement)
			d.errorf(at, "Unknown name", "%s is nothing that can be written in a task beside %s.%s", name, t.content.Type, didYouMean(name, names))
		case t.kindOfBody == workflow.BodyJob:
			d.errorf(at, "Not beside a job", "The job file of task %s is run unchanged: write %s there.", t.name, name)
		case t.kindOfBody == workflow.BodyDispatch:
			d.errorf(at, "Not beside dispatch", "The job that task %s dispatches is registered already: write %s in its job file.", t.name, name)
		default:
			d.errorf(at, "Not beside "+t.content.Type, "%s is about a worker, and the body of task %s, %s, runs on none. Leave it out.", name, t.name, t.content.Type)
		}
	}
	for _, attr := range attrsInOrder(own) {
		one(attr.Name, attr.NameRange)
	}
	for _, block := range own.Blocks {
		one(block.Type, block.TypeRange)
	}
}

// beside reports the words of Cairn's that make no sense beside the body.
func (d *decoder) beside(t *task) {
	own, what, stand := t.block.Body, "task "+t.name+" only joins others", "stand in it"
	if t.content != nil {
		what, stand = "The body of task "+t.name+" is "+t.content.Type, "stand beside it"
	}
	refuse := func(name string, at hcl.Range) {
		if why := t.spec.refused[name]; why != "" {
			d.errorf(at, "Not with this body", "%s, so %s cannot %s. %s", what, name, stand, why)
		}
	}
	for _, attr := range attrsInOrder(own) {
		refuse(attr.Name, attr.NameRange)
	}
	for _, block := range own.Blocks {
		refuse(block.Type, block.TypeRange)
		if block.Type != "output" {
			continue
		}
		switch {
		case t.spec == joinSpec:
			d.errorf(block.TypeRange, "No program to write it", "task %s has no body, %s. Give it a driver, or leave the outputs out.", t.name, t.spec.outputs)
			return
		case t.spec.outputs != "":
			d.errorf(block.TypeRange, "No output block here", "task %s cannot declare outputs: leave the block out. %s", t.name, t.spec.outputs)
		}
	}
	if t.spec == joinSpec && t.fanned() {
		d.errorf(t.block.TypeRange, "Nothing to fan out", "task %s has no body, so it only joins others and has no instances. Leave for_each and count out, or give it a driver.", t.name)
	}
}

// decodeContent reads the block that is the body.
func (d *decoder) decodeContent(t *task) {
	body, spec := t.content.Body, t.spec
	if spec.kind == workflow.BodyGroup {
		d.decodeGroup(t)
		return
	}
	d.checkWords(body, spec.words, nil)
	t.parts = map[string]*site{}
	for _, p := range spec.parts {
		attr := body.Attributes[p.name]
		if attr == nil {
			if p.example != "" {
				d.missing(t, p.name+", such as "+p.name+" = "+p.example)
			}
			continue
		}
		t.parts[p.name] = &site{
			name: fmt.Sprintf("`%s.%s` of task %s", t.content.Type, p.name, t.name),
			expr: attr.Expr, access: accessEach, kind: p.kind, task: t, optional: p.example == "",
		}
		if spec.kind == workflow.BodyJob { // its variables go where the author of the file puts them
			t.parts[p.name].access = accessBody
		}
	}
	switch spec.kind {
	case workflow.BodyJob:
		if attr := body.Attributes["source"]; attr != nil {
			t.jobFile, _ = d.pathOf(attr.Expr, "`job.source` of task "+t.name)
		} else {
			d.missing(t, `source, the path of a job file, such as source = "etl.nomad.hcl"`)
		}
	case workflow.BodyRunWorkflow:
		d.decodeCall(t)
	case workflow.BodyApproval:
		d.decodeApproval(t)
	case workflow.BodyWait:
		both := body.Attributes["duration"] != nil && body.Attributes["until"] != nil
		switch {
		case both:
			d.errorf(body.Attributes["until"].NameRange, "Two ways to wait", "The wait of task %s has both duration and until. Keep one: how long, or to which moment.", t.name)
		case len(t.parts) == 0:
			d.missing(t, `duration, such as "10m", or until, a moment such as "2026-01-31T06:00:00Z"`)
		}
	case workflow.BodyHTTP:
		d.given(t, output{name: "status", ty: cty.Number, typeText: "number"}, output{name: "body", ty: cty.String, typeText: "string"},
			output{name: "json", ty: cty.DynamicPseudoType, typeText: "any"})
	}
}

// missing reports what a body needs, unless it holds a name that is nothing: then that is probably what was meant.
func (d *decoder) missing(t *task, what string) {
	for name := range t.content.Body.Attributes {
		if !slices.Contains(t.spec.words.attrs, name) {
			return
		}
	}
	d.errorf(t.content.TypeRange, "Missing argument", "The %s block of task %s needs %s.", t.content.Type, t.name, what)
}

// pathOf reads a constant path, below the workflow's folder.
func (d *decoder) pathOf(expr hclsyntax.Expression, what string) (string, bool) {
	written, err := constantPath(expr)
	if err == nil {
		var at string
		if at, err = resolve(d.module.dir, written); err == nil {
			return at, true
		}
		err = fmt.Errorf("the path %w", err)
	}
	if errors.As(err, new(dependsError)) {
		err = fmt.Errorf("%w. Write the path as text", err)
	}
	d.errorf(expr.Range(), "Not a path", "%s names a file: %s.", upperFirst(what), strings.TrimSuffix(err.Error(), "."))
	return "", false
}

// given declares outputs that the body itself gives. Each has a place of its own, because the evaluator knows the type of an
// output by its place.
func (d *decoder) given(t *task, outputs ...output) {
	for _, o := range outputs {
		if t.outputByID[o.name] != nil {
			continue
		}
		o.block, o.from = t.content, workflow.FromBody
		o.typeRange = t.content.TypeRange
		o.typeRange.End.Byte = o.typeRange.Start.Byte + 1 + len(t.outputs)
		t.outputByID[o.name] = &o
		t.outputs = append(t.outputs, &o)
	}
}

// decodeApproval reads the inputs of an approval, which are its outputs.
func (d *decoder) decodeApproval(t *task) {
	body := t.content.Body
	if attr := body.Attributes["on_timeout"]; attr != nil && body.Attributes["timeout"] == nil && t.kind != workflow.KindFinally {
		d.errorf(attr.NameRange, "Missing timeout", "on_timeout says what happens when the timeout of the approval is over, and it has none. Write timeout = \"12h\" beside it.")
	}
	for _, b := range body.Blocks {
		if b.Type != "input" {
			continue
		}
		name, ok := d.named(b)
		d.checkWords(b.Body, inputWords, nil)
		if !ok {
			continue
		}
		switch first := t.outputByID[name]; {
		case first != nil:
			d.errorf(b.LabelRanges[0], "Duplicate input", "input %s is already declared at %s. Give one of them another name.", name, where(first.block.TypeRange))
			continue
		case name == "by" || name == "comment":
			d.errorf(b.LabelRanges[0], "Taken name", "Every approval has the output %s by itself. Give the input another name.", name)
			continue
		}
		o := &output{name: name, block: b, ty: cty.String, typeText: "string", typeRange: b.DefRange(), from: workflow.FromBody}
		d.decodeOutput(o, "of input "+name)
		o.from = workflow.FromBody
		d.constant(b.Body, "description", kindText)
		t.outputByID[name] = o
		t.outputs = append(t.outputs, o)
	}
	d.approvedByTime(t)
	d.given(t, output{name: "by", ty: cty.String, typeText: "string"}, output{name: "comment", ty: cty.String, typeText: "string"})
}

// approvedByTime reports inputs that nobody gives when time approves.
func (d *decoder) approvedByTime(t *task) {
	attr := t.content.Body.Attributes["on_timeout"]
	if attr == nil {
		return
	}
	if v, diags := attr.Expr.Value(nil); diags.HasErrors() || v.Type() != cty.String || v.IsNull() || v.AsString() != string(workflow.OnTimeoutApprove) {
		return
	}
	for _, o := range t.outputs {
		if o.fallback == nil {
			d.errorf(o.block.TypeRange, "Missing default", "Nobody gives input %s when time approves, so it needs a default beside on_timeout = \"approve\".", o.name)
		}
	}
}

// decodeGroup makes the body of a group: the block, and beside it what says where it runs. Cairn's own words belong beside
// the block.
func (d *decoder) decodeGroup(t *task) {
	content := *t.content.Body
	content.Attributes = make(hclsyntax.Attributes, len(t.content.Body.Attributes))
	misplaced := func(name string, at hcl.Range) bool {
		if _, refused := jobspec.Refused(name); !ownTaskWords[name] || refused {
			return false
		}
		d.errorf(at, "Not in a group", "%s cannot be written in a group. Write it in task %s, beside the group block.", name, t.name)
		return true
	}
	for _, attr := range attrsInOrder(t.content.Body) {
		if !misplaced(attr.Name, attr.NameRange) {
			content.Attributes[attr.Name] = attr
		}
	}
	tasks := 0
	content.Blocks = nil
	for _, b := range t.content.Body.Blocks {
		if b.Type == "task" || b.Type == "dynamic" && slices.Equal(b.Labels, []string{"task"}) {
			tasks++
		}
		if !misplaced(b.Type, b.TypeRange) {
			content.Blocks = append(content.Blocks, b)
		}
	}
	if tasks == 0 {
		d.errorf(t.content.TypeRange, "Empty group", "The group of task %s has no task. Write at least one task \"name\" { … } in it, as in a job file.", t.name)
		return
	}
	block, body := *t.content, *d.placed(t)
	block.Body, block.Labels, block.LabelRanges = &content, nil, nil
	for _, b := range t.block.Body.Blocks {
		if b != t.content && specOf(b.Type) == nil {
			body.Blocks = append(body.Blocks, b)
		}
	}
	for name, attr := range t.block.Body.Attributes {
		if name != "driver" {
			body.Attributes[name] = attr
		}
	}
	body.Blocks = append(body.Blocks, &block)
	t.group = &body
}

// placed is the body that says where a job or group runs: what the task writes of it over what the workflow does.
func (d *decoder) placed(t *task) *hclsyntax.Body {
	out := &hclsyntax.Body{Attributes: hclsyntax.Attributes{}, SrcRange: t.content.Body.SrcRange, EndRange: t.content.Body.EndRange}
	take := func(attr *hclsyntax.Attribute) {
		if attr != nil && slices.Contains(t.spec.placement, attr.Name) {
			out.Attributes[attr.Name] = attr
		}
	}
	for _, attr := range d.flow.placement {
		take(attr)
	}
	for _, name := range placementNames {
		if d.flow.defaults != nil {
			take(d.flow.defaults.Attributes[name])
		}
		take(t.block.Body.Attributes[name])
	}
	return out
}
