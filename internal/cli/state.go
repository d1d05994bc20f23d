// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/hashicorp/go-hclog"
	"github.com/posener/complete"

	"github.com/cairnflow/cairn/internal/server"
	"github.com/cairnflow/cairn/internal/workflow"
)

// logLevelEnv asks for the scheduler's log on standard error; without it there is none.
const logLevelEnv = "CAIRN_LOG_LEVEL"

// serverConfig is what this process gives to the runs it drives or reads.
func (a *App) serverConfig() (server.Config, error) {
	dir, err := server.StateDir(a.Getenv)
	if err != nil {
		return server.Config{}, err
	}
	logger, err := a.logger()
	if err != nil {
		return server.Config{}, err
	}
	supervisor := a.Supervisor
	if supervisor == nil {
		self, err := os.Executable()
		if err != nil {
			return server.Config{}, fmt.Errorf("find the program itself: %w", err)
		}
		supervisor = []string{self, "supervise"}
	}
	to, err := a.remote()
	if err != nil {
		return server.Config{}, err
	}
	return server.Config{
		StateDir: dir, Server: to, Version: Version, Logger: logger, Getenv: a.Getenv, Supervisor: supervisor,
	}, nil
}

func (a *App) logger() (hclog.Logger, error) {
	text := a.Getenv(logLevelEnv)
	if text == "" {
		return hclog.NewNullLogger(), nil
	}
	level := hclog.LevelFromString(text)
	if level == hclog.NoLevel {
		return nil, fmt.Errorf("%s is %q; want trace, debug, info, warn, error or off", logLevelEnv, text)
	}
	return hclog.New(&hclog.LoggerOptions{Name: "cairn", Level: level, Output: a.Stderr}), nil
}

// sentence makes an error of Go a sentence for people.
func sentence(err error) string {
	text := strings.TrimSpace(err.Error())
	if text == "" {
		return "Something went wrong, and nobody said what."
	}
	first, size := utf8.DecodeRuneInString(text)
	// A first word with a capital or a sign inside is a name: "/tmp/x", "NOMAD_ADDR".
	word, _, _ := strings.Cut(text, " ")
	if unicode.IsLower(first) && strings.IndexFunc(word, func(r rune) bool { return !unicode.IsLower(r) && r != ':' }) < 0 {
		text = string(unicode.ToUpper(first)) + text[size:]
	}
	if !strings.HasSuffix(text, ".") && !strings.HasSuffix(text, "?") && !strings.HasSuffix(text, "!") {
		text += "."
	}
	return text
}

// open finds a run by its ID or the beginning of one. On failure it has said why, and the code is what to exit with.
func (a *App) open(text string) (r *server.Reader, id workflow.RunID, code int) {
	cfg, err := a.serverConfig()
	if err != nil {
		return nil, "", a.broken(err)
	}
	if id, err = server.Find(context.Background(), cfg, text); err == nil {
		r, err = server.Read(context.Background(), cfg, id)
	}
	if err != nil {
		return nil, "", a.unanswered(err)
	}
	return r, id, exitOK
}

// asked is the server of a command that needs one. On failure it has said why, and the code is what to exit with.
func (a *App) asked(ctx context.Context) (r *server.Reader, code int) {
	cfg, err := a.serverConfig()
	if err != nil {
		return nil, a.broken(err)
	}
	if cfg.Server.Address == "" {
		a.errorf("This asks a server, and neither -address nor %s names one: export %s=http://127.0.0.1:4680, or where one is.", addressEnv, addressEnv)
		return nil, exitUsage
	}
	if r, err = server.Remote(ctx, cfg); err != nil {
		return nil, a.unanswered(err)
	}
	return r, exitOK
}

// unanswered says that a command did not get done: because nobody answers, or because of what was answered.
func (a *App) unanswered(err error) int {
	code := a.broken(err)
	if to, none := a.remote(); away(err) && none == nil && to.Address != "" {
		return exitUnreachable
	}
	return code
}

// runIDs are the names of the run folders, oldest first.
func runIDs(stateDir string) []string {
	entries, err := os.ReadDir(filepath.Join(stateDir, "runs"))
	if err != nil {
		return nil // nothing to complete
	}
	var out []string
	for _, e := range entries {
		if _, err := workflow.ParseRunID(e.Name()); err == nil {
			out = append(out, e.Name())
		}
	}
	return out
}

// predictRuns completes run IDs, newest first.
func (a *App) predictRuns() complete.Predictor {
	return complete.PredictFunc(func(complete.Args) []string {
		dir, err := server.StateDir(a.Getenv)
		if err != nil {
			return nil
		}
		ids := runIDs(dir)
		slices.Reverse(ids)
		return ids
	})
}
