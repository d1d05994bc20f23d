// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package httpapi

import (
	"fmt"
	"net/http"
	"sync/atomic"

	"github.com/cairnflow/cairn/internal/api"
)

// Watches counts the requests that wait for something to happen, and bounds them: each of them holds memory and a
// connection for as long as it waits. A nil *Watches bounds nothing.
type Watches struct {
	max     int64
	now     atomic.Int64
	refused atomic.Int64
}

// NewWatches lets so many requests wait at once.
func NewWatches(max int) *Watches { return &Watches{max: int64(max)} }

// Now is how many wait.
func (w *Watches) Now() int64 { return w.now.Load() }

// Refused is how many were refused since the start.
func (w *Watches) Refused() int64 { return w.refused.Load() }

// Begin takes a place; end gives it back. *api.Error: there is none.
func (w *Watches) Begin() (end func(), err error) {
	if w == nil {
		return func() {}, nil
	}
	if w.now.Add(1) > w.max {
		w.now.Add(-1)
		w.refused.Add(1)
		return nil, &api.Error{
			Status: http.StatusTooManyRequests, Code: api.CodeTooMany,
			Message: fmt.Sprintf("%d requests wait at this server already, as many as limits.max_watches lets: ask another server, or later", w.max),
		}
	}
	return func() { w.now.Add(-1) }, nil
}
