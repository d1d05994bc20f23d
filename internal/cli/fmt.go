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
	"syscall"

	"github.com/cairnflow/cairn/hcl"
	"github.com/cairnflow/cairn/internal/workflow"
)

func fmtCommand(a *App) *command {
	var check bool
	return &command{
		synopsis:  "Bring workflow files into the usual layout",
		arguments: "[FILE …]",
		max:       -1,
		about: `Rewrites workflow files in the usual layout: indentation, spaces, aligned equals signs. FILE is a
file, a folder (with everything below it), or "-" for standard input; without one it is the current
folder. Prints the names of the files that were changed. What a file means never changes; a file that is
not valid HCL is left alone.

Exit codes: 0 done, 1 with -check when a file is not in the usual layout, 2 a file is not valid HCL, or
cannot be read or written.`,
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
	file := workflow.File{Path: "<stdin>", Bytes: in}
	out, diags := hcl.Format(file)
	if diags.HasErrors() {
		a.report(source{files: []workflow.File{file}}, diags, false)
		return exitUsage
	}
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

// formatPath formats a file, or every *.hcl file below a folder; what is hidden is left alone.
func (a *App) formatPath(path string, check bool) int {
	info, err := os.Stat(path)
	if err != nil || !info.IsDir() {
		return a.formatFile(path, check)
	}
	root := path + string(filepath.Separator) // a link to a folder is not walked without it
	code := exitOK
	_ = filepath.WalkDir(root, func(name string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			a.errorf("%s cannot be read: %s.", name, reasonOf(err))
			code = exitUsage
			return nil
		case e.IsDir() && name != root && strings.HasPrefix(e.Name(), "."):
			return fs.SkipDir
		case e.IsDir(), !strings.HasSuffix(name, ".hcl"), strings.HasPrefix(e.Name(), "."):
			return nil
		}
		code = max(code, a.formatFile(name, check))
		return nil
	}) // the function has told of every error
	return code
}

// formatFile formats a regular file; one that has errors keeps every byte.
func (a *App) formatFile(path string, check bool) int {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		a.errorf("%s is not a regular file, so it cannot be formatted. Rename it, or name another; \"-\" is standard input.", path)
		return exitUsage
	}
	s, diags := load(path)
	var in, out []byte
	if !diags.HasErrors() {
		in = s.files[0].Bytes
		out, diags = hcl.Format(s.files[0])
	}
	switch {
	case diags.HasErrors():
		a.report(s, diags, false)
		return exitUsage
	case bytes.Equal(in, out):
		return exitOK
	case check:
		a.print(path + "\n")
		return exitFailed
	}
	if err := replaceFile(path, out); err != nil {
		a.errorf("%s is not in the usual layout, but cannot be written: %s.", path, err)
		return exitUsage
	}
	a.print(path + "\n")
	return exitOK
}

// replaceFile writes a file anew, behind links, and keeps its mode and, where the system allows it, its owner.
func replaceFile(path string, content []byte) error {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return reasonOf(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return reasonOf(err)
	}
	if info.Mode().Perm()&0o222 == 0 {
		return fmt.Errorf("its mode %04o lets nobody write it; chmod u+w lets you", info.Mode().Perm())
	}
	// To move a file into place takes rights on the folder only; the file's own count, too.
	old, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return reasonOf(err)
	}
	if err := old.Close(); err != nil {
		return reasonOf(err)
	}
	// Written aside and moved into place: a full disk must not cost the file.
	f, err := os.CreateTemp(filepath.Dir(path), ".cairn-fmt-*")
	if err != nil {
		return fmt.Errorf("its folder takes no new file: %w", reasonOf(err))
	}
	_, err = f.Write(content)
	keepOwner(f, info)
	err = errors.Join(err, f.Chmod(info.Mode()), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(reasonOf(err), os.Remove(f.Name()))
	}
	return nil
}

// keepOwner gives a new file the owner and group of the one it replaces. Only root may give files away; others keep at least
// a group that they are in.
func keepOwner(f *os.File, old fs.FileInfo) {
	if owner, ok := old.Sys().(*syscall.Stat_t); ok && f.Chown(int(owner.Uid), int(owner.Gid)) != nil {
		_ = f.Chown(-1, int(owner.Gid))
	}
}

// reasonOf is what went wrong with a path that is named anyway.
func reasonOf(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}
