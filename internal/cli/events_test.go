// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package cli_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
)

// broadcasting is a server whose streams of events end, one after the other; the last one goes on.
func broadcasting(t *testing.T, streams ...string) (url string, asked func() []string) {
	t.Helper()
	var n atomic.Int64
	queries := make([]string, len(streams))
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/events" {
			fmt.Fprint(w, `{"healthy":true,"pid":1}`)
			return
		}
		i := int(n.Add(1)) - 1
		queries[i] = r.URL.RawQuery + " after " + r.Header.Get("Last-Event-ID")
		if streams[i] == "" {
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprint(w, `{"status":503,"code":"not_ready","message":"nobody leads"}`)
			return
		}
		fmt.Fprint(w, streams[i])
		if i == len(streams)-1 {
			if err := http.NewResponseController(w).Flush(); err != nil {
				t.Error(err)
			}
			<-r.Context().Done()
		}
	}))
	t.Cleanup(s.Close)
	return s.URL, func() []string { return queries[:n.Load()] }
}

const (
	twoEvents = "id: 1.1\n\nid: 1.2\nevent: run\ndata: {\"type\":\"run\",\"index\":2,\"at\":\"2026-01-31T08:00:00Z\",\"run\":\"abcdefghijklmnopqrst\",\"workflow\":\"nightly\",\"namespace\":\"default\",\"status\":\"running\"}\n\n" +
		"id: 1.3\nevent: task\ndata: {\"type\":\"task\",\"index\":3,\"at\":\"2026-01-31T08:00:01Z\",\"run\":\"abcdefghijklmnopqrst\",\"workflow\":\"nightly\",\"namespace\":\"default\",\"task\":\"load\",\"status\":\"waiting\",\"reason\":\"exit code 1\",\"attempt\":2}\n\n"
	aReset   = "id: 2.7\nevent: reset\ndata: {\"type\":\"reset\",\"index\":7}\n\n"
	theLast  = "id: 2.9\nevent: run\ndata: {\"type\":\"run\",\"index\":9,\"at\":\"2026-01-31T08:00:09Z\",\"run\":\"abcdefghijklmnopqrst\",\"workflow\":\"nightly\",\"namespace\":\"default\",\"status\":\"failed\",\"reason\":\"task load failed\"}\n\n"
	halfOne  = "id: 1.4\nevent: run\ndata: {\"type\":\"run\","
	unbroken = ": nothing new\n\n"
)

func TestEverythingIsWatchedOverAChangeOfTheLeader(t *testing.T) {
	c := newConsole(t)
	s := &transcript{console: c}
	s.say("runs", "watch") // nobody said of which server
	c.env["CAIRN_ADDR"] = "http://127.0.0.1:1"
	s.say("runs", "watch")
	s.say("runs", "watch", "-workflow", "nightly", "abcdefghijklmnopqrst")
	c.heard = func(text string) {
		if strings.Contains(text, "failed") {
			c.signals <- os.Interrupt
		}
	}
	for _, args := range [][]string{{"runs", "watch"}, {"runs", "watch", "-json", "-workflow", "nightly", "-namespace", "default"}} {
		url, asked := broadcasting(t, twoEvents+halfOne, "", aReset+unbroken+theLast)
		c.env["CAIRN_ADDR"] = url
		s.say(args...)
		fmt.Fprintf(s, "asked: %s\n\n", strings.Join(asked(), ", "))
	}
	golden(t, "watch-all.txt", s.String())
}
