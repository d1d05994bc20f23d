// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package sim

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
)

// The expressions of simulated definitions are a toy language of nested calls, `eq(status("a"), "failed")`, small enough to
// be generated and evaluated thousands of times per seed. What every function does stands in eval.go.

// node is a parsed expression: a call when fn is set, else a literal.
type node struct {
	fn   string
	args []*node
	lit  any
}

// parse reads one expression. Definitions are generated, so an error here is a bug of the generator.
func parse(text string) (*node, error) {
	p := &parser{text: text}
	n, err := p.expr()
	if err != nil {
		return nil, fmt.Errorf("%q at %d: %w", text, p.pos, err)
	}
	p.space()
	if p.pos != len(p.text) {
		return nil, fmt.Errorf("%q at %d: trailing text", text, p.pos)
	}
	return n, nil
}

type parser struct {
	text string
	pos  int
}

func (p *parser) space() {
	for p.pos < len(p.text) && p.text[p.pos] == ' ' {
		p.pos++
	}
}

func (p *parser) expr() (*node, error) {
	p.space()
	if p.pos == len(p.text) {
		return nil, fmt.Errorf("unexpected end")
	}
	c := p.text[p.pos]
	switch {
	case c == '"':
		end := strings.IndexByte(p.text[p.pos+1:], '"')
		if end < 0 {
			return nil, fmt.Errorf("unfinished string")
		}
		s := p.text[p.pos+1 : p.pos+1+end]
		p.pos += end + 2
		return &node{lit: s}, nil
	case c == '-' || c >= '0' && c <= '9':
		start := p.pos
		for p.pos < len(p.text) && strings.IndexByte("-.0123456789", p.text[p.pos]) >= 0 {
			p.pos++
		}
		f, err := strconv.ParseFloat(p.text[start:p.pos], 64)
		return &node{lit: f}, err
	case unicode.IsLetter(rune(c)):
		return p.word()
	}
	return nil, fmt.Errorf("unexpected %q", c)
}

func (p *parser) word() (*node, error) {
	start := p.pos
	for p.pos < len(p.text) && unicode.IsLetter(rune(p.text[p.pos])) {
		p.pos++
	}
	name := p.text[start:p.pos]
	switch name {
	case "true":
		return &node{lit: true}, nil
	case "false":
		return &node{lit: false}, nil
	case "null":
		return &node{}, nil
	}
	if p.pos == len(p.text) || p.text[p.pos] != '(' {
		return nil, fmt.Errorf("%s: want a call", name)
	}
	p.pos++
	n := &node{fn: name}
	for {
		p.space()
		if p.pos < len(p.text) && p.text[p.pos] == ')' {
			p.pos++
			return n, nil
		}
		arg, err := p.expr()
		if err != nil {
			return nil, err
		}
		n.args = append(n.args, arg)
		p.space()
		if p.pos < len(p.text) && p.text[p.pos] == ',' {
			p.pos++
		}
	}
}
