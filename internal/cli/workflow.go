// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package cli

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"io"
	"os"
	"strings"

	"github.com/posener/complete"
	"golang.org/x/term"

	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/client"
)

func workflowCommand(*App) *command {
	return groupCommand("Apply, list, show, delete and run workflows that servers keep",
		`Commands for the workflows that are registered at the server that CAIRN_ADDR names, each under its name
and with the versions it has had. A run keeps the definition that it was started with, whatever becomes
of the workflow.`)
}

// denied says that a server has refused something, or does not answer.
func (a *App) denied(err error, asJSON bool) int {
	var answer *api.Error
	switch {
	case errors.As(err, &answer) && answer.Code == api.CodeInvalid && len(answer.Diagnostics) > 0:
		a.reportRemote(answer.Diagnostics, asJSON)
		return exitUsage
	case said(err, api.CodeInvalid), said(err, api.CodeBadRequest), said(err, api.CodeTooLarge), said(err, api.CodeNotFound):
		return a.refuse(err)
	}
	return a.unanswered(err)
}

// namespaceOption is the namespace of a registered workflow.
func namespaceOption(target *string) option {
	return textOption(target, "namespace", "NAME", "Namespace that the workflow's files name. The default is \"default\".")
}

// interactive reports whether somebody sits at standard input, who can be asked.
func (a *App) interactive() bool {
	f, ok := a.Stdin.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// longestAnswer bounds what is read of an answer: more is none.
const longestAnswer = 1 << 10

// question asks a question and reads a line. No line is no answer.
func (a *App) question(text string) string {
	_, _ = io.WriteString(a.Stderr, text) // whoever does not see it does not answer
	line, err := bufio.NewReader(io.LimitReader(a.Stdin, longestAnswer)).ReadString('\n')
	if err != nil {
		a.say("")
		return ""
	}
	return strings.TrimSpace(line)
}

// predictRegistered completes the name of a registered workflow; none when they are not known at once.
func (a *App) predictRegistered() complete.Predictor {
	return complete.PredictFunc(func(complete.Args) []string {
		c, ctx, end := a.quickly()
		if c == nil {
			return nil
		}
		defer end()
		list, err := c.Workflows(ctx, client.WorkflowsQuery{PerPage: maxPerPage})
		if err != nil {
			return nil
		}
		var names []string
		for _, w := range list.Workflows {
			names = append(names, w.Name)
		}
		return names
	})
}

// predictRegisteredParams completes NAME= of -param, for the registered workflow whose name stands on the line.
func (a *App) predictRegisteredParams() complete.Predictor {
	return complete.PredictFunc(func(args complete.Args) []string {
		c, ctx, end := a.quickly()
		if c == nil {
			return nil
		}
		defer end()
		var out []string
		for _, word := range args.Completed {
			if strings.HasPrefix(word, "-") || len(out) > 0 {
				continue
			}
			w, err := c.Workflow(ctx, client.WorkflowQuery{Name: word})
			if err != nil {
				continue
			}
			for _, p := range w.Params {
				out = append(out, p.Name+"=")
			}
		}
		return out
	})
}

// quickly is a client of the server for a completion; nil when there is none.
func (a *App) quickly() (*client.Client, context.Context, func()) {
	to, err := a.remote()
	if err != nil || to.Address == "" {
		return nil, nil, nil
	}
	c, err := client.TCP(to)
	if err != nil {
		return nil, nil, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), cmp.Or(a.patience, completePatience))
	return c, ctx, func() {
		cancel()
		c.Close()
	}
}
