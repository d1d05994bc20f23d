// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package conformance

import (
	"strings"
)

// state is a play with the moment at which something in it is in the state of that name.
type state struct {
	name, at string
	play
}

// runStates are all states of a run.
var runStates = []state{
	{"queued", "1s", play{flow: ab, begins: "5s"}},
	{"running", "600ms", play{flow: ab}},
	{"pausing", "600ms", play{flow: ab, do: []string{"500ms: pause"}}},
	{"paused", "5s", play{flow: then, do: []string{"500ms: pause"}}},
	{"stopping", "600ms", play{flow: ab, script: "a: hang dies 5s", do: []string{"500ms: stop"}}},
	{"succeeded", "5s", play{flow: ab}},
	{"failed", "5s", play{flow: ab, script: "a: exit 1"}},
	{"cancelled", "5s", play{flow: ab, do: []string{"500ms: stop"}}},
	{"skipped", "5s", play{flow: ab, begins: "9s", do: []string{"1s: skip_run"}}},
}

// going is a play in which task a gets into a state, and the run goes on for a while.
func going(name, at, flow, script string, do ...string) state {
	return state{name, at, play{flow: flow + task("keeps", ""), script: script + "; keeps: exit 0 in 20s", do: do}}
}

// goingStates are all states of a task a in a run that goes on.
var goingStates = []state{
	going("pending", "1500ms", task("z", "")+task("a", "depends_on = [task.z]"), "z: exit 0 in 9s"),
	going("queued", "1500ms", task("a", ""), "a: exit 0 queues 9s"),
	going("waiting", "1500ms", retrying("max_attempts = 2\n delay = \"9s\""), "a: exit 1, exit 0"),
	going("starting", "1500ms", task("a", ""), "a: no_room"),
	going("running", "1500ms", task("a", ""), "a: exit 0 in 5s"),
	going("succeeded", "1500ms", task("a", ""), ""),
	going("failed", "1500ms", task("a", ""), "a: exit 1"),
	going("skipped", "1500ms", task("a", "when = false"), ""),
	going("omitted", "1500ms", task("z", "")+task("a", "depends_on = [task.z]"), "z: exit 1"),
	going("cancelled", "1500ms", task("a", ""), "a: hang", "500ms: cancel_task a"),
}

// overStates are the states of a task a in a run that is over.
var overStates = []state{
	going("succeeded", "50s", task("a", ""), ""),
	going("failed", "50s", task("a", ""), "a: exit 1"),
	going("skipped", "50s", task("a", "when = false"), ""),
	going("omitted", "50s", task("z", "")+task("a", "depends_on = [task.z]"), "z: exit 1"),
	going("cancelled", "50s", task("a", ""), "a: hang", "500ms: cancel_task a"),
}

// fitting tells in which of the states a verb fits and does something.
func fitting(verb string, states []state) func() string {
	return func() string {
		var fits []string
		for _, st := range states {
			p := st.play
			p.do = append(append([]string{}, p.do...), st.at+": "+verb)
			p.see = "refused idle"
			if p.outcome() == " 0" {
				fits = append(fits, st.name)
			}
		}
		return strings.Join(fits, " ")
	}
}

// seeing tells what is seen of something in a state.
func seeing(states []state, name, see string) func() string {
	return func() string {
		for _, st := range states {
			if st.name == name {
				p := st.play
				p.do = append(append([]string{}, p.do...), st.at+": ? "+see)
				seen, _, _ := strings.Cut(p.outcome(), " | ")
				return seen
			}
		}
		return "no such state"
	}
}
