// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package server

import (
	"net/http/httptest"
	"strings"
	"testing"
)

func TestPagesOfOthersAreKeptOut(t *testing.T) {
	for name, c := range map[string]struct {
		method, host string
		header       []string
		status       int
		words        string
	}{
		"a program":                               {"POST", "127.0.0.1:4680", nil, 200, "own: POST"},
		"a program by name":                       {"POST", "localhost:4680", nil, 200, "own: POST"},
		"a program by IPv6":                       {"GET", "[::1]:4680", nil, 200, "own: GET"},
		"a program by the advertised name":        {"GET", "Cairn.example:4680", nil, 200, "own: GET"},
		"a page of its own":                       {"POST", "127.0.0.1:4680", []string{"Sec-Fetch-Site", "same-origin"}, 200, "own: POST"},
		"a page of others":                        {"POST", "127.0.0.1:4680", []string{"Sec-Fetch-Site", "cross-site"}, 403, "not for pages of others"},
		"a page of others, of an old browser":     {"POST", "127.0.0.1:4680", []string{"Origin", "http://evil.example"}, 403, "a page of http://evil.example"},
		"a page whose name was given our address": {"GET", "evil.example:4680", nil, 403, "this server is not evil.example"},
	} {
		r := httptest.NewRequest(c.method, "http://"+c.host+"/v1/runs", nil)
		if c.header != nil {
			r.Header.Set(c.header[0], c.header[1])
		}
		w := httptest.NewRecorder()
		guard(echo("own"), "cairn.example:4680").ServeHTTP(w, r)
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.words) {
			t.Errorf("%s: %d %s, want %d and words about %q", name, w.Code, w.Body, c.status, c.words)
		}
	}
}
