// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package server

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/cairnflow/cairn/internal/httpapi"
)

func TestTheBodiesOfRequestsAreBoundedTogether(t *testing.T) {
	begun, goOn := make(chan struct{}), make(chan struct{})
	b := newBodies(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		begun <- struct{}{}
		<-goOn
	}))
	post := func(size int64) int {
		r := httptest.NewRequest("POST", "/v1/runs", io.LimitReader(strings.NewReader("{}"), 2))
		r.ContentLength = size
		w := httptest.NewRecorder()
		b.ServeHTTP(w, r)
		return w.Code
	}
	const most = bodyBytes / httpapi.MaxBody
	done := make(chan int, most+1)
	for range most {
		go func() { done <- post(-1) }() // it does not say how much will come
		<-begun
	}
	if status := post(1); status != http.StatusServiceUnavailable {
		t.Errorf("one more is answered %d", status)
	}
	go func() { done <- post(0) }() // a request without a body takes no room
	<-begun
	close(goOn)
	for range most + 1 {
		if status := <-done; status != http.StatusOK {
			t.Errorf("answered %d", status)
		}
	}
	go func() { <-begun }()
	if status := post(httpapi.MaxBody * 2); status != http.StatusOK || b.left != bodyBytes {
		t.Errorf("answered %d when there is room again; %d bytes are left", status, b.left)
	}
}
