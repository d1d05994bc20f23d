// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package server

import (
	"net/http"
	"sync"
	"time"

	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/httpapi"
)

const (
	// bodyBytes is how much of the bodies of requests is in memory at once, and a few times that while they are read.
	bodyBytes = 128 << 20
	// bodyPatience is how long a body may take to arrive: one of the largest over 1 Mbit/s.
	bodyPatience = 150 * time.Second
)

// bodies bounds the memory that the bodies of requests take, whoever sends how many.
type bodies struct {
	next http.Handler

	mu   sync.Mutex // guards left
	left int64
}

func newBodies(next http.Handler) *bodies { return &bodies{next: next, left: bodyBytes} }

func (b *bodies) take(n int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n > b.left {
		return false
	}
	b.left -= n
	return true
}

// ServeHTTP implements http.Handler.
func (b *bodies) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	size := r.ContentLength
	if size < 0 || size > httpapi.MaxBody {
		size = httpapi.MaxBody // it does not say, or is refused for that by whoever reads so much
	}
	if size == 0 {
		b.next.ServeHTTP(w, r)
		return
	}
	if !b.take(size) {
		// Whoever does not take the answer is refused all the same.
		_ = writeError(w, &api.Error{
			Status: http.StatusServiceUnavailable, Code: api.CodeNotReady, Message: "too many large requests at once: ask again in a moment",
		})
		return
	}
	defer b.take(-size)
	// Not every connection has a deadline; those from the net do.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyPatience))
	b.next.ServeHTTP(w, r)
}
