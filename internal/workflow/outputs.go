// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package workflow

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"
)

// RawOutput is one output as a task wrote it, before its type is known: the text of a line or block as a JSON string, or
// the JSON of an object's member.
type RawOutput struct {
	Name string
	JSON json.RawMessage
}

// ReadOutputs reads an output file: one JSON object when its first character is {, else lines of key=value and blocks of
// key<<WORD up to a line that is WORD. The last of a doubled name wins; the result is in the order of first appearance. A
// file of more than MaxTaskOutputBytes is refused.
func ReadOutputs(file []byte) ([]RawOutput, error) {
	if len(file) > MaxTaskOutputBytes {
		return nil, fmt.Errorf("the output file has more than %d bytes; put larger data into an artifact and its address into an output",
			MaxTaskOutputBytes)
	}
	if !utf8.Valid(file) {
		return nil, fmt.Errorf("the output file is not UTF-8 text")
	}
	if trimmed := bytes.TrimLeft(file, " \t\r\n"); len(trimmed) > 0 && trimmed[0] == '{' {
		return readOutputObject(trimmed)
	}
	return readOutputLines(string(file))
}

func readOutputObject(file []byte) ([]RawOutput, error) {
	dec := json.NewDecoder(bytes.NewReader(file))
	if _, err := dec.Token(); err != nil {
		return nil, fmt.Errorf("the output file begins with { but is not JSON: %w", err)
	}
	c := collector{}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return nil, fmt.Errorf("the output file begins with { but is not JSON: %w", err)
		}
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return nil, fmt.Errorf("the output file begins with { but is not JSON: %w", err)
		}
		text, ok := name.(string)
		if !ok {
			return nil, fmt.Errorf("the output file begins with { but is not a JSON object")
		}
		c.add(text, raw)
	}
	if _, err := dec.Token(); err != nil {
		return nil, fmt.Errorf("the output file begins with { but is not JSON: %w", err)
	}
	if rest := bytes.TrimSpace(file[dec.InputOffset():]); len(rest) > 0 {
		return nil, fmt.Errorf("the output file goes on after its JSON object: %.20q", rest)
	}
	return c.out, nil
}

func readOutputLines(file string) ([]RawOutput, error) {
	c := collector{}
	lines := strings.Split(file, "\n")
	for at := 0; at < len(lines); at++ {
		line := strings.TrimSuffix(lines[at], "\r")
		if strings.TrimSpace(line) == "" {
			continue
		}
		equals, block := strings.Index(line, "="), strings.Index(line, "<<")
		switch {
		case block > 0 && (equals < 0 || block < equals):
			name, word := strings.TrimSpace(line[:block]), strings.TrimSpace(line[block+2:])
			if word == "" {
				return nil, fmt.Errorf("output file, line %d: no word after << that ends the block", at+1)
			}
			end := at + 1
			for end < len(lines) && strings.TrimSuffix(lines[end], "\r") != word {
				end++
			}
			if end == len(lines) {
				return nil, fmt.Errorf("output file, line %d: the block of %s has no line %q that ends it", at+1, name, word)
			}
			body := make([]string, 0, end-at-1)
			for _, l := range lines[at+1 : end] {
				body = append(body, strings.TrimSuffix(l, "\r"))
			}
			if err := c.text(name, strings.Join(body, "\n")); err != nil {
				return nil, fmt.Errorf("output file, line %d: %w", at+1, err)
			}
			at = end
		case equals > 0:
			if err := c.text(strings.TrimSpace(line[:equals]), line[equals+1:]); err != nil {
				return nil, fmt.Errorf("output file, line %d: %w", at+1, err)
			}
		default:
			return nil, fmt.Errorf("output file, line %d: want key=value or key<<WORD, found %.40q", at+1, line)
		}
	}
	return c.out, nil
}

// collector gathers outputs by name, the last value winning.
type collector struct {
	out []RawOutput
	at  map[string]int
}

func (c *collector) text(name, text string) error {
	raw, err := json.Marshal(text)
	if err != nil {
		return fmt.Errorf("value of %s: %w", name, err)
	}
	c.add(name, raw)
	return nil
}

func (c *collector) add(name string, raw json.RawMessage) {
	if i, ok := c.at[name]; ok {
		c.out[i].JSON = raw
		return
	}
	if c.at == nil {
		c.at = map[string]int{}
	}
	c.at[name] = len(c.out)
	c.out = append(c.out, RawOutput{Name: name, JSON: raw})
}
