// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnflow/cairn/internal/engine"
)

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// events makes the events of a task from their types; "Terminated:3" carries an exit code, "Terminated:137/9" a signal too.
func events(types ...string) []taskEvent {
	var list []taskEvent
	for _, text := range types {
		name, code, signal := text, "", ""
		for i, c := range text {
			if c == ':' {
				name, code = text[:i], text[i+1:]
			}
		}
		for i, c := range code {
			if c == '/' {
				code, signal = code[:i], code[i+1:]
				break
			}
		}
		ev := taskEvent{Type: name}
		if code != "" {
			ev.Details = map[string]string{"exit_code": code, "signal": signal}
		}
		list = append(list, ev)
	}
	return list
}

// dead is an allocation whose task "work" has ended with these events.
func deadAlloc(status string, types ...string) *alloc {
	state := &taskState{State: taskDead, Events: events(types...)}
	for _, ev := range state.Events {
		if ev.Type == eventStarted {
			state.StartedAt, state.FinishedAt = epoch, epoch.Add(time.Minute)
		}
	}
	return &alloc{ID: "a1", NodeName: "n1", DesiredStatus: desiredRun, ClientStatus: status, TaskStates: map[string]*taskState{"work": state}}
}

func liveAlloc(id string, index uint64) *alloc {
	return &alloc{ID: id, NodeName: "n2", DesiredStatus: desiredRun, ClientStatus: "running", CreateIndex: index, TaskStates: map[string]*taskState{
		"work": {State: "running", StartedAt: epoch, Events: events("Received", "Started")},
	}}
}

func with(a *alloc, change func(*alloc)) *alloc {
	change(a)
	return a
}

// verdict is what a judgement comes to, in a line.
func verdict(j judgement) string {
	text := ""
	switch {
	case j.outcome != nil:
		text = string(j.outcome.Kind)
		if j.outcome.ExitCode != nil {
			text += " " + strconv.Itoa(*j.outcome.ExitCode)
		}
		if j.outcome.Signal != 0 {
			text += " signal " + strconv.Itoa(j.outcome.Signal)
		}
		if j.outcome.OOM {
			text += " oom"
		}
	case j.stop:
		text = "stop: " + string(j.cause.Kind)
	case j.readJob:
		text = "read job"
	case j.lossWait:
		text = "wait"
	case j.unclear:
		text = "look"
	case j.running != nil:
		text = "running"
	}
	return text
}

func TestJudge(t *testing.T) {
	killed := []string{"Received", "Task Setup", "Started", "Killing", "Terminated:137/9", "Killed"}
	lost := outcome(engine.OutcomeLost, "lost")
	for name, c := range map[string]struct {
		facts facts
		want  string
	}{
		"nothing placed yet":      {facts{}, ""},
		"nothing placed, stopped": {facts{job: jobStopped}, "stop: interrupted"},
		"nothing placed, stopped by us for good": {
			facts{job: jobStopped, killed: true, cause: outcome(engine.OutcomeKilled, ""), settled: true}, "killed"},
		"tombstone of a kill":               {facts{job: jobStopped, tombstone: tombKilled}, "killed"},
		"tombstone of an unknown outcome":   {facts{job: jobStopped, tombstone: tombUnknown, killed: true}, "lost"},
		"tombstone of a body that is gone":  {facts{job: jobStopped, tombstone: tombNoBody}, "invalid"},
		"placed, not started":               {facts{allocs: []*alloc{{ID: "a", DesiredStatus: desiredRun, ClientStatus: "pending"}}}, ""},
		"running":                           {facts{allocs: []*alloc{liveAlloc("a", 1)}}, "running"},
		"running and to be killed":          {facts{allocs: []*alloc{liveAlloc("a", 1)}, killed: true}, "stop: killed"},
		"ended well":                        {facts{allocs: []*alloc{deadAlloc(clientComplete, "Received", "Task Setup", "Started", "Terminated:0")}}, "exited 0"},
		"ended well, not yet said complete": {facts{allocs: []*alloc{deadAlloc("running", "Started", "Terminated:0")}}, "exited 0"},
		"failed":                            {facts{allocs: []*alloc{deadAlloc(clientFailed, "Started", "Terminated:3", "Not Restarting")}}, "exited 3"},
		"died by a signal":                  {facts{allocs: []*alloc{deadAlloc(clientFailed, "Started", "Terminated:139/11", "Not Restarting")}}, "exited signal 11"},
		"out of memory with exit code 0": {facts{allocs: []*alloc{with(deadAlloc(clientComplete, "Started", "Terminated:0"), func(a *alloc) {
			a.TaskStates["work"].Events[1].Details["oom_killed"] = "true"
		})}}, "exited 0 oom"},
		"ended well before a kill that came late": {facts{killed: true, allocs: []*alloc{
			deadAlloc(clientComplete, "Started", "Terminated:0", "Killing")}}, "exited 0"},
		"restarted in place, then ended well": {facts{allocs: []*alloc{
			deadAlloc(clientComplete, "Started", "Restart Signaled", "Killing", "Terminated:143/15", "Restarting", "Started", "Terminated:0")}}, "exited 0"},
		"killed while it was being started": {facts{killed: true, settled: true, cause: outcome(engine.OutcomeKilled, ""), allocs: []*alloc{
			deadAlloc(clientComplete, "Task Setup", "Killing", "Started", "Terminated:137/9", "Killed")}}, "killed"},
		"events before the start are cut off": {facts{allocs: []*alloc{deadAlloc(clientComplete, "Terminated:0")}}, "exited 0"},
		"trapped the signal and exited 0": {facts{killed: true, settled: true, cause: outcome(engine.OutcomeKilled, ""), allocs: []*alloc{
			deadAlloc(clientComplete, "Started", "Killing", "Terminated:0", "Killed")}}, "killed"},
		"killed, who knows by whom":                    {facts{allocs: []*alloc{deadAlloc(clientComplete, killed...)}}, "read job"},
		"killed with its job stopped":                  {facts{job: jobStopped, allocs: []*alloc{deadAlloc(clientComplete, killed...)}}, "stop: interrupted"},
		"killed by its client with its job running on": {facts{job: jobRuns, allocs: []*alloc{deadAlloc(clientComplete, killed...)}}, "stop: lost"},
		"drained": {facts{job: jobRuns, allocs: []*alloc{with(deadAlloc(clientComplete, killed...), func(a *alloc) {
			a.DesiredStatus, a.DesiredDescription = "stop", "alloc is being migrated"
		})}}, "stop: evicted"},
		"on a namesake of the worker that is taken for dead": {facts{killed: true, deadAlloc: "a", deadName: "n2", settled: true, cause: lost, allocs: []*alloc{
			with(liveAlloc("a", 1), func(a *alloc) { a.NodeID = "old" }), with(liveAlloc("b", 2), func(a *alloc) { a.NodeID = "new" })}}, "running"},
		"begun again but for a sidecar": {facts{allocs: []*alloc{with(liveAlloc("a", 1), func(a *alloc) {
			a.TaskStates["log"] = &taskState{State: "running", Events: events("Started", "Failed Restoring Task", "Started")}
		})}}, "running"},
		"preempted": {facts{job: jobRuns, allocs: []*alloc{with(deadAlloc(clientComplete, killed...), func(a *alloc) {
			a.DesiredStatus = desiredEvict
		})}}, "stop: evicted"},
		"came back after it was lost, and was killed": {facts{job: jobStopped, allocs: []*alloc{with(deadAlloc(clientComplete, killed...), func(a *alloc) {
			a.DesiredStatus, a.DesiredDescription = "stop", "alloc is lost since its node is down"
		})}}, "stop: lost"},
		"came back after it was lost, having ended well": {facts{cause: lost, settled: true, allocs: []*alloc{with(deadAlloc(clientComplete, "Started", "Terminated:0"), func(a *alloc) {
			a.DesiredStatus, a.DesiredDescription = "stop", "alloc is lost since its node is down"
		})}}, "exited 0"},
		"Nomad's own time limit": {facts{allocs: []*alloc{with(deadAlloc(clientFailed, killed...), func(a *alloc) {
			a.ClientDescription, a.DesiredStatus = "allocation exceeded max_run_duration", "stop"
		})}}, "timed_out"},
		"driver failure": {facts{allocs: []*alloc{with(deadAlloc(clientFailed, "Received", "Task Setup", "Driver Failure", "Not Restarting"), func(a *alloc) {
			a.TaskStates["work"].Failed = true
		})}}, "error"},
		"failed before it had a task": {facts{allocs: []*alloc{{ID: "a", DesiredStatus: desiredRun, ClientStatus: clientFailed}}}, "error"},
		"lost":                        {facts{allocs: []*alloc{with(liveAlloc("a", 1), func(a *alloc) { a.ClientStatus = clientLost })}}, "stop: lost"},
		"unknown":                     {facts{allocs: []*alloc{with(liveAlloc("a", 1), func(a *alloc) { a.ClientStatus = clientUnknown })}}, "stop: lost"},
		"lost and stopped for good": {facts{cause: lost, settled: true, allocs: []*alloc{
			with(liveAlloc("a", 1), func(a *alloc) { a.ClientStatus = clientLost })}}, "wait"},
		"lost and waited for": {facts{cause: lost, settled: true, waited: true, allocs: []*alloc{
			with(liveAlloc("a", 1), func(a *alloc) { a.ClientStatus = clientLost })}}, "lost"},
		"lost, of an idempotent task": {facts{cause: lost, settled: true, immediate: true, allocs: []*alloc{
			with(liveAlloc("a", 1), func(a *alloc) { a.ClientStatus = clientLost })}}, "lost"},
		"lost, of an idempotent task whose replacement is being stopped": {facts{cause: lost, settled: true, immediate: true, allocs: []*alloc{
			with(liveAlloc("a", 1), func(a *alloc) { a.ClientStatus = clientLost }), liveAlloc("b", 2)}}, "running"},
		"moved by Nomad":                {facts{allocs: []*alloc{deadAlloc(clientComplete, killed...), liveAlloc("b", 2)}}, "stop: evicted"},
		"moved by Nomad, who knows why": {facts{allocs: []*alloc{liveAlloc("a", 1), liveAlloc("b", 2)}}, "look"},
		"moved by Nomad, and looked at": {facts{looked: true, allocs: []*alloc{liveAlloc("a", 1), liveAlloc("b", 2)}}, "stop: evicted"},
		"begun again by its client": {facts{allocs: []*alloc{with(liveAlloc("a", 1), func(a *alloc) {
			a.TaskStates["work"].Events = events("Received", "Started", "Received", "Failed Restoring Task", "Started")
		})}}, "stop: lost"},
		"begun again by its client, and ended well": {facts{allocs: []*alloc{
			deadAlloc(clientComplete, "Started", "Received", "Failed Restoring Task", "Started", "Terminated:0")}}, "exited 0"},
		"moved by Nomad from a lost worker": {facts{allocs: []*alloc{
			with(liveAlloc("a", 1), func(a *alloc) { a.ClientStatus = clientLost }), liveAlloc("b", 2)}}, "stop: lost"},
		"its worker taken for dead": {facts{killed: true, deadName: "n2", allocs: []*alloc{liveAlloc("a", 1)}}, "stop: killed"},
		"its worker taken for dead, and its job stopped": {facts{killed: true, deadName: "n2", settled: true, cause: outcome(engine.OutcomeKilled, ""),
			allocs: []*alloc{liveAlloc("a", 1)}}, "killed"},
		"its worker taken for dead while that is waited for": {facts{killed: true, deadName: "n2", settled: true, cause: lost, allocs: []*alloc{
			with(liveAlloc("a", 1), func(a *alloc) { a.ClientStatus = clientUnknown })}}, "lost"},
		"its worker taken for dead, and Nomad has moved it": {facts{killed: true, deadName: "n1", settled: true, cause: lost, allocs: []*alloc{
			with(liveAlloc("a", 1), func(a *alloc) { a.NodeName, a.ClientStatus = "n1", clientLost }), liveAlloc("b", 2)}}, "running"},
		"its worker taken for dead, and it had ended well": {facts{killed: true, deadName: "n1", allocs: []*alloc{
			deadAlloc(clientComplete, "Started", "Terminated:0")}}, "exited 0"},
		"moved by Nomad, and ended well there": {facts{allocs: []*alloc{deadAlloc(clientComplete, killed...), with(deadAlloc(clientComplete, "Started", "Terminated:0"), func(a *alloc) {
			a.ID, a.CreateIndex = "b", 2
		})}}, "exited 0"},
		"moved by Nomad, and failed there": {facts{allocs: []*alloc{deadAlloc(clientComplete, killed...), with(deadAlloc(clientFailed, "Started", "Terminated:1"), func(a *alloc) {
			a.ID, a.CreateIndex = "b", 2
		})}}, "stop: evicted"},
		"ended well while a replacement was placed": {facts{allocs: []*alloc{deadAlloc(clientComplete, "Started", "Terminated:0"), liveAlloc("b", 2)}}, "stop: exited"},
	} {
		t.Run(name, func(t *testing.T) {
			c.facts.groups = []shape{{tasks: []part{{"work", roleMain}}}}
			if diff := cmp.Diff(c.want, verdict(c.facts.judge())); diff != "" {
				t.Errorf("judgement (-want +got):\n%s", diff)
			}
		})
	}
}

func TestOutcomeCarriesTimes(t *testing.T) {
	f := facts{groups: []shape{{tasks: []part{{"work", roleMain}}}}, allocs: []*alloc{deadAlloc(clientComplete, "Started", "Terminated:0")}}
	o := f.judge().outcome
	if o.StartedAt.Time() != epoch || o.EndedAt.Time() != epoch.Add(time.Minute) {
		t.Errorf("times %s to %s, want %s and a minute later", o.StartedAt.Time(), o.EndedAt.Time(), epoch)
	}
}
