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
	// Put makes a file of what write writes: when it returns without an error the file is there for good, else it is not there
	// at all. There is no file of that name yet.
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
