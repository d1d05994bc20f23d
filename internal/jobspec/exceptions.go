// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package jobspec

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	nomadapi "github.com/hashicorp/nomad/api"
)

// This file is the whole list of what the tags of the api module do not say.

// What a template does when its content changes; the api module has no names for them.
const (
	changeModeNoop    = "noop"
	changeModeRestart = "restart"
)

// fieldOf names a field by the struct it belongs to and its name in HCL.
type fieldOf struct {
	parent reflect.Type
	name   string
}

// reading says what a Nomad client, or server, makes of the text of a field after it was given the job. Each was tried on a
// real agent, see TestDataReachesTheProgramAsItIs.
type reading string

const (
	// readsHCL: parsed as an HCL template, functions and all; $${ and %%{ are escapes.
	readsHCL reading = "hcl"
	// readsNothing: handed on, or read by rules that know no ${.
	readsNothing reading = "nothing"
	// readsNames: every ${name} that is known is replaced, once, and there is no escape. The names of a task's env are replaced
	// after those of its meta, which gives a way around.
	readsNames reading = "names"
	// readsActions: a Go template with delimiters of its own, which knows no ${.
	readsActions reading = "actions"
)

// readings are the fields whose reading is known. In all others a reference may be replaced and nothing can be escaped, so
// that data with ${ in it is refused.
var readings = map[fieldOf]reading{
	{reflect.TypeFor[nomadapi.Task](), "config"}:        readsHCL,
	{reflect.TypeFor[nomadapi.SidecarTask](), "config"}: readsHCL,
	{reflect.TypeFor[nomadapi.Task](), "env"}:           readsNames,
	{reflect.TypeFor[nomadapi.Template](), "data"}:      readsActions,
}

// dollarMeta is the meta key of a task whose value is one dollar: the way to put a ${ of data into its env.
const dollarMeta = "cairn_dollar"

// overlays are decoded beside a struct of the api module, from the same body: names that Nomad accepts there though the
// struct has no field for them. A finisher moves what was found to where it belongs.
var overlays = map[reflect.Type]reflect.Type{
	reflect.TypeFor[nomadapi.Job]():        reflect.TypeFor[jobExtras](),
	reflect.TypeFor[nomadapi.TaskGroup]():  reflect.TypeFor[inherited](),
	reflect.TypeFor[nomadapi.Constraint](): reflect.TypeFor[constraintWords](),
	reflect.TypeFor[nomadapi.Affinity]():   reflect.TypeFor[affinityWords](),
}

// fieldOverlays are overlays that hold for one field only.
var fieldOverlays = map[fieldOf]reflect.Type{
	{reflect.TypeFor[nomadapi.Task](), "scaling"}: reflect.TypeFor[scalingLabel](),
}

// groupHolder takes the group block of a workflow's task, which has no label: the workflow's task names it.
type groupHolder struct {
	Group *nomadapi.TaskGroup `hcl:"group,block"`
}

// inherited blocks of a group are given to its tasks.
type inherited struct {
	Vault   *nomadapi.Vault    `hcl:"vault,block"`
	Secrets []*nomadapi.Secret `hcl:"secret,block"`
}

// jobExtras are the blocks of a job that its tasks inherit, and tasks without a group, each of which becomes a group.
type jobExtras struct {
	Vault   *nomadapi.Vault    `hcl:"vault,block"`
	Secrets []*nomadapi.Secret `hcl:"secret,block"`
	Tasks   []*nomadapi.Task   `hcl:"task,block"`
}

// constraintWords are the arguments of a constraint that name its operator. Where several are written, the last one in
// the order of these fields holds, as in Nomad.
type constraintWords struct {
	Version          *string `hcl:"version,optional"`
	Semver           *string `hcl:"semver,optional"`
	Regexp           *string `hcl:"regexp,optional"`
	SetContains      *string `hcl:"set_contains,optional"`
	DistinctHosts    *bool   `hcl:"distinct_hosts,optional"`
	DistinctProperty *string `hcl:"distinct_property,optional"`
	SetContainsAll   *string `hcl:"set_contains_all,optional"`
	SetContainsAny   *string `hcl:"set_contains_any,optional"`
	IsSet            *string `hcl:"is_set,optional"`
	IsNotSet         *string `hcl:"is_not_set,optional"`
}

// ignoredConstraintWords are accepted by Nomad's own parser and then forgotten, which leaves a constraint that means
// something else. The value is the way to say it that works.
var ignoredConstraintWords = map[string]string{
	"set_contains_all": `operator = "set_contains_all" with value`,
	"set_contains_any": `operator = "set_contains_any" with value`,
	"is_set":           `attribute with operator = "is_set"`,
	"is_not_set":       `attribute with operator = "is_not_set"`,
}

// affinityWords are the same for an affinity, which has fewer operators and another order.
type affinityWords struct {
	Version        *string `hcl:"version,optional"`
	Semver         *string `hcl:"semver,optional"`
	Regexp         *string `hcl:"regexp,optional"`
	SetContainsAny *string `hcl:"set_contains_any,optional"`
	SetContainsAll *string `hcl:"set_contains_all,optional"`
	SetContains    *string `hcl:"set_contains,optional"`
}

// scalingLabel is the label of a task's scaling block: cpu or mem.
type scalingLabel struct {
	Name string `hcl:"name,label"`
}

// finisher completes a decoded body. targets are pointers to the structs of the schema, in its order; at is where
// the block stands.
type finisher func(d *decoder, targets []reflect.Value, at hcl.Range) hcl.Diagnostics

// finishers run after the body of a block of that type was decoded.
var finishers = map[reflect.Type]finisher{
	reflect.TypeFor[nomadapi.Constraint]():      finishConstraint,
	reflect.TypeFor[nomadapi.Affinity]():        finishAffinity,
	reflect.TypeFor[nomadapi.NetworkResource](): finishNetwork,
	reflect.TypeFor[nomadapi.ScalingPolicy]():   finishScaling,
	reflect.TypeFor[nomadapi.ChangeScript]():    finishChangeScript,
	reflect.TypeFor[nomadapi.Template]():        finishTemplate,
	reflect.TypeFor[nomadapi.Vault]():           finishVault,
	reflect.TypeFor[nomadapi.PeriodicConfig]():  finishPeriodic,
	reflect.TypeFor[nomadapi.Task]():            finishTask,
	reflect.TypeFor[nomadapi.TaskGroup]():       finishGroup,
	reflect.TypeFor[groupHolder]():              finishHolder,
}

func finishConstraint(_ *decoder, targets []reflect.Value, at hcl.Range) hcl.Diagnostics {
	c, w := targets[0].Interface().(*nomadapi.Constraint), targets[1].Interface().(*constraintWords)
	for _, word := range []struct {
		operand string
		value   *string
	}{
		{nomadapi.ConstraintVersion, w.Version},
		{nomadapi.ConstraintSemver, w.Semver},
		{nomadapi.ConstraintRegex, w.Regexp},
		{nomadapi.ConstraintSetContains, w.SetContains},
	} {
		if word.value != nil && *word.value != "" {
			c.Operand, c.RTarget = word.operand, *word.value
		}
	}
	if w.DistinctHosts != nil {
		c.Operand, c.RTarget = nomadapi.ConstraintDistinctHosts, fmt.Sprint(*w.DistinctHosts)
	}
	if w.DistinctProperty != nil && *w.DistinctProperty != "" {
		c.Operand, c.LTarget = nomadapi.ConstraintDistinctProperty, *w.DistinctProperty
	}
	if c.Operand == "" {
		c.Operand = "="
	}
	return nil
}

func finishAffinity(_ *decoder, targets []reflect.Value, at hcl.Range) hcl.Diagnostics {
	a, w := targets[0].Interface().(*nomadapi.Affinity), targets[1].Interface().(*affinityWords)
	for _, word := range []struct {
		operand string
		value   *string
	}{
		{nomadapi.ConstraintVersion, w.Version},
		{nomadapi.ConstraintSemver, w.Semver},
		{nomadapi.ConstraintRegex, w.Regexp},
		{nomadapi.ConstraintSetContainsAny, w.SetContainsAny},
		{nomadapi.ConstraintSetContainsAll, w.SetContainsAll},
		{nomadapi.ConstraintSetContains, w.SetContains},
	} {
		if word.value != nil && *word.value != "" {
			a.Operand, a.RTarget = word.operand, *word.value
		}
	}
	if a.Operand == "" {
		a.Operand = "="
	}
	return nil
}

// finishNetwork moves ports with a static number to the reserved ones.
func finishNetwork(_ *decoder, targets []reflect.Value, at hcl.Range) hcl.Diagnostics {
	n := targets[0].Interface().(*nomadapi.NetworkResource)
	var dynamic []nomadapi.Port
	for _, p := range n.DynamicPorts {
		if p.Value > 0 {
			n.ReservedPorts = append(n.ReservedPorts, p)
		} else {
			dynamic = append(dynamic, p)
		}
	}
	n.DynamicPorts = dynamic
	return nil
}

// finishScaling gives a task's policy the type that its label means. A group's policy has no label and is finished with
// its group.
func finishScaling(_ *decoder, targets []reflect.Value, at hcl.Range) hcl.Diagnostics {
	if len(targets) == 1 {
		return nil
	}
	p, l := targets[0].Interface().(*nomadapi.ScalingPolicy), targets[1].Interface().(*scalingLabel)
	var want string
	switch strings.ToLower(l.Name) {
	case "cpu":
		want = "vertical_cpu"
	case "mem":
		want = "vertical_mem"
	default:
		return errorAt(at, "Invalid scaling block", "The label of a task's scaling block is cpu or mem, not %q.", l.Name)
	}
	if p.Type != "" && p.Type != want {
		return errorAt(at, "Invalid scaling block", "scaling %q has type %q; leave type out or write %q.", l.Name, p.Type, want)
	}
	p.Type = want
	return nil
}

func finishChangeScript(_ *decoder, targets []reflect.Value, at hcl.Range) hcl.Diagnostics {
	c := targets[0].Interface().(*nomadapi.ChangeScript)
	if c.Args == nil {
		c.Args = []string{}
	}
	setDefault(&c.Timeout, 5*time.Second)
	setDefault(&c.FailOnError, false)
	return nil
}

func finishTemplate(d *decoder, targets []reflect.Value, at hcl.Range) hcl.Diagnostics {
	t := targets[0].Interface().(*nomadapi.Template)
	if d.asNomad {
		setDefault(&t.ChangeMode, changeModeRestart)
	}
	setDefault(&t.ChangeMode, changeModeNoop)
	setDefault(&t.Perms, "0644")
	setDefault(&t.Splay, 5*time.Second)
	setDefault(&t.ErrMissingKey, false)
	if d.verbatim || t.EmbeddedTmpl == nil {
		return nil
	}
	left, right := defaultLeft, defaultRight
	if t.LeftDelim != nil && *t.LeftDelim != "" {
		left = *t.LeftDelim
	}
	if t.RightDelim != nil && *t.RightDelim != "" {
		right = *t.RightDelim
	}
	text, err := actionText(*t.EmbeddedTmpl, left, right)
	if err != nil {
		return errorAt(at, "Template that data would change", "The data of this template %s.", err)
	}
	t.EmbeddedTmpl = &text
	return nil
}

func finishVault(_ *decoder, targets []reflect.Value, at hcl.Range) hcl.Diagnostics {
	v := targets[0].Interface().(*nomadapi.Vault)
	setDefault(&v.Env, true)
	setDefault(&v.DisableFile, false)
	setDefault(&v.ChangeMode, changeModeRestart)
	return nil
}

func finishPeriodic(_ *decoder, targets []reflect.Value, at hcl.Range) hcl.Diagnostics {
	p := targets[0].Interface().(*nomadapi.PeriodicConfig)
	if p.Spec != nil || p.Specs != nil {
		setDefault(&p.SpecType, nomadapi.PeriodicSpecCron)
	}
	return nil
}

// finishTask gives the default identity its own field and refuses two scaling policies of one kind.
func finishTask(d *decoder, targets []reflect.Value, at hcl.Range) hcl.Diagnostics {
	t := targets[0].Interface().(*nomadapi.Task)
	if d.needsDollar {
		if t.Meta == nil {
			t.Meta = map[string]string{}
		}
		t.Meta[dollarMeta] = "$"
		d.needsDollar = false
	}
	isDefault := func(w *nomadapi.WorkloadIdentity) bool { return w.Name == "" || w.Name == "default" }
	if i := slices.IndexFunc(t.Identities, isDefault); i >= 0 {
		t.Identity = t.Identities[i]
		t.Identities = slices.Delete(t.Identities, i, i+1)
	}
	var diags hcl.Diagnostics
	seen := map[string]bool{}
	for _, p := range t.ScalingPolicies {
		if seen[p.Type] {
			diags = append(diags, errorAt(at, "Duplicate scaling block",
				"A task has at most one scaling block of type %s.", p.Type)...)
		}
		seen[p.Type] = true
	}
	return diags
}

// finishGroup hands a group's vault and secrets to its tasks and completes its scaling policy.
func finishGroup(_ *decoder, targets []reflect.Value, at hcl.Range) hcl.Diagnostics {
	g := targets[0].Interface().(*nomadapi.TaskGroup)
	in := targets[1].Interface().(*inherited)
	for _, t := range g.Tasks {
		inherit(t, in.Vault, in.Secrets)
	}
	if g.Scaling == nil {
		return nil
	}
	var diags hcl.Diagnostics
	if g.Scaling.Type == "" {
		g.Scaling.Type = nomadapi.ScalingPolicyTypeHorizontal
	}
	if g.Scaling.Type != nomadapi.ScalingPolicyTypeHorizontal {
		diags = append(diags, errorAt(at, "Invalid scaling block",
			"The scaling block of a group has type %q; leave type out or write \"horizontal\".", g.Scaling.Type)...)
	}
	if g.Scaling.Max == nil {
		diags = append(diags, errorAt(at, "Missing required argument",
			"The scaling block of a group needs the argument max.")...)
	}
	return diags
}

// inherit gives t what its group or job holds: vault only where t has none, secrets in addition to its own.
func inherit(t *nomadapi.Task, vault *nomadapi.Vault, secrets []*nomadapi.Secret) {
	if t.Vault == nil {
		t.Vault = vault
	}
	t.Secrets = append(slices.Clip(t.Secrets), secrets...)
}

// finishJob is called for whole job files only, which know the label of their job block.
func finishJob(j *nomadapi.Job, extras *jobExtras, label string) {
	setDefault(&j.ID, label)
	setDefault(&j.Name, label)
	alone := make([]*nomadapi.TaskGroup, 0, len(extras.Tasks))
	for _, t := range extras.Tasks {
		alone = append(alone, &nomadapi.TaskGroup{Name: &t.Name, Tasks: []*nomadapi.Task{t}})
	}
	if len(alone) > 0 {
		j.TaskGroups = append(alone, j.TaskGroups...)
	}
	for _, g := range j.TaskGroups {
		for _, t := range g.Tasks {
			inherit(t, extras.Vault, extras.Secrets)
		}
	}
}

func setDefault[T any](p **T, v T) {
	if *p == nil {
		*p = &v
	}
}
