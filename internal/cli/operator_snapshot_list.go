// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/posener/complete"

	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/backup"
	"github.com/cairnflow/cairn/internal/server"
)

func snapshotListCommand(a *App) *command {
	var asJSON bool
	var folder string
	return &command{
		synopsis: "List the snapshots",
		about: `Lists the snapshots in the backup.folder of the server that leads, the newest first, and says when the next one is due
and whether the last try failed. With -folder it lists a folder of this machine and asks nobody.

Exit codes: 0 they were listed, 1 one is overdue, or the last try or the last drill failed, 4 the server does not answer.`,
		options: []option{
			predicted(textOption(&folder, "folder", "FOLDER", "List this folder on this machine."), complete.PredictDirs("*")),
			switchOption(&asJSON, "json", "Print the list as JSON."),
		},
		run: func([]string) int {
			ctx := context.Background()
			if folder != "" {
				list, problems, err := backup.List(ctx, backup.Folder(folder))
				if err != nil {
					a.errorf("%s.", err)
					return exitFailed
				}
				return a.listSnapshots(api.Backups{Backups: append([]api.Backup{}, list...), Folder: folder, Drilled: backup.LastDrilled(list, func(api.Backup) bool { return true }), Trouble: joined(problems)}, asJSON)
			}
			return a.operate(ctx, func(r *server.Reader) (int, error) {
				known, err := r.Snapshots(ctx)
				if err != nil {
					return 0, err
				}
				return a.listSnapshots(known, asJSON), nil
			})
		},
	}
}

// drillWord says whether a drill was made of a snapshot, and what came of it.
func (a *App) drillWord(d *api.BackupDrill) string {
	switch {
	case d == nil:
		return "-"
	case d.Good():
		return ago(a.Now(), d.At)
	}
	return "failed " + ago(a.Now(), d.At)
}

func joined(problems []error) string {
	if err := errors.Join(problems...); err != nil {
		return strings.ReplaceAll(err.Error(), "\n", "; ")
	}
	return ""
}

func (a *App) listSnapshots(known api.Backups, asJSON bool) int {
	code, drilled := exitOK, known.LastDrilled()
	if known.Overdue || known.Trouble != "" || drilled != nil && !drilled.Drill.Good() {
		code = exitFailed
	}
	if asJSON {
		a.printJSON(known)
		return code
	}
	if len(known.Backups) > 0 {
		rows := [][]string{{"NAME", "TAKEN", "BY", "SIZE", "ACTIVE", "ENDED", "WORKFLOWS", "EPOCH", "ENCRYPTED", "DRILLED"}}
		for _, b := range known.Backups {
			rows = append(rows, []string{
				clean(b.Name), ago(a.Now(), b.TakenAt), clean(b.By), byteSize(b.Size), strconv.Itoa(b.Stock.Active), strconv.Itoa(b.Stock.Ended), strconv.Itoa(b.Stock.Workflows),
				fmt.Sprint(b.Stock.Epoch), word(b.Encrypted, "yes", "no"), a.drillWord(b.Drill),
			})
		}
		a.print(listing(rows))
	}
	text := fmt.Sprintf("%s in %s.", count(len(known.Backups), "snapshot"), clean(known.Folder))
	if known.Interval != "" && known.NextAt != nil {
		text += fmt.Sprintf(" One is taken every %s, the next in %s.", clean(known.Interval), lasting(max(0, known.NextAt.Sub(a.Now()))))
	}
	if known.Running {
		text += " One is being taken."
	}
	a.say("%s", text)
	if drilled != nil && !drilled.Drill.Good() {
		a.errorf("The drill of %s failed: %s.", clean(drilled.Name), clean(strings.Join(drilled.Drill.Broken, "; ")))
	}
	if known.Overdue {
		a.errorf("One is overdue.")
	}
	if known.Trouble != "" {
		a.errorf("The last try failed, or what is there cannot be read: %s.", clean(known.Trouble))
	}
	return code
}
