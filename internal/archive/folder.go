// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package archive

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/scheduler"
	"github.com/cairnflow/cairn/internal/workflow"
)

// Run is all that is kept of a run.
type Run struct {
	LastAt     time.Time // of its last change
	Namespaces []string  // of Nomad, that it used: who may not read there may not read it
	Document   *api.Run
	Instances  map[string][]api.Instance // of the tasks that the document only counts
}

// Folder keeps runs in files. It is safe for concurrent use, by several processes too.
type Folder struct {
	path string
	log  hclog.Logger
	busy chan struct{} // full while something is written

	mu     sync.Mutex // guards warned
	warned map[string]bool
}

// NewFolder makes nothing yet: the folder is made with its first run.
func NewFolder(path string, log hclog.Logger) *Folder {
	return &Folder{path: path, log: log.Named("archive"), busy: make(chan struct{}, 1), warned: map[string]bool{}}
}

// Path is where the folder is.
func (f *Folder) Path() string { return f.path }

// name is what the name of a file says.
type name struct {
	run     workflow.RunID
	changed int64 // nanoseconds
}

const (
	dayForm = "2006-01-02"
	tmpName = "tmp"
)

var nameForm = regexp.MustCompile(`^([a-z2-7]{20})-([0-9]{19})\.jsonl\.gz$`)

func (n name) day() string { return n.run.Time().UTC().Format(dayForm) }

func (n name) file() string { return fmt.Sprintf("%s-%019d.jsonl.gz", n.run, n.changed) }

func (f *Folder) pathOf(n name) string { return filepath.Join(f.path, n.day(), n.file()) }

func parseName(file string) (n name, ok bool) {
	m := nameForm.FindStringSubmatch(file)
	if m == nil {
		return n, false
	}
	changed, err := strconv.ParseInt(m[2], 10, 64)
	return name{workflow.RunID(m[1]), changed}, err == nil
}

// compare puts the newest first: by ID, as runs are listed; of one run, the newest file.
func (n name) compare(o name) int {
	return cmp.Or(cmp.Compare(o.run, n.run), cmp.Compare(o.changed, n.changed))
}

// Run returns the document of a run, and when the run last changed. scheduler.ErrNotFound: the folder does not have it.
func (f *Folder) Run(ctx context.Context, id workflow.RunID) (*api.Run, time.Time, error) {
	n, err := f.find(ctx, id)
	if err != nil {
		return nil, time.Time{}, err
	}
	var doc *api.Run
	h, err := f.read(n, func(p *page) {
		if p.Run != nil {
			doc = p.Run
		}
	})
	if err == nil && (doc == nil || doc.ID != string(id)) {
		err = fmt.Errorf("archived run %s: %s holds another document, or none", id, f.pathOf(n))
	}
	if err != nil {
		return nil, time.Time{}, err
	}
	doc.Archived = true
	return doc, h.LastAt, nil
}

// Instances returns the instances of a task in their order; none where the run has no such task. scheduler.ErrNotFound: the
// folder does not have the run.
func (f *Folder) Instances(ctx context.Context, id workflow.RunID, task string) ([]api.Instance, error) {
	n, err := f.find(ctx, id)
	if err != nil {
		return nil, err
	}
	var out []api.Instance
	_, err = f.read(n, func(p *page) {
		if p.Task == task {
			out = append(out, p.Instances...)
		}
		if p.Run == nil {
			return
		}
		for _, t := range p.Run.Tasks {
			if t.Name == task {
				out = append(out, t.Instances...)
			}
		}
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// Namespaces returns the namespaces that a run used. scheduler.ErrNotFound: the folder does not have it.
func (f *Folder) Namespaces(ctx context.Context, id workflow.RunID) ([]string, error) {
	n, err := f.find(ctx, id)
	if err != nil {
		return nil, err
	}
	h, err := f.head(n)
	if err != nil {
		return nil, fmt.Errorf("archived run %s: %s: %w", id, f.pathOf(n), err)
	}
	return h.Namespaces, nil
}

// LastAt is when a run last changed. It reads names only. scheduler.ErrNotFound: the folder does not have it.
func (f *Folder) LastAt(ctx context.Context, id workflow.RunID) (time.Time, error) {
	n, err := f.find(ctx, id)
	if err != nil {
		return time.Time{}, err
	}
	return time.Unix(0, n.changed).UTC(), nil
}

// find looks for the newest file of a run, which is on the day of its ID.
func (f *Folder) find(ctx context.Context, id workflow.RunID) (name, error) {
	if err := ctx.Err(); err != nil {
		return name{}, fmt.Errorf("look for run %s in the archive: %w", id, err)
	}
	names, err := f.names(name{run: id}.day())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return name{}, err
	}
	if i := slices.IndexFunc(names, func(n name) bool { return n.run == id }); i >= 0 {
		return names[i], nil
	}
	return name{}, fmt.Errorf("archived run %s: %w", id, scheduler.ErrNotFound)
}

// days lists the days that have runs, the newest first.
func (f *Folder) days() (days []string, err error) {
	entries, err := os.ReadDir(f.path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the archive: %w", err)
	}
	for _, e := range entries {
		_, err := time.Parse(dayForm, e.Name())
		switch {
		case err == nil && e.IsDir():
			days = append(days, e.Name())
		case e.Name() != tmpName:
			f.warn(filepath.Join(f.path, e.Name()), errors.New("it is no folder of a day"))
		}
	}
	slices.Reverse(days)
	return days, nil
}

// names lists the files of a day, the newest first.
func (f *Folder) names(day string) (names []name, err error) {
	entries, err := os.ReadDir(filepath.Join(f.path, day))
	if err != nil {
		return nil, fmt.Errorf("read the archive: %w", err)
	}
	for _, e := range entries {
		n, ok := parseName(e.Name())
		if !ok || n.day() != day || e.IsDir() {
			f.warn(filepath.Join(f.path, day, e.Name()), errors.New("its name is not that of a run of this day"))
			continue
		}
		names = append(names, n)
	}
	slices.SortFunc(names, name.compare)
	return names, nil
}

// List yields what a list tells of the runs, in the order of their IDs, the newest first: those behind this ID, all if it is
// empty. What cannot be read is left out, and logged. An error is the last thing that it yields.
func (f *Folder) List(ctx context.Context, before workflow.RunID) iter.Seq2[api.RunEntry, error] {
	return func(yield func(api.RunEntry, error) bool) {
		days, err := f.days()
		for _, day := range days {
			if before != "" && day > (name{run: before}).day() {
				continue
			}
			var names []name
			if err = ctx.Err(); err == nil {
				names, err = f.names(day)
			}
			if err != nil {
				break
			}
			var last name
			for _, n := range names {
				if passed := before != "" && n.run >= before; passed || n.run == last.run {
					continue
				}
				if err = ctx.Err(); err != nil {
					break
				}
				last = n
				h, err := f.head(n)
				if err != nil {
					f.warn(f.pathOf(n), err)
					continue
				}
				h.Entry.Archived = true
				if !yield(*h.Entry, nil) {
					return
				}
			}
			if err != nil {
				break
			}
		}
		if err != nil {
			yield(api.RunEntry{}, fmt.Errorf("list the archive: %w", err))
		}
	}
}

// maxWarned bounds what is remembered of it.
const maxWarned = 10_000

// warn says once of a file that it is left out.
func (f *Folder) warn(path string, why error) {
	f.mu.Lock()
	known := f.warned[path] || len(f.warned) == maxWarned
	if !known {
		f.warned[path] = true
	}
	f.mu.Unlock()
	if !known {
		f.log.Warn("a file in the archive is left out", "path", path, "error", why)
	}
}
