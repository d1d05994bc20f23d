// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package server

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/backup"
	"github.com/cairnflow/cairn/internal/consul"
	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/httpapi"
	"github.com/cairnflow/cairn/internal/scheduler"
)

// Drilled is what came of a drill, and what the snapshot should hold.
type Drilled struct {
	Stock api.BackupStock `json:"stock"`
	api.BackupDrill
}

// Drill restores a snapshot into a Consul of its own, which it starts with the program of Consul, and reads every run as a server
// would. progress is told how many runs were read. An error says that it could not be tried; what is wrong with the snapshot is in
// Drilled.Broken.
func (r *Recovery) Drill(ctx context.Context, f *backup.File, program string, log hclog.Logger, progress func(runs int)) (d Drilled, err error) {
	d.Broken = []string{}
	if _, d.Stock, err = r.Survey(f); err != nil {
		if errors.Is(err, backup.ErrDamaged) {
			d.broke(err.Error())
			err = nil
		}
		return d, err
	}
	for _, problem := range d.Stock.Problems {
		d.broke(problem)
	}
	scratch, err := consul.StartScratch(ctx, program)
	if err != nil {
		return d, err
	}
	defer func() { err = errors.Join(err, scratch.Close()) }()
	cc := consul.DefaultConfig()
	cc.Address, cc.Prefix, cc.Logger, cc.Token = "http://"+scratch.Address, r.prefix, log, "none" // the scratch asks for none
	began := time.Now()
	err = restoreInto(ctx, cc, f)
	if err == nil {
		err = scratch.Await(ctx)
	}
	if err == nil {
		d.Restored = time.Since(began).Round(time.Millisecond).String()
		began = time.Now()
		err = d.read(ctx, cc, progress)
	}
	switch {
	case ctx.Err() != nil:
		return d, err
	case err != nil:
		d.broke(err.Error())
		return d, nil
	}
	d.Read = time.Since(began).Round(time.Millisecond).String()
	return d, nil
}

// brokenTold is how much is told of what is broken: more would say no more.
const brokenTold = 20

// broke notes what is broken.
func (d *Drilled) broke(what string) {
	if n := len(d.Broken); n < brokenTold {
		d.Broken = append(d.Broken, what)
	} else if n == brokenTold {
		d.Broken = append(d.Broken, "and more")
	}
}

func restoreInto(ctx context.Context, cc consul.Config, f *backup.File) error {
	into, err := consul.NewSnapshots(cc)
	if err != nil {
		return err
	}
	plain, err := f.Open()
	if err != nil {
		return err
	}
	return errors.Join(into.Restore(ctx, plain), plain.Close())
}

// nobody is the executor of a scheduler that never leads.
type nobody struct{ scheduler.Executor }

// read reads all runs and workflows of a store, as a server does that follows.
func (d *Drilled) read(ctx context.Context, cc consul.Config, progress func(int)) error {
	elector, err := consul.NewElector(cc)
	if err != nil {
		return err
	}
	store := consul.NewStore(elector)
	l := newLanguage(NewRun{})
	sc := scheduler.DefaultConfig()
	sc.Logger, sc.Evaluators, sc.Children = cc.Logger, l.evaluator, l.child
	sc.Store, sc.Executor, sc.Elector = store, nobody{}, elector
	s, err := scheduler.New(sc)
	if err != nil {
		return err
	}
	list, err := store.List(ctx, scheduler.Filter{Children: true})
	if err != nil {
		return err
	}
	for n, run := range list {
		err := s.View(ctx, run.ID, func(m *engine.Machine, state *engine.State) error {
			httpapi.Whole(m, state)
			return nil
		})
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			d.broke(err.Error())
		case run.Done:
			d.Ended++
		default:
			d.Active++
		}
		progress(n + 1)
	}
	if want, got := d.Stock.Active+d.Stock.Ended, len(list); got != want {
		d.broke(fmt.Sprintf("the store lists %d runs, the snapshot has %d", got, want))
	}
	return nil
}
