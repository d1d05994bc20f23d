// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/posener/complete"

	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/backup"
	"github.com/cairnflow/cairn/internal/server"
)

func snapshotCommand(*App) *command {
	return groupCommand("Back up and restore", `Commands for backups: snapshots of all of Consul, which the server that leads takes by itself. Those that name a FILE
need no server of Cairn's; "restore" works on the Consul that CONSUL_HTTP_ADDR names, with CONSUL_HTTP_TOKEN.`)
}

// snapshotFile is what commands that read a file are told.
type snapshotFile struct {
	keys   string // file with private keys
	prefix string
}

func (s *snapshotFile) options() []option {
	s.prefix = "cairn/"
	return []option{
		predicted(textOption(&s.keys, "identity", "FILE", "File with the private key of age (AGE-SECRET-KEY-…), for a snapshot that is encrypted."), complete.PredictFiles("*")),
		textOption(&s.prefix, "prefix", "PREFIX", "Prefix of Cairn's keys in Consul, as its servers have it in consul.prefix; cairn/ by default."),
	}
}

// open makes what reads the file, and what is behind it.
func (s *snapshotFile) open(a *App, path string) (*backup.File, *server.Recovery, int) {
	f, err := backup.NewFile(path, s.keys)
	if err != nil {
		a.errorf("%s.", err)
		return nil, nil, exitUsage
	}
	r, err := server.NewRecovery(s.prefix, hclog.New(&hclog.LoggerOptions{Name: "cairn", Level: hclog.Warn, Output: a.Stderr}))
	if err != nil {
		a.errorf("%s.", err)
		return nil, nil, exitUsage
	}
	return f, r, exitOK
}

var predictSnapshot = complete.PredictOr(complete.PredictFiles("*.snap"), complete.PredictFiles("*.snap.age"))

func snapshotSaveCommand(a *App) *command {
	var asJSON bool
	return &command{
		synopsis: "Take a snapshot now",
		about: `Has the server that leads take a snapshot of all of Consul into its backup.folder, now, beside those that it takes by
itself. It is read to its end, and read back, before it counts.

Exit codes: 0 it was taken, 1 it was not, or something that is stored cannot be read, 4 the server does not answer.`,
		options: []option{switchOption(&asJSON, "json", "Print what was taken as JSON.")},
		run: func([]string) int {
			return a.operate(context.Background(), func(r *server.Reader) (int, error) {
				taken, err := r.SaveSnapshot(context.Background())
				if err != nil {
					return 0, err
				}
				if asJSON {
					a.printJSON(taken)
					return a.unreadable(taken.Stock), nil
				}
				a.print(fmt.Sprintf("%s was taken by %s: %s, with %s.\n", clean(taken.Name), clean(taken.By), byteSize(taken.Size), stockText(taken.Stock)))
				return a.unreadable(taken.Stock), nil
			})
		},
	}
}

// unreadable says what is wrong with what a snapshot holds.
func (a *App) unreadable(s api.BackupStock) int {
	if s.Unreadable == 0 {
		return exitOK
	}
	a.errorf("%s of what was stored cannot be read, or is missing: %s.", count(s.Unreadable, "piece"), clean(strings.Join(s.Problems, "; ")))
	return exitFailed
}

func snapshotListCommand(a *App) *command {
	var asJSON bool
	var folder string
	return &command{
		synopsis: "List the snapshots",
		about: `Lists the snapshots in the backup.folder of the server that leads, the newest first, and says when the next one is due
and whether the last try failed. With -folder it lists a folder of this machine and asks nobody.

Exit codes: 0 they were listed, 1 one is overdue or the last try failed, 4 the server does not answer.`,
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
				return a.listSnapshots(api.Backups{Backups: append([]api.Backup{}, list...), Folder: folder, Trouble: joined(problems)}, asJSON)
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

func joined(problems []error) string {
	if err := errors.Join(problems...); err != nil {
		return strings.ReplaceAll(err.Error(), "\n", "; ")
	}
	return ""
}

func (a *App) listSnapshots(known api.Backups, asJSON bool) int {
	code := exitOK
	if known.Overdue || known.Trouble != "" {
		code = exitFailed
	}
	if asJSON {
		a.printJSON(known)
		return code
	}
	if len(known.Backups) > 0 {
		rows := [][]string{{"NAME", "TAKEN", "BY", "SIZE", "ACTIVE", "ENDED", "WORKFLOWS", "EPOCH", "ENCRYPTED"}}
		for _, b := range known.Backups {
			rows = append(rows, []string{
				clean(b.Name), ago(a.Now(), b.TakenAt), clean(b.By), byteSize(b.Size), strconv.Itoa(b.Stock.Active), strconv.Itoa(b.Stock.Ended), strconv.Itoa(b.Stock.Workflows),
				fmt.Sprint(b.Stock.Epoch), word(b.Encrypted, "yes", "no"),
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
	if known.Overdue {
		a.errorf("One is overdue.")
	}
	if known.Trouble != "" {
		a.errorf("The last try failed, or what is there cannot be read: %s.", clean(known.Trouble))
	}
	return code
}

// inspected is what is told of a snapshot in a file.
type inspected struct {
	Index   uint64          `json:"index"` // of Consul
	Size    int64           `json:"size"`  // of the state, in bytes
	Keys    int             `json:"keys"`
	Records map[string]int  `json:"records"`
	Stock   api.BackupStock `json:"stock"`
}

func snapshotInspectCommand(a *App) *command {
	var asJSON bool
	var s snapshotFile
	return &command{
		synopsis: "Show what a snapshot holds", arguments: "FILE", min: 1, max: 1, predict: predictSnapshot,
		about: `Reads a snapshot to its end, with all of its checksums, and shows what it holds of Consul and of Cairn. The snapshots
of "consul snapshot save" will do too.

Exit codes: 0 it is sound, 1 it is not, or holds nothing of Cairn, 2 it cannot be read.`,
		options: append(s.options(), switchOption(&asJSON, "json", "Print it as JSON.")),
		run: func(args []string) int {
			f, r, code := s.open(a, args[0])
			if f == nil {
				return code
			}
			found, stock, err := r.Survey(f)
			if err != nil {
				return a.unsound(err)
			}
			out := inspected{Index: found.Index, Size: found.Size, Keys: found.Keys, Records: found.Records, Stock: stock}
			if asJSON {
				a.printJSON(out)
				return a.unreadable(stock)
			}
			a.print(inspectText(&out))
			return a.unreadable(stock)
		},
	}
}

// unsound says why a snapshot cannot be used.
func (a *App) unsound(err error) int {
	a.errorf("%s.", clean(err.Error()))
	if errors.Is(err, backup.ErrEncrypted) || errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return exitUsage
	}
	return exitFailed
}

func inspectText(i *inspected) string {
	s := i.Stock
	rows := [][]string{
		{"Consul", fmt.Sprintf("%s of state at index %d, %s", byteSize(i.Size), i.Index, count(i.Keys, "key"))},
		{"Cairn", stockText(s)},
		{"", fmt.Sprintf("%s below %s, %s, data in %s", count(s.Keys, "key"), clean(s.Prefix), byteSize(s.Bytes), clean(s.Data))},
		{"", fmt.Sprintf("cluster %s, incarnation %s, epoch %d", clean(s.Cluster), clean(s.Incarnation), s.Epoch)},
	}
	var b strings.Builder
	for _, row := range rows {
		fmt.Fprintf(&b, "%-8s %s\n", row[0], row[1])
	}
	return b.String()
}

func stockText(s api.BackupStock) string {
	return fmt.Sprintf("%s, %s, %s, %s",
		count(s.Active, "active run"), count(s.Ended, "ended run"), count(s.Workflows, "workflow"), count(s.Definitions, "definition"))
}

func snapshotVerifyCommand(a *App) *command {
	var asJSON bool
	var s snapshotFile
	return &command{
		synopsis: "Check that a snapshot is sound", arguments: "FILE", min: 1, max: 1, predict: predictSnapshot,
		about: `Reads a snapshot to its end, with all of its checksums, decodes what is Cairn's, and compares the file with the manifest
beside it where there is one. Of an encrypted snapshot without -identity only the file is compared.

Exit codes: 0 it is sound, 1 it is not, 2 it cannot be read.`,
		options: append(s.options(), switchOption(&asJSON, "json", "Print what it holds as JSON.")),
		run: func(args []string) int {
			f, r, code := s.open(a, args[0])
			if f == nil {
				return code
			}
			path := args[0]
			m, err := backup.ManifestOf(context.Background(), backup.Folder(filepath.Dir(path)), filepath.Base(path))
			beside := !errors.Is(err, fs.ErrNotExist)
			if err == nil {
				err = f.Compare(m)
			}
			if err != nil && beside {
				return a.unsound(err)
			}
			_, stock, err := r.Survey(f)
			if beside && errors.Is(err, backup.ErrEncrypted) {
				if asJSON {
					a.printJSON(m.Stock)
				}
				a.say("%s is the file that was written. What is in it, by its manifest, takes -identity to be read.", clean(path))
				return exitOK
			}
			if err != nil {
				return a.unsound(err)
			}
			if asJSON {
				a.printJSON(stock)
				return a.unreadable(stock)
			}
			if code := a.unreadable(stock); code != exitOK {
				return code
			}
			a.say("%s is sound: %s%s.", clean(path), stockText(stock), word(beside, "", "; there is no manifest beside it to compare it with"))
			return exitOK
		},
	}
}

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
	var b strings.Builder
	for _, row := range rows {
		fmt.Fprintf(&b, "%-9s %s\n", row[0], row[1])
	}
	return b.String()
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
