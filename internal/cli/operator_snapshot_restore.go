// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/cairnflow/cairn/internal/server"
)

func snapshotRestoreCommand(a *App) *command {
	var asJSON, dry, all, approved bool
	var s snapshotFile
	return &command{
		synopsis: "Restore Cairn's state, or all of Consul, from a snapshot", arguments: "FILE", min: 1, max: 1, predict: predictSnapshot,
		about: `Restores what a snapshot holds of Cairn: it is written beside what is there and read back, and then used from one moment
to the next. Nothing else in Consul is touched, and what was there before stays until you delete it. Servers of
Cairn's may run: they notice, and find in Nomad what has been done since the snapshot before anything new begins.
Interrupted at any moment, the old state is in use or the new one.

With -all it hands the snapshot to Consul: everything in Consul is replaced, also what is not Cairn's.

It works on the Consul that CONSUL_HTTP_ADDR names, with CONSUL_HTTP_TOKEN, which needs key_prefix "cairn/" and sessions
to write, and acl = "write" for -all.

Exit codes: 0 it was done, or would be, 1 it was not, 2 nobody has agreed, or the file cannot be read, 4 Consul does not
answer.`,
		examples: []string{
			"cairn operator snapshot restore -dry-run /var/lib/cairn/backup/cairn-20260131T020000.000Z-AB12CD.snap",
		},
		options: append(s.options(),
			switchOption(&dry, "dry-run", "Say what would change, and change nothing."),
			switchOption(&all, "all", "Replace all of Consul, not only what is Cairn's."),
			switchOption(&approved, "auto-approve", "Do not ask."),
			switchOption(&asJSON, "json", "Print what changes as JSON.")),
		run: func(args []string) int {
			f, r, code := s.open(a, args[0])
			if f == nil {
				return code
			}
			p, err := r.Plan(context.Background(), f)
			if err != nil {
				return a.notRestored(err)
			}
			if err := p.Refusal(); err != nil && !all {
				return a.unsound(err)
			}
			if asJSON {
				a.printJSON(p)
			} else {
				a.print(restorePlanText(p, all))
			}
			if p.Snapshot.Unreadable > 0 {
				a.warnf("%s of the snapshot cannot be read, or is missing, and will be so after the restore: %s.",
					count(p.Snapshot.Unreadable, "piece"), clean(strings.Join(p.Snapshot.Problems, "; ")))
			}
			switch {
			case dry:
				return exitOK
			case !approved && !a.interactive():
				a.errorf("Nothing was done: this is no terminal, so nobody can be asked. Say -auto-approve if that is what you want.")
				return exitUsage
			case !approved && a.question(word(all, "Replace all of Consul? Only \"yes\" will do: ", "Restore this? Only \"yes\" will do: ")) != "yes":
				a.say("Nothing was done.")
				return exitUsage
			}
			if all {
				err = r.RestoreAll(context.Background(), f)
			} else {
				err = r.RestoreOwn(context.Background(), p, f, a.restoreProgress(p))
			}
			if err != nil {
				return a.notRestored(err)
			}
			a.say("%s", restoredText(p, s.prefix, all))
			if p.Leader != "" && !all {
				a.awaitLeader(r)
			}
			return exitOK
		},
	}
}

func (a *App) notRestored(err error) int {
	code := a.unsound(err)
	if errors.As(err, new(*server.UnreachableError)) {
		return exitUnreachable
	}
	return code
}

// restorePlanText says what a restore changes.
func restorePlanText(p server.RestorePlan, all bool) string {
	rows := [][]string{{"Snapshot", fmt.Sprintf("%s; epoch %d", stockText(p.Snapshot), p.Snapshot.Epoch)}}
	if p.Old == "" {
		rows = append(rows, []string{"Consul", "holds nothing of Cairn"})
	} else {
		rows = append(rows, []string{"Consul", fmt.Sprintf("%s, %s, %s; epoch %d, %s", count(p.Present.Active, "active run"), count(p.Present.Ended, "ended run"),
			count(p.Present.Workflows, "workflow"), p.Present.Epoch, cmp.Or(clean(p.Leader), "nobody")+" leads")})
	}
	rows = append(rows,
		[]string{"Changes", fmt.Sprintf("%s that Consul does not know", count(p.Back, "run"))},
		[]string{"", fmt.Sprintf("%s that the snapshot does not know: what of them is in Nomad runs on and becomes orphans", count(p.Unknown, "run"))},
		[]string{"", fmt.Sprintf("%s over now and active in the snapshot: what they did since is found in Nomad", count(p.Reopened, "run"))})
	if all {
		rows = append(rows, []string{"", "everything else in Consul is replaced too: services, sessions, tokens, policies, and all other keys"})
	} else {
		rows = append(rows, []string{"", fmt.Sprintf("%s are written below %s%s/, and the epoch becomes %d", count(p.Snapshot.Keys, "key"), clean(p.Snapshot.Prefix), p.Data, p.Epoch)})
		if p.Unfinished != "" {
			rows = append(rows, []string{"", fmt.Sprintf("what an unfinished restore has left below %s%s/ is removed", clean(p.Snapshot.Prefix), clean(p.Unfinished))})
		}
	}
	return labelled(9, rows)
}

func restoredText(p server.RestorePlan, prefix string, all bool) string {
	if all {
		return "Consul has the state of the snapshot. The servers of Cairn's notice by themselves."
	}
	text := fmt.Sprintf("The state of the snapshot is in use: %s%s/.", clean(prefix), p.Data)
	if p.Old != "" {
		text += fmt.Sprintf(" What was there stays below %s%s/; to delete it: consul kv delete -recurse %s%s/", clean(prefix), clean(p.Old), clean(prefix), clean(p.Old))
	}
	if p.Present.Cluster != "" && p.Present.Cluster != p.Snapshot.Cluster {
		text += "\nThe servers were those of another cluster: start them anew."
	}
	return text
}

// leaderPatience is how long the servers may take to notice a restore: they look at each renewal of a leadership.
const leaderPatience = 30 * time.Second

// awaitLeader tells when one of the servers that run leads with what was restored.
func (a *App) awaitLeader(r *server.Recovery) {
	ctx, cancel := context.WithTimeout(context.Background(), leaderPatience)
	defer cancel()
	name, err := r.AwaitLeader(ctx)
	if err != nil {
		a.warnf("no server leads with it yet: look at their logs, and at \"cairn operator leader\" (%s).", clean(err.Error()))
		return
	}
	a.say("%s leads with it.", cmp.Or(clean(name), "A server"))
}

// progressEach is how many keys are written between two lines that tell of it.
const progressEach = 2000

// restoreProgress tells how far a restore is, on standard error.
func (a *App) restoreProgress(p server.RestorePlan) func(int) {
	told := 0
	return func(keys int) {
		if keys-told >= progressEach || keys == p.Snapshot.Keys {
			told = keys
			a.say("%d of %s written and read back.", keys, count(p.Snapshot.Keys, "key"))
		}
	}
}
