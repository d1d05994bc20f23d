// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package backup

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"reflect"
	"testing"
)

// fuzzBytes bounds what reading an input of the fuzzer may allocate: more than a refusal, for what the input really holds.
const fuzzBytes = 64 << 20

func FuzzRead(f *testing.F) {
	f.Add(snapshotOf(goodState()))
	f.Add(snapshotOf(header))
	for _, group := range [][]damaged{cuts(), flips(), wrongFiles(), wrongSums(), strangers(), wrongStates(), bombs()} {
		for i, d := range group {
			if i%5 != 0 {
				continue
			}
			if content, err := io.ReadAll(d.snapshot); err == nil && len(content) < 1<<17 {
				f.Add(content)
			}
		}
	}
	f.Fuzz(func(t *testing.T, snapshot []byte) {
		var c counter
		found, allocated, err := measured(func() (Contents, error) { return Read(bytes.NewReader(snapshot), c.visit) })
		if allocated > fuzzBytes {
			t.Errorf("it took %d bytes of memory", allocated)
		}
		if err != nil {
			if !errors.Is(err, ErrDamaged) || !saysWhere(err) {
				t.Errorf("refused with %q", err)
			}
			return
		}
		adds(t, found, c.entries)
	})
}

// FuzzState gets to the records without the sums in its way.
func FuzzState(f *testing.F) {
	f.Add(header) // small ones, of which a fuzzer tries more
	f.Add(slim(3))
	f.Add(slim(29))
	for _, e := range goodEntries()[:3] {
		f.Add(append(pack(fields{"LastIndex", 1 << 40}), keyRecord(e)...))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		var c counter
		found := Contents{Size: int64(len(content)), Records: map[string]int{}}
		s := state{values: values{in: bufio.NewReader(bytes.NewReader(content)), size: found.Size}, found: &found, visit: c.visit}
		_, allocated, err := measured(func() (Contents, error) { return Contents{}, s.read() })
		if allocated > fuzzBytes {
			t.Errorf("it took %d bytes of memory", allocated)
		}
		if s.offset > s.size || s.at > s.offset || err == nil && s.offset != s.size {
			t.Errorf("it is at byte %d of %d, in the value at %d: %v", s.offset, s.size, s.at, err)
		}
		if err != nil {
			return
		}
		adds(t, found, c.entries)

		// The archive of such a state is sound, and holds what the state holds.
		whole, entries := read(t, snapshotOf(content))
		if whole.ID, whole.RaftVersion, whole.Index, whole.Term = "", 0, 0, 0; !reflect.DeepEqual(whole, found) || !reflect.DeepEqual(entries, c.entries) {
			t.Errorf("the archive holds %+v, the state %+v", whole, found)
		}
	})
}

// slim is a state with one record of a kind.
func slim(kind byte) []byte {
	return append(bytes.Clone(header), record(kind, fields{"a", []any{1, -1, "b", []byte{1}, ext{1, 2}, nil, true, 0.5}})...)
}

// adds compares the counts of a sound snapshot with its keys.
func adds(t *testing.T, found Contents, entries []Entry) {
	size := int64(0)
	for _, e := range entries {
		size += int64(len(e.Key) + len(e.Value))
		if e.Key == "" {
			t.Error("a key has no name")
		}
	}
	if found.Keys != len(entries) || found.KeyBytes != size || found.Records["key"] < found.Keys {
		t.Errorf("%d keys of %d bytes were visited, and it says %+v", len(entries), size, found)
	}
}
