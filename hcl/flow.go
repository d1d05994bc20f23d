// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package hcl

import (
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/ext/typeexpr"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/cairnflow/cairn/internal/jobspec"
	"github.com/cairnflow/cairn/internal/workflow"
)

// access says what an expression may read.
type access uint16

const (
	readParams  access = 1 << iota
	readRun            // run.*, but for its end
	readEnd            // run.status and run.failed_tasks
	readTasks          // task.*
	readLocals         // locals of the workflow; those of the file may be read everywhere
	readEach           // each.*
	readElement        // each.value and each.index, while the keys are being made
	readNumber         // attempt.number
	readAttempt        // all of attempt.*, after its end
	readNomad          // what Nomad resolves on the worker
	readSubmit         // only what is known when a run is submitted
)

const (
	accessConst  access = 0
	accessParam         = readParams | readRun | readSubmit
	accessLocal         = readParams | readRun | readEnd | readTasks | readLocals | readNomad
	accessOutput        = readParams | readRun | readTasks | readLocals
	accessTask          = readParams | readRun | readTasks | readLocals // once per task
	accessEach          = accessTask | readEach | readNumber            // once per attempt
	accessRetry         = accessEach | readAttempt
	accessBody          = accessEach | readNomad
)

// site is one expression at one place: what it may read and what its value must be.
type site struct {
	name   string // what messages call it: `timeout` of task "a"
	expr   hclsyntax.Expression
	access access
	kind   kind
	task   *task // whose each it reads; nil outside of tasks
	refs   *refs // set by resolving
	// bodyExpr is the expression rewritten for use in bodies; nil where that changes nothing.
	bodyExpr hclsyntax.Expression
	circular bool // it needs itself; its value is never asked for
	optional bool // null is as if it were not written
	secret   bool // its value is sensitive, as far as types tell
}

// mode is what an expression is evaluated for: where it may read what Nomad resolves, its value goes into a body.
func (s *site) mode() mode {
	if s.access&readNomad != 0 {
		return forBody
	}
	return forValue
}

// refs are the names an expression reads, locals not followed.
type refs struct {
	params  []string
	tasks   []string
	taskAt  map[string]hcl.Range // the first reference to each
	wholly  []string             // tasks of which more is read than single outputs and statuses
	locals  []*local
	outputs []outputRef
	run     bool
	end     bool // run.status or run.failed_tasks
	each    bool
	attempt bool
	status  bool // the status of a whole fan-out
	nomad   bool
	exit    bool // attempt.exit_code
	secret  bool // it calls sensitive(), or renders a template that does
}

// outputRef is one reference to an output, for messages.
type outputRef struct {
	task, output string
}

// module is one namespace: everything in the files of a folder, or in one file.
type module struct {
	bundle  *bundle
	own     []string // the names of its files
	dir     string   // their folder: paths in them are taken from there
	sources []*source
	broken  bool // a file could not be parsed, so nothing was decoded
	marks   bool // a file calls sensitive()
	bytes   map[string][]byte
	flows   []*flow
	locals  map[string]*local // of the files
	funcs   functionSets
}

// flow is one workflow as it is written, before anything is evaluated.
type flow struct {
	module *module
	name   string
	block  *hclsyntax.Block

	constants   map[string]*site // attributes of the workflow itself
	concurrency *workflow.Concurrency
	placement   []*hclsyntax.Attribute
	params      []*param
	locals      map[string]*local // of the workflow
	localList   []*local          // in source order
	defaults    *hclsyntax.Body
	tasks       []*task // declaration order, finally tasks last
	outputs     []*runOutput

	namespace    string        // of every task that names none, made by compile
	destinations []destination // of its bodies, made with it

	paramOrder  []*param // each after those its default needs
	paramByName map[string]*param
	taskByName  map[string]*task
}

// param is a declared param.
type param struct {
	name        string
	block       *hclsyntax.Block
	ty          cty.Type
	defaults    *typeexpr.Defaults // of optional attributes
	typeText    string
	description string
	sensitive   bool
	nullable    bool
	fallback    *site // its default
	validations []*validation
}

type validation struct {
	condition *site
	message   *site
	block     *hclsyntax.Block
}

// local is one named expression.
type local struct {
	name  string
	file  bool // declared outside of the workflow
	attr  *hclsyntax.Attribute
	site  *site
	state localState
}

// localState is how far the search for cycles has come.
type localState byte

const (
	localNew localState = iota
	localOpen
	localDone
)

// runOutput is an output of the run itself.
type runOutput struct {
	name      string
	block     *hclsyntax.Block
	value     *site
	sensitive bool
}

// task is one task as it is written, with the defaults merged in.
type task struct {
	name  string
	kind  workflow.TaskKind
	block *hclsyntax.Block
	body  *hclsyntax.Body // its own, with the defaults beneath

	dependsOn  []dependency
	rule       workflow.TriggerRule
	ruleRange  hcl.Range // zero when none is written
	recovers   bool
	recoversAt hcl.Range
	whenFalse  workflow.WhenFalse
	when       *site
	forEach    *site
	key        *site
	count      *site
	policy     map[string]*site // by the path of the attribute
	retryWhen  *site
	outputs    []*output
	outputByID map[string]*output

	kindOfBody workflow.BodyKind
	reserved   bool             // it uses a word that is not supported yet, which may be its body
	content    *hclsyntax.Block // the block that is the body; nil for an inline task and a join
	spec       *bodySpec        // what may stand beside the body; nil for an inline task
	parts      map[string]*site // attributes of content
	group      *hclsyntax.Body  // content of a group, without what does not belong into it
	placement  *hclsyntax.Body  // where a job runs, beside content
	jobFile    string           // the file a job body names
	call       *call            // of run_workflow

	nomad    *jobspec.Body        // compiled body, nil until linkBody made it
	placed   *jobspec.Body        // compiled placement, made with nomad
	job      *jobspec.JobFile     // compiled job file, made with placed
	jobVars  map[string]cty.Value // what is given to it, as far as it is known
	bodySite *site                // of the whole body, made with nomad
	element  cty.Type             // of each.value, as far as it is known
	size     int                  // how many instances it has, where that is constant
	fixed    bool                 // its count is constant
	keys     []string             // of its instances, where they are constant
}

type dependency struct {
	name string
	at   hcl.Range
}

// output is a declared output of a task.
type output struct {
	name      string
	block     *hclsyntax.Block
	ty        cty.Type
	typeText  string
	typeRange hcl.Range
	defaults  *typeexpr.Defaults
	sensitive bool
	from      workflow.OutputFrom
	pattern   string
	fallback  *site
}

// fanned reports whether the task has instances.
func (t *task) fanned() bool { return t.forEach != nil || t.count != nil }

func (t *task) shape() workflow.Shape {
	switch {
	case t.forEach != nil:
		return workflow.ShapeMap
	case t.count != nil:
		return workflow.ShapeList
	}
	return workflow.ShapePlain
}

// sites are all expressions of the task but those of Nomad's in its body, in a fixed order.
func (t *task) sites() []*site {
	var out []*site
	for _, s := range []*site{t.when, t.forEach, t.key, t.count} {
		if s != nil {
			out = append(out, s)
		}
	}
	for _, a := range policyAttrs {
		if s := t.policy[a.path]; s != nil {
			out = append(out, s)
		}
	}
	if t.retryWhen != nil {
		out = append(out, t.retryWhen)
	}
	return append(out, t.bodyParts()...)
}

// bodyParts are the attributes of a body that is a block, in a fixed order.
func (t *task) bodyParts() []*site {
	if t.spec == nil {
		return nil
	}
	var out []*site
	for _, p := range t.spec.parts {
		if s := t.parts[p.name]; s != nil {
			out = append(out, s)
		}
	}
	return out
}
