// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package backup

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"testing"
)

// file is a file of an archive that a test builds. It is a plain one unless header says otherwise.
type file struct {
	name    string
	content []byte
	header  func(*tar.Header)
}

// tarOf packs files as they are.
func tarOf(files ...file) []byte {
	var packed bytes.Buffer
	w := tar.NewWriter(&packed)
	for _, f := range files {
		h := &tar.Header{Name: f.name, Typeflag: tar.TypeReg, Mode: 0o600, Size: int64(len(f.content))}
		if f.header != nil {
			f.header(h)
		}
		must(w.WriteHeader(h))
		_, err := w.Write(f.content[:min(h.Size, int64(len(f.content)))])
		must(err)
	}
	if err := w.Flush(); err == nil { // a file may be shorter than its header says, as the last one
		must(w.Close())
	}
	return packed.Bytes()
}

// gzipOf compresses what it is given, each part as a member of its own.
func gzipOf(parts ...[]byte) []byte {
	var packed bytes.Buffer
	w, err := gzip.NewWriterLevel(&packed, gzip.BestSpeed)
	must(err)
	for _, part := range parts {
		w.Reset(&packed)
		_, err := w.Write(part)
		must(err)
		must(w.Close())
	}
	return packed.Bytes()
}

func metaOf(size int) []byte {
	return fmt.Appendf(nil, `{"Version":1,"ID":"2-345-1700000000000","Index":345,"Term":2,"Peers":"kg==","Configuration":{"Servers":[{"Suffrage":0}]},"ConfigurationIndex":1,"Size":%d}`+"\n", size)
}

func sumsOf(files ...file) []byte {
	var list []byte
	for _, f := range files {
		list = fmt.Appendf(list, "%x  %s\n", sha256.Sum256(f.content), f.name)
	}
	return list
}

// filesOf are the three files of a snapshot with that state.
func filesOf(state []byte) []file {
	files := []file{{name: metaName, content: metaOf(len(state))}, {name: stateName, content: state}}
	return append(files, file{name: sumsName, content: sumsOf(files...)})
}

// snapshotOf is the snapshot with that state.
func snapshotOf(state []byte) []byte { return gzipOf(tarOf(filesOf(state)...)) }

// The forms of MessagePack that have no type of Go.
type (
	fields []any           // names and values in turn
	raw    []byte          // bytes that are written as they are
	ext    []byte          // an extension
	wide   struct{ v any } // a number, string, array or map in the longest form that there is
	typed  string          // a string with one byte of length, as newer writers have it
)

// pack writes values as Consul does, which is in the old form of MessagePack: strings and bytes alike.
func pack(values ...any) (out []byte) {
	for _, v := range values {
		switch v := v.(type) {
		case nil:
			out = append(out, 0xc0)
		case bool:
			out = append(out, map[bool]byte{false: 0xc2, true: 0xc3}[v])
		case int:
			out = append(out, packInt(v)...)
		case float64:
			out = binary.BigEndian.AppendUint64(append(out, 0xcb), uint64(v))
		case string:
			out = append(out, counted(len(v), 0xa0, 32, 0xda)...)
			out = append(out, v...)
		case typed:
			out = append(append(out, 0xd9, byte(len(v))), v...)
		case []byte:
			out = append(append(out, 0xc4, byte(len(v))), v...)
		case ext:
			out = append(append(out, 0xc7, byte(len(v)), 5), v...)
		case []any:
			out = append(out, counted(len(v), 0x90, 16, 0xdc)...)
			out = append(out, pack(v...)...)
		case fields:
			out = append(out, counted(len(v)/2, 0x80, 16, 0xde)...)
			out = append(out, pack(v...)...)
		case wide:
			out = append(out, packWide(v.v)...)
		case raw:
			out = append(out, v...)
		default:
			panic(fmt.Sprintf("pack %T", v))
		}
	}
	return out
}

func packInt(v int) []byte {
	switch {
	case v < -32:
		return binary.BigEndian.AppendUint64([]byte{0xd3}, uint64(v))
	case v < 128:
		return []byte{byte(v)}
	case v < 256:
		return []byte{0xcc, byte(v)}
	case v < 1<<16:
		return binary.BigEndian.AppendUint16([]byte{0xcd}, uint16(v))
	case v < 1<<32:
		return binary.BigEndian.AppendUint32([]byte{0xce}, uint32(v))
	}
	return binary.BigEndian.AppendUint64([]byte{0xcf}, uint64(v))
}

// counted is the head of something with so many parts: in one byte below few, else in two or four more.
func counted(n int, short byte, few int, long byte) []byte {
	switch {
	case n < few:
		return []byte{short | byte(n)}
	case n < 1<<16:
		return binary.BigEndian.AppendUint16([]byte{long}, uint16(n))
	}
	return claim(long+1, uint32(n))
}

// claim is the head of something that says that it has n parts.
func claim(first byte, n uint32) []byte { return binary.BigEndian.AppendUint32([]byte{first}, n) }

func packWide(v any) []byte {
	switch v := v.(type) {
	case int:
		return binary.BigEndian.AppendUint64([]byte{0xd3}, uint64(v))
	case string:
		return append(claim(0xdb, uint32(len(v))), v...)
	case []byte:
		return append(claim(0xc6, uint32(len(v))), v...)
	case ext:
		return append(append(claim(0xc9, uint32(len(v))), 7), v...)
	case []any:
		return append(claim(0xdd, uint32(len(v))), pack(v...)...)
	case fields:
		return append(claim(0xdf, uint32(len(v)/2)), pack(v...)...)
	}
	panic(fmt.Sprintf("pack %T", v))
}

var header = pack(fields{"LastIndex", 340})

// record is one record of a state.
func record(kind byte, value ...any) []byte { return append([]byte{kind}, pack(value...)...) }

// keyRecord is the record of a key, with its fields in Consul's order.
func keyRecord(e Entry) []byte {
	value := any(nil)
	if e.Value != nil {
		value = string(e.Value)
	}
	return record(kindKey, fields{
		"CreateIndex", int(e.CreateIndex), "Flags", int(e.Flags), "Key", e.Key, "LockIndex", int(e.LockIndex),
		"ModifyIndex", int(e.ModifyIndex), "Session", e.Session, "Value", value,
	})
}

// goodEntries are keys with all that a key may have.
func goodEntries() []Entry {
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	return []Entry{
		{Key: "cairn/a", Value: []byte("a"), CreateIndex: 1, ModifyIndex: 1},
		{Key: "cairn/all", Value: every, Flags: 1<<63 - 1, LockIndex: 3, CreateIndex: 200, ModifyIndex: 70_000, Session: "5d5b1b3c-9f4f-4d1e-8e0a-0123456789ab"},
		{Key: "cairn/empty", CreateIndex: 1 << 33, ModifyIndex: 1 << 34},
		{Key: "cairn/large", Value: bytes.Repeat([]byte("large "), 12_000), ModifyIndex: 5},
		{Key: string(every), Value: []byte{0}},
	}
}

// goodState has a record of every kind and of every form.
func goodState() []byte {
	session := fields{
		"ID", "5d5b1b3c-9f4f-4d1e-8e0a-0123456789ab", "Checks", []any{"serfHealth"}, "LockDelay", 15_000_000_000, "Behavior", "",
		"Delta", -5, "Far", -500, "Half", 0.5, "On", true, "Off", false, "Nothing", nil,
		"New", typed("string"), "Bytes", []byte{1, 2, 3}, "Time", ext{1, 2, 3}, "Fixed", raw{0xd4, 1, 2}, "Single", raw{0xca, 1, 2, 3, 4},
		"Wide", wide{fields{"a", wide{[]any{wide{"s"}, wide{[]byte{1}}, wide{ext{2}}, wide{5}}}}},
	}
	state := slices.Concat(header, record(32, fields{"Service", fields{}, "IP", "240.0.0.1"}), record(0, fields{"Node", "a"}), record(3, session))
	for _, e := range goodEntries() {
		state = append(state, keyRecord(e)...)
	}
	for kind := range byte(100) {
		if kind != kindKey {
			state = append(state, record(kind, fields{"Kind", int(kind), "List", []any{1, []any{}}})...)
		}
	}
	return state
}

// counter keeps what a Read tells.
type counter struct{ entries []Entry }

func (c *counter) visit(e Entry) error {
	c.entries = append(c.entries, e)
	return nil
}

// read reads what must be sound.
func read(tb testing.TB, snapshot []byte) (Contents, []Entry) {
	tb.Helper()
	var c counter
	found, err := Read(bytes.NewReader(snapshot), c.visit)
	if err != nil {
		tb.Fatal(err)
	}
	return found, c.entries
}

// unpacked takes an archive's gzip away.
func unpacked(snapshot []byte) []byte {
	r, err := gzip.NewReader(bytes.NewReader(snapshot))
	must(err)
	content, err := io.ReadAll(r)
	must(err)
	return content
}

// must is for what the tests do to memory.
func must(err error) {
	if err != nil {
		panic(err)
	}
}
