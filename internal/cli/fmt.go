// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/cairnflow/cairn/hcl"
)

func fmtCommand(a *App) *command {
	var check bool
	return &command{
		synopsis:  "Bring workflow files into the usual layout",
		arguments: "[FILE …]",
		max:       -1,
		about: `Rewrites workflow files in the usual layout: indentation, spaces, aligned equals signs. FILE is a
file, a folder (with everything below it), or "-" for standard input; without one it is the current
folder. Prints the names of the files that were changed. What a file means never changes.

Exit codes: 0 done, 1 with -check when a file is not in the usual layout, 2 a file cannot be read or written.`,
		examples: []string{"cairn fmt", "cairn fmt -check workflows", "cairn fmt - < nightly.hcl"},
		options: []option{
			switchOption(&check, "check", "Change nothing; print the names of the files that would be changed, and exit with 1 if there are any."),
		},
		predict: predictWorkflow,
		run: func(args []string) int {
			if len(args) == 0 {
				args = []string{"."}
			}
			code := exitOK
			for _, path := range args {
				if path == "-" {
					code = max(code, a.formatStdin(check))
					continue
				}
				code = max(code, a.formatPath(path, check))
			}
			return code
		},
	}
}

// maxSource bounds one file: far beyond what a person writes, and nothing that stops the machine.
const maxSource = 64 << 20

func (a *App) formatStdin(check bool) int {
	in, err := io.ReadAll(io.LimitReader(a.Stdin, maxSource+1))
	switch {
	case err != nil:
		a.errorf("Standard input cannot be read: %s", err)
		return exitUsage
	case len(in) > maxSource:
		a.errorf("Standard input is larger than %d MiB.", maxSource>>20)
		return exitUsage
	}
	out := hcl.Format(in)
	if check {
		if !bytes.Equal(in, out) {
			a.print("<stdin>\n")
			return exitFailed
		}
		return exitOK
	}
	a.print(string(out))
	return exitOK
}

// formatPath formats a file, or every *.hcl file below a folder; hidden folders are left alone.
func (a *App) formatPath(path string, check bool) int {
	code := exitOK
	err := filepath.WalkDir(path, func(name string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir() && name != path && strings.HasPrefix(e.Name(), "."):
			return fs.SkipDir
		case e.IsDir(), name != path && !strings.HasSuffix(name, ".hcl"):
			return nil
		}
		changed, err := formatFile(name, check)
		if err != nil {
			return err
		}
		if changed {
			a.print(name + "\n")
			if check {
				code = exitFailed
			}
		}
		return nil
	})
	if err != nil {
		var at *fs.PathError
		if errors.As(err, &at) {
			err = fmt.Errorf("%s: %w", at.Path, at.Err)
		}
		a.errorf("%s", err)
		return exitUsage
	}
	return code
}

func formatFile(path string, check bool) (changed bool, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return false, err
	}
	if info.Size() > maxSource {
		return false, fmt.Errorf("%s is larger than %d MiB", path, maxSource>>20)
	}
	in, err := os.ReadFile(path)
	if err != nil {
		return false, err
	}
	out := hcl.Format(in)
	if bytes.Equal(in, out) {
		return false, nil
	}
	if check {
		return true, nil
	}
	// Written aside and moved into place: a full disk must not cost the file.
	f, err := os.CreateTemp(filepath.Dir(path), ".cairn-fmt-*")
	if err != nil {
		return false, err
	}
	_, err = f.Write(out)
	err = errors.Join(err, f.Chmod(info.Mode().Perm()), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return false, errors.Join(err, os.Remove(f.Name()))
	}
	return true, nil
}
