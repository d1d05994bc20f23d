// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package cli

import (
	"cmp"
	"context"

	"github.com/cairnflow/cairn/internal/server"
)

func operatorOrphansCommand(a *App) *command {
	var asJSON bool
	return &command{
		synopsis: "List jobs whose runs the store does not know",
		about: `Lists the jobs of Cairn's that run on in Nomad and whose runs the store does not know. That is so after the
store was restored from a backup which is older than they. They are left alone: let them end, or stop them with
"nomad job stop".

Exit codes: 0 they were listed, also where there are none, 1 they cannot be listed, 4 the server does not answer.`,
		options: []option{switchOption(&asJSON, "json", "Print the list as JSON.")},
		run: func([]string) int {
			ctx := context.Background()
			return a.operate(ctx, func(r *server.Reader) (int, error) {
				known, err := r.Orphans(ctx)
				if err != nil {
					return 0, err
				}
				switch {
				case asJSON:
					a.printJSON(known)
				case len(known.Orphans) == 0:
					a.say("There are none.")
				default:
					rows := [][]string{{"RUN", "REGION", "NAMESPACE", "JOB", "STATUS", "SUBMITTED"}}
					for _, o := range known.Orphans {
						rows = append(rows, []string{clean(o.Run), clean(cmp.Or(o.Region, "-")), clean(o.Namespace), clean(o.JobID), clean(o.Status), ago(a.Now(), o.SubmittedAt)})
					}
					a.print(listing(rows))
				}
				return exitOK, nil
			})
		},
	}
}
