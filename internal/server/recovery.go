// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/cairnflow/cairn/internal/backup"
	"github.com/cairnflow/cairn/internal/consul"
)

// RestorePlan is what restoring Cairn's own keys would change.
type RestorePlan = consul.Plan

// Recovery works on the Consul that CONSUL_HTTP_ADDR and its like name, without any server of Cairn's: there may be none any
// more.
type Recovery struct {
	prefix    string
	snapshots *consul.Snapshots
	restorer  *consul.Restorer
}

// NewRecovery makes no call. prefix is that of Cairn's keys.
func NewRecovery(prefix string, log hclog.Logger) (*Recovery, error) {
	cc := consul.DefaultConfig()
	cc.Prefix, cc.Logger = prefix, log
	restorer, err := consul.NewRestorer(cc)
	if err != nil {
		return nil, err
	}
	snapshots, err := consul.NewSnapshots(cc)
	if err != nil {
		return nil, err
	}
	return &Recovery{prefix, snapshots, restorer}, nil
}

// Survey reads a snapshot to its end, and says what it holds of Cairn.
func (r *Recovery) Survey(f *backup.File) (backup.Contents, backup.Stock, error) {
	survey := consul.NewSurvey(r.prefix)
	found, err := f.Read(survey.Look)
	if err != nil {
		return found, backup.Stock{}, err
	}
	stock, err := survey.Stock()
	return found, stock, err
}

// Plan says what restoring Cairn's own keys from a snapshot would change.
func (r *Recovery) Plan(ctx context.Context, f *backup.File) (RestorePlan, error) {
	p, err := r.restorer.Plan(ctx, keysOf(f))
	return p, away(err)
}

// RestoreOwn restores Cairn's own keys as a plan says. progress is told how many are written.
func (r *Recovery) RestoreOwn(ctx context.Context, p RestorePlan, f *backup.File, progress func(keys int)) error {
	return away(r.restorer.Restore(ctx, p, keysOf(f), progress))
}

func keysOf(f *backup.File) consul.Archive {
	return func(show func(backup.Entry) error) error {
		_, err := f.Read(show)
		return err
	}
}

// AwaitLeader waits until a server leads with what was restored, and tells its name.
func (r *Recovery) AwaitLeader(ctx context.Context) (string, error) {
	return r.restorer.AwaitLeader(ctx)
}

// RestoreAll gives all of Consul the state of a snapshot that was read to its end before.
func (r *Recovery) RestoreAll(ctx context.Context, f *backup.File) error {
	plain, err := f.Open()
	if err != nil {
		return err
	}
	if err := errors.Join(r.snapshots.Restore(ctx, plain), plain.Close()); err != nil {
		return away(err)
	}
	marking, cancel := context.WithTimeout(ctx, markPatience)
	defer cancel()
	if err := r.restorer.Mark(marking); err != nil {
		return away(fmt.Errorf("all of Consul has the state of the snapshot, and could not be told that it was restored: start Cairn's servers anew: %w", err))
	}
	return nil
}

// markPatience is how long Consul may take to have a leader again after a restore.
const markPatience = time.Minute

// away marks an error that says that Consul cannot be reached.
func away(err error) error {
	if errors.Is(err, consul.ErrUnclear) {
		return err
	}
	if errors.As(err, new(*net.OpError)) || errors.Is(err, context.DeadlineExceeded) || consul.Failing(err) {
		return &UnreachableError{Err: err}
	}
	return err
}
