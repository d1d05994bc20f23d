// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package cli

import (
	"fmt"

	"github.com/cairnflow/cairn/internal/api"
)

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

func inspectText(i *inspected) string {
	s := i.Stock
	return labelled(8, [][]string{
		{"Consul", fmt.Sprintf("%s of state at index %d, %s", byteSize(i.Size), i.Index, count(i.Keys, "key"))},
		{"Cairn", stockText(s)},
		{"", fmt.Sprintf("%s below %s, %s, data in %s", count(s.Keys, "key"), clean(s.Prefix), byteSize(s.Bytes), clean(s.Data))},
		{"", fmt.Sprintf("cluster %s, incarnation %s, epoch %d", clean(s.Cluster), clean(s.Incarnation), s.Epoch)},
	})
}
