// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package local

import (
	"fmt"
	"slices"
	"strings"

	"github.com/agext/levenshtein"

	"github.com/cairnflow/cairn/internal/workflow"
)

// Report is what a local run makes of a task body before anything is started.
type Report struct {
	// Refused are sentences about what cannot run here, each with the way out. With one, nothing is started.
	Refused []string
	// Ignored are names of attributes and blocks, as written in HCL, that have no effect here, sorted, each once: the
	// material of one warning.
	Ignored []string
}

// Check looks at the rendered body of a task: what a local run on this machine cannot run and what it ignores. Bodies that no
// executor sees are nobody's business here. Values that are not known yet may be any text. An error means that the body is
// no such job.
func Check(kind workflow.BodyKind, rendered []byte) (Report, error) {
	if !kind.Cluster() {
		return Report{}, nil
	}
	if why := refusal(kind); why != "" {
		return Report{Refused: []string{why}}, nil
	}
	b, r, err := parseBody(rendered)
	if err != nil {
		return r, err
	}
	e := newEnvironment(newHost(), b, attemptFolder{dir: "/attempt", task: "task"}, nil)
	render(b, e, &r)
	return r, nil
}

// refusal says why the executor does not start bodies of a kind; empty for those that it does.
func refusal(kind workflow.BodyKind) string {
	switch kind {
	case workflow.BodyGroup:
		return "a group runs its tasks side by side on a Nomad client, which a local run is not: make each of them a task of the workflow, or run with -nomad"
	case workflow.BodyJob:
		return "a job file is Nomad's to run, by its own rules: run with -nomad"
	case workflow.BodyDispatch:
		return "a dispatch asks Nomad for a job that is registered there: run with -nomad"
	case "", workflow.BodyTask:
		return ""
	}
	return fmt.Sprintf("it runs without a worker (%s): no executor starts it", kind)
}

func (r *Report) refuse(format string, args ...any) {
	if s := fmt.Sprintf(format, args...); !slices.Contains(r.Refused, s) {
		r.Refused = append(r.Refused, s)
	}
}

func (r *Report) ignore(name string) {
	if i, found := slices.BinarySearch(r.Ignored, name); !found {
		r.Ignored = slices.Insert(r.Ignored, i, name)
	}
}

// Message joins the refusals for one line; empty when there are none.
func (r Report) Message() string { return strings.Join(r.Refused, "; ") }

// suggest gives " (did you mean x?)" for the nearest of the known words, or nothing when none is near.
func suggest(word string, known []string) string {
	best, distance := "", 3 // two typing errors at most
	for _, k := range known {
		if d := levenshtein.Distance(word, k, nil); d < distance && d < len(k) {
			best, distance = k, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(" (did you mean %s?)", best)
}
