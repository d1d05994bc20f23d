// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package cli

import (
	"cmp"
	"context"
	"time"

	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/server"
)

func operatorAuditCommand(a *App) *command {
	var day string
	var asJSON bool
	return &command{
		synopsis: "Show who changed what",
		about: `Shows what callers of the servers changed on a day: when (UTC), who, what, of which run, with which outcome, and
from which address. An outcome that is not known is of a server that ended in between. Records are kept for 90
days. What was refused stands in the logs of the servers only.`,
		options: []option{
			textOption(&day, "day", "DAY", "The day, as in 2006-01-02, of UTC. Today by default."),
			switchOption(&asJSON, "json", "Print the records as JSON, with their accessors."),
		},
		run: func([]string) int {
			ctx := context.Background()
			return a.operate(ctx, func(r *server.Reader) (int, error) {
				kept, err := r.Audit(ctx, day)
				switch {
				case err != nil:
					return 0, err
				case asJSON:
					a.printJSON(kept)
				case len(kept.Records) == 0:
					a.say("Nothing was changed on %s.", clean(kept.Day))
				default:
					a.print(auditTable(kept.Records, a.screenOf(a.Stdout)))
				}
				return exitOK, nil
			})
		},
	}
}

func auditTable(list []api.AuditRecord, out screen) string {
	rows := [][]string{{"AT", "WHO", "WHAT", "RUN", "WORKFLOW", "OUTCOME", "FROM"}}
	for _, r := range list {
		rows = append(rows, []string{
			r.At.UTC().Format(time.TimeOnly), clean(cmp.Or(r.Who, r.Accessor, "-")), clean(r.Action), clean(cmp.Or(r.Run, "-")),
			clean(cmp.Or(r.Workflow, "-")), clean(cmp.Or(r.Outcome, "not known")), clean(r.From),
		})
	}
	return painted(rows, func(column int, text, cell string) string {
		if column == 5 && cell != "done" {
			return out.paint(text, statusStyle("failed"))
		}
		return text
	})
}
