// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package engine

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/cairnflow/cairn/internal/workflow"
)

// readOutputs fills in the outputs of an attempt that ended well. An error makes it failed.
func (t *turn) readOutputs(n int, a *Attempt) error {
	m, o := t.m, t.e.Outcome
	task := &m.def.Tasks[n]
	if o.OutputsLost {
		a.OutputsLost = true
		return nil
	}
	written := map[string]json.RawMessage{}
	raws, err := workflow.ReadOutputs(o.Output)
	if err != nil {
		return err
	}
	declared := map[string]bool{}
	for _, d := range task.Outputs {
		declared[d.Name] = d.From == workflow.FromFile
	}
	for _, raw := range raws {
		if declared[raw.Name] {
			written[raw.Name] = raw.JSON
		} else if len(a.Notes) < 10 {
			a.Notes = append(a.Notes, fmt.Sprintf("output %.64q is not declared", raw.Name))
		}
	}
	total := 0
	for _, d := range task.Outputs {
		raw := written[d.Name]
		switch d.From {
		case workflow.FromStdout:
			if raw, err = fromStdout(d, o.Stdout); err != nil {
				return err
			}
		case workflow.FromBody:
			raw = o.Values[d.Name].JSON
		}
		if (workflow.Value{JSON: raw}).Null() {
			if d.Default == nil && d.From != workflow.FromBody { // what a body gives may well be null
				return fmt.Errorf("output %s was not written, and it has no default", d.Name)
			}
			continue
		}
		if err := m.convert(&a.Outputs, &d, raw, &total); err != nil {
			return fmt.Errorf("output %s: %w", d.Name, err)
		}
		if o.Values[d.Name].Sensitive {
			v := a.Outputs[d.Name]
			v.Sensitive = true
			a.Outputs[d.Name] = v
		}
	}
	return m.sizes(t.s, total)
}

// convert adds one output to out, as its type has it, and its size to total.
func (m *Machine) convert(out *map[string]workflow.Value, o *workflow.Output, raw json.RawMessage, total *int) error {
	if len(raw) > workflow.MaxOutputBytes {
		return fmt.Errorf("it has %d bytes, at most %d; put larger data into an artifact", len(raw), workflow.MaxOutputBytes)
	}
	v, err := m.eval.Evaluate(o.Type, workflow.Scope{Input: &workflow.Value{JSON: raw, Sensitive: o.Sensitive}})
	if err != nil {
		return err
	}
	v.Sensitive = o.Sensitive
	if *out == nil {
		*out = map[string]workflow.Value{}
	}
	(*out)[o.Name] = v
	*total += len(v.JSON)
	return nil
}

// sizes holds the limits of a task's outputs and of the run's.
func (m *Machine) sizes(s *State, total int) error {
	if total > workflow.MaxTaskOutputBytes {
		return fmt.Errorf("its outputs have %d bytes, at most %d; put larger data into an artifact", total, workflow.MaxTaskOutputBytes)
	}
	if all := s.outputBytes + total; all > workflow.MaxRunOutputBytes {
		return fmt.Errorf("with it the outputs of the run have %d bytes, at most %d; put larger data into artifacts", all, workflow.MaxRunOutputBytes)
	}
	return nil
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// fromStdout takes an output from the end of standard output: the last match of the pattern (its first group, or all of
// it), or the last line that is not empty. Nil when there is none.
func fromStdout(d workflow.Output, stdout []byte) (json.RawMessage, error) {
	text, found := "", false
	if d.Pattern == "" {
		lines := strings.Split(strings.ReplaceAll(string(stdout), "\r\n", "\n"), "\n")
		for i := len(lines) - 1; i >= 0 && !found; i-- {
			text, found = lines[i], strings.TrimSpace(lines[i]) != ""
		}
	} else {
		re, err := regexp.Compile(d.Pattern)
		if err != nil {
			return nil, fmt.Errorf("output %s: pattern: %w", d.Name, err)
		}
		all := re.FindAllSubmatch(stdout, -1)
		if len(all) > 0 {
			last := all[len(all)-1]
			text, found = string(last[min(1, len(last)-1)]), true
		}
	}
	if !found {
		return nil, nil
	}
	raw, err := json.Marshal(text)
	if err != nil {
		return nil, fmt.Errorf("output %s: %w", d.Name, err)
	}
	return raw, nil
}

func outputSize(outputs map[string]workflow.Value) int {
	total := 0
	for _, v := range outputs {
		total += len(v.JSON)
	}
	return total
}
