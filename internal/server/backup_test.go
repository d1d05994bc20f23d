// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package server

import (
	"errors"
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
		"backup.token_file: open /nowhere":                            func(c *AgentConfig) { c.Backup.TokenFile = "/nowhere" },
		"backup.recipients: \"age1x\" is no public key of age, which": func(c *AgentConfig) { c.Backup.Recipients = []string{"age1x"} },
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
