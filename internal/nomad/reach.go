// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"context"
	"errors"
	"fmt"
	"net/url"
)

// Reach asks Nomad who leads, which needs no token: whoever is about to start a run wants to know before.
func (e *Executor) Reach(ctx context.Context) error {
	var leader string
	err := e.client.call(ctx, &e.client.count.lists, func(ctx context.Context, secret string) error {
		return e.client.get(ctx, realm{region: e.cfg.Region}, "/v1/status/leader", url.Values{}, &leader, secret)
	})
	if err == nil && leader == "" {
		err = errors.New("it has no leader at the moment")
	}
	if err != nil {
		return fmt.Errorf("reach Nomad at %s: %w", e.cfg.Address, err)
	}
	return nil
}
