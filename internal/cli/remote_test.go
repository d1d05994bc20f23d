// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package cli

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnflow/cairn/internal/client"
)

func TestOptionsWinOverVariables(t *testing.T) {
	env := map[string]string{
		"CAIRN_ADDR": "a", "CAIRN_TOKEN": "t", "CAIRN_CACERT": "ca", "CAIRN_CLIENT_CERT": "cert", "CAIRN_CLIENT_KEY": "key",
		"CAIRN_TLS_SERVER_NAME": "name", "CAIRN_SKIP_VERIFY": "true", "NOMAD_TOKEN": "another Nomad's",
	}
	all := client.Server{Address: "a", Token: "t", CACert: "ca", ClientCert: "cert", ClientKey: "key", TLSName: "name", SkipVerify: true}
	for name, c := range map[string]struct {
		env  map[string]string
		args []string
		want client.Server
	}{
		"nothing":      {nil, nil, client.Server{}},
		"variables":    {env, nil, all},
		"Nomad's own":  {map[string]string{"NOMAD_TOKEN": "x", "NOMAD_ADDR": "y"}, nil, client.Server{}},
		"some options": {map[string]string{"CAIRN_ADDR": "a"}, []string{"-address", "b", "-tls-skip-verify"}, client.Server{Address: "b", SkipVerify: true}},
		"all options": {env, strings.Fields("-address b -token u -ca-cert x -client-cert y -client-key z -tls-server-name n"),
			client.Server{Address: "b", Token: "u", CACert: "x", ClientCert: "y", ClientKey: "z", TLSName: "n", SkipVerify: true}},
	} {
		a := &App{Getenv: func(name string) string { return c.env[name] }}
		var got client.Server
		cmd := &command{app: a, max: 0, options: a.serverOptions(), run: func([]string) int {
			var err error
			if got, err = a.remote(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			return exitOK
		}}
		if code := cmd.Run(c.args); code != exitOK {
			t.Errorf("%s: exit %d", name, code)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	a := &App{Getenv: func(name string) string { return map[string]string{"CAIRN_SKIP_VERIFY": "maybe"}[name] }}
	if _, err := a.remote(); err == nil || !strings.Contains(err.Error(), `CAIRN_SKIP_VERIFY is "maybe"`) {
		t.Errorf("got %v", err)
	}
}

// Whoever adds a command says here whether it may talk to a server.
func TestCommandsThatMayTalkToAServerTakeItsOptions(t *testing.T) {
	local := []string{
		"agent", "fmt", "graph", "operator", "operator snapshot drill", "operator snapshot inspect", "operator snapshot restore", "operator snapshot verify", "render", "runs", "task",
		"validate", "version", "workflow",
	}
	a := &App{Getenv: func(string) string { return "" }}
	for name := range a.commands() {
		if want := !slices.Contains(local, name) && name != "supervise"; asksServer(name) != want {
			t.Errorf("%s: takes the options of a server: %t, want %t", name, asksServer(name), want)
		}
	}
}
