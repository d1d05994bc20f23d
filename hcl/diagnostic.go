// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package hcl

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"

	"github.com/cairnflow/cairn/internal/jobspec"
	"github.com/cairnflow/cairn/internal/workflow"
)

// The severities of a diagnostic.
const (
	SeverityError   = "error"
	SeverityWarning = "warning"
)

// Diagnostic is one finding: what is wrong, why and how out of it, and where.
type Diagnostic struct {
	Severity string         // SeverityError or SeverityWarning
	Summary  string         // a few words
	Detail   string         // whole sentences, the way out last
	Range    workflow.Range // the zero Range when no place can be named
}

func (d Diagnostic) String() string {
	return place(d.Range) + d.Summary + ": " + d.Detail
}

// place is "file:line: ", or nothing for an unknown place.
func place(r workflow.Range) string {
	if r.File == "" {
		return ""
	}
	return fmt.Sprintf("%s:%d: ", r.File, r.Line)
}

// Diagnostics are findings in the order of the files and lines they stand at.
type Diagnostics []Diagnostic

// HasErrors reports whether one of the findings is an error.
func (ds Diagnostics) HasErrors() bool {
	return slices.ContainsFunc(ds, func(d Diagnostic) bool { return d.Severity == SeverityError })
}

func (ds Diagnostics) String() string {
	lines := make([]string, len(ds))
	for i, d := range ds {
		lines[i] = d.String()
	}
	return strings.Join(lines, "\n")
}

// findings collects diagnostics while a file is read and checked.
type findings struct {
	list Diagnostics
	// compared counts the names that suggestions were looked for among: with thousands of wrong names in a large file the
	// search itself would take minutes.
	compared int
}

// maxCompared is when suggestions stop: a few seconds of search.
const maxCompared = 1_000_000

// near is didYouMean within the bounds of maxCompared.
func (f *findings) near(name string, names []string) string {
	if f.compared += len(names); f.compared > maxCompared {
		return ""
	}
	return didYouMean(name, names)
}

// suggest says which name is probably meant instead of one that is not there; where none is near, which there are.
func (f *findings) suggest(name string, names []string) string {
	if hint := f.near(name, names); hint != "" {
		return hint
	}
	return thereAre(names)
}

// thereAre lists names, if they are few.
func thereAre(names []string) string {
	const few = 10
	switch n := len(names); {
	case n == 0 || n > few:
		return ""
	case n == 1:
		return fmt.Sprintf(" There is only %s.", names[0])
	default:
		return fmt.Sprintf(" There are %s and %s.", strings.Join(names[:n-1], ", "), names[n-1])
	}
}

func (f *findings) errorf(at hcl.Range, summary, format string, args ...any) {
	f.list = append(f.list, Diagnostic{SeverityError, summary, fmt.Sprintf(format, args...), rangeOf(at)})
}

func (f *findings) warnf(at hcl.Range, summary, format string, args ...any) {
	f.list = append(f.list, Diagnostic{SeverityWarning, summary, fmt.Sprintf(format, args...), rangeOf(at)})
}

// add takes over diagnostics of the HCL library and of the decoder of Nomad bodies.
func (f *findings) add(diags hcl.Diagnostics) {
	for _, d := range diags {
		f.list = append(f.list, fromHCL(d))
	}
}

// addNew takes over what an evaluation found, but for what follows from a name already reported.
func (f *findings) addNew(diags hcl.Diagnostics) {
	for _, d := range diags {
		if found := fromHCL(d); !f.covers(found.Range) {
			f.list = append(f.list, found)
		}
	}
}

// covers reports whether an error stands around r, or in it.
func (f *findings) covers(r workflow.Range) bool {
	return slices.ContainsFunc(f.list, func(d Diagnostic) bool {
		return d.Severity == SeverityError && d.Range.File == r.File && d.Range.Byte <= r.Byte && r.Byte < d.Range.End
	})
}

func fromHCL(d *hcl.Diagnostic) Diagnostic {
	out := Diagnostic{Severity: SeverityError, Summary: d.Summary, Detail: detailOf(d)}
	if d.Severity == hcl.DiagWarning {
		out.Severity = SeverityWarning
	}
	switch {
	case d.Subject != nil:
		out.Range = rangeOf(*d.Subject)
	case d.Context != nil:
		out.Range = rangeOf(*d.Context)
	}
	return out
}

// sorted returns the findings in source order, each once: an expression in `defaults` is checked for every task.
func (f *findings) sorted() Diagnostics {
	slices.SortStableFunc(f.list, func(a, b Diagnostic) int {
		return cmp.Or(
			cmp.Compare(a.Range.File, b.Range.File),
			cmp.Compare(a.Range.Byte, b.Range.Byte),
			cmp.Compare(a.Summary, b.Summary),
			cmp.Compare(a.Detail, b.Detail),
		)
	})
	f.list = slices.CompactFunc(f.list, func(a, b Diagnostic) bool {
		return a.Severity == b.Severity && a.Summary == b.Summary && a.Detail == b.Detail && a.Range.File == b.Range.File && a.Range.Line == b.Range.Line
	})
	return f.list
}

func rangeOf(r hcl.Range) workflow.Range {
	return workflow.Range{File: r.Filename, Line: r.Start.Line, Column: r.Start.Column, Byte: r.Start.Byte, End: r.End.Byte}
}

// didYouMean is " Did you mean `x`?" for the name that is most likely meant, or nothing.
func didYouMean(name string, names []string) string {
	// A single letter instead of another one is another name, not a slip.
	if near := jobspec.Nearest(name, names); near != "" && len(name)+len(near) > 2 {
		return fmt.Sprintf(" Did you mean `%s`?", near)
	}
	return ""
}

// either is the list of names as a person would write it: a, b or c.
func either(names ...string) string {
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:len(names)-1], ", ") + " or " + names[len(names)-1]
}
