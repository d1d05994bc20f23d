// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package server

import (
	"cmp"
	"context"
	"path/filepath"

	"github.com/cairnflow/cairn/internal/archive"
	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/httpapi"
	"github.com/cairnflow/cairn/internal/scheduler"
)

// archiveFolder is the name of the archive in the data folder.
const archiveFolder = "archive"

// housekept is a store that runs leave, and that knows what its registered workflows name.
type housekept interface {
	scheduler.Housekept
	scheduler.Namer
}

// openArchive gives the server an archive, and has the scheduler let runs leave the store for it.
func (a *Agent) openArchive(sc *scheduler.Config, store housekept) {
	folder := cmp.Or(a.cfg.Archive.Folder, filepath.Join(a.cfg.DataDir, archiveFolder))
	a.archive = archive.NewFolder(folder, a.log)
	keep := scheduler.DefaultHousekeeping()
	keep.Store, keep.Archive, keep.Namers = store, archiving{a.archive}, []scheduler.Namer{store}
	r := a.cfg.Retention
	keep.Retention = scheduler.Retention{Runs: r.Runs, Age: r.Age, Bytes: r.Bytes}
	sc.Housekeeping = &keep
}

// archiving archives what the API tells of a run.
type archiving struct{ folder *archive.Folder }

// Put implements scheduler.Archive.
func (a archiving) Put(ctx context.Context, m *engine.Machine, s *engine.State) error {
	doc, instances := httpapi.Whole(m, s)
	return a.folder.Put(ctx, archive.Run{
		LastAt: s.Head.LastAt.Time(), Namespaces: httpapi.Namespaces(m, s), Document: doc, Instances: instances,
	})
}
