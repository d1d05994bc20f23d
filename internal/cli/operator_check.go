// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package cli

import (
	"context"
	"fmt"

	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/server"
)

func operatorCheckCommand(a *App) *command {
	var asJSON bool
	return &command{
		synopsis: "Check how Nomad, Consul and the workers are set up",
		about: `Looks at what Cairn depends on, and says what to change: versions, access control, Nomad's heartbeats, gc_max_allocs of
its clients, Consul's limits, the health of the workers, and clocks.

  ok       as it should be
  unknown  it could not be looked at from there
  warn     it works, and not as well as it could
  fail     Cairn does not work, or does not keep its promises, like this

Exit codes: 0 nothing fails, 1 something does, or it cannot be looked at, 4 the server does not answer.`,
		options: []option{switchOption(&asJSON, "json", "Print the findings as JSON.")},
		run: func([]string) int {
			ctx := context.Background()
			return a.operate(ctx, func(r *server.Reader) (int, error) {
				found, err := r.Check(ctx)
				if err != nil {
					return 0, err
				}
				code := exitOK
				counts := map[string]int{}
				for _, f := range found.Findings {
					if counts[f.Level]++; f.Level == api.LevelFail {
						code = exitFailed
					}
				}
				if asJSON {
					a.printJSON(found)
					return code, nil
				}
				a.print(findingTable(found.Findings, a.screenOf(a.Stdout)))
				a.say("%s.", checkSummary(counts))
				return code, nil
			})
		},
	}
}

// findingTable lays findings out in columns, with what to change below them.
func findingTable(list []api.Finding, out screen) string {
	rows := [][]string{{"LEVEL", "ABOUT", "SUBJECT", "FINDING"}}
	for _, f := range list {
		rows = append(rows, []string{clean(f.Level), clean(f.About), clean(f.Subject), clean(f.Finding)})
		if f.Advice != "" {
			rows = append(rows, []string{"", "", "", "-> " + clean(f.Advice)})
		}
	}
	return painted(rows, func(column int, text, cell string) string {
		if column == 0 {
			return out.paint(text, levelStyle(cell))
		}
		return text
	})
}

func checkSummary(counts map[string]int) string {
	return fmt.Sprintf("%d ok, %d unknown, %d to look at, %d failing",
		counts[api.LevelOK], counts[api.LevelUnknown], counts[api.LevelWarn], counts[api.LevelFail])
}

func levelStyle(level string) style {
	switch level {
	case api.LevelOK:
		return statusStyle("succeeded")
	case api.LevelFail:
		return statusStyle("failed")
	case api.LevelWarn:
		return statusStyle("running")
	}
	return statusStyle("waiting")
}
