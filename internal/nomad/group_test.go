// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	nomadapi "github.com/hashicorp/nomad/api"
)

// states makes an allocation of the tasks whose events are given; a task whose events end in an end is dead, and failed where
// "!" is its last event.
func states(status string, tasks map[string][]string) *alloc {
	a := &alloc{ID: "a1", NodeName: "n1", DesiredStatus: desiredRun, ClientStatus: status, TaskStates: map[string]*taskState{}}
	for name, types := range tasks {
		s := &taskState{State: "pending"}
		if n := len(types); n > 0 && types[n-1] == "!" {
			s.Failed, types = true, types[:n-1]
		}
		s.Events = events(types...)
		for _, ev := range s.Events {
			switch ev.Type {
			case eventStarted:
				s.State, s.StartedAt = "running", epoch
			case eventTerminated, "Killed", "Driver Failure", "Not Restarting":
				s.State = taskDead
			}
		}
		a.TaskStates[name] = s
	}
	return a
}

func TestJudgeGroup(t *testing.T) {
	type tasks map[string][]string
	well := []string{"Started", "Terminated:0"}
	running := []string{"Started"}
	killed := []string{"Started", "Killing", "Terminated:143/15", "Killed"}
	never := []string{"Sibling Task Failed", "Killing", "Killed"}
	full := shape{tasks: []part{
		{"setup", rolePrestart}, {"proxy", roleSidecar}, {"b", roleMain}, {"a", roleMain}, {"warm", rolePoststart}, {"cleanup", rolePoststop},
	}}
	with := func(change tasks) tasks {
		all := tasks{"setup": well, "proxy": killed, "b": well, "a": well, "warm": well, "cleanup": well}
		for name, types := range change {
			all[name] = types
		}
		return all
	}
	for name, c := range map[string]struct {
		status  string
		tasks   tasks
		want    string
		message string
	}{
		"all well; the sidecar was killed when the work was done": {clientComplete, with(nil), "exited 0", ""},
		"the sidecar is being killed":                             {"running", with(tasks{"proxy": running, "cleanup": nil}), "running", ""},
		"the poststop still runs":                                 {"running", with(tasks{"cleanup": running}), "running", ""},
		"the prestart runs":                                       {"running", tasks{"setup": running, "proxy": running, "b": nil, "a": nil, "warm": nil, "cleanup": nil}, "running", ""},
		"one main failed, the other was killed for it": {clientFailed, with(tasks{
			"a": {"Started", "Terminated:3", "Not Restarting", "!"}, "b": {"Started", "Sibling Task Failed", "Killing", "Terminated:0", "Killed"}}),
			"exited 3", `task "a" failed (exit code 3)`},
		"both mains failed: the first in order decides": {clientFailed, with(tasks{
			"a": {"Started", "Terminated:3", "Not Restarting", "!"}, "b": {"Started", "Terminated:4", "Not Restarting", "!"}}),
			"exited 4", `task "b" failed (exit code 4)`},
		"a main failed and its poststop still runs": {clientFailed, with(tasks{
			"a": {"Started", "Terminated:3", "Not Restarting", "!"}, "cleanup": running}), "running", ""},
		"the poststop failed": {clientFailed, with(tasks{"cleanup": {"Started", "Terminated:9", "Not Restarting", "!"}}),
			"exited 0", `poststop task "cleanup" failed (exit code 9) when the work of the group was done`},
		"the prestart failed": {clientFailed, tasks{"setup": {"Started", "Terminated:5", "Not Restarting", "!"}, "proxy": killed, "b": never, "a": never,
			"warm": never, "cleanup": well}, "exited 5", `prestart task "setup" failed (exit code 5), and Nomad ended the others with it`},
		"the prestart failed to start": {clientFailed, tasks{"setup": {"Driver Failure", "Not Restarting", "!"}, "proxy": killed, "b": never, "a": never,
			"warm": never, "cleanup": well}, "error", `task "setup": Driver Failure`},
		"the poststart failed": {clientFailed, with(tasks{"warm": {"Started", "Terminated:1", "Not Restarting", "!"}, "a": killed, "b": killed}),
			"exited 1", `poststart task "warm" failed (exit code 1), and Nomad ended the others with it`},
		"the sidecar ended": {clientFailed, with(tasks{"proxy": {"Started", "Terminated:0", "Not Restarting", "!"}, "a": killed, "b": killed}),
			"failed", `sidecar task "proxy" ended by itself (exit code 0), and Nomad stopped the others with it`},
		"the sidecar failed when the work was done": {clientFailed, with(tasks{"proxy": {"Started", "Terminated:2", "Not Restarting", "!"}}),
			"exited 0", `sidecar task "proxy" failed (exit code 2) when the work of the group was done`},
		"a proxy that Nomad added failed": {clientFailed, with(tasks{"a": killed, "b": killed, "connect-proxy-web": {"Started", "Terminated:1", "Not Restarting", "!"}}),
			"failed", `sidecar task "connect-proxy-web" ended by itself (exit code 1), and Nomad stopped the others with it`},
		"killed from outside": {clientComplete, with(tasks{"a": killed, "b": killed}), "read job", ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := facts{groups: []shape{full}, allocs: []*alloc{states(c.status, c.tasks)}}
			j := f.judge()
			if diff := cmp.Diff(c.want, verdict(j)); diff != "" {
				t.Errorf("judgement (-want +got):\n%s", diff)
			}
			if j.outcome != nil && j.outcome.Message != c.message {
				t.Errorf("message %q, want %q", j.outcome.Message, c.message)
			}
		})
	}
}

func TestLingeringAllocationEndsWithItsNode(t *testing.T) {
	g := shape{tasks: []part{{"setup", rolePrestart}, {"work", roleMain}}}
	a := states(clientFailed, map[string][]string{
		"setup": {"Started", "Terminated:5", "Not Restarting", "!"}, "work": {"Started", "Sibling Task Failed", "Killing"}})
	f := facts{groups: []shape{g}, allocs: []*alloc{a}}
	if got := verdict(f.judge()); got != "running" || !a.lingers(&g) {
		t.Errorf("an allocation that is called failed while a task of it is being killed: %s (lingers: %t)", got, a.lingers(&g))
	}
	a.gone = true
	if got := verdict(f.judge()); got != "exited 5" {
		t.Errorf("its node is gone: %s, want the prestart's exited 5", got)
	}
}

func TestRoles(t *testing.T) {
	hook := func(name, hook string, sidecar bool) *nomadapi.Task {
		return &nomadapi.Task{Name: name, Lifecycle: &nomadapi.TaskLifecycle{Hook: hook, Sidecar: sidecar}}
	}
	full := func(leader bool) []*nomadapi.Task {
		return []*nomadapi.Task{
			hook("a", "prestart", false), hook("b", "prestart", true), {Name: "c", Leader: leader}, {Name: "d"},
			hook("e", "poststart", false), hook("f", "poststart", true), hook("g", "poststop", false),
		}
	}
	for name, c := range map[string]struct {
		tasks []*nomadapi.Task
		want  []part
	}{
		"every hook": {full(false), []part{{"a", rolePrestart}, {"b", roleSidecar}, {"c", roleMain}, {"d", roleMain},
			{"e", rolePoststart}, {"f", roleSidecar}, {"g", rolePoststop}}},
		"with a leader": {full(true), []part{{"a", rolePrestart}, {"b", roleSidecar}, {"c", roleMain}, {"d", roleFollower},
			{"e", rolePoststart}, {"f", roleSidecar}, {"g", rolePoststop}}},
		"hooks alone": {full(false)[:2], []part{{"a", roleMain}, {"b", roleSidecar}}},
	} {
		if diff := cmp.Diff(c.want, shapeOf(&nomadapi.TaskGroup{Tasks: c.tasks}).tasks, cmp.AllowUnexported(part{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	for want, g := range map[int]*nomadapi.TaskGroup{
		1: {}, 3: {Count: ptr(3)}, 2: {Scaling: &nomadapi.ScalingPolicy{Min: ptr(int64(2))}}, 0: {Count: ptr(0)},
	} {
		if got := shapeOf(g).count; got != want {
			t.Errorf("count %d, want %d", got, want)
		}
	}
}
