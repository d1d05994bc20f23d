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
	"strings"

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
	if err != nil {
		return nil, unreadable(path, err)
	}
	if !info.IsDir() {
		b, err := readFile(path, maxSourceBytes)
		if err != nil {
			return nil, unreadable(path, err)
		}
		return []workflow.File{{Path: filepath.Base(path), Bytes: b}}, nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, unreadable(path, err)
	}
	var files []workflow.File
	left := int64(maxSourceBytes)
	for _, e := range entries {
		name := e.Name()
		if e.IsDir() || !strings.HasSuffix(name, extension) || strings.HasPrefix(name, ".") {
			continue
		}
		b, err := readFile(filepath.Join(path, name), left)
		if err != nil {
			return nil, unreadable(filepath.Join(path, name), err)
		}
		left -= int64(len(b))
		files = append(files, workflow.File{Path: name, Bytes: b})
	}
	if len(files) == 0 {
		return nil, Diagnostics{{SeverityError, "No workflow files", fmt.Sprintf(
			"The folder %s holds no *%s file. Name a folder that does, or a file.", path, extension), workflow.Range{}}}
	}
	return files, nil
}

func readFile(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
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
