// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cairnflow/cairn/internal/durable"
)

// Target is where backups are kept: a folder, or anything else that keeps files by name.
type Target interface {
	// Put makes a file of what write writes, in the place of one of that name. When it returns without an error it is there for
	// good; else there is what was there before, or nothing at all.
	Put(ctx context.Context, name string, write func(io.Writer) error) error
	// Open reads a file. fs.ErrNotExist: there is none of that name.
	Open(ctx context.Context, name string) (io.ReadCloser, error)
	// Names lists the files, in any order.
	Names(ctx context.Context) ([]string, error)
	// Remove removes a file; one that is not there is no error.
	Remove(ctx context.Context, name string) error
	// String says for people where it is.
	String() string
}

// Folder is a Target on a disk. What it writes is for its owner only: snapshots hold ACL tokens in clear.
type Folder string

var _ Target = Folder("")

// unfinished begins the names of files that are being written.
const unfinished = ".unfinished-"

// leftover is how old something unfinished is when nobody can be at work on it any more.
const leftover = 24 * time.Hour

// String implements Target.
func (f Folder) String() string { return string(f) }

// Put implements Target. The folder is made with its first file.
func (f Folder) Put(ctx context.Context, name string, write func(io.Writer) error) error {
	err := ctx.Err()
	if err == nil {
		err = f.put(name, write)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", filepath.Join(string(f), name), err)
	}
	return nil
}

func (f Folder) put(name string, write func(io.Writer) error) (err error) {
	if err := os.MkdirAll(string(f), 0o700); err != nil {
		return err
	}
	if err := f.tidy(); err != nil {
		return err
	}
	file, err := os.CreateTemp(string(f), unfinished+"*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(file.Name()))
		}
	}()
	err = write(file)
	if err == nil {
		err = file.Sync()
	}
	if err := errors.Join(err, file.Close()); err != nil {
		return err
	}
	final := filepath.Join(string(f), name)
	if err := os.Rename(file.Name(), final); err != nil {
		return err
	}
	if err := durable.SyncFolder(string(f)); err != nil {
		return errors.Join(err, os.Rename(final, file.Name()))
	}
	return nil
}

// tidy removes what writers have left that were killed.
func (f Folder) tidy() error {
	left, err := filepath.Glob(filepath.Join(string(f), unfinished+"*"))
	if err != nil {
		return err
	}
	for _, path := range left {
		info, err := os.Stat(path)
		if err == nil && time.Since(info.ModTime()) > leftover {
			err = os.Remove(path)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// Open implements Target.
func (f Folder) Open(_ context.Context, name string) (io.ReadCloser, error) {
	return os.Open(filepath.Join(string(f), name))
}

// Names implements Target. A folder that is not there is empty.
func (f Folder) Names(context.Context) ([]string, error) {
	entries, err := os.ReadDir(string(f))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if !e.IsDir() && !strings.HasPrefix(e.Name(), unfinished) {
			names = append(names, e.Name())
		}
	}
	return slices.Clip(names), nil
}

// Remove implements Target.
func (f Folder) Remove(_ context.Context, name string) error {
	if err := os.Remove(filepath.Join(string(f), name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// bounded is a target whose operations end with their context, although a disk on the net may hang: nobody can end what hangs in the
// kernel, so that one operation at most does, and until it has come back nothing else is begun.
type bounded struct {
	Target
	busy chan struct{} // full while one is under way
}

func newBounded(t Target) *bounded { return &bounded{t, make(chan struct{}, 1)} }

func (b *bounded) do(ctx context.Context, operation func() error) error {
	select {
	case b.busy <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("%s does not answer: an operation before this one has not come back: %w", b.Target, ctx.Err())
	}
	done := make(chan error, 1)
	go func() {
		err := operation()
		<-b.busy
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("%s does not answer: %w", b.Target, ctx.Err())
	}
}

// Put implements Target. After an error write may still be called, or be under way.
func (b *bounded) Put(ctx context.Context, name string, write func(io.Writer) error) error {
	return b.do(ctx, func() error { return b.Target.Put(ctx, name, write) })
}

// Open implements Target. What it opens is read in full, one piece after the other, within the same bounds.
func (b *bounded) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	opened := make(chan io.ReadCloser, 1)
	err := b.do(ctx, func() error {
		f, err := b.Target.Open(ctx, name)
		opened <- f
		return err
	})
	if err != nil {
		return nil, err
	}
	return &boundedFile{ctx, b, <-opened}, nil
}

// Names implements Target.
func (b *bounded) Names(ctx context.Context) ([]string, error) {
	listed := make(chan []string, 1)
	err := b.do(ctx, func() error {
		names, err := b.Target.Names(ctx)
		listed <- names
		return err
	})
	if err != nil {
		return nil, err
	}
	return <-listed, nil
}

// Remove implements Target.
func (b *bounded) Remove(ctx context.Context, name string) error {
	return b.do(ctx, func() error { return b.Target.Remove(ctx, name) })
}

// boundedFile is a file of a bounded target.
type boundedFile struct {
	ctx  context.Context
	of   *bounded
	file io.ReadCloser
}

// readPiece is how much of a file is read at once.
const readPiece = 256 << 10

// Read implements io.Reader. What is read arrives in memory of its own: a read that hangs may come back when p is used for other
// things.
func (f *boundedFile) Read(p []byte) (int, error) {
	type piece struct {
		content []byte
		err     error
	}
	pieces := make(chan piece, 1)
	err := f.of.do(f.ctx, func() error {
		content := make([]byte, min(len(p), readPiece))
		n, err := f.file.Read(content)
		pieces <- piece{content[:n], err}
		return nil
	})
	if err != nil {
		return 0, err
	}
	got := <-pieces
	return copy(p, got.content), got.err
}

// Close implements io.Closer, also when the context has ended.
func (f *boundedFile) Close() error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(f.ctx), tidyWithin)
	defer cancel()
	return f.of.do(ctx, f.file.Close)
}

// tidyWithin is how long it may take to put something away after its context has ended.
const tidyWithin = 5 * time.Second
