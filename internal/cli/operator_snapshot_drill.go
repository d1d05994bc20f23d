// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/posener/complete"

	"github.com/cairnflow/cairn/internal/backup"
	"github.com/cairnflow/cairn/internal/server"
)

// drillOptions are those of a drill.
type drillOptions struct {
	snapshotFile
	folder, program string
	oldest          time.Duration
	asJSON          bool
}

func snapshotDrillCommand(a *App) *command {
	d := &drillOptions{program: "consul"}
	return &command{
		synopsis: "Restore a snapshot into a scratch Consul and read everything", arguments: "[FILE]", max: 1, predict: predictSnapshot,
		about: `Starts a Consul of its own on this machine, restores the snapshot into it, reads every run of Cairn's to its last attempt,
and ends that Consul again. A backup that was never restored is none: have this run every night, where the snapshots
are: jobs/drill.nomad.hcl is a job of Nomad for that. It takes the newest snapshot of -folder, or FILE. What comes of it
is kept beside the snapshot, where the servers find it: "snapshot list", "operator check" and /metrics tell of it.

Exit codes: 0 everything was read, 1 something was not, or the snapshot is older than -max-age, 2 it cannot be tried.`,
		examples: []string{"cairn operator snapshot drill -folder /var/lib/cairn/backup -max-age 3h"},
		options: append(d.options(),
			predicted(textOption(&d.folder, "folder", "FOLDER", "Take the newest snapshot of this folder."), complete.PredictDirs("*")),
			predicted(textOption(&d.program, "consul", "FILE", "The program of Consul; the one on PATH by default."), complete.PredictFiles("*")),
			funcOption("max-age", "DURATION", "Fail where the snapshot is older, as in 3h. Its age is in its manifest.", func(text string) (err error) {
				if d.oldest, err = time.ParseDuration(text); err == nil && d.oldest <= 0 {
					err = errors.New("-max-age: want a duration above 0, as in 3h")
				}
				return err
			}),
			switchOption(&d.asJSON, "json", "Print what came of it as JSON.")),
		run: func(args []string) int {
			if (len(args) == 1) == (d.folder != "") {
				a.errorf("Name a FILE, or a -folder whose newest snapshot is meant.")
				return exitUsage
			}
			ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			ctx, cancel := context.WithTimeoutCause(ctx, drillWithin, fmt.Errorf("it has taken %s", drillWithin))
			defer cancel()
			return a.drill(ctx, d, args)
		},
	}
}

// drillWithin bounds a drill: one that hangs would keep all later ones from beginning.
const drillWithin = time.Hour

// drilled is what is told of a drill.
type drilled struct {
	Name    string     `json:"name"`
	TakenAt *time.Time `json:"taken_at"` // null where there is no manifest
	server.Drilled
}

func (a *App) drill(ctx context.Context, d *drillOptions, args []string) int {
	path, m, code := a.drillFile(ctx, d, args)
	if path == "" {
		return code
	}
	f, r, code := d.open(a, path)
	if f == nil {
		return code
	}
	log := hclog.New(&hclog.LoggerOptions{Name: "cairn", Level: hclog.Warn, Output: a.Stderr})
	out := drilled{Name: filepath.Base(path)}
	if m != nil {
		out.TakenAt = &m.TakenAt
	}
	var err error
	told := 0
	out.Drilled, err = r.Drill(ctx, f, d.program, log, func(runs int) {
		if runs-told >= progressEach {
			told = runs
			a.say("%s read.", count(runs, "run"))
		}
	})
	if err != nil {
		return a.unsound(err)
	}
	a.noteDrill(ctx, path, m, &out)
	if d.asJSON {
		a.printJSON(out)
	} else if out.Read != "" {
		a.print(drillText(&out, a.Now()))
	}
	if !out.Good() {
		a.errorf("The snapshot is no good: %s.", clean(strings.Join(out.Broken[:min(len(out.Broken), 5)], "; ")))
		code = exitFailed
	}
	if d.oldest > 0 && (m == nil || a.Now().Sub(m.TakenAt) > d.oldest) {
		a.errorf("The snapshot is older than %s, or nobody knows how old it is.", d.oldest)
		code = exitFailed
	}
	return code
}

// noteDrill keeps what came of a drill beside the snapshot, where that has a manifest.
func (a *App) noteDrill(ctx context.Context, path string, m *backup.Manifest, d *drilled) {
	if m == nil {
		return
	}
	if by, err := os.Hostname(); err == nil {
		d.By = by
	}
	d.At = a.Now().UTC()
	folder := backup.Folder(filepath.Dir(path))
	if err := backup.NoteDrill(ctx, folder, *m, d.BackupDrill); err != nil {
		a.warnf("What came of this cannot be kept beside the snapshot, so that the servers do not know of it: %s.", clean(err.Error()))
	}
}

// drillFile says which snapshot is meant, with its manifest where it has one. No path: the code says why.
func (a *App) drillFile(ctx context.Context, d *drillOptions, args []string) (path string, m *backup.Manifest, code int) {
	folder, name := d.folder, ""
	if len(args) == 1 {
		folder, name = filepath.Dir(args[0]), filepath.Base(args[0])
		found, err := backup.ManifestOf(ctx, backup.Folder(folder), name)
		switch {
		case err == nil:
			m = &found
		case !errors.Is(err, fs.ErrNotExist):
			a.errorf("%s.", clean(err.Error()))
			return "", nil, exitFailed
		}
		return args[0], m, exitOK
	}
	list, problems, err := backup.List(ctx, backup.Folder(folder))
	if err != nil {
		a.errorf("%s.", clean(err.Error()))
		return "", nil, exitUsage
	}
	if len(problems) > 0 {
		a.warnf("%s.", clean(joined(problems)))
	}
	list = slices.DeleteFunc(list, func(m backup.Manifest) bool { return m.Stock.Prefix != d.prefix })
	if len(list) == 0 {
		a.errorf("There is no snapshot of what is below %s in %s.", clean(d.prefix), clean(folder))
		return "", nil, exitFailed
	}
	return filepath.Join(folder, list[0].Name), &list[0], exitOK
}

func drillText(d *drilled, now time.Time) string {
	age := "of which nobody knows when it was taken"
	if d.TakenAt != nil {
		age = "taken " + ago(now, *d.TakenAt)
	}
	return fmt.Sprintf("%s, %s: Consul restored it in %s; %s and %s were read in %s.\n",
		clean(d.Name), age, d.Restored, count(d.Active, "active run"), count(d.Ended, "ended run"), d.Read)
}
