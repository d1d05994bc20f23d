// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package backup

import (
	"archive/tar"
	"archive/zip"
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

func TestASnapshotIsReadWhole(t *testing.T) {
	state := goodState()
	found, entries := read(t, snapshotOf(state))
	if diff := cmp.Diff(goodEntries(), entries); diff != "" {
		t.Errorf("keys: %s", diff)
	}
	records := map[string]int{"key": 5}
	for kind := range byte(100) {
		if kind != kindKey {
			records[nameOf(kind)]++
		}
	}
	for _, kind := range []byte{0, 3, 32} {
		records[nameOf(kind)]++
	}
	bytes := int64(0)
	for _, e := range goodEntries() {
		bytes += int64(len(e.Key) + len(e.Value))
	}
	want := Contents{
		ID: "2-345-1700000000000", RaftVersion: 1, Index: 345, Term: 2, LastIndex: 340, Size: int64(len(state)),
		Records: records, Keys: 5, KeyBytes: bytes,
	}
	if diff := cmp.Diff(want, found); diff != "" {
		t.Error(diff)
	}
	if unvisited, err := Read(oneByOne(snapshotOf(state)), nil); err != nil || !reflect.DeepEqual(unvisited, want) {
		t.Errorf("without a visitor, and byte by byte: %+v, %v", unvisited, err)
	}
}

func oneByOne(b []byte) io.Reader { return iotest.OneByteReader(bytes.NewReader(b)) }

func TestASnapshotWithoutRecordsIsSound(t *testing.T) {
	found, entries := read(t, snapshotOf(header))
	want := Contents{
		ID: "2-345-1700000000000", RaftVersion: 1, Index: 345, Term: 2, LastIndex: 340, Size: int64(len(header)), Records: map[string]int{},
	}
	if diff := cmp.Diff(want, found); diff != "" || entries != nil {
		t.Errorf("keys %v; %s", entries, diff)
	}
}

func TestTenThousandKeysComeInTheirOrder(t *testing.T) {
	state := slices.Clone(header)
	var want []Entry
	for i := range 10_000 {
		e := Entry{Key: fmt.Sprintf("cairn/%05d", i), Value: bytes.Repeat([]byte{byte(i)}, i%300), CreateIndex: uint64(i), ModifyIndex: uint64(i * i)}
		if len(e.Value) == 0 {
			e.Value = nil
		}
		want = append(want, e)
		state = append(state, keyRecord(e)...)
	}
	found, entries := read(t, snapshotOf(state))
	if !reflect.DeepEqual(entries, want) || found.Keys != 10_000 {
		t.Errorf("%d keys, %d of them visited, and they are not the same", found.Keys, len(entries))
	}
}

func TestTheFormsOfAValueAreTheSame(t *testing.T) {
	want := []Entry{{Key: "k", Value: []byte("v"), Flags: 7}}
	for name, key := range map[string]fields{
		"as Consul writes it":          {"Key", "k", "Value", "v", "Flags", 7},
		"with bytes of their own form": {typed("Key"), typed("k"), "Value", []byte("v"), "Flags", 7},
		"in the longest forms":         {wide{"Key"}, wide{"k"}, "Value", wide{[]byte("v")}, "Flags", wide{7}},
		"in another order, with nil":   {"Session", nil, "Flags", 7, "Value", "v", "Key", "k"},
		"with what is not known":       {"Key", "k", "New", fields{"a", []any{1}}, "Value", "v", "Flags", 7},
		"of the default namespace":     {"Key", "k", "Value", "v", "Flags", 7, "Namespace", "default", "Partition", ""},
		"with a long map":              {"Key", "k", "Value", "v", "Flags", 7, "a", 1, "b", 1, "c", 1, "d", 1, "e", 1, "f", 1, "g", 1, "h", 1, "i", 1, "j", 1, "k", 1, "l", 1, "m", 1},
	} {
		for _, value := range []any{key, wide{key}} {
			_, entries := read(t, snapshotOf(slices.Concat(header, record(kindKey, value))))
			if diff := cmp.Diff(want, entries); diff != "" {
				t.Errorf("%s: %s", name, diff)
			}
		}
	}
}

// A key of another namespace may have the name of ours.
func TestKeysOfOtherNamespacesAreNotVisited(t *testing.T) {
	found, entries := read(t, snapshotOf(slices.Concat(header,
		record(kindKey, fields{"Key", "cairn/x", "Namespace", "team"}),
		record(kindKey, fields{"Partition", "other", "Key", "cairn/x"}),
		record(kindKey, fields{"Key", "cairn/x", "Namespace", "default"}),
		record(200, fields{"Name", "team"}),
	)))
	if len(entries) != 1 || found.Keys != 1 || found.Records["key"] != 3 || found.Records["kind 200"] != 1 {
		t.Errorf("visited %v, found %+v", entries, found)
	}
}

// What Consul accepts although it does not write it so.
func TestTheFormsOfAnArchiveAreTheSame(t *testing.T) {
	state := goodState()
	files := filesOf(state)
	want, _ := read(t, snapshotOf(state))
	packed := tarOf(files...)
	upper := bytes.ToUpper(files[2].content[:64])
	for name, snapshot := range map[string][]byte{
		"the state first":                gzipOf(tarOf(files[1], files[0], files[2])),
		"the sums first":                 gzipOf(tarOf(files[2], files[1], files[0])),
		"the sums in another order":      gzipOf(tarOf(files[0], files[1], file{name: sumsName, content: sumsOf(files[1], files[0])})),
		"a sum in capitals":              gzipOf(tarOf(files[0], files[1], file{name: sumsName, content: slices.Concat(upper, files[2].content[64:])})),
		"the sums without a last line":   gzipOf(tarOf(files[0], files[1], file{name: sumsName, content: bytes.TrimSpace(files[2].content)})),
		"in two members of gzip":         gzipOf(packed[:700], packed[700:]),
		"with an empty member of gzip":   gzipOf(packed, nil),
		"without the end of the archive": gzipOf(packed[:len(packed)-1024]),
		"with long headers":              gzipOf(tarOf(files[0], file{name: stateName, content: state, header: comment(100)}, files[2])),
	} {
		found, entries := read(t, snapshot)
		if !reflect.DeepEqual(found, want) || !reflect.DeepEqual(entries, goodEntries()) {
			t.Errorf("%s: found %+v and %d keys", name, found, len(entries))
		}
	}
}

// comment gives a file's header a comment of so many bytes, in parts.
func comment(size int) func(*tar.Header) {
	return func(h *tar.Header) {
		h.PAXRecords = map[string]string{}
		for i := range size / 10 {
			h.PAXRecords[fmt.Sprintf("C.%05d", i)] = "c"
		}
	}
}

// refusalBytes bounds what is allocated on the way to a refusal, in all.
const refusalBytes = 8 << 20

// damaged is an archive that is not sound.
type damaged struct {
	name     string
	snapshot io.Reader
	reason   string // what the refusal says among other things; empty: any reason will do
	harmless bool   // the damage may be where it changes nothing
}

func TestTwoHundredDamagedArchivesAreRefused(t *testing.T) {
	good := snapshotOf(goodState())
	want, _ := read(t, good)
	refused := 0
	for _, group := range [][]damaged{cuts(), flips(), wrongFiles(), wrongSums(), strangers(), wrongStates(), bombs()} {
		for _, d := range group {
			var c counter
			found, allocated, err := measured(func() (Contents, error) { return Read(d.snapshot, c.visit) })
			switch {
			case err == nil && d.harmless && reflect.DeepEqual(found, want) && reflect.DeepEqual(c.entries, goodEntries()):
				continue
			case err == nil:
				t.Errorf("%s: it is accepted, as %+v", d.name, found)
				continue
			case !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), d.reason) || !saysWhere(err):
				t.Errorf("%s: refused with %q, want a reason that says %q", d.name, err, d.reason)
			case found.Records != nil:
				t.Errorf("%s: refused, and it gives %+v", d.name, found)
			}
			if allocated > refusalBytes {
				t.Errorf("%s: the refusal took %d bytes of memory", d.name, allocated)
			}
			refused++
		}
	}
	t.Logf("%d refused", refused)
	if refused < 200 {
		t.Errorf("%d were refused, want 200 or more", refused)
	}
}

// measured also returns how much a Read allocates.
func measured(read func() (Contents, error)) (found Contents, allocated uint64, err error) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	found, err = read()
	runtime.ReadMemStats(&after)
	return found, after.TotalAlloc - before.TotalAlloc, err
}

// saysWhere reports whether a refusal names the part of the archive that is wrong.
func saysWhere(err error) bool {
	place := strings.TrimPrefix(err.Error(), ErrDamaged.Error()+": ")
	for _, name := range []string{"the archive: ", metaName, stateName, sumsName} {
		if strings.HasPrefix(place, name) && len(place) > len(name)+10 {
			return true
		}
	}
	return false
}

// cuts cut the good archive off: as it is, and inside of its gzip.
func cuts() (out []damaged) {
	good := snapshotOf(goodState())
	cut := func(what string, size int, snapshot []byte) {
		out = append(out, damaged{name: fmt.Sprintf("%s cut to %d bytes", what, size), snapshot: bytes.NewReader(snapshot), reason: "it ends too early"})
	}
	sizes := []int{0, 1, 2, 3, 9, 10, 11, len(good) - 9, len(good) - 8, len(good) - 7, len(good) - 4, len(good) - 1}
	for i := range 40 {
		sizes = append(sizes, len(good)*(i+1)/42)
	}
	for _, size := range sizes {
		cut("archive", size, good[:size])
	}
	packed := tarOf(filesOf(goodState())...)
	state := 3*512 + len(goodState()) // where state.bin ends
	sums := (state+511)/512*512 + 512 // where SHA256SUMS begins
	sizes = []int{1, 100, 511, 512, 513, 550, 600, 1025, 1400, 1537, 1560, state - 1, state - 100, sums - 500, sums - 1, sums, sums + 1, sums + 64, sums + 100, sums + 140}
	for i := range 20 {
		sizes = append(sizes, 1536+len(goodState())*(i+1)/22)
	}
	for _, size := range sizes {
		cut("tar file", size, gzipOf(packed[:size]))
	}
	return out
}

// flips turn one bit over.
func flips() (out []damaged) {
	flip := func(what string, content []byte, at int, snapshot func([]byte) []byte, harmless bool) {
		flipped := slices.Clone(content)
		flipped[at] ^= 1 << (at % 8)
		name := fmt.Sprintf("%s with byte %d flipped", what, at)
		out = append(out, damaged{name: name, snapshot: bytes.NewReader(snapshot(flipped)), harmless: harmless})
	}
	good := snapshotOf(goodState())
	for i := range 60 {
		flip("archive", good, i*len(good)/60, slices.Clone, true)
	}
	for at := range 12 {
		flip("archive", good, at, slices.Clone, true)
		flip("archive", good, len(good)-1-at, slices.Clone, true)
	}
	packed := tarOf(filesOf(goodState())...)
	for i := range 20 {
		flip("tar file", packed, i*25, func(b []byte) []byte { return gzipOf(b) }, true)
	}
	files := filesOf(goodState())
	for i, f := range files {
		for n := range 40 {
			flip(f.name, f.content, n*len(f.content)/40, func(b []byte) []byte {
				changed := slices.Clone(files)
				changed[i].content = b
				return gzipOf(tarOf(changed...))
			}, f.name == sumsName) // a digit may become a capital
		}
	}
	return out
}

// wrongFiles have other files than a snapshot has.
func wrongFiles() (out []damaged) {
	state := goodState()
	files := filesOf(state)
	wrong := func(name, reason string, files ...file) {
		out = append(out, damaged{name: name, snapshot: bytes.NewReader(gzipOf(tarOf(files...))), reason: reason})
	}
	wrong("no file", "meta.json is missing")
	for i, f := range files {
		rest := slices.Delete(slices.Clone(files), i, i+1)
		wrong(f.name+" missing", f.name+" is missing", rest...)
		wrong(f.name+" twice", "it is there twice", append(slices.Clone(files), f)...)
		wrong(f.name+" twice, at once", "it is there twice", slices.Insert(slices.Clone(files), i, f)...)
		wrong(f.name+" in a folder", "no such file", append(rest, file{name: "x/" + f.name, content: f.content})...)
		for _, kind := range []byte{tar.TypeLink, tar.TypeSymlink, tar.TypeDir, tar.TypeFifo, tar.TypeChar} {
			special := file{name: f.name, header: func(h *tar.Header) { h.Typeflag, h.Size, h.Linkname = kind, 0, "/etc/passwd" }}
			wrong(fmt.Sprintf("%s of type %c", f.name, kind), "it is no plain file", append(rest, special)...)
		}
	}
	wrong("a file more", `"README": a snapshot has no such file`, append(files, file{name: "README"})...)
	wrong("a file of a long name", "no such file", file{name: strings.Repeat("long/", 10_000) + "name"})
	wrong("a global header", "no such file", append(files, file{name: "g", header: func(h *tar.Header) {
		*h = tar.Header{Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"comment": "x"}}
	}})...)
	withMeta := func(name, reason, text string) {
		changed := []file{{name: metaName, content: []byte(text)}, files[1]}
		wrong("meta.json "+name, reason, append(changed, file{name: sumsName, content: sumsOf(changed...)})...)
	}
	withMeta("empty", "meta.json: unexpected end of JSON", "")
	withMeta("of nothing", "meta.json says 0", "{}")
	withMeta("null", "meta.json says 0", "null")
	withMeta("a list", "meta.json: json: cannot unmarshal", "[]")
	withMeta("with something more", "meta.json: invalid character", string(files[0].content)+"x")
	withMeta("deep", "exceeded max depth", strings.Repeat("[", 100_000))
	withMeta("with a number that is none", "meta.json: ", `{"Index":-1}`)
	withMeta("with a huge number", "meta.json: ", `{"Index":1`+strings.Repeat("0", 100_000)+`}`)
	withMeta("of a new version", "of version 2", `{"Version":2}`)
	withMeta("of another size", fmt.Sprintf("state.bin has %d bytes, and meta.json says %d", len(state), len(state)+1), string(metaOf(len(state)+1)))
	withMeta("of no size", "meta.json says -1", string(metaOf(-1)))
	withMeta("large", "it has 262145 bytes, more than 262144", strings.Repeat(" ", maxMeta+1))
	late := file{name: metaName, content: metaOf(len(state) - 1)}
	wrong("meta.json of another size, and late", "meta.json: state.bin has", files[1], late, file{name: sumsName, content: sumsOf(late, files[1])})
	return out
}

// wrongSums have another list of sums.
func wrongSums() (out []damaged) {
	files := filesOf(goodState())
	sums := string(files[2].content)
	metaLine, stateLine, _ := strings.Cut(sums, "\n")
	swapped := strings.NewReplacer(metaName, stateName, stateName, metaName).Replace(sums)
	for _, list := range []struct{ name, text, reason string }{
		{"none", "", "it does not name both"},
		{"of the state only", stateLine, "it does not name both"},
		{"of the metadata only, twice", metaLine + "\n" + metaLine, "it does not name both"},
		{"swapped", swapped, "state.bin: it has the sum"},
		{"of another file too", sums + metaLine[:66] + "SHA256SUMS\n", "line 3 names neither"},
		{"with an empty line", sums + "\n", "line 3 names neither"},
		{"cut short", metaLine[1:] + "\n" + stateLine, "meta.json: it has the sum"},
		{"of zeros", strings.Repeat("0", 64) + "  meta.json\n" + stateLine, "meta.json: it has the sum"},
		{"of one space", strings.Replace(sums, "  ", " ", 1), "line 1 names neither"},
		{"of a path", strings.Replace(sums, "  ", "  ./", 1), "line 1 names neither"},
		{"with carriage returns", strings.ReplaceAll(sums, "\n", "\r\n"), "line 1 names neither"},
		{"right and wrong", sums + strings.Repeat("0", 64) + "  state.bin\n", "state.bin: it has the sum"},
		{"long", strings.Repeat(sums, 100), "SHA256SUMS\": it has"},
	} {
		out = append(out, damaged{
			name: "sums " + list.name, reason: list.reason,
			snapshot: bytes.NewReader(gzipOf(tarOf(files[0], files[1], file{name: sumsName, content: []byte(list.text)}))),
		})
	}
	return out
}

// strangers are files of another kind.
func strangers() (out []damaged) {
	good := snapshotOf(goodState())
	packed := unpacked(good)
	var zipped bytes.Buffer
	z := zip.NewWriter(&zipped)
	inside, err := z.Create(stateName)
	must(err)
	_, err = inside.Write(goodState())
	must(err)
	must(z.Close())
	text := []byte("A text of more than some words, which is nothing that was ever packed.\n")
	for _, s := range []struct {
		name, reason string
		content      []byte
	}{
		{"a text", "the archive: gzip: invalid header", text},
		{"zeros", "the archive: gzip: invalid header", make([]byte, 100_000)},
		{"a zip file", "the archive: gzip: invalid header", zipped.Bytes()},
		{"a tar file", "the archive: gzip: invalid header", packed},
		{"a state", "the archive: gzip: invalid header", goodState()},
		{"a compressed text", "the archive: header of file 1: ", gzipOf(text)},
		{"a compressed long text", "the archive: header of file 1: ", gzipOf(bytes.Repeat(text, 100))},
		{"a compressed nothing", "the archive: meta.json is missing", gzipOf(nil)},
		{"a compressed state", "the archive: header of file 1: ", gzipOf(goodState())},
		{"a compressed snapshot", "the archive: header of file 1: ", gzipOf(good)},
		{"a snapshot before a text", "the archive: behind its last file: gzip: invalid header", slices.Concat(good, text)},
		{"a snapshot before a zero", "the archive: behind its last file: ", slices.Concat(good, []byte{0})},
		{"a snapshot twice", "the archive: behind its last file: there is something more", slices.Concat(good, good)},
		{"a tar file before a text", "the archive: behind its last file: there is something more", gzipOf(packed, text)},
		{"a tar file before zeros", "the archive: behind its last file: there is something more", gzipOf(slices.Concat(packed, make([]byte, 512)))},
		{"an archive of Consul's names, closed before its files", "the archive: behind its last file", gzipOf(slices.Concat(make([]byte, 1024), packed))},
		{"a snapshot of Nomad", "state.bin: header, at byte 0: it has no LastIndex: something else than Consul has written it", snapshotOf(pack(fields{}, 0, fields{"ID", "node"}))},
	} {
		out = append(out, damaged{name: s.name, reason: s.reason, snapshot: bytes.NewReader(s.content)})
	}
	return out
}

// wrongStates have right sums and a state that is none.
func wrongStates() (out []damaged) {
	key := func(values ...any) []byte { return slices.Concat(header, record(kindKey, fields(values))) }
	for _, s := range []struct {
		name, reason string
		state        []byte
	}{
		{"empty", "header, at byte 0: it ends too early", nil},
		{"a text", "header, at byte 0: it is a number, not a map", []byte("text")},
		{"with a header that is nil", "it is nil, not a map", pack(nil)},
		{"with an index that is text", `field "LastIndex": it is a string, not a number`, pack(fields{"LastIndex", "1"})},
		{"with a negative index", `field "LastIndex": it is a number or truth value that is no count`, pack(fields{"LastIndex", -1})},
		{"with a large negative index", `field "LastIndex": it is a number or truth value that is no count`, pack(fields{"LastIndex", -1 << 40})},
		{"with a name that is a number", "the name of a field: it is a number, not a string", pack(fields{1, 1})},
		{"with a kind and no record", "record 1 (session) from byte 14 on, at byte 15: it ends too early", append(slices.Clone(header), 3)},
		{"with a kind and no key", "record 1 (key) from byte 14 on, at byte 15: it ends too early", append(slices.Clone(header), kindKey)},
		{"with a byte that begins no value", "record 1 (session) from byte 14 on, at byte 15: no value begins with the byte 0xc1", slices.Concat(header, []byte{3, 0xc1})},
		{"with one deep inside", "record 1 (kind 250) from byte 14 on, at byte 18: no value begins with the byte 0xc1", slices.Concat(header, record(250, []any{[]any{[]any{raw{0xc1}}}}))},
		{"with a key that is a list", "record 1 (key) from byte 14 on, at byte 15: it is an array, not a map", slices.Concat(header, record(kindKey, []any{}))},
		{"with a key that is nil", "it is nil, not a map", slices.Concat(header, record(kindKey, nil))},
		{"with a key without a name", "it is a key without a name", key("Value", "v")},
		{"with a key of an empty name", "it is a key without a name", key("Key", "")},
		{"with a key whose name is nil", "it is a key without a name", key("Key", nil)},
		{"with a name that is a map", `field "Key": it is a map, not a string`, key("Key", fields{})},
		{"with a value that is a number", `field "Value": it is a number, not a string`, key("Key", "k", "Value", 3)},
		{"with a value that is an extension", `field "Value": it is an extension, not a string`, key("Key", "k", "Value", ext{1})},
		{"with flags that are half", `field "Flags": it is a number or truth value`, key("Key", "k", "Flags", 0.5)},
		{"with a session that is a list", `field "Session": it is an array, not a string`, key("Key", "k", "Session", []any{})},
		{"with a namespace that is a number", `field "Namespace": it is a number, not a string`, key("Key", "k", "Namespace", 1)},
		{"with an index that is true", `field "ModifyIndex": it is a number or truth value`, key("Key", "k", "ModifyIndex", true)},
		{"with a long name of a key", `field "Key": it has 65537 bytes, more than 65536`, key("Key", strings.Repeat("k", maxText+1))},
		{"with a long name of a field", "the name of a field: it has 65537 bytes, more than 65536", key(strings.Repeat("k", maxText+1), 1)},
		{"with a byte too many", "record 101 (registration)", append(goodStateOfHundred(), 0)},
	} {
		out = append(out, damaged{name: "state " + s.name, reason: s.reason, snapshot: bytes.NewReader(snapshotOf(s.state))})
	}
	return out
}

func goodStateOfHundred() []byte {
	state := slices.Clone(header)
	for range 100 {
		state = append(state, record(0, fields{})...)
	}
	return state
}

// bombs claim, or are, much more than they look like.
func bombs() (out []damaged) {
	bomb := func(name, reason string, snapshot io.Reader) {
		out = append(out, damaged{name: name, reason: reason, snapshot: snapshot})
	}
	const gib = 1 << 30
	zeros := gzipOf(make([]byte, 16<<20))
	rest := func(first []byte) io.Reader { // first, and 4 GiB of zeros that are never unpacked
		return io.MultiReader(bytes.NewReader(gzipOf(first)), bytes.NewReader(bytes.Repeat(zeros, 256)))
	}
	begun := func(state []byte, size int) []byte { // an archive up to what there is of its state
		return tarOf(file{name: metaName, content: metaOf(size)}, file{name: stateName, content: state, header: sized(size)})
	}
	bomb("4 GiB of zeros", "behind its last file: there is something more", rest(nil))
	bomb("4 GiB of zeros behind a tar file", "behind its last file: there is something more", rest(tarOf(filesOf(goodState())...)))
	bomb("a state of 4 GiB of zeros", "header, at byte 0: it is a number", rest(begun(nil, 4*gib)))
	bomb("a state beyond all bounds", fmt.Sprintf("it has %d bytes, more than %d", maxState+1, maxState), rest(begun(nil, maxState+1)))
	bomb("a state as large as can be", "it has 9223372036854775807 bytes, more than", rest(begun(nil, math.MaxInt64)))
	bomb("metadata of 4 GiB", "it has 4294967296 bytes, more than", rest(tarOf(file{name: metaName, header: sized(4 * gib)})))
	bomb("sums of 4 GiB", "it has 4294967296 bytes, more than", rest(tarOf(file{name: sumsName, header: sized(4 * gib)})))
	bomb("a stranger of 4 GiB", "no such file", rest(tarOf(file{name: "zero", header: sized(4 * gib)})))
	sparse := tarOf(file{name: stateName, header: func(h *tar.Header) {
		h.PAXRecords = map[string]string{"XXX.sparse.major": "1", "XXX.sparse.minor": "0"}
	}})
	bomb("a state with holes", "", bytes.NewReader(gzipOf(bytes.ReplaceAll(sparse, []byte("XXX.sparse"), []byte("GNU.sparse")))))
	holes := tarOf(file{name: stateName, header: func(h *tar.Header) {
		h.PAXRecords = map[string]string{"XXX.sparse.map": "0,0", "XXX.sparse.numblocks": "1", "XXX.sparse.size": "0"}
	}})
	bomb("a state that is a hole", "it is no plain file", bytes.NewReader(gzipOf(bytes.ReplaceAll(holes, []byte("XXX.sparse"), []byte("GNU.sparse")))))
	bomb("headers of some hundred KiB", "unpacks to more than", bytes.NewReader(gzipOf(tarOf(
		file{name: metaName, content: metaOf(0), header: comment(maxRest)}))))

	for _, c := range []struct {
		name  string
		first byte
	}{
		{"a string", 0xdb}, {"a string", 0xc6}, {"an extension", 0xc9}, {"an array", 0xdd}, {"a map", 0xdf},
	} {
		state := slices.Concat(header, []byte{3}, claim(c.first, math.MaxUint32))
		name := fmt.Sprintf("%s by %#x that claims all that can be claimed", c.name, c.first)
		bomb(name, "at byte 15: "+c.name+" claims", bytes.NewReader(snapshotOf(state)))
		bomb(name+" of a state that claims as much", "it ends too early", bytes.NewReader(gzipOf(begun(state, 10*gib))))
	}
	value := func(first byte, n uint32) []byte {
		return slices.Concat(header, []byte{kindKey, 0x82}, pack("Key", "k", "Value"), claim(first, n))
	}
	bomb("a value that claims too much", `field "Value": it has 67108865 bytes, more than`, rest(begun(value(0xdb, maxValue+1), 4*gib)))
	bomb("bytes that claim too much", `field "Value": it has 4294967295 bytes, more than`, rest(begun(value(0xc6, math.MaxUint32), 5*gib)))
	bomb("a value that claims what is allowed and ends", `field "Value": it ends too early`, bytes.NewReader(gzipOf(begun(value(0xdb, maxValue), 4*gib))))
	bomb("a map of a key that claims too much", "it ends too early",
		bytes.NewReader(gzipOf(begun(slices.Concat(header, []byte{kindKey}, claim(0xdf, math.MaxUint32)), 10*gib))))

	deep := bytes.Repeat([]byte{0x91}, 1_000_000)
	maps := bytes.Repeat([]byte{0x81, 0xa0}, 1_000_000)
	for name, state := range map[string][]byte{
		"a million arrays in each other":           slices.Concat(header, []byte{3}, deep),
		"a million arrays in each other, complete": slices.Concat(header, []byte{3}, deep, []byte{0}),
		"a million maps in each other":             slices.Concat(header, []byte{3}, maps, []byte{0}),
		"a million arrays in a key":                slices.Concat(header, []byte{kindKey, 0x81}, pack("new"), deep, []byte{0}),
		"a million arrays in the header":           slices.Concat([]byte{0x81}, pack("new"), deep, []byte{0}),
	} {
		bomb(name, "values stand in values more than 16384 deep", bytes.NewReader(snapshotOf(state)))
	}
	return out
}

// sized makes a file's header claim a size.
func sized(size int) func(*tar.Header) { return func(h *tar.Header) { h.Size = int64(size) } }

// As deep as Consul can be made to write, and then some.
func TestDeepValuesAreRead(t *testing.T) {
	state := slices.Concat(header, []byte{3}, bytes.Repeat([]byte{0x91}, maxDepth), []byte{0}, record(3, []any{[]any{}, 1, fields{"a", []any{2}}}))
	found, _ := read(t, snapshotOf(state))
	if found.Records["session"] != 2 {
		t.Errorf("found %+v", found)
	}
}

// Its memory grows with what comes, and it is not much more than the value.
func TestTheLargestValueIsRead(t *testing.T) {
	want := strings.Repeat("v", maxValue)
	in := io.MultiReader(bytes.NewReader(claim(0xdb, maxValue)), strings.NewReader(want))
	v := values{in: bufio.NewReader(in), size: maxValue + 5}
	var got []byte
	_, allocated, err := measured(func() (_ Contents, err error) {
		got, err = v.bytes(maxValue)
		return Contents{}, err
	})
	if err != nil || string(got) != want || v.offset != v.size {
		t.Errorf("%d bytes up to %d, %v", len(got), v.offset, err)
	}
	if allocated > 5*maxValue/2 {
		t.Errorf("%d MiB were allocated in all", allocated>>20)
	}
}

func TestErrorsOfTheReaderComeThrough(t *testing.T) {
	good := snapshotOf(goodState())
	own := errors.New("the disk has gone")
	for _, cause := range []error{own, io.ErrUnexpectedEOF, fmt.Errorf("wrapped: %w", io.EOF)} {
		for i := range 60 {
			size := i * len(good) / 60
			_, err := Read(io.MultiReader(bytes.NewReader(good[:size]), iotest.ErrReader(cause)), nil)
			if !errors.Is(err, cause) || errors.Is(err, ErrDamaged) {
				t.Errorf("after %d bytes: %v", size, err)
			}
		}
		_, err := Read(io.MultiReader(bytes.NewReader(good), iotest.ErrReader(cause)), nil)
		if !errors.Is(err, cause) || errors.Is(err, ErrDamaged) {
			t.Errorf("at the end: %v", err)
		}
	}
}

func TestErrorsOfTheVisitorComeThrough(t *testing.T) {
	own := errors.New("no more of this")
	seen := 0
	found, err := Read(bytes.NewReader(snapshotOf(goodState())), func(e Entry) error {
		if seen++; seen == 3 {
			return own
		}
		return nil
	})
	if !errors.Is(err, own) || errors.Is(err, ErrDamaged) || seen != 3 || found.Keys != 0 {
		t.Errorf("after %d keys: %+v, %v", seen, found, err)
	}
	if want := "read a snapshot: state.bin: record 6 (key) from byte "; !strings.HasPrefix(fmt.Sprint(err), want) {
		t.Errorf("it says %q, want %q", err, want)
	}
}
