// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package server

import (
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/client"
)

// backing runs a server with the rules of a token for snapshots, until the test ends, and returns a client of it.
func (g *guarded) backing(rules string) (*client.Client, AgentConfig) {
	g.t.Helper()
	cfg := g.config(g.nomads, g.keeps)
	token := filepath.Join(g.t.TempDir(), "token")
	if err := os.WriteFile(token, []byte(g.consul.NewToken(g.t, "backup-"+cfg.Name, rules)), 0o600); err != nil {
		g.t.Fatal(err)
	}
	cfg.Backup.Enabled, cfg.Backup.TokenFile = true, token
	cfg.Backup.Folder = filepath.Join(g.t.TempDir(), "backups")
	a := running(g.t, cfg)
	c, err := client.TCP(client.Server{Address: a.URL(), Token: g.nomad.Token})
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(c.Close)
	return c, cfg
}

// found is the finding about backups.
func found(t *testing.T, c *client.Client) api.Finding {
	t.Helper()
	checked, err := c.Check(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range checked.Findings {
		if f.About == "backup" {
			return f
		}
	}
	t.Fatalf("no finding is about backups: %+v", checked)
	return api.Finding{}
}

// The token for snapshots is one of its own, which has exactly the documented policy; without it there are none, and it is said.
func TestAgentBackupsTakeAPolicyOfTheirOwn(t *testing.T) {
	g := newGuarded(t)
	c, _ := g.backing("agent_prefix \"\" {\n  policy = \"read\"\n}")
	var refused *api.Error
	if _, err := c.SaveSnapshot(t.Context()); !errors.As(err, &refused) || refused.Status != 503 || !strings.Contains(refused.Message, `acl = "write"`) {
		t.Errorf("without the policy: %v", err)
	}
	if f := found(t, c); f.Level != api.LevelFail || !strings.Contains(f.Finding, "none has been taken yet") || !strings.Contains(f.Finding, "403") {
		t.Errorf("the check-up says: %+v", f)
	}

	c, cfg := g.backing(readPolicy(t, "backup.hcl"))
	if f := found(t, c); f.Level != api.LevelOK || !strings.Contains(f.Finding, "one is taken every 1h0m0s") {
		t.Errorf("before the first one the check-up says: %+v", f)
	}
	taken, err := c.SaveSnapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	known, err := c.Snapshots(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]api.Backup{taken}, known.Backups); d != "" || known.Trouble != "" || known.Overdue || known.NextAt == nil || known.Folder != cfg.Backup.Folder {
		t.Errorf("listed: %+v\n%s", known, d)
	}
	if taken.Stock.Prefix != cfg.Consul.Prefix || taken.Stock.Epoch != 1 || taken.Keys < taken.Stock.Keys || taken.By != cfg.Name {
		t.Errorf("taken: %+v", taken)
	}
	if f := found(t, c); f.Level != api.LevelOK || !strings.Contains(f.Finding, "the newest is of "+taken.TakenAt.Format("2006-01-02 15:04")) {
		t.Errorf("afterwards the check-up says: %+v", f)
	}
}

// A server that cannot back up as it is told does not start.
func TestAgentBackupsThatCannotBeAreRefusedAtTheStart(t *testing.T) {
	for want, change := range map[string]func(*AgentConfig){
		"backup.token_file: open /nowhere":                          func(c *AgentConfig) { c.Backup.TokenFile = "/nowhere" },
		"backup.recipients: entry 1 is no public key of age, which": func(c *AgentConfig) { c.Backup.Recipients = []string{"age1x"} },
	} {
		cfg := sharing(t, "unstarted/", "one")
		change(&cfg)
		if a, err := NewAgent(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
			if a != nil {
				if err := a.Close(); err != nil {
					t.Error(err)
				}
			}
		}
	}
}

// The store was restored while a server was down, and is of another cluster now: the server belongs to that one.
func TestAgentAServerBelongsToTheClusterOfItsStore(t *testing.T) {
	const before, now = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
	cfg := sharing(t, "belongs/", "one")
	kept := filepath.Join(cfg.DataDir, clusterFile)
	if err := os.WriteFile(kept, []byte(before+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	keyed(t, http.MethodPut, "belongs/cluster", now)
	c, err := client.TCP(client.Server{Address: running(t, cfg).URL()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	led(t, c, "")
	if b, err := os.ReadFile(kept); err != nil || string(b) != now+"\n" {
		t.Errorf("it has kept %q (%v), want the cluster of the store", b, err)
	}
	// The store does not say: the server does, when it leads.
	cfg = sharing(t, "silent/", "two")
	if err := os.WriteFile(filepath.Join(cfg.DataDir, clusterFile), []byte(before+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if c, err = client.TCP(client.Server{Address: running(t, cfg).URL()}); err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	led(t, c, "")
	if said := keyed(t, http.MethodGet, "silent/cluster?raw", ""); said != before {
		t.Errorf("the store says %s, want the cluster that the server has kept", said)
	}
}

// keyed reads or writes a key of Consul.
func keyed(t *testing.T, method, key, value string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, cluster.Consul(t).Address()+"/v1/kv/"+key, strings.NewReader(value))
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(res.Body)
	if err := errors.Join(err, res.Body.Close()); err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: %s, %v", method, key, res.Status, err)
	}
	return string(b)
}
