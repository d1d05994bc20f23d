// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package hcl

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
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

// Load reads a workflow: one file, or every *.hcl file of a folder (not those of its subfolders), sorted by name. Paths are
// relative to the folder.
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
	b, err := readFile(path, maxSourceBytes)
	if err != nil {
		return nil, unreadable(path, err)
	}
	return []workflow.File{{Path: filepath.Base(path), Bytes: b}}, nil
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
		if !strings.HasSuffix(name, extension) || strings.HasPrefix(name, ".") {
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
			b, err = readFile(whole, left)
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
	return files, nil
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

func readFile(path string, limit int64) ([]byte, error) {
	// A pipe whose writer has left would be waited for without O_NONBLOCK.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("the files of a workflow are larger than %d MiB together", maxSourceBytes>>20)
	}
	return b, nil
}

func unreadable(path string, err error) Diagnostics {
	reason := err.Error()
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		reason = pathErr.Err.Error()
	}
	return Diagnostics{{SeverityError, "Cannot read the workflow", fmt.Sprintf("%s: %s.", path, reason), workflow.Range{}}}
}

func notAFile(path string, mode fs.FileMode) Diagnostics {
	kind := "a device"
	switch {
	case mode.IsDir():
		kind = "a folder"
	case mode&fs.ModeNamedPipe != 0:
		kind = "a named pipe"
	case mode&fs.ModeSocket != 0:
		kind = "a socket"
	}
	return Diagnostics{{SeverityError, "Not a regular file", fmt.Sprintf(
		"%s is %s. A workflow is read from regular files: rename this one, or name another.", path, kind), workflow.Range{}}}
}
