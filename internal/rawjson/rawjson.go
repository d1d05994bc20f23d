// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

// Package rawjson looks into JSON text without decoding all of it: bodies of tasks are taken apart and put in order for every
// attempt, and most of their fields are read by nobody.
//
// Every function wants valid JSON (encoding/json.Valid, or the output of Marshal) and panics or answers nonsense on other text.
package rawjson

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
)

// Member is a member of an object. Its parts share memory with the text they were found in.
type Member struct {
	Name  []byte // as written, in quotes
	Value []byte
}

// Text is the name without quotes and escapes.
func (m Member) Text() string {
	inner := m.Name[1 : len(m.Name)-1]
	if bytes.IndexByte(inner, '\\') < 0 {
		return string(inner)
	}
	var s string
	if err := json.Unmarshal(m.Name, &s); err != nil {
		panic("rawjson: invalid JSON: " + strconv.Quote(string(m.Name)))
	}
	return s
}

// Members are the members of an object, in the order of the text. ok is false for any other value.
func Members(raw []byte) (members []Member, ok bool) {
	i := space(raw, 0)
	if i == len(raw) || raw[i] != '{' {
		return nil, false
	}
	for i = space(raw, i+1); raw[i] != '}'; {
		end := value(raw, i)
		m := Member{Name: raw[i:end]}
		i = space(raw, space(raw, end)+1) // after the colon
		end = value(raw, i)
		m.Value = raw[i:end]
		members = append(members, m)
		if i = space(raw, end); raw[i] == ',' {
			i = space(raw, i+1)
		}
	}
	return members, true
}

// Elements are the elements of an array. ok is false for any other value.
func Elements(raw []byte) (elements [][]byte, ok bool) {
	i := space(raw, 0)
	if i == len(raw) || raw[i] != '[' {
		return nil, false
	}
	for i = space(raw, i+1); raw[i] != ']'; {
		end := value(raw, i)
		elements = append(elements, raw[i:end])
		if i = space(raw, end); raw[i] == ',' {
			i = space(raw, i+1)
		}
	}
	return elements, true
}

// Sort returns the text with the members of every object sorted by name and without space between tokens. Names are
// compared as written; numbers and strings are copied as they are.
func Sort(raw []byte) []byte { return appendSorted(make([]byte, 0, len(raw)), raw) }

func appendSorted(out, raw []byte) []byte {
	i := space(raw, 0)
	switch raw[i] {
	case '{':
		members, _ := Members(raw)
		slices.SortStableFunc(members, func(a, b Member) int { return bytes.Compare(a.Name[1:len(a.Name)-1], b.Name[1:len(b.Name)-1]) })
		out = append(out, '{')
		for n, m := range members {
			if n > 0 {
				out = append(out, ',')
			}
			out = append(append(out, m.Name...), ':')
			out = appendSorted(out, m.Value)
		}
		return append(out, '}')
	case '[':
		elements, _ := Elements(raw)
		out = append(out, '[')
		for n, e := range elements {
			if n > 0 {
				out = append(out, ',')
			}
			out = appendSorted(out, e)
		}
		return append(out, ']')
	}
	return append(out, raw[i:value(raw, i)]...)
}

// space is the first place at or after i that is no white space.
func space(raw []byte, i int) int {
	for i < len(raw) && (raw[i] == ' ' || raw[i] == '\n' || raw[i] == '\t' || raw[i] == '\r') {
		i++
	}
	return i
}

// value is the place after the value that begins at i.
func value(raw []byte, i int) int {
	switch raw[i] {
	case '"':
		return text(raw, i)
	case '{', '[':
		for depth := 0; ; i++ {
			switch raw[i] {
			case '"':
				i = text(raw, i) - 1
			case '{', '[':
				depth++
			case '}', ']':
				if depth--; depth == 0 {
					return i + 1
				}
			}
		}
	}
	for i < len(raw) && raw[i] != ',' && raw[i] != '}' && raw[i] != ']' && raw[i] > ' ' {
		i++
	}
	return i
}

// text is the place after the string that begins at i.
func text(raw []byte, i int) int {
	for i++; raw[i] != '"'; i++ {
		if raw[i] == '\\' {
			i++
		}
	}
	return i + 1
}
