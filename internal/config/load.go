// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/agext/levenshtein"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
	"github.com/zclconf/go-cty/cty/gocty"
)

// Problem is something wrong in a configuration. Line and Column count from 1; 0 where it has no place.
type Problem struct {
	File         string
	Line, Column int
	Summary      string
	Detail       string // sentences: what is wrong and the way out
}

func (p Problem) Error() string {
	where := p.File
	if p.Line > 0 {
		where = fmt.Sprintf("%s:%d,%d", p.File, p.Line, p.Column)
	}
	if where != "" {
		where += ": "
	}
	return fmt.Sprintf("%s%s; %s", where, p.Summary, p.Detail)
}

// maxFile bounds one file: far above what a server has settings for.
const maxFile = 1 << 20

// Load reads files over the defaults, the later ones over the earlier ones. A folder stands for its files that end in .hcl,
// by name. All problems are returned at once, and the configuration is to be used only without any.
func Load(paths []string) (Config, []Problem) {
	c := DefaultConfig()
	places := map[string]hcl.Range{}
	var problems []Problem
	for _, path := range paths {
		files, err := filesOf(path)
		if err != nil {
			problems = append(problems, Problem{File: path, Summary: "Configuration cannot be read", Detail: err.Error() + "."})
			continue
		}
		for _, file := range files {
			problems = append(problems, c.apply(file, places)...)
		}
	}
	if len(problems) == 0 {
		problems = c.together(places)
	}
	return c, problems
}

func filesOf(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	var files []string
	for _, e := range entries {
		if !e.IsDir() && strings.HasSuffix(e.Name(), ".hcl") {
			files = append(files, filepath.Join(path, e.Name()))
		}
	}
	if len(files) == 0 {
		return nil, errors.New("the folder has no file that ends in .hcl")
	}
	return files, nil
}

// apply reads a file, and notes where it writes each setting.
func (c *Config) apply(file string, places map[string]hcl.Range) []Problem {
	text, err := readFile(file)
	if err != nil {
		return []Problem{{File: file, Summary: "Configuration cannot be read", Detail: err.Error() + "."}}
	}
	parsed, diags := hclsyntax.ParseConfig(text, file, hcl.InitialPos)
	if diags.HasErrors() {
		var problems []Problem
		for _, d := range diags {
			problems = append(problems, at(*d.Subject, d.Summary, d.Detail))
		}
		return problems
	}
	return c.body(parsed.Body.(*hclsyntax.Body), "", places)
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(text) > maxFile {
		err = fmt.Errorf("%s is larger than %d bytes: it is no configuration of Cairn", path, maxFile)
	}
	return text, err
}

// body applies the attributes of a block, or of the top level, and the blocks of the top level.
func (c *Config) body(b *hclsyntax.Body, block string, places map[string]hcl.Range) []Problem {
	var problems []Problem
	for _, attr := range sorted(b.Attributes) {
		problems = append(problems, c.attribute(attr, block, places)...)
	}
	seen := map[string]bool{}
	for _, inner := range b.Blocks {
		place := inner.DefRange()
		switch {
		case block != "":
			problems = append(problems, at(place, "Unknown block", fmt.Sprintf("Block %s takes no blocks.", block)))
		case !slices.Contains(blocks(), inner.Type):
			problems = append(problems, at(place, "Unknown block", fmt.Sprintf("There is no block %q.%s The blocks are %s.",
				inner.Type, near(inner.Type, blocks()), strings.Join(blocks(), ", "))))
		case seen[inner.Type]:
			problems = append(problems, at(place, "Block stands twice", fmt.Sprintf("Block %s stands in this file before. Put both together.", inner.Type)))
		case len(inner.Labels) > 0:
			problems = append(problems, at(inner.LabelRanges[0], "Block with a label", fmt.Sprintf("Block %s takes no label. Remove it.", inner.Type)))
		default:
			problems = append(problems, c.body(inner.Body, inner.Type, places)...)
		}
		seen[inner.Type] = true
	}
	return problems
}

// sorted is the attributes in the order of the file.
func sorted(attrs hclsyntax.Attributes) []*hclsyntax.Attribute {
	var out []*hclsyntax.Attribute
	for _, a := range attrs {
		out = append(out, a)
	}
	slices.SortFunc(out, func(a, b *hclsyntax.Attribute) int { return a.SrcRange.Start.Byte - b.SrcRange.Start.Byte })
	return out
}

// blocks lists the blocks that hold settings.
func blocks() []string {
	var out []string
	for _, s := range Settings() {
		if s.Block != "" && !slices.Contains(out, s.Block) {
			out = append(out, s.Block)
		}
	}
	return out
}

func (c *Config) attribute(attr *hclsyntax.Attribute, block string, places map[string]hcl.Range) []Problem {
	var names []string
	for _, s := range Settings() {
		if s.Block != block {
			continue
		}
		if s.Name == attr.Name {
			places[s.path()] = attr.Expr.Range()
			return c.set(&s, attr)
		}
		names = append(names, s.Name)
	}
	where := "The top level"
	if block != "" {
		where = "Block " + block
	}
	detail := fmt.Sprintf("%s has no setting %q.%s Its settings are %s.", where, attr.Name, near(attr.Name, names), strings.Join(names, ", "))
	if slices.Contains(blocks(), attr.Name) {
		detail = fmt.Sprintf("%s is a block: write %s { … } without an equals sign.", attr.Name, attr.Name)
	}
	return []Problem{at(attr.NameRange, "Unknown setting", detail)}
}

// set takes the value of a setting.
func (c *Config) set(s *Setting, attr *hclsyntax.Attribute) []Problem {
	place := attr.Expr.Range()
	value, diags := attr.Expr.Value(nil)
	if diags.HasErrors() {
		var problems []Problem
		for _, d := range diags {
			problems = append(problems, at(place, d.Summary, d.Detail+" A configuration holds plain values: it has no variables and no functions."))
		}
		return problems
	}
	wrong := func(format string, args ...any) []Problem {
		return []Problem{at(place, "Wrong value", fmt.Sprintf("%s: %s.", s.path(), fmt.Sprintf(format, args...)))}
	}
	if s.list != nil {
		list, err := convert.Convert(value, cty.List(cty.String))
		if err != nil || !list.IsWhollyKnown() || list.IsNull() {
			return wrong("want a list of strings, this is %s", kind(value))
		}
		var words []string
		if err := gocty.FromCtyValue(list, &words); err != nil {
			return wrong("want a list of strings: %s", err)
		}
		*s.list(c) = words
		return nil
	}
	if s.yes != nil {
		if value.IsNull() || value.Type() != cty.Bool {
			return wrong("want true or false, this is %s", kind(value))
		}
		*s.yes(c) = value.True()
		return nil
	}
	want := cty.String
	if s.number != nil {
		want = cty.Number
	}
	converted, err := convert.Convert(value, want)
	if err != nil || converted.IsNull() || value.Type() == cty.Bool {
		return wrong("want a %s, this is %s", want.FriendlyName(), kind(value))
	}
	if s.number != nil {
		var n int
		if err := gocty.FromCtyValue(converted, &n); err != nil || int64(n) < s.low || int64(n) > s.high {
			return wrong("want a whole number from %d to %d", s.low, s.high)
		}
		*s.number(c) = n
		return nil
	}
	text := converted.AsString()
	if s.duration != nil {
		d, err := time.ParseDuration(text)
		if err != nil || int64(d) < s.low || int64(d) > s.high {
			return wrong("%q: want a duration from %s to %s, as in 168h", text, hours(s.low), hours(s.high))
		}
		*s.duration(c) = d
		return nil
	}
	if s.size != nil {
		n, err := parseSize(text)
		switch {
		case err != nil:
			return wrong("%q: %s", text, err)
		case n < s.low || n > s.high:
			return wrong("%q: want a size from %s to %s", text, formatSize(s.low), formatSize(s.high))
		}
		*s.size(c) = n
		return nil
	}
	if s.check != nil {
		if err := s.check(text); err != nil {
			return wrong("%q: %s", text, err)
		}
	}
	*s.text(c) = text
	return nil
}

// hours writes nanoseconds as a duration, without units that are zero.
func hours(ns int64) string {
	text := strings.TrimSuffix(time.Duration(ns).String(), "0s")
	if trimmed := strings.TrimSuffix(text, "h0m"); trimmed != text {
		return trimmed + "h"
	}
	return text
}

func kind(v cty.Value) string {
	if v.IsNull() {
		return "null"
	}
	return "a " + v.Type().FriendlyName()
}

// near names the name that was probably meant.
func near(name string, names []string) string {
	best, distance := "", 3 // more than two letters off is another word
	for _, n := range names {
		if d := levenshtein.Distance(name, n, nil); d < distance {
			best, distance = n, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(" Did you mean %q?", best)
}

func at(r hcl.Range, summary, detail string) Problem {
	return Problem{File: r.Filename, Line: r.Start.Line, Column: r.Start.Column, Summary: summary, Detail: detail}
}
