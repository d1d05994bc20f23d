// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package cli

import (
	"cmp"
	"context"

	"github.com/cairnflow/cairn/internal/nomad"
	"github.com/cairnflow/cairn/internal/workflow"
)

func planCommand(a *App) *command {
	var p params
	var name string
	var insist, leave, asJSON bool
	c := &command{
		synopsis:  "Show what a run would do, and whether Nomad has room for it",
		arguments: "FILE",
		min:       1,
		max:       1,
		about: `Shows what a run of the workflow in FILE would do: its tasks in the order they can begin, how many
instances each has as far as that is known, and what only a run can tell. Every job that is known now is
given to the Nomad that NOMAD_ADDR names for a dry run, and its verdict is printed. Nothing is registered
and nothing runs.

Where CAIRN_ADDR names a server, the plan begins with what the files would change of the version that is
registered there.

Where NOMAD_ADDR is not set, or nobody answers there, the plan is printed without verdicts; with -nomad
that is an error. Sensitive values read "(sensitive)", in what Nomad is given, too.

Exit codes: 0 planned (a job may have to wait for room), 1 Nomad would refuse a job, or a task cannot be
rendered, 2 the file or the params are invalid, 4 Nomad cannot be reached and -nomad was given.`,
		examples: []string{"cairn plan examples/etl", "cairn plan -nomad -param day=2026-01-31 examples/etl"},
		options: append(p.options(a),
			predicted(textOption(&name, "workflow", "NAME", "The workflow to plan, where FILE holds several."), a.predictWorkflowNames()),
			switchOption(&insist, "nomad", "Fail when Nomad does not answer. Without NOMAD_ADDR, ask the one on this machine."),
			switchOption(&leave, "local", "Ask neither Nomad nor the server."),
			switchOption(&asJSON, "json", "Print the plan as JSON."),
		),
		predict: predictWorkflow,
	}
	c.run = func(args []string) int {
		if insist && leave {
			return c.usageError("-local and -nomad exclude each other")
		}
		compare := a.compareRegistered
		if leave || cmp.Or(a.server.Address, a.Getenv(addressEnv)) == "" {
			compare = nil
		}
		code := a.plan(args[0], name, &p, asJSON, compare, func() asking {
			switch {
			case leave:
				return asking{}
			case !insist && a.Getenv("NOMAD_ADDR") == "":
				return asking{problem: "NOMAD_ADDR is not set, so Nomad was not asked where the tasks would run. Set it, or say -nomad for the one on this machine."}
			}
			return a.askNomad(insist)
		})
		return code
	}
	return c
}

// placer says where an instance would run.
type placer interface {
	Plan(ctx context.Context, r nomad.Rendering) (nomad.Placement, error)
}

var _ placer = (*nomad.Planner)(nil)

// asking is how Nomad is asked.
type asking struct {
	placer  placer // nil = it is not
	address string
	problem string // why it is not, for people; empty when nobody wanted it
	insist  bool   // not to be asked is an error
	close   func()
}

// askNomad makes ready to ask the Nomad of the environment.
func (a *App) askNomad(insist bool) asking {
	cfg := nomad.DefaultConfig().WithEnvironment(a.Getenv)
	planner, err := nomad.NewPlanner(cfg)
	if err != nil {
		return asking{problem: sentence(err), insist: insist}
	}
	return asking{placer: planner, address: cfg.Address, insist: insist, close: planner.Close}
}

// plan prints what a run would do. compare tells what the files would change at the server; nil = there is none.
func (a *App) plan(
	path, name string, p *params, asJSON bool, compare func(*workflow.Definition) planRegistered, ask func() asking,
) int {
	def, r, code := a.prepare(path, name, p, asJSON, placeholder)
	if r == nil {
		return code
	}
	other, err := newRendererWith(def, r.eval, r.run, r.params, otherPlaceholder)
	if err != nil {
		return a.broken(err)
	}
	g, err := workflow.NewGraph(def)
	if err != nil {
		return a.broken(err)
	}
	how := ask()
	if how.close != nil {
		defer how.close()
	}
	pl := &planner{def: def, graph: g, one: r, other: other, asking: how}
	doc := pl.document(context.Background())
	if compare != nil {
		registered := compare(def)
		doc.Registered = &registered
	}
	if asJSON {
		a.printJSON(doc)
	} else {
		a.print(planText(def, doc, a.screenOf(a.Stdout)))
	}
	if doc.Registered != nil && doc.Registered.Problem != "" {
		a.warnf("%s", doc.Registered.Problem)
	}
	switch {
	case doc.Nomad.Problem != "" && how.insist:
		a.errorf("%s", doc.Nomad.Problem)
		return exitUnreachable
	case doc.Nomad.Problem != "":
		a.warnf("%s", doc.Nomad.Problem)
	}
	if doc.broken() {
		return exitFailed
	}
	return code
}

// planDocument is `cairn plan -json`.
type planDocument struct {
	Workflow   string     `json:"workflow"`
	Definition string     `json:"definition"`
	Tasks      []planTask `json:"tasks"` // in the order they can begin, finally tasks last
	Nomad      planNomad  `json:"nomad"`
	// Registered is what the files would change at a server; absent where none is named.
	Registered *planRegistered `json:"registered,omitempty"`
}

// planNomad says whom the verdicts are from.
type planNomad struct {
	Address string `json:"address,omitempty"`
	Problem string `json:"problem,omitempty"` // why there are no verdicts, or not all
}

type planTask struct {
	Name        string   `json:"name"`
	Kind        string   `json:"kind"` // "task" or "finally"
	Body        string   `json:"body"`
	Does        string   `json:"does,omitempty"` // what of the body fits in a few words
	Level       int      `json:"level"`          // the length of the longest way to it; of a finally task, among those
	After       []string `json:"after"`
	TriggerRule string   `json:"trigger_rule"`
	FanOut      bool     `json:"fan_out"`
	Instances   *int     `json:"instances"` // null = only the run will tell
	Skipped     bool     `json:"skipped"`   // its when is false
	// Unknown is what only the run will tell; Problem why it cannot be rendered although all is known.
	Unknown    []string        `json:"unknown"`
	Problem    string          `json:"problem,omitempty"`
	Placements []planPlacement `json:"placements"` // of the first instances
}

// planPlacement is Nomad's verdict on one instance.
type planPlacement struct {
	Key      *string     `json:"key"` // null for a plain task
	Placed   bool        `json:"placed"`
	Refused  string      `json:"refused,omitempty"` // why Nomad would not take the job
	Groups   []planGroup `json:"groups,omitempty"`
	Warnings []string    `json:"warnings,omitempty"`
}

type planGroup struct {
	Name       string `json:"name"`
	Count      int    `json:"count"`
	Unplaced   int    `json:"unplaced"`
	Reason     string `json:"reason,omitempty"`
	Impossible bool   `json:"impossible,omitempty"` // no worker could ever run it
}

// broken reports whether something would fail whatever room there is.
func (d planDocument) broken() bool {
	for _, t := range d.Tasks {
		if t.Problem != "" {
			return true
		}
		for _, p := range t.Placements {
			if p.Refused != "" {
				return true
			}
		}
	}
	return false
}

// planner finds out what a run would do.
type planner struct {
	def        *workflow.Definition
	graph      *workflow.Graph
	one, other *renderer // outputs differ: what comes out alike does not depend on them
	asking
}

// maxAsked bounds the instances of a task that Nomad is asked about: they mostly differ in their arguments only.
const maxAsked = 10

func (p *planner) document(ctx context.Context) planDocument {
	doc := planDocument{Workflow: p.def.Name, Definition: p.def.Hash, Nomad: planNomad{Address: p.address, Problem: p.problem}}
	level := levels(p.def, p.graph)
	for _, n := range byLevel(p.def, level) {
		t := p.task(n)
		t.Level = level[n] + 1
		if p.placer != nil && doc.Nomad.Problem == "" {
			if err := p.place(ctx, n, &t); err != nil {
				doc.Nomad.Problem = sentence(err)
			}
		}
		doc.Tasks = append(doc.Tasks, t)
	}
	return doc
}

// task is what is known of a task before a run.
func (p *planner) task(n int) planTask {
	t := &p.def.Tasks[n]
	out := planTask{
		Name: t.Name, Kind: string(t.Kind), Body: string(t.BodyKind), After: append([]string{}, predecessors(p.def, p.graph, n)...),
		TriggerRule: string(t.TriggerRule), FanOut: t.Shape() != workflow.ShapePlain, Unknown: []string{}, Placements: []planPlacement{},
	}
	by := " depends on what " + listOf(t.Refs) + " will have given"
	if t.When != nil {
		switch when, known := p.when(n); {
		case !known:
			out.Unknown = append(out.Unknown, "whether it runs"+by)
		case !when:
			out.Skipped = true
			return out
		}
	}
	switch size, known, err := p.size(n); {
	case err != nil:
		out.Problem = sentence(err)
		return out
	case !known:
		out.Unknown = append(out.Unknown, "how many instances it has"+by)
		return out
	default:
		out.Instances = &size
		if size == 0 {
			return out
		}
	}
	body, known, err := p.body(n, 0)
	switch {
	case err != nil:
		out.Problem = sentence(err)
	case !known:
		out.Unknown = append(out.Unknown, "what it runs"+by)
	default:
		out.Does = bodyNote(t.BodyKind, body)
	}
	return out
}

// when is what the task's condition comes to, where that is known.
func (p *planner) when(n int) (value, known bool) {
	t := &p.def.Tasks[n]
	var got [2]string
	for i, r := range []*renderer{p.one, p.other} {
		v, err := r.eval.Evaluate(*t.When, r.scope(n))
		if err != nil {
			return false, false
		}
		got[i] = string(v.JSON)
	}
	return got[0] == "true", got[0] == got[1]
}

// size is how many instances a task has, where that is known.
func (p *planner) size(n int) (size int, known bool, err error) {
	t := &p.def.Tasks[n]
	if err := p.one.failed[t.Name]; err != nil {
		if len(t.ExpandRefs) > 0 {
			return 0, false, nil
		}
		return 0, false, err
	}
	one, other := p.one.eachOf[t.Name], p.other.eachOf[t.Name]
	if p.other.failed[t.Name] != nil || len(one) != len(other) {
		return 0, false, nil
	}
	for i := range one {
		if one[i] != nil && one[i].Key != other[i].Key {
			return 0, false, nil
		}
	}
	return len(one), true, nil
}

// body is what instance i of a task runs, where that is known.
func (p *planner) body(n, i int) (body []byte, known bool, err error) {
	t := &p.def.Tasks[n]
	one, err := p.one.body(n, p.one.eachOf[t.Name][i])
	if err != nil {
		if len(t.Refs) > 0 {
			return nil, false, nil
		}
		return nil, false, err
	}
	other, err := p.other.body(n, p.other.eachOf[t.Name][i])
	return one.JSON, err == nil && string(one.JSON) == string(other.JSON), nil
}

// place asks Nomad about the first instances of a task whose bodies are known. An error means that Nomad does not answer.
func (p *planner) place(ctx context.Context, n int, out *planTask) error {
	t := &p.def.Tasks[n]
	if !t.BodyKind.Cluster() || out.Instances == nil || out.Problem != "" {
		return nil
	}
	for i := range min(*out.Instances, maxAsked) {
		body, known, err := p.body(n, i)
		if err != nil || !known {
			continue
		}
		r := p.one.rendering(n, i, body)
		verdict, err := p.placer.Plan(ctx, r)
		if err != nil {
			return err
		}
		place := planPlacement{Placed: verdict.OK(), Refused: verdict.Refused, Warnings: verdict.Warnings}
		if each := p.one.eachOf[t.Name][i]; each != nil {
			place.Key = &each.Key
		}
		for _, g := range verdict.Groups {
			place.Groups = append(place.Groups, planGroup{g.Name, g.Count, g.Unplaced, g.Why, g.Impossible})
		}
		out.Placements = append(out.Placements, place)
	}
	return nil
}
