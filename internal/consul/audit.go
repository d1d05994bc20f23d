// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package consul

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	consulapi "github.com/hashicorp/consul/api"

	"github.com/cairnflow/cairn/internal/scheduler"
)

const (
	auditDays = 90
	// auditPerDay bounds what callers make Consul keep: about 400 bytes each, 70 MB over all days. What is more stands in the
	// log of the server, like everything else.
	auditPerDay = 2000
	auditDay    = time.DateOnly
)

// Audit keeps what callers changed, by day, with the leadership of the store's elector. It is safe for concurrent use.
type Audit struct {
	store *Store

	mu    sync.Mutex      // guards what follows
	day   string          // that kept is about; empty: nothing is known
	kept  int             // records of that day
	begun map[string]bool // records that get an outcome yet
}

// NewAudit returns the audit of a store.
func NewAudit(s *Store) *Audit { return &Audit{store: s, begun: map[string]bool{}} }

// auditOf is the prefix of the records of a day; without one, of all days.
func (d data) auditOf(day string) string {
	if day == "" {
		return d.prefix + "aud/"
	}
	return d.prefix + "aud/" + day + "/"
}

// Note keeps a record: durably, in the lane of the leadership, in place of the one with the same ID. It returns
// scheduler.ErrFenced where this server does not lead.
func (a *Audit) Note(ctx context.Context, at time.Time, id string, value []byte) error {
	o := a.store.elector.current()
	if o == nil {
		return fmt.Errorf("keep an audit record: %w: this server does not lead", scheduler.ErrFenced)
	}
	d, err := a.store.data(ctx)
	if err != nil {
		return fmt.Errorf("keep an audit record: %w", err)
	}
	day := at.UTC().Format(auditDay)
	if err := a.turn(ctx, o, d, day, at); err != nil {
		return fmt.Errorf("keep an audit record: %w", err)
	}
	a.mu.Lock()
	again := a.begun[id]
	delete(a.begun, id)
	full := !again && a.kept >= auditPerDay
	if !again && !full {
		a.begun[id] = true
		a.kept++
	}
	a.mu.Unlock()
	if full {
		a.store.elector.log.Warn("the audit of the day is full: this record stands in the log only", "record", id, "day", day)
		return nil
	}
	if err := o.put(ctx, newWrite("", set(d.auditOf(day)+id, value))); err != nil {
		return fmt.Errorf("keep an audit record: %w", err)
	}
	return nil
}

// Day returns the records that are kept of a day of UTC, by ID. Any server reads them.
func (a *Audit) Day(ctx context.Context, day time.Time) ([][]byte, error) {
	d, err := a.store.data(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the audit: %w", err)
	}
	pairs, err := a.store.client.read(ctx, tree(d.auditOf(day.UTC().Format(auditDay))))
	if err != nil {
		return nil, fmt.Errorf("read the audit: %w", err)
	}
	records := make([][]byte, len(pairs))
	for i, p := range pairs {
		records[i] = p.Value
	}
	return records, nil
}

// turn learns what a day holds already, and removes the days that are over, once a day and at the first record.
func (a *Audit) turn(ctx context.Context, o *office, d data, day string, at time.Time) error {
	a.mu.Lock()
	known := a.day >= day // a record's outcome may come after midnight
	a.mu.Unlock()
	if known {
		return nil
	}
	there, err := a.store.client.names(ctx, d.auditOf(day), "")
	if err != nil {
		return err
	}
	days, err := a.store.client.names(ctx, d.auditOf(""), "/")
	if err != nil {
		return err
	}
	oldest := d.auditOf(at.UTC().AddDate(0, 0, -auditDays).Format(auditDay))
	var ops []*consulapi.KVTxnOp
	for _, prefix := range days {
		if strings.Compare(prefix, oldest) < 0 && len(ops) < maxOps { // the next day takes what is left
			ops = append(ops, removeTree(prefix))
		}
	}
	if len(ops) > 0 {
		if err := o.put(ctx, newWrite("", ops...)); err != nil {
			return err
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.day < day {
		a.day, a.kept = day, len(there)
	}
	return nil
}
