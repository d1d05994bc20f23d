// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"strings"

	"github.com/hashicorp/go-hclog"
	"github.com/posener/complete"

	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/backup"
	"github.com/cairnflow/cairn/internal/server"
)

func snapshotCommand(*App) *command {
	return groupCommand("Back up and restore", `Commands for backups: snapshots of all of Consul, which the server that leads takes by itself. Those that name a FILE
need no server of Cairn's; "restore" works on the Consul that CONSUL_HTTP_ADDR names, with CONSUL_HTTP_TOKEN.`)
}

// snapshotFile is what commands that read a file are told.
type snapshotFile struct {
	keys   string // file with private keys
	prefix string
}

func (s *snapshotFile) options() []option {
	s.prefix = "cairn/"
	return []option{
		predicted(textOption(&s.keys, "identity", "FILE", "File with the private key of age (AGE-SECRET-KEY-…), for a snapshot that is encrypted."), complete.PredictFiles("*")),
		textOption(&s.prefix, "prefix", "PREFIX", "Prefix of Cairn's keys in Consul, as its servers have it in consul.prefix; cairn/ by default."),
	}
}

// open makes what reads the file, and what is behind it.
func (s *snapshotFile) open(a *App, path string) (*backup.File, *server.Recovery, int) {
	f, err := backup.NewFile(path, s.keys)
	if err != nil {
		a.errorf("%s.", err)
		return nil, nil, exitUsage
	}
	r, err := server.NewRecovery(s.prefix, hclog.New(&hclog.LoggerOptions{Name: "cairn", Level: hclog.Warn, Output: a.Stderr}))
	if err != nil {
		a.errorf("%s.", err)
		return nil, nil, exitUsage
	}
	return f, r, exitOK
}

var predictSnapshot = complete.PredictOr(complete.PredictFiles("*.snap"), complete.PredictFiles("*.snap.age"))

// unreadable says what is wrong with what a snapshot holds.
func (a *App) unreadable(s api.BackupStock) int {
	if s.Unreadable == 0 {
		return exitOK
	}
	a.errorf("%s of what was stored cannot be read, or is missing: %s.", count(s.Unreadable, "piece"), clean(strings.Join(s.Problems, "; ")))
	return exitFailed
}

// unsound says why a snapshot cannot be used.
func (a *App) unsound(err error) int {
	a.errorf("%s.", clean(err.Error()))
	if errors.Is(err, backup.ErrEncrypted) || errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return exitUsage
	}
	return exitFailed
}

func stockText(s api.BackupStock) string {
	return fmt.Sprintf("%s, %s, %s, %s",
		count(s.Active, "active run"), count(s.Ended, "ended run"), count(s.Workflows, "workflow"), count(s.Definitions, "definition"))
}
