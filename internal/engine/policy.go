// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package engine

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"github.com/cairnflow/cairn/internal/workflow"
)

// policy is the policy that holds for an instance: as evaluated for its newest attempt, or the task's own.
func (m *Machine) policy(in *Instance, n int) *workflow.Policy {
	if in.Policy != nil {
		return in.Policy
	}
	return &m.def.Tasks[n].Policy
}

func (m *Machine) hasAttemptPolicy(n int) bool {
	for _, x := range m.def.Tasks[n].Dynamic {
		if !workflow.PerTaskAttr(x.Attr) {
			return true
		}
	}
	return false
}

// taskPolicy evaluates what belongs to the task as a whole.
func (m *Machine) taskPolicy(s *State, n int) (*workflow.Policy, error) {
	return m.overlay(n, workflow.Scope{Shared: m.shared(s, n)}, true)
}

// attemptPolicy evaluates what belongs to one attempt.
func (m *Machine) attemptPolicy(s *State, n, i, number int) (*workflow.Policy, error) {
	return m.overlay(n, workflow.Scope{
		Shared: m.shared(s, n), Each: m.each(s, n, i), Attempt: &workflow.AttemptValues{Number: number},
	}, false)
}

func (m *Machine) overlay(n int, scope workflow.Scope, perTask bool) (*workflow.Policy, error) {
	p := m.def.Tasks[n].Policy
	for _, x := range m.def.Tasks[n].Dynamic {
		if workflow.PerTaskAttr(x.Attr) != perTask {
			continue
		}
		v, err := m.eval.Evaluate(x.Expr, scope)
		if err != nil {
			return nil, err
		}
		if err := p.Set(x.Attr, v); err != nil {
			return nil, fmt.Errorf("%s: %w", place(x.Expr.Range), err)
		}
	}
	return &p, nil
}

// readOutputs fills in the outputs of an attempt that exited with 0. An error makes it failed.
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
		if d.From == workflow.FromStdout {
			if raw, err = fromStdout(d, o.Stdout); err != nil {
				return err
			}
		}
		if (workflow.Value{JSON: raw}).Null() {
			if d.Default == nil {
				return fmt.Errorf("output %s was not written, and it has no default", d.Name)
			}
			continue
		}
		if len(raw) > workflow.MaxOutputBytes {
			return fmt.Errorf("output %s has %d bytes, at most %d; put larger data into an artifact", d.Name, len(raw), workflow.MaxOutputBytes)
		}
		v, err := m.eval.Evaluate(d.Type, workflow.Scope{Input: &workflow.Value{JSON: raw, Sensitive: d.Sensitive}})
		if err != nil {
			return fmt.Errorf("output %s: %w", d.Name, err)
		}
		v.Sensitive = d.Sensitive
		if a.Outputs == nil {
			a.Outputs = make(map[string]workflow.Value, len(task.Outputs))
		}
		a.Outputs[d.Name] = v
		total += len(v.JSON)
	}
	if total > workflow.MaxTaskOutputBytes {
		return fmt.Errorf("its outputs have %d bytes, at most %d; put larger data into an artifact", total, workflow.MaxTaskOutputBytes)
	}
	if all := t.s.outputBytes + total; all > workflow.MaxRunOutputBytes {
		return fmt.Errorf("with it the outputs of the run have %d bytes, at most %d; put larger data into artifacts", all, workflow.MaxRunOutputBytes)
	}
	return nil
}

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
