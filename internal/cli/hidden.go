// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package cli

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/workflow"
)

// hideSensitive returns the params with placeholders of the same shape for the sensitive ones: what is rendered from them
// for people to see cannot hold any part or form of a sensitive value.
func hideSensitive(def *workflow.Definition, values map[string]workflow.Value) map[string]workflow.Value {
	out := make(map[string]workflow.Value, len(values))
	for name, v := range values {
		out[name] = v
	}
	for i := range def.Params {
		p := &def.Params[i]
		if v, ok := out[p.Name]; ok && (p.Sensitive || v.Sensitive) {
			out[p.Name] = hidden(v, p.Type)
		}
	}
	return out
}

// hidden is a value with everything in it replaced, but for the attributes that its type names.
func hidden(v workflow.Value, typeText string) workflow.Value {
	out := workflow.Value{JSON: json.RawMessage("null"), Sensitive: true}
	var value any
	if json.Unmarshal(v.JSON, &value) != nil || value == nil {
		return out
	}
	named := map[string]bool{}
	for _, word := range wordPattern.FindAllString(typeText, -1) {
		named[word] = true
	}
	if b, err := json.Marshal(hide(value, named)); err == nil {
		out.JSON = b
	}
	return out
}

var wordPattern = regexp.MustCompile(`[\pL_][\pL\pN_-]*`)

func hide(value any, named map[string]bool) any {
	switch v := value.(type) {
	case string:
		return api.Sensitive
	case float64:
		return 0
	case bool:
		return false
	case []any:
		for i := range v {
			v[i] = hide(v[i], named)
		}
		return v
	case map[string]any:
		out := map[string]any{}
		for key, element := range v {
			if !named[key] {
				key = api.Sensitive
			}
			out[key] = hide(element, named)
		}
		return out
	}
	return nil
}

// hiddenNote warns of jobs that are not what a run would make of them.
func hiddenNote(tasks []string) string {
	return fmt.Sprintf("Sensitive values are hidden: what is printed for %s holds %q in their place, and is not for running.",
		strings.Join(tasks, ", "), api.Sensitive)
}
