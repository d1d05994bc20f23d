// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package workers

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func ready(name string) Node {
	return Node{ID: "id-" + name, Name: name, Status: NodeReady, Eligible: true, Machine: MachineID{"dc1", name}}
}

func healthy() Machine {
	return Machine{Alive: Check{Status: Passing}, Client: Check{Status: Passing}}
}

func TestTheVerdictFollowsTheTable(t *testing.T) {
	type change func(n *Node, m *Machine)
	status := func(s NodeStatus) change { return func(n *Node, _ *Machine) { n.Status = s } }
	gone := func(_ *Node, m *Machine) { m.Alive = Check{Critical, "Agent not live or unreachable"} }
	mute := func(_ *Node, m *Machine) { m.Client = Check{Critical, "connection refused"} }
	for _, c := range []struct {
		name    string
		changes []change
		want    Status
		reason  string
	}{
		{"all is well", nil, Ready, "Nomad and Consul have it"},
		{"draining", []change{func(n *Node, _ *Machine) { n.Draining, n.Eligible = true, false }}, Draining, "it is being drained"},
		{"ineligible", []change{func(n *Node, _ *Machine) { n.Eligible = false }}, Ineligible, "it takes no new tasks"},
		{"the client is mute", []change{mute}, ClientDown, "(connection refused); tasks usually run on"},
		{"the machine is gone", []change{gone}, Suspect, "Consul has lost the machine (Agent not live or unreachable)"},
		{"both", []change{gone, mute}, Suspect, "Consul has lost the machine"},
		{"a drained machine is gone", []change{gone, func(n *Node, _ *Machine) { n.Draining = true }}, Suspect, "Consul has lost"},
		{"a warning is no loss", []change{func(_ *Node, m *Machine) { m.Alive.Status = Warning }}, Ready, "Nomad and Consul have it"},
		{"down", []change{status(NodeDown)}, Lost, "Nomad calls it down"},
		{"down and gone", []change{status(NodeDown), gone}, Lost, "Nomad calls it down"},
		{"disconnected", []change{status(NodeDisconnected)}, Lost, "Nomad calls it disconnected"},
		{"initializing", []change{status(NodeInitializing), gone}, Starting, "Nomad calls it initializing"},
		{"a status of a later Nomad", []change{status("asleep")}, Starting, `Nomad calls it "asleep"`},
		{"no check of the client", []change{func(_ *Node, m *Machine) { m.Client = Check{} }}, Ready, "Consul shows no check of its Nomad client"},
		{"unread", []change{func(n *Node, _ *Machine) { n.Machine, n.Trouble = MachineID{}, "no answer" }}, Ready, "it cannot be read: no answer"},
	} {
		t.Run(c.name, func(t *testing.T) {
			n, m := ready("one"), healthy()
			for _, change := range c.changes {
				change(&n, &m)
			}
			v := Join([]Node{n}, map[MachineID]Machine{n.Machine: m}, nil)
			if w := v.Workers[0]; w.Status != c.want || !strings.Contains(w.Reason, c.reason) {
				t.Errorf("got %s: %s, want %s: …%s…", w.Status, w.Reason, c.want, c.reason)
			}
			if v.Withheld != "" {
				t.Errorf("one worker is never too many: %s", v.Withheld)
			}
		})
	}
}

func TestWithoutConsulNomadsWordCounts(t *testing.T) {
	unknown, strange, namesake := ready("unknown"), ready("strange"), ready("namesake")
	unknown.Machine, namesake.Machine.Datacenter = MachineID{}, "dc2"
	v := Join([]Node{unknown, strange, namesake}, map[MachineID]Machine{{}: healthy(), {"dc1", "namesake"}: healthy()}, nil)
	for i, want := range []string{`does not know its machine "namesake"`, `does not know its machine "strange"`, "its client knows no Consul"} {
		if w := v.Workers[i]; w.Status != Ready || w.Consul != nil || !strings.Contains(w.Reason, want) {
			t.Errorf("got %+v, want ready, because %s", w, want)
		}
	}
	v = Join([]Node{ready("one"), namesake}, nil, map[string]string{"dc1": "connection refused"})
	for i, want := range []string{"does not know its machine", "Consul cannot be asked: connection refused"} {
		if w := v.Workers[i]; w.Status != Ready || !strings.Contains(w.Reason, want) {
			t.Errorf("got %+v, want ready, because %s", w, want)
		}
	}
}

// However the workers are: Consul's word is withheld if and only if it has lost two or more, and more than a third of those
// that it knows and Nomad has not lost.
func TestConsulIsBelievedAboutFewWorkersAtOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var nodes []Node
		machines := map[MachineID]Machine{}
		suspect, known := 0, 0
		for i := range rapid.IntRange(0, 12).Draw(t, "workers") {
			n := ready(fmt.Sprintf("w%02d", i))
			m := healthy()
			gone, down, seen := rapid.Bool().Draw(t, "gone"), rapid.Bool().Draw(t, "down"), rapid.Bool().Draw(t, "seen")
			if gone {
				m.Alive.Status = Critical
			}
			if down {
				n.Status = NodeDown
			}
			if seen {
				machines[n.Machine] = m
			}
			if seen && !down {
				known++
				if gone {
					suspect++
				}
			}
			nodes = append(nodes, n)
		}
		v := Join(nodes, machines, nil)
		if want := suspect >= 2 && suspect*3 > known; (v.Withheld != "") != want {
			t.Fatalf("%d of %d are suspect: withheld %q", suspect, known, v.Withheld)
		}
		for i := 1; i < len(v.Workers); i++ {
			if before, w := v.Workers[i-1], v.Workers[i]; before.Name >= w.Name {
				t.Fatalf("%s stands before %s", before.Name, w.Name)
			}
		}
	})
}
