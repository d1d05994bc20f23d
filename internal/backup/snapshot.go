// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package backup

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"
)

// ErrDamaged is wrapped by every refusal of a snapshot: it is damaged, cut off, too large to be one, or something else.
var ErrDamaged = errors.New("no sound snapshot of Consul")

// Contents is what a snapshot tells of itself, and what was found in it.
type Contents struct {
	ID          string // Raft's name for it: term, index and time
	RaftVersion int    // of Raft's form of snapshots
	Index, Term uint64 // of the last entry of Raft's log that is in it

	LastIndex uint64         // the last index of Consul that changed something
	Size      int64          // of state.bin, in bytes
	Records   map[string]int // how many there are of each kind, by its name: "key", "session", …
	Keys      int            // the keys that were visited, or would have been
	KeyBytes  int64          // their names and values together
}

const (
	metaName  = "meta.json"
	stateName = "state.bin"
	sumsName  = "SHA256SUMS"
)

const (
	// maxMeta bounds meta.json, which has about 150 bytes for each server of Consul.
	maxMeta = 256 << 10
	// maxSums bounds SHA256SUMS, which has less than 200 bytes.
	maxSums = 4 << 10
	// maxState bounds state.bin, all of which Consul holds in memory, on each of its servers.
	maxState = 64 << 30
	// maxRest bounds what the archive unpacks to beside state.bin: the two other files, and the headers of all.
	maxRest = 512 << 10
)

// Read reads a snapshot to its end: gzip with its checksum, the files of the archive, both SHA-256 sums, and every record. visit,
// which may be nil, is told of every key, in the order of the snapshot, before the sums are known to be right: what it was told
// counts only if Read returns no error.
//
// A refusal wraps ErrDamaged and says where in the archive the fault is. What r and visit return as errors is no refusal and is
// wrapped by itself. Memory is bounded whatever the snapshot says: by about twice the largest value that it holds, which is at
// most 64 MiB. Time is bounded by the size that meta.json names, of which a hostile archive needs only a thousandth: to end
// a Read, let r fail.
func Read(r io.Reader, visit func(Entry) error) (Contents, error) {
	a := archive{found: Contents{Records: map[string]int{}}, visit: visit, sums: map[string]hash.Hash{}}
	err := a.read(source{r})
	switch {
	case err == nil:
		return a.found, nil
	case errors.As(err, new(foreign)):
		return Contents{}, fmt.Errorf("read a snapshot: %w", err)
	}
	return Contents{}, fmt.Errorf("%w: %w", ErrDamaged, err)
}

// foreign is an error that says nothing of the snapshot.
type foreign struct{ error }

func (f foreign) Unwrap() error { return f.error }

// source tells the errors of a reader from those of what unpacks it.
type source struct{ from io.Reader }

func (s source) Read(p []byte) (int, error) {
	n, err := s.from.Read(p)
	if err != nil && err != io.EOF {
		err = foreign{err}
	}
	return n, err
}

// budget is a reader that gives so many bytes and then refuses.
type budget struct {
	from io.Reader
	left int64
}

func (b *budget) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, fmt.Errorf("it unpacks to more than %d bytes beside %s", maxRest, stateName)
	}
	n, err := b.from.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

// archive is what is known of an archive that is being read.
type archive struct {
	found Contents
	visit func(Entry) error
	sums  map[string]hash.Hash // of every file so far
	size  int64                // of state.bin, as meta.json says
	list  []byte               // SHA256SUMS
}

func (a *archive) read(r io.Reader) error {
	unpacked, err := gzip.NewReader(r)
	if err != nil {
		return fmt.Errorf("the archive: %w", early(err))
	}
	limited := &budget{from: unpacked, left: maxRest}
	files := tar.NewReader(limited)
	for {
		header, err := files.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("the archive: header of file %d: %w", len(a.sums)+1, early(err))
		}
		if err := a.check(header); err != nil {
			return fmt.Errorf("the archive: file %.80q: %w", header.Name, err)
		}
		if header.Name == stateName {
			limited.left += header.Size
		}
		if err := a.file(header, files); err != nil {
			return fmt.Errorf("%s: %w", header.Name, err)
		}
	}
	if err := ends(unpacked); err != nil {
		return fmt.Errorf("the archive: behind its last file: %w", early(err))
	}
	return a.verify()
}

// check refuses a file that a snapshot does not have.
func (a *archive) check(h *tar.Header) error {
	most, known := map[string]int64{metaName: maxMeta, stateName: maxState, sumsName: maxSums}[h.Name]
	plain := h.Typeflag == tar.TypeReg
	for record := range h.PAXRecords {
		plain = plain && !strings.HasPrefix(record, "GNU.sparse.") // zeros that the archive need not hold
	}
	switch {
	case !known:
		return errors.New("a snapshot has no such file")
	case !plain:
		return errors.New("it is no plain file")
	case a.sums[h.Name] != nil:
		return errors.New("it is there twice")
	case h.Size > most:
		return fmt.Errorf("it has %d bytes, more than %d", h.Size, most)
	}
	return nil
}

// file reads one file, to its end.
func (a *archive) file(h *tar.Header, content io.Reader) (err error) {
	sum := sha256.New()
	a.sums[h.Name] = sum
	content = io.TeeReader(content, sum)
	switch h.Name {
	case metaName:
		return a.meta(content)
	case stateName:
		a.found.Size = h.Size
		if err := a.sameSize(); err != nil {
			return err
		}
		s := state{values: values{in: bufio.NewReaderSize(content, 64<<10), size: h.Size}, found: &a.found, visit: a.visit}
		return s.read()
	}
	a.list, err = io.ReadAll(content)
	return early(err)
}

func (a *archive) meta(content io.Reader) error {
	text, err := io.ReadAll(content)
	if err != nil {
		return early(err)
	}
	var m struct {
		Version     int
		ID          string
		Index, Term uint64
		Size        int64
	}
	if err := json.Unmarshal(text, &m); err != nil {
		return fmt.Errorf("%.200s", err) // which may cite a number of any length
	}
	if m.Version < 0 || m.Version > 1 {
		return fmt.Errorf("it is of version %d of Raft's snapshots, and Consul knows 0 and 1", m.Version)
	}
	a.found.RaftVersion, a.found.ID, a.found.Index, a.found.Term, a.size = m.Version, m.ID, m.Index, m.Term, m.Size
	return a.sameSize()
}

// sameSize compares what meta.json says of state.bin with what the archive says, as soon as both are known.
func (a *archive) sameSize() error {
	if a.sums[metaName] != nil && a.sums[stateName] != nil && a.size != a.found.Size {
		return fmt.Errorf("%s has %d bytes, and %s says %d", stateName, a.found.Size, metaName, a.size)
	}
	return nil
}

// verify compares the sums of the files with the list of them.
func (a *archive) verify() error {
	for _, name := range []string{metaName, stateName, sumsName} {
		if a.sums[name] == nil {
			return fmt.Errorf("the archive: %s is missing", name)
		}
	}
	listed := map[string]bool{}
	for line := range strings.Lines(string(a.list)) {
		want, name, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "  ")
		if name != metaName && name != stateName {
			return fmt.Errorf("%s: line %d names neither %s nor %s", sumsName, len(listed)+1, metaName, stateName)
		}
		if got := hex.EncodeToString(a.sums[name].Sum(nil)); !strings.EqualFold(got, want) {
			return fmt.Errorf("%s: it has the sum %s, and %s says %.64q", name, got, sumsName, want)
		}
		listed[name] = true
	}
	if len(listed) != 2 {
		return fmt.Errorf("%s: it does not name both %s and %s", sumsName, metaName, stateName)
	}
	return nil
}

// ends reads the end of a stream, where gzip compares its checksum.
func ends(r io.Reader) error {
	switch _, err := io.ReadFull(r, make([]byte, 1)); err {
	case nil:
		return errors.New("there is something more")
	case io.EOF:
		return nil
	default:
		return err
	}
}

var errEarly = errors.New("it ends too early")

// early says of what ends too early that it does. The errors of a reader are left alone, whatever they wrap.
func early(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return errEarly
	}
	return err
}
