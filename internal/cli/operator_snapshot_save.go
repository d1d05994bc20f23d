// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package cli

import (
	"context"
	"fmt"

	"github.com/cairnflow/cairn/internal/server"
)

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
