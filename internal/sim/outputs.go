// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package sim

import (
	"encoding/json"
	"regexp"
	"strings"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workflow"
)

// expectOutputs reads what a process wrote the way the language says: the outputs by name as JSON, and whether every
// declared one is there with its type, or has a default.
func expectOutputs(w *world, task int, o *engine.Outcome) (map[string]string, bool) {
	written := map[string]string{}
	if !o.OutputsLost {
		written = outputFile(string(o.Output))
	}
	out := map[string]string{}
	for _, d := range w.def.Tasks[task].Outputs {
		if d.From == workflow.FromBody { // what is missing is null
			if v := o.Values[d.Name]; !v.Null() {
				got, err := convert(d.Type.Text, &v)
				if err != nil {
					return nil, false
				}
				out[d.Name] = string(got.JSON)
			}
			continue
		}
		text, ok := written[d.Name]
		if d.From == workflow.FromStdout {
			text, ok = stdoutValue(string(o.Stdout), d.Pattern)
			ok = ok && !o.OutputsLost
		}
		if !ok {
			if d.Default == nil {
				return nil, false
			}
			continue
		}
		switch d.Type.Text {
		case "string":
			out[d.Name] = encoded(text)
		default:
			var f float64
			if json.Unmarshal([]byte(text), &f) != nil {
				return nil, false
			}
			out[d.Name] = encoded(f)
		}
	}
	return out, true
}

// outputFile reads key=value lines or one JSON object.
func outputFile(text string) map[string]string {
	out := map[string]string{}
	if strings.HasPrefix(text, "{") {
		if json.Unmarshal([]byte(text), &out) != nil {
			panic("the world writes JSON objects of strings")
		}
		return out
	}
	for _, line := range strings.Split(text, "\n") {
		if key, val, ok := strings.Cut(line, "="); ok {
			out[key] = val
		}
	}
	return out
}

// stdoutValue is the last line that is not empty, or the last match of the pattern.
func stdoutValue(text, pattern string) (string, bool) {
	if pattern != "" {
		all := regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1)
		if len(all) == 0 {
			return "", false
		}
		return all[len(all)-1][1], true
	}
	last, found := "", false
	for _, line := range strings.Split(text, "\n") {
		if strings.TrimSpace(line) != "" {
			last, found = line, true
		}
	}
	return last, found
}
