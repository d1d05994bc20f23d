// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cairnflow/cairn/internal/access"
	"github.com/cairnflow/cairn/internal/engine"
)

// holds refuses a body that would run where its run may not. Whoever submitted the run was asked for the namespaces that its
// files name; what a body comes to name later is held to those. Nomad cannot see to that: it knows Cairn's token only.
func (e *Executor) holds(s engine.Start, r realm) error {
	name := r.namespace
	whole := r.region + "/" + name
	if len(s.Namespaces) == 0 || slices.ContainsFunc(s.Namespaces, func(held string) bool {
		region, namespace := access.Split(held)
		return namespace == name && firstOf(e.cfg.Moved.now(region), e.cfg.Region) == r.region
	}) {
		return nil
	}
	if r.region != e.cfg.Region {
		name = whole
	}
	return fmt.Errorf("task %s is to run in namespace %s of Nomad, and this run is held to %s: a namespace must stand in the workflow's files as text, so that whoever submits it can be asked for the right to use it",
		s.Task, name, strings.Join(s.Namespaces, ", "))
}

// barUnheld ends an attempt that its run may not make. No leader has ever started it, so there is nothing to bar in Nomad.
func (e *Executor) barUnheld(a *attempt, s engine.Start) bool {
	job, err := decodeBody(s, e.cfg.Moved)
	if err != nil {
		return false
	}
	if err := e.holds(s, e.realmOf(s, job)); err != nil {
		e.invalid(a, err.Error())
		return true
	}
	return false
}
