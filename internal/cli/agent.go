// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package cli

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/hashicorp/go-hclog"
	"github.com/posener/complete"

	"github.com/cairnflow/cairn/hcl"
	"github.com/cairnflow/cairn/internal/config"
	"github.com/cairnflow/cairn/internal/server"
	"github.com/cairnflow/cairn/internal/workflow"
)

// agentFlags are the options of `cairn agent`.
type agentFlags struct {
	files []string
	dev   bool
}

func agentCommand(a *App) *command {
	f := &agentFlags{}
	c := &command{
		synopsis: "Run a Cairn server",
		max:      0,
		about: `Runs a server until it is told to end (SIGINT or SIGTERM). Several servers with the same Consul share
their runs: one leads and acts, any of them answers. At its end a server hands the leadership over;
what runs on Nomad goes on.

With -dev one process needs nothing else: tasks are processes of this machine. At the end everything is
terminated and forgotten, unless data_dir says where to keep it.

SIGHUP reads the configuration again, takes log_level from it, and reads the files of the block tls; all else
needs a restart.

Exit codes: 0 it was told to end, 1 it broke, 2 the arguments or the configuration are wrong,
4 Consul cannot be reached by the first server that ever starts.`,
		examples: []string{
			"cairn agent -dev",
			"cairn agent -config /etc/cairn.d",
		},
		options: []option{
			predicted(funcOption("config", "PATH", `Read the configuration from a file, or from the files of a folder that end in .hcl, by name. May be
repeated; later ones win.`, func(path string) error {
				f.files = append(f.files, path)
				return nil
			}), complete.PredictFiles("*")),
			switchOption(&f.dev, "dev", "Run one server that needs neither Consul nor Nomad. For trying things, never for work."),
		},
	}
	c.run = func([]string) int {
		if !f.dev && len(f.files) == 0 {
			return c.usageError("it needs -config PATH, or -dev for a server that needs nothing")
		}
		return a.runAgent(f)
	}
	return c
}

func (a *App) runAgent(f *agentFlags) int {
	cfg, ok := a.loadConfig(f.files)
	if !ok {
		return exitUsage
	}
	own, err := a.serverConfig()
	if err != nil {
		return a.refuse(err)
	}
	forget := f.dev && cfg.DataDir == ""
	if forget {
		if cfg.DataDir, err = os.MkdirTemp("", "cairn-dev-"); err != nil {
			return a.refuse(err)
		}
		defer os.RemoveAll(cfg.DataDir)
	}
	log := hclog.New(&hclog.LoggerOptions{Name: "cairn", Level: hclog.LevelFromString(cfg.LogLevel), Output: a.Stderr})
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	agent, err := server.NewAgent(ctx, server.AgentConfig{
		Config: cfg, Dev: f.dev, Forget: forget, Version: Version, Logger: log, Getenv: a.Getenv, Supervisor: own.Supervisor,
	})
	if err != nil {
		var unreachable *server.UnreachableError
		if errors.As(err, &unreachable) {
			a.errorf("%s", sentence(err))
			return exitUnreachable
		}
		return a.refuse(err)
	}
	a.say("Cairn server %s answers at %s.", cfg.Name, agent.URL())
	if f.dev {
		a.say("It runs tasks as processes of this machine, without isolation. Use it with: export CAIRN_ADDR=%s", agent.URL())
	}
	done := make(chan struct{})
	reloaded := make(chan struct{})
	go func() {
		defer close(reloaded)
		a.reloadOnHangup(f.files, agent, log, done)
	}()
	err = agent.Run(ctx)
	close(done)
	<-reloaded
	if err != nil {
		a.errorf("%s", sentence(err))
		return exitFailed
	}
	return exitOK
}

// loadConfig reads the configuration, and says what is wrong in it.
func (a *App) loadConfig(files []string) (config.Config, bool) {
	cfg, problems := config.Load(files)
	var diags hcl.Diagnostics
	for _, p := range problems {
		d := hcl.Diagnostic{Severity: hcl.SeverityError, Summary: p.Summary, Detail: p.Detail}
		if p.Line > 0 { // else the detail names the file
			d.Range = workflow.Range{File: p.File, Line: p.Line, Column: p.Column}
		}
		diags = append(diags, d)
	}
	shown := source{}
	read := map[string]bool{}
	for _, p := range problems {
		if read[p.File] {
			continue
		}
		read[p.File] = true
		if b, err := hcl.ReadFile(p.File, maxParamFile); err == nil {
			shown.files = append(shown.files, workflow.File{Path: p.File, Bytes: b})
		}
	}
	a.report(shown, diags, false)
	return cfg, len(problems) == 0
}

// reloadOnHangup takes the log level from the configuration at every SIGHUP, and the certificates from their files. A
// configuration with problems changes nothing.
func (a *App) reloadOnHangup(files []string, agent *server.Agent, log hclog.Logger, done <-chan struct{}) {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	for {
		select {
		case <-hangups:
		case <-done:
			return
		}
		cfg, problems := config.Load(files)
		if len(problems) > 0 {
			var words []string
			for _, p := range problems {
				words = append(words, p.Error())
			}
			log.Error("the configuration was not read again: it has problems", "problems", strings.Join(words, "; "))
			continue
		}
		if err := agent.Reload(cfg); err != nil {
			log.Error("the certificates were not read again: those from before stay", "error", err)
			continue
		}
		log.SetLevel(hclog.LevelFromString(cfg.LogLevel))
		log.Info("configuration read again", "log_level", cfg.LogLevel)
	}
}
