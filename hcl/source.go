// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package hcl

import (
	"bytes"
	"cmp"
	"slices"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/cairnflow/cairn/internal/workflow"
)

// maxNesting bounds how deep brackets, operators and templates may stand inside each other. The parser and the evaluator
// recurse over them, and Go cannot recover from an exhausted stack.
const maxNesting = 2000

// source is one parsed file.
type source struct {
	path string
	body *hclsyntax.Body
}

// parse parses files in the order of their paths. The sources of files with syntax errors are incomplete.
func parse(files []workflow.File, f *findings) ([]*source, map[string][]byte) {
	files = sortedFiles(files)
	texts := make(map[string][]byte, len(files))
	var sources []*source
	for _, file := range files {
		if _, doubled := texts[file.Path]; doubled {
			f.errorf(hcl.Range{Filename: file.Path, Start: hcl.InitialPos, End: hcl.InitialPos}, "Duplicate file", "The file %s is given twice.", file.Path)
			continue
		}
		texts[file.Path] = file.Bytes
		if at, ok := notText(file); ok {
			f.errorf(at, "Not a text file", "The file is not text in UTF-8: a byte %#02x stands here. Name another file, or save this one as UTF-8.", file.Bytes[at.Start.Byte])
			continue
		}
		if at, ok := tooDeep(file); ok {
			f.errorf(at, "Nested too deeply", "Brackets, operators and templates may stand inside each other %d deep. Put parts into locals.", maxNesting)
			continue
		}
		parsed, diags := hclsyntax.ParseConfig(file.Bytes, file.Path, hcl.InitialPos)
		f.add(diags)
		if parsed != nil {
			sources = append(sources, &source{path: file.Path, body: parsed.Body.(*hclsyntax.Body)})
		}
	}
	return sources, texts
}

func sortedFiles(files []workflow.File) []workflow.File {
	files = slices.Clone(files)
	slices.SortStableFunc(files, func(a, b workflow.File) int { return cmp.Compare(a.Path, b.Path) })
	return files
}

// notText finds the first byte that is not UTF-8, or is zero: no text holds that, but UTF-16 and binary files do.
func notText(file workflow.File) (hcl.Range, bool) {
	b := file.Bytes
	if utf8.Valid(b) && bytes.IndexByte(b, 0) < 0 {
		return hcl.Range{}, false
	}
	at := hcl.InitialPos
	for {
		r, size := utf8.DecodeRune(b[at.Byte:])
		if r == 0 || r == utf8.RuneError && size == 1 {
			end := hcl.Pos{Line: at.Line, Column: at.Column + 1, Byte: at.Byte + 1}
			return hcl.Range{Filename: file.Path, Start: at, End: end}, true
		}
		at.Byte += size
		at.Column++
		if r == '\n' {
			at.Line, at.Column = at.Line+1, 1
		}
	}
}

// tooDeep finds an expression nested deeper than maxNesting. A file with fewer brackets and operators than that cannot hold
// one; any other is taken apart into tokens, where text and comments do not count.
func tooDeep(file workflow.File) (hcl.Range, bool) {
	n := 0
	for _, c := range file.Bytes {
		switch c {
		case '(', '[', '{', '!', '-', '?', '+', '*', '/', '%', '&', '|', '=', '<', '>', '.':
			n++
		}
	}
	if n <= maxNesting {
		return hcl.Range{}, false
	}
	tokens, _ := hclsyntax.LexConfig(file.Bytes, file.Path, hcl.InitialPos)
	return deepToken(tokens)
}

// deepToken counts open brackets, and the operators that stand in each of them, and returns where there are too many.
func deepToken(tokens hclsyntax.Tokens) (hcl.Range, bool) {
	type level struct {
		operators int
		lines     bool // a line break ends an expression
		directive bool // a template's %{ … }, which may begin a nesting of its own
	}
	levels, total := []level{{lines: true}}, 0
	for _, t := range tokens {
		top := &levels[len(levels)-1]
		switch t.Type {
		case hclsyntax.TokenOParen, hclsyntax.TokenOBrack, hclsyntax.TokenTemplateInterp, hclsyntax.TokenTemplateControl:
			levels = append(levels, level{directive: t.Type == hclsyntax.TokenTemplateControl})
			total++
		case hclsyntax.TokenOBrace:
			levels = append(levels, level{lines: true})
			total++
		case hclsyntax.TokenCParen, hclsyntax.TokenCBrack, hclsyntax.TokenCBrace, hclsyntax.TokenTemplateSeqEnd:
			if len(levels) > 1 {
				nests := top.directive || t.Type == hclsyntax.TokenCBrack // an index or a splat works on all that stands before it
				total -= 1 + top.operators
				levels = levels[:len(levels)-1]
				if nests {
					levels[len(levels)-1].operators++
					total++
				}
			}
		case hclsyntax.TokenComma:
			total -= top.operators
			top.operators = 0
		case hclsyntax.TokenNewline:
			if top.lines {
				total -= top.operators
				top.operators = 0
			}
		case hclsyntax.TokenBang, hclsyntax.TokenMinus, hclsyntax.TokenPlus, hclsyntax.TokenStar, hclsyntax.TokenSlash, hclsyntax.TokenPercent,
			hclsyntax.TokenQuestion, hclsyntax.TokenAnd, hclsyntax.TokenOr, hclsyntax.TokenEqualOp, hclsyntax.TokenNotEqual,
			hclsyntax.TokenGreaterThan, hclsyntax.TokenGreaterThanEq, hclsyntax.TokenLessThan, hclsyntax.TokenLessThanEq, hclsyntax.TokenDot:
			top.operators++
			total++
		}
		if total > maxNesting {
			return t.Range, true
		}
	}
	return hcl.Range{}, false
}
