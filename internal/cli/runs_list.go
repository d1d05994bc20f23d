// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package cli

import (
	"context"
	"errors"
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
	q.Labels = map[string]string{}
	var asJSON bool
	c := &command{
		synopsis: "List runs, the newest first",
		about: `Lists the runs of the server that -address or CAIRN_ADDR names; without one those of this user on this machine, those
on Nomad too. The newest come first. Runs that another run started are listed with -children only. What
has left the server's store for its archive is listed too, and marked.`,
		examples: []string{"cairn runs list", "cairn runs list -status failed -status cancelled -since 24h", "cairn runs list -label team=data"},
		options: []option{
			predicted(funcOption("status", "STATUS", "Only runs with this status: "+strings.Join(runStatuses, ", ")+". May be repeated: one of them.",
				func(status string) error {
					if !slices.Contains(runStatuses, status) {
						return errors.New(noStatus(status, runStatuses))
					}
					q.Status = append(q.Status, status)
					return nil
				}), complete.PredictSet(runStatuses...)),
			textOption(&q.Workflow, "workflow", "NAME", "Only runs of this workflow."),
			textOption(&q.Namespace, "namespace", "NAME", "Only runs in this namespace of Cairn."),
			funcOption("label", "NAME=VALUE", "Only runs with this label. May be repeated: all of them.", func(text string) error {
				name, value, ok := strings.Cut(text, "=")
				if !ok || name == "" {
					return fmt.Errorf("-label %s: want NAME=VALUE", text)
				}
				if before, twice := q.Labels[name]; twice && before != value {
					return fmt.Errorf("-label %s is given twice, with two values: no run has both", name)
				}
				q.Labels[name] = value
				return nil
			}),
			funcOption("since", "TIME", "Only runs that were created then or later: a time such as 2026-01-31T08:00:00Z, or how long ago, such as 24h.",
				func(text string) error {
					if at, err := time.Parse(time.RFC3339, text); err == nil {
						q.Since = at
						return nil
					}
					d, err := time.ParseDuration(text)
					if err != nil || d <= 0 {
						return fmt.Errorf("-since %s: want a duration such as 30m or 24h, or a time such as 2026-01-31T08:00:00Z", text)
					}
					q.Since = a.Now().Add(-d)
					return nil
				}),
			switchOption(&q.Children, "children", "Child runs too: those that a task of another run started."),
			numberOption(&q.Limit, "limit", "NUMBER", "At most so many runs; 0 lists all. The default is 20."),
			switchOption(&asJSON, "json", "Print the list as JSON."),
			a.staleOption(),
		},
	}
	c.run = func([]string) int {
		if q.Limit < 0 {
			return c.usageError("-limit must not be negative")
		}
		return a.listRuns(q, asJSON)
	}
	return c
}

// noStatus refuses a -status that nothing can have.
func noStatus(status string, statuses []string) string {
	return fmt.Sprintf("-status %s: there is no such status; there are %s", status, strings.Join(statuses, ", "))
}

func (a *App) listRuns(q server.Query, asJSON bool) int {
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
		a.say("The newest %d; -limit 0 lists all.", q.Limit)
	}
	return exitOK
}

// runTable lays runs out in columns; where there are child runs, with their parents, and where there are archived ones, with
// where each is kept.
func runTable(runs []api.RunEntry, now time.Time, out screen) string {
	nameWidth, parents, archived := len("WORKFLOW"), false, false
	for _, r := range runs {
		nameWidth = max(nameWidth, utf8.RuneCountInString(clean(r.Workflow)))
		parents, archived = parents || r.Parent != "", archived || r.Archived
	}
	kept := func(where string) string {
		if !archived {
			return ""
		}
		return pad(where, len("archive")) + "  "
	}
	startedBy := func(id string) string {
		if !parents {
			return ""
		}
		return pad(id, 20) + "  "
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%-20s  %s  %-9s  %-9s  %-7s  %s%s%s\n",
		"ID", pad("WORKFLOW", nameWidth), "STATUS", "STARTED", "TOOK", kept("KEPT IN"), startedBy("STARTED BY"), "REASON")
	for _, r := range runs {
		took := ""
		if !r.StartedAt.IsZero() {
			took = lasting(timeOr(r.EndedAt, now).Sub(r.StartedAt))
		}
		where := "store"
		if r.Archived {
			where = "archive"
		}
		line := fmt.Sprintf("%-20s  %s  %s  %-9s  %-7s  %s%s%s", r.ID, pad(clean(r.Workflow), nameWidth),
			out.paint(pad(r.Status, 9), statusStyle(r.Status)), lasting(now.Sub(r.CreatedAt))+" ago", took, kept(where), startedBy(r.Parent), clean(r.Reason))
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	return b.String()
}
