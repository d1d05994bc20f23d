// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package cli

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/posener/complete"
)

func TestRegisteredWorkflowsAreCompleted(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/v1/workflows":
			fmt.Fprint(w, `{"workflows":[{"name":"nightly"},{"name":"weekly"}],"next":""}`)
		case "/v1/workflow/nightly":
			fmt.Fprint(w, `{"name":"nightly","params":[{"name":"day"},{"name":"n"}]}`)
		default:
			http.Error(w, `{"status":404,"code":"not_found","message":"no"}`, http.StatusNotFound)
		}
	}))
	defer server.Close()
	for name, address := range map[string]string{"a server": server.URL, "no server": "", "a server that is away": "127.0.0.1:1", "no address": "ftp://x"} {
		env := map[string]string{addressEnv: address}
		a := &App{Getenv: func(name string) string { return env[name] }, patience: time.Minute}
		names, params := "", ""
		if address == server.URL {
			names, params = "nightly weekly", "day= n="
		}
		if got := strings.Join(a.predictRegistered().Predict(complete.Args{}), " "); got != names {
			t.Errorf("%s: names %q, want %q", name, got, names)
		}
		args := complete.Args{Completed: []string{"-detach", "hourly", "nightly", "-param"}}
		if got := strings.Join(a.predictRegisteredParams().Predict(args), " "); got != params {
			t.Errorf("%s: params %q, want %q", name, got, params)
		}
	}
}
