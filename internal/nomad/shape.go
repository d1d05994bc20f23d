// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"time"

	nomadapi "github.com/hashicorp/nomad/api"
)

// role is what the end of a task means for its group.
type role string

const (
	roleMain      role = "main"      // its end is the group's end
	rolePrestart  role = "prestart"  // runs to its end before the mains; its failure keeps them from running
	rolePoststart role = "poststart" // runs to its end beside them; its failure makes Nomad kill them
	roleFollower  role = "follower"  // a main task beside a leader: the same, and the leader's end kills it
	roleSidecar   role = "sidecar"   // runs as long as they do: Nomad kills it then, and kills them when it ends before
	rolePoststop  role = "poststop"  // runs to its end after them, whatever became of them
)

// shape is what judging needs of a group.
type shape struct {
	name  string
	count int
	tasks []part // in the order of the job

	drivers map[string]string // of the tasks
}

// part is one task of a group.
type part struct {
	name string
	role role
}

// shapes describes the groups of a job.
func shapes(job *nomadapi.Job) []shape {
	var all []shape
	for _, group := range job.TaskGroups {
		all = append(all, shapeOf(group))
	}
	return all
}

func shapeOf(group *nomadapi.TaskGroup) shape {
	g := shape{name: deref(group.Name), count: 1, drivers: map[string]string{}}
	switch {
	case group.Count != nil:
		g.count = *group.Count
	case group.Scaling != nil && group.Scaling.Min != nil: // Nomad's own default
		g.count = int(*group.Scaling.Min)
	}
	led := false
	for _, t := range group.Tasks {
		led = led || t.Leader
	}
	for _, t := range group.Tasks {
		g.tasks = append(g.tasks, part{t.Name, roleOf(t, led)})
		g.drivers[t.Name] = t.Driver
	}
	if len(g.named(roleMain)) > 0 {
		return g
	}
	for i, t := range g.tasks { // hooks alone: what runs to its end is the work
		if t.role == rolePrestart || t.role == rolePoststart {
			g.tasks[i].role = roleMain
		}
	}
	return g
}

// roleOf says what a task is in a group that has a leader, or none. With a leader, its end is the group's end.
func roleOf(t *nomadapi.Task, led bool) role {
	switch {
	case t.Leader:
		return roleMain
	case t.Lifecycle == nil || t.Lifecycle.Empty():
		if led {
			return roleFollower
		}
		return roleMain
	case t.Lifecycle.Hook == nomadapi.TaskLifecycleHookPoststop:
		return rolePoststop
	case t.Lifecycle.Sidecar:
		return roleSidecar
	case t.Lifecycle.Hook == nomadapi.TaskLifecycleHookPoststart:
		return rolePoststart
	}
	return rolePrestart
}

// named returns the tasks of a role.
func (g *shape) named(r role) []string {
	var names []string
	for _, t := range g.tasks {
		if t.role == r {
			names = append(names, t.name)
		}
	}
	return names
}

// mains returns the names of the main tasks of a group.
func mains(group *nomadapi.TaskGroup) []string {
	g := shapeOf(group)
	return g.named(roleMain)
}

// killTimeout is the longest time that the tasks of a job are given to end after its stop.
func killTimeout(job *nomadapi.Job) time.Duration {
	longest := defaultKillTimeout
	for _, group := range job.TaskGroups {
		delay := deref(group.ShutdownDelay)
		for _, t := range group.Tasks {
			timeout := defaultKillTimeout
			if t.KillTimeout != nil {
				timeout = *t.KillTimeout
			}
			longest = max(longest, delay+t.ShutdownDelay+timeout)
		}
	}
	return longest
}
