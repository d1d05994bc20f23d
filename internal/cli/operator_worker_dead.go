// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package cli

import (
	"context"
	"fmt"

	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/server"
)

func operatorWorkerDeadCommand(a *App) *command {
	var req api.WorkerDeadRequest
	var asJSON, approved bool
	return &command{
		synopsis:  "Say that a machine is off, so that nobody waits for it",
		arguments: "WORKER",
		min:       1,
		max:       1,
		about: `Says that the machine of a worker is off, or that nothing of it runs any more. A task whose worker is lost waits
until it has certainly been stopped there, stop_after of its on_worker_loss and a little more, before it is tried
again. This ends the wait: what ran on the worker is lost, and is tried again elsewhere at once.

If the machine is in fact alive, a task may run twice at the same time. A worker whose Nomad client still answers is
refused: drain it instead. WORKER is a name, or the beginning of a node's ID.

Exit codes: 0 it was done, 1 there is no such worker, or its client answers, 2 nobody has agreed, 4 the server does not
answer.`,
		examples: []string{`cairn operator worker-dead worker-3 -reason "power supply burnt"`},
		options: []option{
			textOption(&req.Reason, "reason", "TEXT", "Why; it stands with the attempts that are given up."),
			switchOption(&approved, "auto-approve", "Do not ask."),
			switchOption(&asJSON, "json", "Print the answer as JSON."),
		},
		run: func(args []string) int {
			req.Worker, req.By = args[0], a.user()
			return a.operate(context.Background(), func(r *server.Reader) (int, error) {
				if !approved && !a.interactive() {
					a.errorf("Nothing was done: this is no terminal, so nobody can be asked. Say -auto-approve if the machine is certainly off.")
					return exitUsage, nil
				}
				if !approved {
					known, err := r.Workers(context.Background())
					if err != nil {
						return 0, err
					}
					w := workerNamed(known.Workers, req.Worker)
					if w == nil {
						a.errorf("there is no worker %s, or there are several. \"cairn operator workers\" lists them.", clean(req.Worker))
						return exitFailed, nil
					}
					if a.question(offQuestion(w)) != "yes" {
						a.say("Nothing was done.")
						return exitUsage, nil
					}
					req.Worker = w.ID
				}
				done, err := r.WorkerDead(context.Background(), req)
				if err != nil {
					return 0, err
				}
				if asJSON {
					a.printJSON(done)
					return exitOK, nil
				}
				if len(done.Attempts) == 0 {
					a.print(fmt.Sprintf("Worker %s is taken for dead. No attempt in flight was known to be there.\n", clean(done.Name)))
					return exitOK, nil
				}
				a.print(fmt.Sprintf("Worker %s is taken for dead. These are not waited for any more:\n\n%s", clean(done.Name), attemptTable(done.Attempts)))
				return exitOK, nil
			})
		},
	}
}

// workerNamed is the only worker that a name, or the beginning of an ID, may mean; nil where there is none.
func workerNamed(list []api.Worker, name string) (found *api.Worker) {
	for i := range list {
		if isWorker(&list[i], name) {
			if found != nil {
				return nil
			}
			found = &list[i]
		}
	}
	return found
}

// offQuestion asks whether a machine is off, and says what it would mean.
func offQuestion(w *api.Worker) string {
	return fmt.Sprintf("Worker %s, node %s, is %s: %s.\nAttempts that are known to be there: %d.\nIs its machine certainly off? Only \"yes\" will do: ",
		clean(w.Name), shortNode(w.ID), clean(w.Status), clean(w.Reason), len(w.Attempts))
}
