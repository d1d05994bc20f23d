// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package faults

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/testcluster"
)

// Without a quorum of Consul nobody leads. What a server's own Consul knows can be shown all the same, and says what it is.
func TestServersShowWhatTheirConsulKnowsWithoutAQuorum(t *testing.T) {
	t.Parallel()
	consul := testcluster.Consul(t, testcluster.ConsulConfig{Servers: 3})
	var addresses []string
	for _, a := range consul.Servers {
		addresses = append(addresses, strings.TrimPrefix(a.Address, "http://"))
	}
	s := newServers(t, cluster.Nomad(t).Address(), addresses...)
	g, spared := s.g, s.all[2]
	g.env = append(g.env, "CAIRN_ADDR=http://"+spared.address)
	file := g.write("calm.hcl", "workflow \"calm\" {\n  task \"rest\" {\n    wait { duration = \"24h\" }\n  }\n}\n")
	var entry struct{ ID string }
	if err := json.Unmarshal([]byte(g.call(0, "run", "-detach", "-json", file).stdout()), &entry); err != nil {
		t.Fatal(err)
	}
	g.await("the task to begin", soon(), func() bool {
		answer, body := spared.get(t, "/v1/run/"+entry.ID+"?stale")
		return answer.StatusCode == http.StatusOK && strings.Contains(body, "waiting")
	})
	g.call(0, "workflow", "apply", "-auto-approve", file)
	g.await("the workflow to be known", soon(), func() bool {
		_, body := spared.get(t, "/v1/workflows?stale")
		return strings.Contains(body, "calm")
	})
	for _, a := range consul.Servers[:2] {
		if err := a.Pause(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := a.Resume(); err != nil {
				t.Error(err)
			}
		})
	}
	g.await("nobody to lead", soon(), func() bool {
		leading := false
		for _, m := range s.all {
			leading = leading || m.leads()
		}
		return !leading
	})
	contains(t, g.call(0, "runs", "show", "-stale", entry.ID).stdout(), entry.ID, "calm", "rest", "waiting")
	contains(t, g.call(0, "runs", "list", "-stale").stdout(), entry.ID, "running")
	contains(t, g.call(0, "workflow", "list", "-stale").stdout(), "calm")
	for query, want := range map[string]int{"?stale": http.StatusOK, "?stale&index=1": http.StatusBadRequest} {
		answer, body := spared.get(t, "/v1/run/"+entry.ID+query)
		if marked := answer.Header.Get(api.StaleHeader) == "true"; answer.StatusCode != want || marked != (want == http.StatusOK) {
			t.Errorf("%s: status %d, want %d; marked as stale: %t; %s", query, answer.StatusCode, want, marked, body)
		}
	}
}
