// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package hcl

import (
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"

	"github.com/cairnflow/cairn/internal/workflow"
)

// bundle is all files of a definition, in memory. Several workflows may live in them: the definition's own, and the
// children that its files name, each with a namespace of its own.
type bundle struct {
	files   map[string]workflow.File
	names   []string           // of the files, sorted
	modules map[string]*module // by their own files
	order   []*module          // as they were found
}

// newBundle collects files and checks what their names must be.
func newBundle(files []workflow.File, f *findings) *bundle {
	b := &bundle{files: make(map[string]workflow.File, len(files)), modules: map[string]*module{}}
	for _, file := range sortedFiles(files) {
		at := hcl.Range{Filename: file.Path, Start: hcl.InitialPos, End: hcl.InitialPos}
		switch _, doubled := b.files[file.Path]; {
		case doubled:
			f.errorf(at, "Duplicate file", "The file %s is given twice.", file.Path)
			continue
		case !fs.ValidPath(file.Path):
			f.errorf(at, "Invalid path", "%s is no path below the workflow's folder, with slashes between its parts.", shorten(file.Path))
			continue
		}
		b.files[file.Path] = file
		b.names = append(b.names, file.Path)
	}
	return b
}

// own are the names of the files that are the definition's own namespace.
func (b *bundle) own() []string {
	return slices.DeleteFunc(slices.Clone(b.names), func(name string) bool { return b.files[name].Named })
}

// module returns what a set of files declares, decoding them the first time.
func (b *bundle) module(own []string, f *findings) *module {
	key := strings.Join(own, "\n")
	if m := b.modules[key]; m != nil {
		return m
	}
	m := &module{bundle: b, own: own, dir: ".", bytes: map[string][]byte{}, locals: map[string]*local{}}
	b.modules[key] = m
	b.order = append(b.order, m)
	files := make([]workflow.File, len(own))
	for i, name := range own {
		files[i] = b.files[name]
	}
	for i, name := range own {
		if i == 0 {
			m.dir = path.Dir(name)
		}
		if path.Dir(name) != m.dir {
			f.errorf(hcl.Range{Filename: name, Start: hcl.InitialPos, End: hcl.InitialPos}, "Another folder", "The files of a workflow stand in one folder, and %s is not in that of %s.", name, own[0])
		}
	}
	m.marks = m.mentionsSensitive()
	m.funcs = newFunctionSets(b, m.dir)
	before := len(f.list)
	m.sources, m.bytes = parse(files, f)
	if m.broken = f.list[before:].HasErrors(); !m.broken {
		m.decode(f)
	}
	return m
}

// entry finds the files of a workflow that source names: one file, or those of a folder.
func (b *bundle) entry(at string) []string {
	if _, ok := b.files[at]; ok {
		return []string{at}
	}
	return slices.DeleteFunc(slices.Clone(b.names), func(name string) bool {
		return path.Dir(name) != at || !inNamespace(path.Base(name))
	})
}

// inNamespace reports whether a file of a folder is read as part of a workflow. Job files that stand beside it are not.
func inNamespace(name string) bool {
	return strings.HasSuffix(name, extension) && !strings.HasPrefix(name, ".") && !strings.HasSuffix(name, jobExtension)
}

// closure is a set of files and everything they name, marked accordingly: the files of a child's own definition.
func (b *bundle) closure(own []string) []workflow.File {
	g := &gatherer{shelf: b, files: map[string]workflow.File{}, left: maxSourceBytes}
	g.gather(own)
	return g.sorted()
}

// read and folder make a bundle a shelf.
func (b *bundle) read(name string, _ int64) ([]byte, error) {
	if file, ok := b.files[name]; ok {
		return file.Bytes, nil
	}
	return nil, fs.ErrNotExist
}

func (b *bundle) folder(name string) ([]string, bool) {
	own := b.entry(name)
	return own, len(own) > 0
}
