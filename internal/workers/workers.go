// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

// Package workers says how the machines that run tasks are. Two know something of each: Nomad, by the heartbeats of its
// client, and Consul, by gossip about the machine and by the health check that Nomad registers for its client. Nomad's word
// that a worker is lost stands. Consul's comes earlier and may be wrong: it is a suspicion.
//
//	Nomad         Consul: machine   Consul: client's check   verdict
//	ready         passing           passing                  ready, or draining or ineligible as Nomad says
//	ready         passing           critical                 client down: tasks usually run on, so it is not a loss
//	ready         passing           none to be seen          ready, with a reason that says so
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
	Region      string    // of Nomad; empty: that of the agent which was asked
	Machine     MachineID // no name: its client knows no Consul
	Trouble     string    // why the node could not be read whole, so that its machine is not known; empty otherwise
}

// MachineID names a machine in Consul: names are unique within a datacenter.
type MachineID struct {
	Datacenter string // of Consul
	Name       string
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
	ClientDown Status = "client_down" // the machine lives, and its Nomad client answers nobody
	Suspect    Status = "suspect"     // Consul has lost the machine, and Nomad has not yet
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
	// Withheld says why Consul's suspicions are not to be believed; empty where they may be.
	Withheld string
}

// Join makes the view of what Nomad and Consul know. trouble says, by datacenter of Consul, why it could not be asked.
func Join(nodes []Node, machines map[MachineID]Machine, trouble map[string]string) View {
	var v View
	for _, n := range nodes {
		w := Worker{Node: n}
		if m, ok := machines[n.Machine]; ok && n.Machine.Name != "" {
			w.Consul = &m
		}
		w.Status, w.Reason = judge(&n, w.Consul, trouble[n.Machine.Datacenter])
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
		return ClientDown, "its Nomad client fails the check of Consul" + because(m.Client.Output) + "; tasks usually run on"
	}
	return standing(n, m, trouble)
}

// standing is how a worker is with which nothing is wrong.
func standing(n *Node, m *Machine, trouble string) (Status, string) {
	alone := ""
	switch {
	case n.Trouble != "":
		alone = "; it cannot be read: " + n.Trouble
	case n.Machine.Name == "":
		alone = "; its client knows no Consul, so only Nomad would notice its loss"
	case trouble != "":
		alone = "; Consul cannot be asked: " + trouble
	case m == nil:
		alone = fmt.Sprintf("; Consul does not know its machine %q, so only Nomad would notice its loss", n.Machine.Name)
	case m.Client.Status == "":
		alone = "; Consul shows no check of its Nomad client, so only Nomad would notice if that is down"
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
		v.Withheld = fmt.Sprintf("Consul has lost %d of the %d workers that it knows at once: that is rather the network, or Consul itself", suspect, known)
	}
}
