// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/backup"
	"github.com/cairnflow/cairn/internal/config"
	"github.com/cairnflow/cairn/internal/consul"
)

// backupFolder is the name of the folder with backups in the data folder.
const backupFolder = "backup"

// newBackups makes what keeps backups while this server leads.
func (a *Agent) newBackups(cc consul.Config, cluster string) (*backup.Keeper, error) {
	c := a.cfg.Backup
	if c.TokenFile != "" {
		token, err := readToken(c.TokenFile)
		if err != nil {
			return nil, fmt.Errorf("backup.token_file: %w", err)
		}
		cc.Token = token
	}
	recipients, err := backup.Recipients(c.Recipients)
	if err != nil {
		return nil, fmt.Errorf("backup.recipients: %w", err)
	}
	snapshots, err := consul.NewSnapshots(cc)
	if err != nil {
		return nil, err
	}
	bc := backup.Config{
		Source: snapshots, Survey: func() backup.Survey { return consul.NewSurvey(cc.Prefix) }, Target: backup.Folder(a.backupFolder()),
		Leadership: a.scheduler, Cluster: cluster, Prefix: cc.Prefix, Recipients: recipients, Retain: c.Retain, Age: c.Age, By: a.cfg.Name, Version: a.cfg.Version, Logger: a.log,
	}
	if c.Enabled {
		bc.Interval = c.Interval
	}
	return backup.NewKeeper(bc), nil
}

func (a *Agent) backupFolder() string {
	return cmp.Or(a.cfg.Backup.Folder, filepath.Join(a.cfg.DataDir, backupFolder))
}

// backups is how this server backs up.
type backups struct {
	keeper *backup.Keeper
	folder string
	cfg    config.Backup
}

// Snapshots implements httpapi.Servers.
func (g *group) Snapshots(context.Context) (api.Backups, error) {
	s := g.backups.keeper.Status()
	out := api.Backups{Backups: append([]api.Backup{}, s.Backups...), Folder: g.backups.folder, Running: s.Running, Overdue: s.Overdue, Drilled: s.Drilled}
	if g.backups.cfg.Enabled {
		out.Interval = g.backups.cfg.Interval.String()
	}
	if !s.NextAt.IsZero() {
		next := s.NextAt.UTC()
		out.NextAt = &next
	}
	if s.Trouble != nil {
		out.Trouble = strings.ReplaceAll(s.Trouble.Error(), "\n", "; ")
	}
	return out, nil
}

// SaveSnapshot implements httpapi.Servers.
func (g *group) SaveSnapshot(ctx context.Context) (api.Backup, error) {
	m, err := g.backups.keeper.Save(ctx)
	switch {
	case errors.Is(err, backup.ErrBusy):
		return m, &api.Error{Status: http.StatusConflict, Code: api.CodeConflict, Message: err.Error()}
	case err != nil:
		return m, notReady(err)
	}
	return m, nil
}

// drillOld is how much newer than the last drill a backup may be: two nights.
const drillOld = 48 * time.Hour

// ofBackups says whether there is something to come back to.
func (f *facts) ofBackups(r *report) {
	s, newest := f.backups, "none has been taken yet"
	if len(s.Backups) > 0 {
		newest = fmt.Sprintf("the newest is of %s", s.Backups[0].TakenAt.Format("2006-01-02 15:04:05 MST"))
	}
	const where = "look at \"cairn operator snapshot list\""
	switch {
	case s.Trouble != "":
		r.say(api.LevelFail, "backup", "snapshots", where, "%s; %s", newest, s.Trouble)
	case s.Overdue:
		r.say(api.LevelFail, "backup", "snapshots", where, "one is overdue: %s", newest)
	case s.Interval == "":
		r.say(api.LevelWarn, "backup", "snapshots", "set backup { enabled = true }, or take snapshots of Consul by other means", "Cairn takes none by itself; %s", newest)
	default:
		r.say(api.LevelOK, "backup", "snapshots", "", "one is taken every %s into %s; %s", s.Interval, s.Folder, newest)
	}
	switch last := s.LastDrilled(); {
	case len(s.Backups) == 0: // said above
	case last == nil:
		r.say(api.LevelWarn, "backup", "drill", "have jobs/drill.nomad.hcl run every night", "none of the snapshots that are kept was ever restored for a try")
	case !last.Drill.Good():
		r.say(api.LevelFail, "backup", "drill", where, "the drill of %s on %s failed: %s", last.Name, last.Drill.By, strings.Join(last.Drill.Broken, "; "))
	case s.Backups[0].TakenAt.Sub(last.Drill.At) > drillOld:
		r.say(api.LevelWarn, "backup", "drill", "have jobs/drill.nomad.hcl run every night, and look why it does not", "the last drill was on %s", last.Drill.At.Format("2006-01-02 15:04:05 MST"))
	default:
		r.say(api.LevelOK, "backup", "drill", "", "%s was restored for a try on %s at %s, and read: %d active runs, %d ended",
			last.Name, last.Drill.By, last.Drill.At.Format("2006-01-02 15:04:05 MST"), last.Drill.Active, last.Drill.Ended)
	}
}

// Snapshots implements httpapi.Servers: there is no Consul.
func (a *alone) Snapshots(context.Context) (api.Backups, error) { return api.Backups{}, noBackups() }

// SaveSnapshot implements httpapi.Servers: there is no Consul.
func (a *alone) SaveSnapshot(context.Context) (api.Backup, error) { return api.Backup{}, noBackups() }

func noBackups() error {
	return &api.Error{
		Status: http.StatusNotFound, Code: api.CodeNotFound,
		Message: "this server runs with -dev: its store is a file, and no Consul of which snapshots could be taken",
	}
}
