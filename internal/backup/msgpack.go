// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package backup

import (
	"bufio"
	"fmt"
	"io"
)

// values reads MessagePack, one value after the other. The libraries for it allocate what a length claims before the bytes are
// there, and do not say at which byte something is wrong.
//
// What a value claims to hold is compared with the bytes that are left, of which each value needs one at least: so a claim that
// cannot be true is refused at once. What is allocated grows with the bytes that have come.
type values struct {
	in     *bufio.Reader
	size   int64    // how many bytes there are, as the archive says
	offset int64    // of the next byte
	at     int64    // where the last value begins
	open   []uint64 // memory of skip
}

// maxDepth bounds how deep values stand in values. Consul takes what it stores as JSON, down to 10,000, and reads its snapshots by
// recursion, for which a value that is much deeper would be a trap.
const maxDepth = 16 << 10

// chunk is what is allocated for a string on its word alone.
const chunk = 64 << 10

// form is how a value is written.
type form string

const (
	null      form = "nil"
	number    form = "a number"
	signed    form = "a signed number" // one that is not negative is a number
	other     form = "a number or truth value that is no count"
	text      form = "a string"
	extension form = "an extension"
	array     form = "an array"
	mapping   form = "a map"
	invalid   form = "no value"
)

// shape is what the first byte of a value says: its form, and its number, length or count, or how many bytes hold that.
type shape struct {
	form  form
	n     uint64
	width int
}

// shapes are those of the bytes 0xc0 to 0xdf.
var shapes = [...]shape{
	{form: null}, {form: invalid}, {form: other}, {form: other},
	{text, 0, 1}, {text, 0, 2}, {text, 0, 4},
	{extension, 0, 1}, {extension, 0, 2}, {extension, 0, 4},
	{other, 0, 4}, {other, 0, 8},
	{number, 0, 1}, {number, 0, 2}, {number, 0, 4}, {number, 0, 8},
	{signed, 0, 1}, {signed, 0, 2}, {signed, 0, 4}, {signed, 0, 8},
	{extension, 1, 0}, {extension, 2, 0}, {extension, 4, 0}, {extension, 8, 0}, {extension, 16, 0},
	{text, 0, 1}, {text, 0, 2}, {text, 0, 4},
	{array, 0, 2}, {array, 0, 4},
	{mapping, 0, 2}, {mapping, 0, 4},
}

func shapeOf(first byte) shape {
	switch {
	case first < 0x80:
		return shape{form: number, n: uint64(first)}
	case first < 0x90:
		return shape{form: mapping, n: uint64(first & 0x0f)}
	case first < 0xa0:
		return shape{form: array, n: uint64(first & 0x0f)}
	case first < 0xc0:
		return shape{form: text, n: uint64(first & 0x1f)}
	case first >= 0xe0:
		return shape{form: other} // negative
	}
	return shapes[first-0xc0]
}

// head reads how a value begins. n is a number itself, the bytes of a string or extension, or how many values follow, of which a
// map has two for each key.
func (v *values) head() (f form, n uint64, err error) {
	v.at = v.offset
	first, err := v.byte()
	if err != nil {
		return "", 0, err
	}
	s := shapeOf(first)
	for range s.width {
		next, err := v.byte()
		if err != nil {
			return "", 0, err
		}
		s.n = s.n<<8 | uint64(next)
	}
	switch s.form {
	case invalid:
		return "", 0, fmt.Errorf("no value begins with the byte %#x", first)
	case signed:
		s.form = number
		if s.n>>(8*s.width-1) == 1 {
			s.form = other
		}
		return s.form, s.n, nil
	case extension:
		s.n++ // a byte says which one it is
	case mapping:
		s.n *= 2
	case null, number, other:
		return s.form, s.n, nil
	}
	if left := v.size - v.offset; s.n > uint64(left) {
		return "", 0, fmt.Errorf("%s claims %d bytes or values, and %d bytes are left", s.form, s.n, left)
	}
	return s.form, s.n, nil
}

func (v *values) byte() (byte, error) {
	if v.offset >= v.size {
		return 0, errEarly
	}
	b, err := v.in.ReadByte()
	if err != nil {
		return 0, early(err)
	}
	v.offset++
	return b, nil
}

// skip reads a value, with all that is in it.
func (v *values) skip() error {
	open := append(v.open[:0], 1) // how many values are still to come, at each depth
	for len(open) > 0 {
		last := len(open) - 1
		if open[last] == 0 {
			open = open[:last]
			continue
		}
		open[last]--
		f, n, err := v.head()
		if err != nil {
			return err
		}
		switch f {
		case text, extension:
			err = v.discard(n)
		case array, mapping:
			if len(open) > maxDepth {
				return fmt.Errorf("values stand in values more than %d deep", maxDepth)
			}
			open = append(open, n)
		}
		if err != nil {
			return err
		}
	}
	v.open = open
	return nil
}

func (v *values) discard(n uint64) error {
	done, err := v.in.Discard(int(n))
	v.offset += int64(done)
	return early(err)
}

// number reads a number that is not negative.
func (v *values) number() (uint64, error) {
	f, n, err := v.head()
	if err == nil && f != number {
		err = fmt.Errorf("it is %s, not %s", f, number)
	}
	return n, err
}

// text reads a string of at most maxText bytes; nil is the empty one.
func (v *values) text() (string, error) {
	b, err := v.bytes(maxText)
	return string(b), err
}

// bytes reads a string of so many bytes at most, or nil.
func (v *values) bytes(most uint64) ([]byte, error) {
	f, n, err := v.head()
	switch {
	case err != nil || f == null:
		return nil, err
	case f != text:
		return nil, fmt.Errorf("it is %s, not %s", f, text)
	case n > most:
		return nil, fmt.Errorf("it has %d bytes, more than %d", n, most)
	}
	b := make([]byte, min(n, chunk))
	for have := 0; ; {
		if _, err := io.ReadFull(v.in, b[have:]); err != nil {
			return nil, early(err)
		}
		if have = len(b); uint64(have) == n {
			break
		}
		grown := make([]byte, min(n, uint64(2*have)))
		copy(grown, b)
		b = grown
	}
	v.offset += int64(n)
	return b, nil
}

// fields reads a map whose keys are strings. each reads the value of the field that it is told of.
func (v *values) fields(each func(name string) error) error {
	f, n, err := v.head()
	if err != nil {
		return err
	}
	if f != mapping {
		return fmt.Errorf("it is %s, not %s", f, mapping)
	}
	for range n / 2 {
		name, err := v.text()
		if err != nil {
			return fmt.Errorf("the name of a field: %w", err)
		}
		if err := each(name); err != nil {
			return fmt.Errorf("field %.64q: %w", name, err)
		}
	}
	return nil
}
