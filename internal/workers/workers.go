// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

// Package workers says how the machines that run tasks are. Two know something of each: Nomad, by the heartbeats of its
// client, and Consul, by gossip about the machine and by the health check that Nomad registers for its client. Nomad's word
// that a worker is lost stands. Consul's comes earlier and may be wrong: it is a suspicion.
//
//	Nomad         Consul: machine   Consul: client's check   verdict
//	ready         passing           passing                  ready, or draining or ineligible as Nomad says
//	ready         passing           critical                 agent down: tasks usually run on, so it is not a loss
//	ready         critical          any                      suspect; withheld where too many are suspect at once
//	initializing  any               any                      starting
//	disconnected  any               any                      lost
//	down          any               any                      lost
//
// Where Consul does not know the machine, Nomad's word alone counts, and the reason says so.
package workers

import (
	"cmp"
	"fmt"
	"slices"
)

// Node is a worker in Nomad's words.
type Node struct {
	ID          string
	Name        string
	Datacenter  string
	Pool        string
	Version     string // of its Nomad client
	Status      NodeStatus
	Description string // of the status; may be empty
	Eligible    bool   // for new allocations
	Draining    bool
	Machine     string // its name in Consul; empty: its client knows no Consul
}

// NodeStatus is Nomad's word for how a node is.
type NodeStatus string

// Nomad's node statuses.
const (
	NodeReady        NodeStatus = "ready"
	NodeDown         NodeStatus = "down"
	NodeDisconnected NodeStatus = "disconnected"
	NodeInitializing NodeStatus = "initializing"
)

// Machine is what Consul knows of a machine on which it has an agent.
type Machine struct {
	Name   string
	Alive  Check // serfHealth: gossip about the machine
	Client Check // that Nomad registers for its client; without a status where there is none, or it may not be read
}

// Check is the state of a health check of Consul.
type Check struct {
	Status CheckStatus
	Output string // on one line; may be cut
}

// CheckStatus is Consul's word for the state of a check; empty: there is no such check.
type CheckStatus string

// Consul's check statuses.
const (
	Passing  CheckStatus = "passing"
	Warning  CheckStatus = "warning"
	Critical CheckStatus = "critical"
)

// Status is the verdict on a worker.
type Status string

// The verdicts.
const (
	Ready      Status = "ready"
	Ineligible Status = "ineligible" // takes no new tasks
	Draining   Status = "draining"   // its tasks are to leave it
	Starting   Status = "starting"
	AgentDown  Status = "agent down" // the machine lives, and its Nomad client answers nobody
	Suspect    Status = "suspect"    // Consul has lost the machine, and Nomad has not yet
	Lost       Status = "lost"
)

// Worker is a worker with the verdict on it.
type Worker struct {
	Node
	Consul *Machine // nil where Consul does not know the machine
	Status Status
	Reason string // for people, in one sentence
}

// View is the verdict on all workers.
type View struct {
	Workers []Worker // by name, then ID
	// Withheld says why Consul's word is not acted on although it suspects workers; empty where it may be.
	Withheld string
}

// Join makes the view of what Nomad and Consul know. machines is by name; trouble says why Consul could not be asked, empty
// where it was.
func Join(nodes []Node, machines map[string]Machine, trouble string) View {
	var v View
	for _, n := range nodes {
		w := Worker{Node: n}
		if m, ok := machines[n.Machine]; ok && n.Machine != "" {
			w.Consul = &m
		}
		w.Status, w.Reason = judge(&n, w.Consul, trouble)
		v.Workers = append(v.Workers, w)
	}
	slices.SortFunc(v.Workers, func(a, b Worker) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	v.withhold()
	return v
}

// judge says how a worker is, and why.
func judge(n *Node, m *Machine, trouble string) (Status, string) {
	switch n.Status {
	case NodeDown, NodeDisconnected:
		return Lost, fmt.Sprintf("Nomad calls it %s%s", n.Status, because(n.Description))
	case NodeInitializing:
		return Starting, "Nomad calls it initializing" + because(n.Description)
	case NodeReady:
	default:
		return Starting, fmt.Sprintf("Nomad calls it %q, which this Cairn does not know", string(n.Status))
	}
	switch {
	case m != nil && m.Alive.Status == Critical:
		return Suspect, "Consul has lost the machine" + because(m.Alive.Output) + "; Nomad has its heartbeats still"
	case m != nil && m.Client.Status == Critical:
		return AgentDown, "its Nomad client fails the check of Consul" + because(m.Client.Output) + "; tasks usually run on"
	}
	return standing(n, m, trouble)
}

// standing is how a worker is with which nothing is wrong.
func standing(n *Node, m *Machine, trouble string) (Status, string) {
	alone := ""
	switch {
	case trouble != "":
		alone = "; Consul cannot be asked: " + trouble
	case n.Machine == "":
		alone = "; its client knows no Consul, so only Nomad would notice its loss"
	case m == nil:
		alone = fmt.Sprintf("; Consul does not know its machine %q, so only Nomad would notice its loss", n.Machine)
	}
	switch {
	case n.Draining:
		return Draining, "it is being drained" + alone
	case !n.Eligible:
		return Ineligible, "it takes no new tasks" + alone
	case alone == "":
		return Ready, "Nomad and Consul have it"
	}
	return Ready, "Nomad has it" + alone
}

func because(text string) string {
	if text == "" {
		return ""
	}
	return " (" + text + ")"
}

// How many workers Consul may suspect at once before its word is withheld: one always, and a third of those that it knows.
// More at once is rather the network, or Consul itself.
const (
	alwaysBelieved = 1
	believedShare  = 3
)

// withhold decides whether Consul is believed.
func (v *View) withhold() {
	suspect, known := 0, 0
	for _, w := range v.Workers {
		if w.Consul == nil || w.Status == Lost {
			continue
		}
		known++
		if w.Status == Suspect {
			suspect++
		}
	}
	if suspect > alwaysBelieved && suspect*believedShare > known {
		v.Withheld = fmt.Sprintf("Consul has lost %d of the %d workers that it knows at once: that is rather the network, or Consul. Nothing is moved before Nomad has lost them too", suspect, known)
	}
}
