// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package hcl

import "github.com/cairnflow/cairn/internal/workflow"

// Workflows returns the names of the workflows that the files declare, in the order of files and lines; none when the files
// cannot be parsed.
func Workflows(files []workflow.File) []string {
	f := &findings{}
	b := newBundle(files, f)
	m := b.module(b.own(), f)
	if f.list.HasErrors() && m.broken {
		return nil
	}
	var names []string
	for _, fl := range m.flows {
		names = append(names, fl.name)
	}
	return names
}
