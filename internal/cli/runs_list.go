// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/posener/complete"

	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/server"
)

// runStatuses are what -status takes.
var runStatuses = []string{"queued", "running", "pausing", "paused", "stopping", "succeeded", "failed", "cancelled", "skipped"}

func runsListCommand(a *App) *command {
	q := server.Query{Limit: 20}
	var since time.Duration
	var asJSON bool
	c := &command{
		synopsis: "List runs, the newest first",
		about: `Lists the runs of the server that -address or CAIRN_ADDR names; without one those of this user on this machine, those
on Nomad too. The newest come first. Runs that another run started are listed with -children only.`,
		examples: []string{"cairn runs list", "cairn runs list -status failed -since 24h"},
		options: []option{
			{
				name: "status", value: "STATUS", usage: "Only runs with this status: " + strings.Join(runStatuses, ", ") + ".",
				bind: textOption(&q.Status, "status", "", "").bind, predict: complete.PredictSet(runStatuses...),
			},
			textOption(&q.Workflow, "workflow", "NAME", "Only runs of this workflow."),
			funcOption("since", "DURATION", "Only runs that were started so long ago at most, for example 24h.", func(text string) error {
				d, err := time.ParseDuration(text)
				if err != nil || d <= 0 {
					return fmt.Errorf("-since %s: want a duration such as 30m or 24h", text)
				}
				since = d
				return nil
			}),
			switchOption(&q.Children, "children", "Child runs too: those that a task of another run started."),
			numberOption(&q.Limit, "n", "NUMBER", "At most so many runs; 0 lists all. The default is 20."),
			switchOption(&asJSON, "json", "Print the list as JSON."),
		},
	}
	c.run = func([]string) int {
		switch {
		case q.Status != "" && !slices.Contains(runStatuses, q.Status):
			return c.usageError(noStatus(q.Status, runStatuses))
		case q.Limit < 0:
			return c.usageError("-n must not be negative")
		}
		return a.listRuns(q, since, asJSON)
	}
	return c
}

// noStatus refuses a -status that nothing can have.
func noStatus(status string, statuses []string) string {
	return fmt.Sprintf("-status %s: there is no such status; there are %s", status, strings.Join(statuses, ", "))
}

func (a *App) listRuns(q server.Query, since time.Duration, asJSON bool) int {
	cfg, err := a.serverConfig()
	if err != nil {
		return a.broken(err)
	}
	runs, problems, err := server.List(context.Background(), cfg, q)
	if err != nil {
		return a.unanswered(err)
	}
	for _, p := range problems {
		a.warnf("%s", sentence(p))
	}
	now := a.Now()
	if since > 0 {
		runs = slices.DeleteFunc(runs, func(r api.RunEntry) bool { return now.Sub(r.CreatedAt) > since })
	}
	if asJSON {
		a.printJSON(api.Runs{Runs: append([]api.RunEntry{}, runs...)})
		return exitOK
	}
	if len(runs) == 0 {
		if cfg.Server.Address != "" {
			a.say("No runs on the server at %s.", cfg.Server.Address)
		} else {
			a.say("No runs in %s.", cfg.StateDir)
		}
		return exitOK
	}
	a.print(runTable(runs, now, a.screenOf(a.Stdout)))
	if q.Limit > 0 && len(runs) == q.Limit {
		a.say("The newest %d; -n 0 lists all.", q.Limit)
	}
	return exitOK
}

// runTable lays runs out in columns; where there are child runs, with their parents.
func runTable(runs []api.RunEntry, now time.Time, out screen) string {
	nameWidth, parents := len("WORKFLOW"), false
	for _, r := range runs {
		nameWidth = max(nameWidth, utf8.RuneCountInString(clean(r.Workflow)))
		parents = parents || r.Parent != ""
	}
	startedBy := func(id string) string {
		if !parents {
			return ""
		}
		return pad(id, 20) + "  "
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%-20s  %s  %-9s  %-9s  %-7s  %s%s\n",
		"ID", pad("WORKFLOW", nameWidth), "STATUS", "STARTED", "TOOK", startedBy("STARTED BY"), "REASON")
	for _, r := range runs {
		took := ""
		if !r.StartedAt.IsZero() {
			took = lasting(timeOr(r.EndedAt, now).Sub(r.StartedAt))
		}
		line := fmt.Sprintf("%-20s  %s  %s  %-9s  %-7s  %s%s", r.ID, pad(clean(r.Workflow), nameWidth),
			out.paint(pad(r.Status, 9), statusStyle(r.Status)), lasting(now.Sub(r.CreatedAt))+" ago", took, startedBy(r.Parent), clean(r.Reason))
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	return b.String()
}
