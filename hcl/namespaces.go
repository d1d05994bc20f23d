// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package hcl

import (
	"github.com/hashicorp/hcl/v2"
)

// destination is where a body says that it runs, as far as the files tell; empty parts are not named, or not known.
type destination struct{ region, namespace string }

// destination is where the body of a task says that it runs.
func (t *task) destination(ctx *hcl.EvalContext) destination {
	var out destination
	if t.job != nil && t.jobVars != nil {
		out.region, out.namespace = t.job.Placement(t.jobVars)
	}
	body := t.placed
	if body == nil {
		body = t.nomad
	}
	if body == nil {
		return out
	}
	region, namespace := body.Placement(ctx)
	if out.region == "" {
		out.region = region
	}
	if out.namespace == "" {
		out.namespace = namespace
	}
	return out
}

// namespaces are those that the bodies of a workflow and of its child workflows name, and those that the child workflows
// have, without one; sorted.
func (fl *flow) namespaces(without string) []string {
	found := map[string]bool{}
	seen := map[*flow]bool{}
	for queue := []*flow{fl}; len(queue) > 0; {
		next := queue[0]
		queue = queue[1:]
		if seen[next] {
			continue
		}
		seen[next] = true
		found[next.namespace] = true
		for _, p := range next.destinations {
			name := p.namespace
			if name == "" {
				name = next.namespace
			}
			if p.region != "" {
				name = p.region + "/" + name
			}
			found[name] = true
		}
		for _, t := range next.tasks {
			if t.call != nil && t.call.flow != nil {
				queue = append(queue, t.call.flow)
			}
		}
	}
	delete(found, without)
	if len(found) == 0 {
		return nil
	}
	return sortedKeys(found)
}
