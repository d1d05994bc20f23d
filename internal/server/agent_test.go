// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package server

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/client"
	"github.com/cairnflow/cairn/internal/config"
	"github.com/cairnflow/cairn/internal/workflow"
)

func devConfig(t *testing.T, dir string) AgentConfig {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := config.DefaultConfig()
	c.DataDir, c.HTTP.Bind = dir, "127.0.0.1:0"
	return AgentConfig{Config: c, Dev: true, Version: "test", Logger: hclog.NewNullLogger(), Getenv: os.Getenv, Supervisor: []string{self, "supervise"}}
}

// serving runs a server until stop is called.
func serving(t *testing.T, cfg AgentConfig) (c *client.Client, stop func()) {
	t.Helper()
	a, err := NewAgent(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	if c, err = client.TCP(client.Server{Address: a.Address()}); err != nil {
		t.Fatal(err)
	}
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		c.Close()
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the server ended with %v", err)
		}
	}
	t.Cleanup(stop)
	return c, stop
}

const greeting = `workflow "greet" {
  param "name" {
    type = string
  }
  task "hello" {
    driver = "raw_exec"
    config {
      command = "/bin/sh"
      args    = ["-c", "echo text=hello, ${param.name} >> $CAIRN_OUTPUT"]
    }
    output "text" { type = string }
  }
  output "text" { value = task.hello.output.text }
}
`

func TestADevServerRunsAWorkflowAndKeepsIt(t *testing.T) {
	dir := t.TempDir()
	c, stop := serving(t, devConfig(t, dir))
	entry, err := c.Submit(t.Context(), api.SubmitRequest{
		Files: []api.File{{Path: "greet.hcl", Bytes: []byte(greeting)}}, ParamTexts: map[string]string{"name": "world"}, By: "ada", Key: "once",
	})
	if err != nil {
		t.Fatal(err)
	}
	run, err := follow(t.Context(), c, workflow.RunID(entry.ID))
	if err != nil {
		t.Fatal(err)
	}
	if run.Status != "succeeded" || string(run.Outputs["text"]) != `"hello, world"` {
		t.Errorf("run is %s with outputs %s", run.Status, run.Outputs)
	}
	stop()
	c, _ = serving(t, devConfig(t, dir))
	again, err := c.Submit(t.Context(), api.SubmitRequest{
		Files: []api.File{{Path: "greet.hcl", Bytes: []byte(greeting)}}, ParamTexts: map[string]string{"name": "world"}, Key: "once",
	})
	if err != nil || again.ID != entry.ID || again.Status != "succeeded" {
		t.Errorf("the same key at the next server: %+v, %v", again, err)
	}
}

func TestAServerSaysWhatItLacks(t *testing.T) {
	taken := devConfig(t, t.TempDir())
	a, err := NewAgent(t.Context(), taken)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	for words, change := range map[string]func(*AgentConfig){
		"data_dir is not set":                           func(c *AgentConfig) { c.DataDir = "" },
		"that of another server":                        func(c *AgentConfig) { c.DataDir = taken.DataDir },
		fmt.Sprintf("process %d holds it", os.Getpid()): func(c *AgentConfig) { c.DataDir = taken.DataDir },
		"address already in use":                        func(c *AgentConfig) { c.HTTP.Bind = a.Address() },
		"consul.token_file":                             func(c *AgentConfig) { c.Dev, c.Consul.TokenFile = false, "/no/such/token" },
		"read the highest":                              func(c *AgentConfig) { c.Dev = false; broken(t, c.DataDir+"/"+seenFile) },
		"connect: connection ref":                       func(c *AgentConfig) { c.Dev, c.Consul.Address = false, "127.0.0.1:1" },
	} {
		cfg := devConfig(t, t.TempDir())
		change(&cfg)
		if _, err := NewAgent(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("got %v, want words about %q", err, words)
		}
	}
}

func broken(t *testing.T, path string) {
	t.Helper()
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
}
