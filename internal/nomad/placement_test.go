// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"testing"

	nomadapi "github.com/hashicorp/nomad/api"
)

func TestHeldSentence(t *testing.T) {
	for name, c := range map[string]struct {
		metric     nomadapi.AllocationMetric
		want       string
		impossible bool
	}{
		"no node at all": {
			nomadapi.AllocationMetric{NodePool: "gpu", NodesAvailable: map[string]int{"dc1": 0}},
			"there is no node to run it in node pool gpu (dc1: 0)", true,
		},
		"no node in the datacenters": {
			nomadapi.AllocationMetric{NodePool: "default", NodesInPool: 3, NodesAvailable: map[string]int{"dc9": 0, "dc8": 0}},
			"there is no node to run it in the datacenters asked for (dc8: 0, dc9: 0)", true,
		},
		"a resource is exhausted": {
			nomadapi.AllocationMetric{NodesEvaluated: 4, NodesExhausted: 4, DimensionExhausted: map[string]int{"memory": 3, "cpu": 1}},
			"none of 4 nodes can run it: memory exhausted on 3 nodes; cpu exhausted on 1 node", false,
		},
		"constraints rule all out": {
			nomadapi.AllocationMetric{NodesEvaluated: 2, NodesFiltered: 2, ConstraintFiltered: map[string]int{"missing drivers": 1, "${attr.cpu.arch} = arm64": 1}},
			`none of 2 nodes can run it: constraint "${attr.cpu.arch} = arm64" rules out 1 node; constraint "missing drivers" rules out 1 node`, true,
		},
		"one is ruled out, the other full": {
			nomadapi.AllocationMetric{NodesEvaluated: 2, NodesFiltered: 1, NodesExhausted: 1, ConstraintFiltered: map[string]int{"missing drivers": 1}, DimensionExhausted: map[string]int{"disk": 1}},
			`none of 2 nodes can run it: constraint "missing drivers" rules out 1 node; disk exhausted on 1 node`, false,
		},
		"a class that is known to fail": {
			nomadapi.AllocationMetric{NodesEvaluated: 5, NodesFiltered: 5, ClassFiltered: map[string]int{"small": 5}},
			`none of 5 nodes can run it: node class "small" rules out 5 nodes`, true,
		},
		"a quota": {
			nomadapi.AllocationMetric{NodesEvaluated: 1, QuotaExhausted: []string{"memory"}},
			`none of 1 node can run it: quota limit "memory" reached`, false,
		},
		"no reason given": {nomadapi.AllocationMetric{NodesEvaluated: 3, NodesExhausted: 3}, "none of 3 nodes can run it", false},
	} {
		t.Run(name, func(t *testing.T) {
			why, impossible := held(&evaluation{Status: "complete", FailedTGAllocs: map[string]*nomadapi.AllocationMetric{"g": &c.metric}})
			if why != c.want || impossible != c.impossible {
				t.Errorf("held %q (impossible %t), want %q (%t)", why, impossible, c.want, c.impossible)
			}
		})
	}
	if why, _ := held(&evaluation{Status: "complete"}); why != "" {
		t.Errorf("a placed job is held: %q", why)
	}
	if why, _ := held(&evaluation{Status: "failed", StatusDescription: "maximum attempts reached (2)"}); why == "" {
		t.Error("a failed evaluation does not hold")
	}
}
