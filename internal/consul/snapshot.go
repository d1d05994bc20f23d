// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package consul

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	consulapi "github.com/hashicorp/consul/api"

	"github.com/cairnflow/cairn/internal/backup"
)

var _ backup.Source = (*Snapshots)(nil)

// Snapshots are those of all of Consul. They take a token with acl:write, which may do nearly everything.
type Snapshots struct{ client *client }

// NewSnapshots makes no call.
func NewSnapshots(cfg Config) (*Snapshots, error) {
	c, err := newClient(&cfg)
	if err != nil {
		return nil, err
	}
	return &Snapshots{client: c}, nil
}

// Snapshot implements backup.Source. Consul's leader takes it.
func (s *Snapshots) Snapshot(ctx context.Context) (io.ReadCloser, error) {
	body, _, err := s.client.api.Snapshot().Save((&consulapi.QueryOptions{}).WithContext(ctx))
	if err != nil {
		return nil, fmt.Errorf("take a snapshot of Consul: %w", forbidden(err))
	}
	return body, nil
}

// Restore gives all of Consul the state of a snapshot: whatever is there is gone, also what is not Cairn's. Where it fails in
// the middle Consul has the old state.
func (s *Snapshots) Restore(ctx context.Context, snapshot io.Reader) error {
	only := struct{ io.Reader }{snapshot} // whoever has opened it closes it, and not the request
	if err := s.client.api.Snapshot().Restore((&consulapi.WriteOptions{}).WithContext(ctx), only); err != nil {
		return fmt.Errorf("restore Consul: %w", forbidden(err))
	}
	return nil
}

// Failing reports whether an error is Consul's own: it answers, and cannot do anything, as without a leader.
func Failing(err error) bool {
	var status consulapi.StatusError
	return errors.As(err, &status) && status.Code >= http.StatusInternalServerError
}

// forbidden says what a token needs that may take or restore no snapshots.
func forbidden(err error) error {
	var status consulapi.StatusError
	if errors.As(err, &status) && status.Code == http.StatusForbidden {
		return fmt.Errorf("the token may not: snapshots take one with the rule acl = \"write\": %w", err)
	}
	return err
}
