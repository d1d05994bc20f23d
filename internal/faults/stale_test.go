// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package faults

import (
	"encoding/json"
	"io"
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
		status, body := spared.get(t, "/v1/run/"+entry.ID+"?stale")
		return status == http.StatusOK && strings.Contains(body, "waiting")
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
	if status, body := spared.get(t, "/v1/run/"+entry.ID+"?stale"); status != http.StatusOK || !strings.HasPrefix(body, "stale: ") {
		t.Errorf("a stale read: status %d, %s", status, body)
	}
	if status, body := spared.get(t, "/v1/run/"+entry.ID+"?stale&index=1"); status != http.StatusBadRequest || strings.HasPrefix(body, "stale: ") {
		t.Errorf("a stale read that waits: status %d, %s", status, body)
	}
}

// get asks a server; an answer that is marked as stale begins with that word.
func (m *member) get(t *testing.T, path string) (status int, body string) {
	t.Helper()
	client := http.Client{Timeout: patience}
	answer, err := client.Get("http://" + m.address + path)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	if answer.Header.Get(api.StaleHeader) == "true" {
		text = append([]byte("stale: "), text...)
	}
	return answer.StatusCode, string(text)
}
