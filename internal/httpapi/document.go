// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package httpapi

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workflow"
)

// Document is the run document of a state. It is the only way from a state to the outside; nothing goes back.
func Document(m *engine.Machine, s *engine.State) *api.Run {
	def := m.Definition()
	run := &api.Run{
		ID:         string(s.Input.Run),
		Workflow:   s.Input.Workflow,
		Namespace:  s.Input.Namespace,
		Definition: s.Input.Definition,
		Generation: s.Head.Generation,
		Status:     string(s.Head.Status),
		Reason:     s.Head.Reason,
		Trigger:    api.Trigger{Kind: s.Input.Trigger},
		Params:     params(def, s),
		Labels:     map[string]string{},
		CreatedAt:  s.Input.CreatedAt.Time(),
		StartedAt:  s.Head.StartedAt.Time(),
		EndedAt:    s.Head.EndedAt.Time(),
		Outputs:    runOutputs(def, s),
		Parent:     parent(&s.Input),
		CopiedFrom: string(s.Input.CopiedFrom),
		Verbs:      verbsUsed(s.Head.Verbs),
		Tasks:      make([]api.Task, len(def.Tasks)),
	}
	for name, label := range s.Input.Labels {
		run.Labels[name] = label
	}
	for n := range def.Tasks {
		run.Tasks[n] = document{m, s, n}.task()
	}
	return run
}

// parent is what started a child run.
func parent(in *engine.Input) *api.Parent {
	if in.Parent == "" {
		return nil
	}
	return &api.Parent{Run: parentRun(in), Attempt: string(in.Parent)}
}

// parentRun is the run of the attempt that started this one; empty when somebody did.
func parentRun(in *engine.Input) string {
	run, _, _, _, err := in.Parent.Parse()
	if err != nil {
		return "" // there is none
	}
	return string(run)
}

func verbsUsed(verbs []engine.Verb) []api.VerbUsed {
	var out []api.VerbUsed
	for _, v := range verbs {
		out = append(out, api.VerbUsed{Verb: verbName(v.Kind), Task: v.Task, Key: v.Key, By: v.By, Reason: v.Reason, At: v.At.Time()})
	}
	return out
}

// verbName is the verb of the API that an event comes from.
func verbName(kind engine.EventKind) string {
	for verb, f := range forms {
		if f.event == kind || f.taskKind == kind {
			return string(verb)
		}
	}
	return string(kind)
}

func params(def *workflow.Definition, s *engine.State) map[string]json.RawMessage {
	sensitive := map[string]bool{}
	for _, p := range def.Params {
		sensitive[p.Name] = p.Sensitive
	}
	out := make(map[string]json.RawMessage, len(s.Input.Params))
	for name, v := range s.Input.Params {
		out[name] = shown(v, sensitive[name])
	}
	return out
}

func runOutputs(def *workflow.Definition, s *engine.State) map[string]json.RawMessage {
	sensitive := map[string]bool{}
	for _, o := range def.Outputs {
		sensitive[o.Name] = o.Sensitive
	}
	out := make(map[string]json.RawMessage, len(s.Head.Outputs))
	for name, v := range s.Head.Outputs {
		out[name] = shown(v, sensitive[name])
	}
	return out
}

// shown is a value as it may leave the process.
func shown(v workflow.Value, sensitive bool) json.RawMessage {
	switch {
	case v.Sensitive || sensitive:
		return json.RawMessage(strconv.Quote(api.Sensitive))
	case len(v.JSON) == 0:
		return json.RawMessage("null")
	}
	return v.JSON
}

// document is one task of a run on its way out.
type document struct {
	m *engine.Machine
	s *engine.State
	n int
}

func (d document) def() *workflow.Task      { return &d.m.Definition().Tasks[d.n] }
func (d document) state() *engine.TaskState { return d.s.Tasks[d.n] }

// size is the number of instances the document knows of.
func (d document) size() int {
	switch {
	case d.def().Shape() == workflow.ShapePlain:
		return 1
	case d.state().Expanded:
		return d.state().Size
	}
	return 0
}

func (d document) task() api.Task {
	t := d.state()
	out := api.Task{
		Name:      d.def().Name,
		Kind:      string(d.def().Kind),
		Body:      string(d.def().BodyKind),
		Status:    string(t.Status),
		Reason:    d.reason(),
		Recovered: d.m.Recovered(d.s, d.n),
		StartedAt: t.BeganAt.Time(),
		EndedAt:   t.EndedAt.Time(),

		CopiedFrom: string(t.CopiedFrom),
	}
	size := d.size()
	if size > api.MaxInstances {
		out.InstanceCounts = d.counts(size)
		return out
	}
	out.Instances = make([]api.Instance, size)
	for i := range out.Instances {
		out.Instances[i] = d.instance(i)
	}
	if d.def().Shape() == workflow.ShapePlain {
		out.Outputs = out.Instances[0].Outputs
	}
	return out
}

func (d document) counts(size int) map[string]int {
	out := map[string]int{}
	for position := range size {
		out[string(d.status(position))]++
	}
	return out
}

// number is the instance at a position of the task.
func (d document) number(position int) int { return d.m.NumberAt(d.s, d.n, position) }

func (d document) status(position int) workflow.Status {
	return d.m.InstanceStatus(d.s, d.n, d.number(position))
}

// key is nil for the instance of a plain task.
func (d document) key(position int) *string {
	key := strconv.Itoa(position)
	switch x := d.s.Expansions[d.n]; {
	case d.def().Shape() == workflow.ShapePlain:
		return nil
	case x != nil:
		key = x.Keys[position]
	}
	return &key
}

// reason is why the task stands as it does; for one that has not begun, what it waits for.
func (d document) reason() string {
	t := d.state()
	if t.Reason != "" || t.Status != workflow.Pending || d.s.Head.Status.Terminal() {
		return t.Reason
	}
	var open []string
	for _, p := range d.m.Graph().Predecessors(d.n) {
		if !d.s.Tasks[p].Status.Terminal() {
			open = append(open, d.m.Definition().Tasks[p].Name)
		}
	}
	switch {
	case d.def().Kind == workflow.KindFinally && !d.s.Head.FinallyBegun:
		return "waits for the end of the tasks"
	case len(open) > maxNamed:
		return fmt.Sprintf("waits for %s and %d more", strings.Join(open[:maxNamed], ", "), len(open)-maxNamed)
	case len(open) > 0:
		return "waits for " + listed(open)
	}
	return ""
}

// maxNamed is how many names a sentence holds.
const maxNamed = 3

func (d document) instance(position int) api.Instance {
	i := d.number(position)
	out := api.Instance{Key: d.key(position), Index: position, Status: string(d.status(position)), Attempts: []api.Attempt{}}
	if out.Status == string(workflow.Succeeded) {
		out.Outputs = d.outputs(i)
	}
	if i >= len(d.s.Instances[d.n]) {
		if out.Key == nil {
			out.Reason, out.EndedAt = d.reason(), d.state().EndedAt.Time()
		} else if out.Status == string(workflow.Pending) {
			out.Reason = d.turn()
		}
		return out
	}
	in := d.s.Instances[d.n][i]
	out.Reason, out.EndedAt = in.Reason, in.EndedAt.Time()
	switch {
	case in.Status == workflow.Waiting && in.Current == nil:
		out.RetryAt = in.RetryAt.Time()
	case in.Status == workflow.Waiting:
		out.Approval, out.Wait = d.asks(in.Current)
	case in.Status == workflow.Queued && out.Reason == "":
		out.Reason = d.place()
	}
	if out.Key == nil && out.Reason == "" {
		out.Reason = d.state().Reason
	}
	for k := range in.Past {
		out.Attempts = append(out.Attempts, ended(&in.Past[k]))
	}
	if in.Current != nil {
		out.Attempts = append(out.Attempts, d.current(i, in))
	}
	for k := range out.Attempts {
		if t := out.Attempts[k].StartedAt; !t.IsZero() {
			out.StartedAt = t
			break
		}
	}
	return out
}

// turn is why an instance of a task that goes on has not begun.
func (d document) turn() string {
	t := d.state()
	if t.Status.Terminal() || !t.Expanded || t.MaxParallel == 0 {
		return ""
	}
	return fmt.Sprintf("waits for its turn: max_parallel of the task is %d", t.MaxParallel)
}

// place is why an instance that could run has not started.
func (d document) place() string {
	switch d.s.Head.Status {
	case workflow.RunPausing, workflow.RunPaused:
		return "the run is paused"
	}
	return "waits for a free place"
}

// asks is what an attempt of the engine's own waits for.
func (d document) asks(c *engine.Current) (*api.Approval, *api.Wait) {
	if d.def().BodyKind == workflow.BodyWait {
		return nil, &api.Wait{Until: c.Due.Time()}
	}
	if d.def().BodyKind != workflow.BodyApproval {
		return nil, nil
	}
	out := &api.Approval{
		Approvers: append([]string{}, c.Approvers...), Since: c.StartedAt.Time(), Until: c.Due.Time(), OnTimeout: string(c.OnTimeout),
		Inputs: []api.InputAsk{},
	}
	for _, o := range d.def().Outputs {
		if o.Name == "by" || o.Name == "comment" { // what the answer itself gives
			continue
		}
		ask := api.InputAsk{Name: o.Name, Type: o.Type.Text, Sensitive: o.Sensitive}
		if o.Default != nil {
			ask.Default = shown(*o.Default, o.Sensitive)
		}
		out.Inputs = append(out.Inputs, ask)
	}
	return out, nil
}

// outputs are the declared outputs of an instance that succeeded: what it has of its own, its defaults, or null.
func (d document) outputs(i int) map[string]json.RawMessage {
	written := d.m.Written(d.s, d.n, i)
	out := make(map[string]json.RawMessage, len(d.def().Outputs))
	for _, o := range d.def().Outputs {
		v, ok := written[o.Name]
		if !ok && o.Default != nil {
			v = *o.Default
		}
		out[o.Name] = shown(v, o.Sensitive)
	}
	return out
}

func ended(a *engine.Attempt) api.Attempt {
	return api.Attempt{
		Number:      a.Number,
		Verdict:     string(a.Verdict),
		ExitCode:    a.ExitCode,
		Signal:      a.Signal,
		OOM:         a.OOM,
		Message:     a.Message,
		Node:        a.Place.Node,
		JobID:       a.Place.JobID,
		AllocID:     a.Place.AllocID,
		PID:         a.Place.PID,
		Child:       string(a.Place.Child),
		QueuedAt:    a.QueuedAt.Time(),
		StartedAt:   a.StartedAt.Time(),
		EndedAt:     a.EndedAt.Time(),
		OutputsLost: a.OutputsLost,
		Notes:       a.Notes,
	}
}

// current is the attempt in flight of instance i.
func (d document) current(i int, in *engine.Instance) api.Attempt {
	c := in.Current
	message := c.Message
	if why, dying := d.m.Dying(d.s, d.n, i); dying {
		message = "is being stopped"
		if why != "" {
			message += ": " + why
		}
	}
	return api.Attempt{
		Number:    in.Number,
		Message:   message,
		Node:      c.Place.Node,
		JobID:     c.Place.JobID,
		AllocID:   c.Place.AllocID,
		PID:       c.Place.PID,
		Child:     string(c.Place.Child),
		QueuedAt:  in.QueuedAt.Time(),
		StartedAt: c.StartedAt.Time(),
	}
}

// entry is a run in a list.
func entry(in *engine.Input, h *engine.Head) api.RunEntry {
	return api.RunEntry{
		ID:        string(in.Run),
		Workflow:  in.Workflow,
		Namespace: in.Namespace,
		Status:    string(h.Status),
		Reason:    h.Reason,
		CreatedAt: in.CreatedAt.Time(),
		StartedAt: h.StartedAt.Time(),
		EndedAt:   h.EndedAt.Time(),
		Parent:    parentRun(in),
		Labels:    in.Labels,
	}
}
