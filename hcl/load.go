// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package hcl

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	pathpkg "path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/cairnflow/cairn/internal/workflow"
)

// maxSourceBytes bounds the sources of one definition before they are read into memory: far more than what fits
// workflow.MaxDefinitionBytes after compression.
const maxSourceBytes = 64 << 20

const extension = ".hcl"

// Load reads a workflow: one file, or every *.hcl file of a folder (not those of its subfolders, nor *.nomad.hcl), sorted by
// name; and behind them every file that they name, sorted and marked as such. Paths are relative to the folder.
func Load(path string) ([]workflow.File, Diagnostics) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, unreadable(path, err)
	case info.IsDir():
		return loadFolder(path)
	case !info.Mode().IsRegular() && !isOpen(info):
		return nil, notAFile(path, info.Mode())
	}
	b, err := read(path, maxSourceBytes, maxSourceBytes)
	if err != nil {
		return nil, unreadable(path, err)
	}
	files := []workflow.File{{Path: filepath.Base(path), Bytes: b}}
	if !info.Mode().IsRegular() {
		return files, nil // what is read from a pipe stands in no folder
	}
	return loadNamed(filepath.Dir(path), files, maxSourceBytes-int64(len(b)))
}

// loadNamed adds the files that files name, and those that these name.
func loadNamed(folder string, files []workflow.File, left int64) ([]workflow.File, Diagnostics) {
	if !slices.ContainsFunc(files, func(f workflow.File) bool { return len(mentions(f.Path, f.Bytes, asWorkflow)) > 0 }) {
		return files, nil
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, unreadable(folder, err)
	}
	defer root.Close() //nolint:errcheck // nothing was written
	g := &gatherer{shelf: &disk{root}, files: map[string]workflow.File{}, left: left}
	own := make([]string, len(files))
	for i, f := range files {
		own[i] = f.Path
		g.files[f.Path] = f
	}
	g.gather(own)
	if g.list.HasErrors() {
		return nil, g.findings.sorted()
	}
	named := slices.DeleteFunc(g.sorted(), func(f workflow.File) bool { return !f.Named })
	return append(files, named...), nil
}

// disk is a folder as a shelf. No link leads out of it.
type disk struct{ root *os.Root }

func (d *disk) read(name string, left int64) ([]byte, error) {
	info, err := d.root.Stat(name)
	switch {
	case err != nil:
		return nil, outside(err)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("it is %s and not a regular file", kindOf(info.Mode()))
	}
	f, err := d.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, outside(err)
	}
	defer f.Close() //nolint:errcheck // nothing was written
	return readAll(f, left, maxSourceBytes)
}

// outside says of a link that leads out of the folder what is wrong with it.
func outside(err error) error {
	reason := reasonOf(err)
	if errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if strings.Contains(reason.Error(), "escapes") {
		return errors.New("it is a link that leads out of the workflow's folder. Files are read below it only: put the file there")
	}
	return reason
}

func (d *disk) folder(name string) ([]string, bool) {
	f, err := d.root.Open(name)
	if err != nil {
		return nil, false
	}
	defer f.Close() //nolint:errcheck // nothing was written
	entries, err := f.ReadDir(-1)
	if err != nil {
		return nil, false
	}
	var own []string
	for _, e := range entries {
		if inNamespace(e.Name()) {
			own = append(own, pathpkg.Join(name, e.Name()))
		}
	}
	slices.Sort(own)
	return own, true
}

func loadFolder(path string) ([]workflow.File, Diagnostics) {
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, unreadable(path, err)
	}
	var files []workflow.File
	var diags Diagnostics
	left := int64(maxSourceBytes)
	for _, e := range entries {
		name := e.Name()
		if !inNamespace(name) {
			continue
		}
		whole := filepath.Join(path, name)
		info, err := os.Stat(whole)
		if err == nil && !info.Mode().IsRegular() {
			diags = append(diags, notAFile(whole, info.Mode())...)
			continue
		}
		var b []byte
		if err == nil {
			b, err = read(whole, left, maxSourceBytes)
		}
		if err != nil {
			diags = append(diags, unreadable(whole, err)...)
			continue
		}
		left -= int64(len(b))
		files = append(files, workflow.File{Path: name, Bytes: b})
	}
	switch {
	case diags.HasErrors():
		return nil, diags
	case len(files) == 0:
		return nil, Diagnostics{{SeverityError, "No workflow files", fmt.Sprintf(
			"The folder %s holds no *%s file. Name a folder that does, or a file.", path, extension), workflow.Range{}}}
	}
	return loadNamed(path, files, left)
}

// isOpen reports whether this process was started with the file open, as with /dev/stdin and the shell's <(command).
func isOpen(info fs.FileInfo) bool {
	const descriptors = "/dev/fd"
	entries, err := os.ReadDir(descriptors)
	if err != nil {
		return false // a system without them
	}
	return slices.ContainsFunc(entries, func(e fs.DirEntry) bool {
		open, err := os.Stat(filepath.Join(descriptors, e.Name()))
		return err == nil && os.SameFile(open, info)
	})
}

// ReadFile reads a file of at most limit bytes, for which the caller is not to wait: a pipe only where it is open already.
func ReadFile(path string, limit int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() && !isOpen(info) {
		return nil, fmt.Errorf("%s is %s and not a regular file", path, kindOf(info.Mode()))
	}
	b, err := read(path, limit, limit)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, reasonOf(err))
	}
	return b, nil
}

// read reads at most left bytes, which are what is left of a limit.
func read(path string, left, limit int64) ([]byte, error) {
	// A pipe whose writer has left would be waited for without O_NONBLOCK.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readAll(f, left, limit)
}

// readAll reads what is left of limit, and not more.
func readAll(f io.Reader, left, limit int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(f, left+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > left {
		return nil, fmt.Errorf("more than %d MiB are too many", limit>>20)
	}
	return b, nil
}

// reasonOf leaves the path out of an error about a file.
func reasonOf(err error) error {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		return pathErr.Err
	}
	return err
}

func unreadable(path string, err error) Diagnostics {
	return Diagnostics{{SeverityError, "Cannot read the workflow", fmt.Sprintf("%s: %s.", path, reasonOf(err)), workflow.Range{}}}
}

func kindOf(mode fs.FileMode) string {
	switch {
	case mode.IsDir():
		return "a folder"
	case mode&fs.ModeNamedPipe != 0:
		return "a named pipe"
	case mode&fs.ModeSocket != 0:
		return "a socket"
	}
	return "a device"
}

func notAFile(path string, mode fs.FileMode) Diagnostics {
	return Diagnostics{{SeverityError, "Not a regular file", fmt.Sprintf(
		"%s is %s. A workflow is read from regular files: rename this one, or name another.", path, kindOf(mode)), workflow.Range{}}}
}
