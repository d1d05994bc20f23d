// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package server

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/consul"
	"github.com/cairnflow/cairn/internal/httpapi"
)

var _ httpapi.Audit = auditBook{}

// auditVersion is that of the records that auditBook keeps.
const auditVersion = 1

// auditBook keeps what callers changed in Consul.
type auditBook struct{ kept *consul.Audit }

// Note implements httpapi.Audit.
func (b auditBook) Note(ctx context.Context, r api.AuditRecord) error {
	text, err := encodeAudit(r)
	if err != nil {
		return err
	}
	return b.kept.Note(ctx, r.At, r.ID, text)
}

// Day implements httpapi.Audit.
func (b auditBook) Day(ctx context.Context, day time.Time) ([]api.AuditRecord, error) {
	kept, err := b.kept.Day(ctx, day)
	if err != nil {
		return nil, err
	}
	records := make([]api.AuditRecord, len(kept))
	for i, text := range kept {
		if records[i], err = decodeAudit(text); err != nil {
			return nil, err
		}
	}
	return records, nil
}

// auditEntry is the durable form of a record.
type auditEntry struct {
	Version int `json:"version"`
	api.AuditRecord
}

func encodeAudit(r api.AuditRecord) ([]byte, error) { return json.Marshal(auditEntry{auditVersion, r}) }

func decodeAudit(text []byte) (api.AuditRecord, error) {
	var e auditEntry
	if err := json.Unmarshal(text, &e); err != nil {
		return e.AuditRecord, fmt.Errorf("read an audit record: %w", err)
	}
	if e.Version < 1 || e.Version > auditVersion {
		return e.AuditRecord, fmt.Errorf("an audit record was written in format %d, this version of cairn reads up to %d: use a newer one", e.Version, auditVersion)
	}
	return e.AuditRecord, nil
}
