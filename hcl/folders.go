// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package hcl

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cairnflow/cairn/internal/workflow"
)

// Folders finds the workflows below a path, each to be given to Load: a file, or a folder that holds workflow files, is one by
// itself, whatever lies below it. Of a folder without any, all folders below it are looked at, but for hidden ones and links.
func Folders(path string) ([]string, Diagnostics) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, unreadable(path, err)
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	found, diags := foldersBelow(path)
	if !diags.HasErrors() && len(found) == 0 {
		return nil, Diagnostics{{SeverityError, "No workflow files", fmt.Sprintf(
			"Neither the folder %s nor one below it holds a *%s file. Name one that does, or a file.", path, extension), workflow.Range{}}}
	}
	return found, diags
}

func foldersBelow(path string) ([]string, Diagnostics) {
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, unreadable(path, err)
	}
	if slices.ContainsFunc(entries, func(e os.DirEntry) bool { return inNamespace(e.Name()) }) {
		return []string{path}, nil
	}
	var found []string
	var diags Diagnostics
	for _, e := range entries {
		if !e.IsDir() || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		below, more := foldersBelow(filepath.Join(path, e.Name()))
		found, diags = append(found, below...), append(diags, more...)
	}
	return found, diags
}
