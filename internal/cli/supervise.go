// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package cli

import (
	"context"
	"os/signal"
	"syscall"

	"github.com/cairnflow/cairn/internal/server"
)

// superviseCommand is hidden: `cairn run -local` starts it to keep the tasks of one run as its children.
func superviseCommand(a *App) *command {
	return &command{
		synopsis:  "Keep the processes of one local run",
		arguments: "FOLDER",
		min:       1,
		max:       1,
		about:     `Started by "cairn run -local", never by hand: it outlives a killed cairn, so that its tasks do.`,
		run: func(args []string) int {
			ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
			defer stop()
			if err := server.Supervise(ctx, args); err != nil {
				return a.broken(err)
			}
			return exitOK
		},
	}
}
