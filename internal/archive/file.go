// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package archive

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/durable"
	"github.com/cairnflow/cairn/internal/workflow"
)

// version is that of a file. A reader accepts this one and the one before.
const version = 1

// head is the first line of a file.
type head struct {
	Version    int           `json:"version"`
	LastAt     time.Time     `json:"last_at"`
	Namespaces []string      `json:"namespaces,omitempty"`
	Entry      *api.RunEntry `json:"entry"`
}

// page is one of the lines after it.
type page struct {
	Run       *api.Run       `json:"run,omitempty"`
	Task      string         `json:"task,omitempty"`
	Instances []api.Instance `json:"instances,omitempty"`
}

const (
	// pageSize is how many instances a line holds.
	pageSize = 200
	// maxText bounds a file, unpacked: far above a run of 100,000 instances with outputs, 100 MB.
	maxText = 4 << 30
	// staleAfter is how old a file is that is being written no more.
	staleAfter = time.Hour
)

var errBusy = errors.New("a write before this one has not come back yet")

// Put writes a run, durably, and reads it back. A folder may hang, as one on the net does: Put returns when ctx ends, and until
// what hangs has come back, nothing else is begun.
func (f *Folder) Put(ctx context.Context, run Run) error {
	select {
	case f.busy <- struct{}{}:
	default:
		return fmt.Errorf("archive folder %s: %w", f.path, errBusy)
	}
	done := make(chan error, 1)
	go func() { // nobody can end what hangs in the kernel; there is one at most
		err := f.put(run)
		<-f.busy
		done <- err
	}()
	select {
	case err := <-done:
		if err != nil {
			return fmt.Errorf("archive folder %s: %w", f.path, err)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("archive folder %s does not answer: %w", f.path, ctx.Err())
	}
}

func (f *Folder) put(run Run) error {
	doc := run.Document
	id, err := workflow.ParseRunID(doc.ID)
	if err != nil {
		return err
	}
	n := name{run: id, changed: max(run.LastAt.UnixNano(), 0)}
	if id.Time().Year() > 9999 {
		return fmt.Errorf("run %s: its ID is of no day that there is a folder for", id)
	}
	if err := f.makeFolders(n.day()); err != nil {
		return err
	}
	f.clean()
	tmp, err := os.CreateTemp(filepath.Join(f.path, tmpName), string(id)+"-*")
	if err != nil {
		return err
	}
	written, err := writeFile(tmp, run)
	if err = errors.Join(err, tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), f.pathOf(n))
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	if err := durable.SyncFolder(filepath.Dir(f.pathOf(n))); err != nil {
		return err
	}
	return f.readBack(n, written)
}

// makeFolders makes the folders of a day, durably.
func (f *Folder) makeFolders(day string) error {
	made := false
	for _, path := range []string{f.path, filepath.Join(f.path, tmpName), filepath.Join(f.path, day)} {
		switch _, err := os.Stat(path); {
		case err == nil:
			continue
		case !errors.Is(err, os.ErrNotExist):
			return err
		}
		if err := os.MkdirAll(path, 0o700); err != nil {
			return err
		}
		made = true
	}
	if !made {
		return nil
	}
	return errors.Join(durable.SyncFolder(f.path), durable.SyncFolder(filepath.Dir(f.path)))
}

// clean removes what a crash has left half-written.
func (f *Folder) clean() {
	entries, err := os.ReadDir(filepath.Join(f.path, tmpName))
	if err != nil {
		f.log.Debug("files that were given up cannot be listed", "error", err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err != nil || time.Since(info.ModTime()) < staleAfter {
			continue // or somebody else has removed it
		}
		if err := os.Remove(filepath.Join(f.path, tmpName, e.Name())); err != nil {
			f.log.Debug("a file that was given up stays", "file", e.Name(), "error", err)
		}
	}
}

// writeFile writes a run to a new file, down to the disk, and returns the checksum of its text.
func writeFile(file *os.File, run Run) (sum []byte, err error) {
	buffered := bufio.NewWriter(file)
	packed := gzip.NewWriter(buffered)
	text := sha256.New()
	if err := encode(io.MultiWriter(packed, text), packed.Flush, run); err != nil {
		return nil, err
	}
	for _, end := range []func() error{packed.Close, buffered.Flush, file.Sync} {
		if err := end(); err != nil {
			return nil, err
		}
	}
	return text.Sum(nil), nil
}

// encode writes the lines of a run. flush ends what a list reads.
func encode(w io.Writer, flush func() error, run Run) error {
	doc := *run.Document
	doc.Archived = false // that is for whoever reads it
	lines := json.NewEncoder(w)
	if err := lines.Encode(head{Version: version, LastAt: run.LastAt, Namespaces: run.Namespaces, Entry: entryOf(&doc)}); err != nil {
		return err
	}
	if err := flush(); err != nil {
		return err
	}
	if err := lines.Encode(page{Run: &doc}); err != nil {
		return err
	}
	for _, t := range doc.Tasks {
		for chunk := range slices.Chunk(run.Instances[t.Name], pageSize) {
			if err := lines.Encode(page{Task: t.Name, Instances: chunk}); err != nil {
				return err
			}
		}
	}
	return nil
}

func entryOf(doc *api.Run) *api.RunEntry {
	e := &api.RunEntry{
		ID: doc.ID, Workflow: doc.Workflow, Namespace: doc.Namespace, Status: doc.Status, Reason: doc.Reason,
		CreatedAt: doc.CreatedAt, StartedAt: doc.StartedAt, EndedAt: doc.EndedAt, Labels: doc.Labels,
	}
	if doc.Parent != nil {
		e.Parent = doc.Parent.Run
	}
	return e
}

// readBack compares a file with what was written.
func (f *Folder) readBack(n name, written []byte) error {
	read := sha256.New()
	if _, err := f.open(n, func(text io.Reader) error {
		_, err := io.Copy(read, text)
		return err
	}); err != nil {
		return fmt.Errorf("read back what was written: %w", err)
	}
	return same(f.pathOf(n), written, read)
}

func same(path string, written []byte, read hash.Hash) error {
	if !bytes.Equal(written, read.Sum(nil)) {
		return fmt.Errorf("read back what was written: %s holds something else", path)
	}
	return nil
}

// open opens a file for what reads its text, whole or in part.
func (f *Folder) open(n name, use func(text io.Reader) error) (path string, err error) {
	path = f.pathOf(n)
	file, err := os.Open(path)
	if err != nil {
		return path, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	packed, err := gzip.NewReader(bufio.NewReader(file))
	if err != nil {
		return path, err
	}
	return path, use(io.LimitReader(packed, maxText))
}

// head reads the first line of a file.
func (f *Folder) head(n name) (h head, err error) {
	_, err = f.open(n, func(text io.Reader) error {
		if err := json.NewDecoder(text).Decode(&h); err != nil {
			return cut(err)
		}
		return h.check(n)
	})
	return h, err
}

// check refuses what is no head of the file of that name.
func (h *head) check(n name) error {
	switch {
	case h.Version > version || h.Version < 1:
		return fmt.Errorf("it has version %d, this Cairn reads %d: a newer one has written it, or it is none of ours", h.Version, version)
	case h.Entry == nil || h.Entry.ID != string(n.run):
		return errors.New("it is not of the run that its name says")
	}
	return nil
}

// cut says of a file that ends too early that it does.
func cut(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("it ends too early")
	}
	return err
}

// read reads all lines of a file, to its checksum.
func (f *Folder) read(n name, each func(*page)) (h head, err error) {
	path, err := f.open(n, func(text io.Reader) error {
		lines := json.NewDecoder(text)
		if err := lines.Decode(&h); err != nil {
			return cut(err)
		}
		if err := h.check(n); err != nil {
			return err
		}
		for {
			var p page
			err := lines.Decode(&p)
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return cut(err)
			}
			each(&p)
		}
	})
	if err != nil {
		return h, fmt.Errorf("archived run %s: %s: %w", n.run, path, err)
	}
	return h, nil
}
