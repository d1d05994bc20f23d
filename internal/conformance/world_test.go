// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package conformance

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/cairnflow/cairn/hcl"
	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workflow"
)

// input is what the next run of a world is started with.
func (w *world) input(params map[string]workflow.Value) engine.Input {
	w.runs++
	return engine.Input{
		Run: workflow.NewRunID(start, [6]byte{byte(w.runs)}), Workflow: "w", Definition: w.def.Hash, Namespace: "default", Params: params,
		Trigger: "manual", CreatedAt: w.now, ScheduledAt: w.now,
	}
}

// save keeps the records of what the last step changed.
func (w *world) save() {
	records, err := w.m.EncodeDirty(w.s)
	if err != nil {
		panic(err) // nothing that a workflow may hold cannot be saved
	}
	for _, r := range records {
		w.saved[r.Key] = r.Value
	}
}

// takeover lets another leader go on from what was saved.
func (w *world) takeover() {
	all := make([]engine.Record, 0, len(w.saved))
	for k, v := range w.saved {
		all = append(all, engine.Record{Key: k, Value: v})
	}
	s, err := w.m.Load(all)
	if err != nil {
		panic(err) // what was saved can be read
	}
	w.s, w.taking = s, true
	w.epoch++
	w.carry(w.m.Outstanding(s))
	w.taking = false
}

// rerun goes on with a new run of what the old one leaves.
func (w *world) rerun(words []string) {
	var what engine.Selection
	params := map[string]workflow.Value{}
	for k, v := range w.s.Input.Params {
		params[k] = v
	}
	for _, word := range words {
		switch k, v, _ := strings.Cut(word, "="); k {
		case "from":
			what.From = append(what.From, v)
		case "only":
			what.Only = append(what.Only, v)
		default:
			params[k] = workflow.Value{JSON: json.RawMessage(v)}
		}
	}
	s, err := w.m.Rerun(w.input(params), w.s, what)
	if err != nil {
		w.refused = append(w.refused, strings.ReplaceAll(err.Error(), string(w.s.Input.Run), "r"))
		return
	}
	w.s, w.wake = s, 0
	clear(w.saved)
	w.schedule(0, func(*world) engine.Event { return engine.Event{Kind: engine.Begin} })
}

// count notes how many attempts are in flight.
func (w *world) count(name string) {
	flying := 0
	for id := range w.running {
		if _, n, _, _, err := id.Parse(); err == nil && w.def.Tasks[n].Name == name {
			flying++
		}
	}
	w.peaks[name] = max(w.peaks[name], flying)
	w.peaks[""] = max(w.peaks[""], len(w.running))
}

// recorded are the verbs that the run keeps: "stop ann@2s because".
func (w *world) recorded() string {
	var all []string
	for _, v := range w.s.Head.Verbs {
		text := fmt.Sprintf("%s %s@%s", v.Kind, v.By, since(v.At))
		for _, more := range []string{v.Task, v.Key, v.Reason} {
			if more != "" {
				text += " " + more
			}
		}
		all = append(all, text)
	}
	return strings.Join(all, ", ")
}

// since is a moment as the time from the start.
func since(at workflow.Time) string {
	if at == 0 {
		return "never"
	}
	return at.Sub(workflow.At(start)).Round(time.Millisecond).String()
}

// named is who an attempt is for, as scripts name it.
func named(s *engine.Start) string {
	if s.Key != "" {
		return s.Task + "[" + s.Key + "]"
	}
	return s.Task
}

// who is a task, or an instance of it, as scripts name it.
func (w *world) who(n, i int) string {
	if key := w.m.Key(w.s, n, i); key != "" {
		return w.def.Tasks[n].Name + "[" + key + "]"
	}
	return w.def.Tasks[n].Name
}

// lookDeeper tells more about attempts and instances:
//
//	a.attempts         every attempt: generation, number, verdict, worker, times, what was said
//	a.flying           the number of the attempt in flight, with the worker it runs on
//	a.avoids           the workers that its newest attempt must not run on
//	a.child            the child run of its newest attempt and its generation: "c1.1"
//	a.held             whether the child run is to be paused
//	a.kill             what its attempt was told in the end: "stop", "terminate"
//	a.wants            how often it asked for admission
//	a.peak             how many of its attempts were in flight at once
//	a.keys             its instances by position: key, number, status
func (w *world) lookDeeper(x, what string, n, i int, in engine.Instance) string {
	name := w.def.Tasks[n].Name
	s := w.newest[w.who(n, i)]
	switch {
	case what == "attempts":
		return w.attempts(in)
	case what == "flying" && in.Current == nil:
		return "none"
	case what == "flying":
		return fmt.Sprintf("%d@%s", in.Number, cmp.Or(in.Current.Place.Node, "nowhere"))
	case what == "wants":
		return strconv.Itoa(w.wants[name])
	case what == "peak":
		return strconv.Itoa(w.peaks[name])
	case what == "keys":
		var all []string
		for position := range w.s.Tasks[n].Size {
			number := w.m.NumberAt(w.s, n, position)
			all = append(all, fmt.Sprintf("%s=%d:%s", w.m.Key(w.s, n, number), number, w.m.InstanceStatus(w.s, n, number)))
		}
		return strings.Join(all, ",")
	case what == "kill":
		switch k := w.kills[w.who(n, i)]; {
		case k == nil:
			return "none"
		case k.Terminate:
			return "terminate"
		}
		return "stop"
	case s != nil && what == "avoids":
		return strings.Join(s.AvoidNodes, ",")
	case s != nil && what == "held":
		return strconv.FormatBool(s.Hold)
	case s != nil && what == "child":
		return fmt.Sprintf("%s.%d", w.childName(s.Child), s.ChildGeneration)
	}
	return fmt.Sprintf("nothing to see: %s", x)
}

// childName numbers child runs in the order in which they were met.
func (w *world) childName(id workflow.RunID) string {
	for k, known := range w.children {
		if known == id {
			return fmt.Sprintf("c%d", k+1)
		}
	}
	return "none"
}

func (w *world) attempts(in engine.Instance) string {
	var all []string
	for _, a := range in.Past {
		code := "-"
		if a.ExitCode != nil {
			code = strconv.Itoa(*a.ExitCode)
		}
		all = append(all, fmt.Sprintf("%d.%d %s code=%s %s %s-%s (%s)", a.Generation, a.Number, a.Verdict, code,
			cmp.Or(a.Place.Node, "nowhere"), since(a.StartedAt), since(a.EndedAt), a.Message))
	}
	return strings.Join(all, ", ")
}

// warnings are what a compiler warns of in a workflow.
func warnings(flow string) string {
	files := []workflow.File{{Path: "w.hcl", Bytes: []byte("workflow \"w\" {\n" + flow + "\n}\n")}}
	_, diags := hcl.Compile(files, "w")
	var all []string
	for _, d := range diags {
		if d.Severity == hcl.SeverityWarning {
			all = append(all, d.Summary+": "+d.Detail)
		}
	}
	return cmp.Or(strings.Join(all, " / "), "none")
}
