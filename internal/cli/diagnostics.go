// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/cairnflow/cairn/hcl"
	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/workflow"
)

// source is a workflow as read from disk: what diagnostics quote from.
type source struct {
	path   string // as the user named it
	folder bool
	files  []workflow.File
}

// load reads the file or folder that the user named.
func load(path string) (source, hcl.Diagnostics) {
	files, diags := hcl.Load(path)
	info, err := os.Stat(path)
	return source{path: path, folder: err == nil && info.IsDir(), files: files}, diags
}

// shownPath is a path of a definition as the user would write it.
func (s source) shownPath(file string) string {
	switch {
	case file == "" || s.path == "":
		return file
	case s.folder:
		return filepath.Join(s.path, filepath.FromSlash(file))
	case file == filepath.Base(s.path):
		return s.path
	}
	return file
}

// line returns a line of a file without its end; ok is false when there is none.
func (s source) line(file string, number int) (text string, ok bool) {
	for _, f := range s.files {
		if f.Path != file || number < 1 {
			continue
		}
		rest := f.Bytes
		for ; number > 1; number-- {
			_, after, found := bytes.Cut(rest, []byte("\n"))
			if !found {
				return "", false
			}
			rest = after
		}
		one, _, _ := bytes.Cut(rest, []byte("\n"))
		return strings.TrimSuffix(string(one), "\r"), true
	}
	return "", false
}

// document is the JSON form of diagnostics: an empty list when there are none.
func (s source) document(diags hcl.Diagnostics) api.Diagnostics {
	out := api.Diagnostics{Diagnostics: []api.Diagnostic{}}
	for _, d := range diags {
		out.Diagnostics = append(out.Diagnostics, api.Diagnostic{
			Severity: d.Severity,
			Summary:  d.Summary,
			Detail:   d.Detail,
			File:     s.shownPath(d.Range.File),
			Line:     d.Range.Line,
			Column:   d.Range.Column,
		})
	}
	return out
}

// reportRemote prints diagnostics that a server found in files that are not here.
func (a *App) reportRemote(diags []api.Diagnostic, asJSON bool) {
	var out hcl.Diagnostics
	for _, d := range diags {
		out = append(out, hcl.Diagnostic{
			Severity: d.Severity, Summary: d.Summary, Detail: d.Detail,
			Range: workflow.Range{File: d.File, Line: d.Line, Column: d.Column},
		})
	}
	a.report(source{}, out, asJSON)
}

// maxShownDiagnostics bounds what is printed for people: more than a few screens help nobody. JSON has them all.
const maxShownDiagnostics = 50

// report prints diagnostics: for people on standard error, as JSON on standard output.
func (a *App) report(s source, diags hcl.Diagnostics, asJSON bool) {
	if asJSON {
		a.printJSON(s.document(diags))
		return
	}
	out := a.screenOf(a.Stderr)
	width, _ := out.size()
	for i, d := range diags {
		if i == maxShownDiagnostics {
			a.say("… and %s. With -json all of them are printed.", count(len(diags)-i, "more finding"))
			break
		}
		a.say("%s", renderDiagnostic(s, d, out, min(width, 100)))
	}
}

// printJSON writes a document to standard output.
func (a *App) printJSON(v any) {
	var b strings.Builder
	if err := encodeJSON(&b, v); err != nil {
		a.errorf("The answer cannot be written as JSON: %s", err)
		return
	}
	a.print(b.String())
}

// encodeJSON writes a document for people to read too.
func encodeJSON(to io.Writer, v any) error {
	out := json.NewEncoder(to)
	out.SetEscapeHTML(false)
	out.SetIndent("", "  ")
	return out.Encode(v)
}

// renderDiagnostic lays a finding out as Terraform does: what, where with the line itself, why and how out of it.
func renderDiagnostic(s source, d hcl.Diagnostic, out screen, width int) string {
	label, colour := "Error", red
	if d.Severity == hcl.SeverityWarning {
		label, colour = "Warning", yellow
	}
	lines := []string{out.paint(label+":", colour) + " " + out.paint(clean(d.Summary), bold)}
	if d.Range.File != "" {
		lines = append(lines, "", fmt.Sprintf("  on %s line %d:", s.shownPath(d.Range.File), d.Range.Line))
		lines = append(lines, snippet(s, d.Range, out, width)...)
	}
	if d.Detail != "" {
		lines = append(lines, "")
		lines = append(lines, wrap(d.Detail, width-2)...)
	}
	bar := out.paint("│", colour)
	for i, l := range lines {
		lines[i] = strings.TrimRight(bar+" "+l, " ")
	}
	return out.paint("╷", colour) + "\n" + strings.Join(lines, "\n") + "\n" + out.paint("╵", colour)
}

// snippet is the source line with carets under the range; a line that is too long is cut around it.
func snippet(s source, r workflow.Range, out screen, width int) []string {
	text, ok := s.line(r.File, r.Line)
	if !ok {
		return nil
	}
	prefix := fmt.Sprintf("  %4d: ", r.Line)
	runes := []rune(strings.ReplaceAll(text, "\t", " "))
	column := min(max(r.Column-1, 0), len(runes))
	carets := 1
	if r.End > r.Byte {
		carets = max(1, min(utf8.RuneCountInString(text[byteAt(text, column):min(byteAt(text, column)+r.End-r.Byte, len(text))]), len(runes)-column))
	}
	room := max(width-utf8.RuneCountInString(prefix)-4, 20)
	first := 0
	if column+min(carets, room/2) > room {
		first = column - room/2
	}
	shown, before := runes[first:], ""
	if first > 0 {
		before = "…"
	}
	shownText := clean2(cut(string(shown), room))
	under := strings.Repeat(" ", utf8.RuneCountInString(prefix+before)+column-first)
	carets = min(carets, max(room-(column-first), 1))
	return []string{prefix + before + shownText, under + out.paint(strings.Repeat("^", carets), red)}
}

// clean2 is clean without trimming: columns must stay where they are.
func clean2(s string) string {
	body := clean("|" + s + "|")
	return strings.TrimRight(body[1:len(body)-1], " ")
}

// byteAt is the byte offset of a column.
func byteAt(text string, column int) int {
	offset := 0
	for range column {
		if offset >= len(text) {
			return len(text)
		}
		_, size := utf8.DecodeRuneInString(text[offset:])
		offset += size
	}
	return offset
}

// wrap breaks text into lines of at most so many columns; its own line ends stay.
func wrap(text string, width int) []string {
	var out []string
	for _, paragraph := range strings.Split(strings.TrimSpace(text), "\n") {
		line := ""
		for _, word := range strings.Fields(paragraph) {
			switch {
			case line == "":
				line = word
			case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) <= width:
				line += " " + word
			default:
				out, line = append(out, line), word
			}
		}
		out = append(out, line)
	}
	return out
}
