// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package cli

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/server"
)

func operatorWorkersCommand(a *App) *command {
	var asJSON bool
	return &command{
		synopsis:  "Show how the machines are that run tasks",
		arguments: "[WORKER]",
		max:       1,
		about: `Shows the machines that run tasks, which are Nomad's nodes, with what Nomad and Consul know of each:

  ready       nothing is known to be wrong
  ineligible  it takes no new tasks
  draining    its tasks are to leave it
  starting    its Nomad client is not ready yet
  client_down its Nomad client fails the check of Consul: tasks usually run on
  suspect     Consul has lost the machine, Nomad has not yet
  lost        Nomad has lost it

With WORKER, a name or the beginning of a node's ID, it shows that one and what runs there.

Exit codes: 0 they were shown, 1 there is no such worker, or they cannot be shown, 4 the server does not answer.`,
		examples: []string{"cairn operator workers", "cairn operator workers worker-1"},
		options:  []option{switchOption(&asJSON, "json", "Print them as JSON, with what runs where.")},
		run: func(args []string) int {
			ctx := context.Background()
			return a.operate(ctx, func(r *server.Reader) (int, error) {
				known, err := r.Workers(ctx)
				if err != nil {
					return 0, err
				}
				if len(args) > 0 {
					known.Workers = slices.DeleteFunc(known.Workers, func(w api.Worker) bool {
						return !isWorker(&w, args[0])
					})
				}
				switch {
				case len(args) > 0 && len(known.Workers) == 0:
					a.errorf("there is no worker %s. \"cairn operator workers\" lists them.", clean(args[0]))
					return exitFailed, nil
				case asJSON:
					a.printJSON(known)
				case len(known.Workers) == 0:
					a.say("Nomad has no nodes: nothing can run.")
				case len(args) > 0:
					out := a.screenOf(a.Stdout)
					for i := range known.Workers {
						a.print(workerPage(&known.Workers[i], out))
					}
				default:
					a.print(workerTable(known.Workers, a.screenOf(a.Stdout)))
				}
				if known.Trouble != "" && !asJSON {
					a.warnf("%s.", clean(known.Trouble))
				}
				if known.Withheld != "" && !asJSON {
					a.say("%s.", clean(known.Withheld))
				}
				return exitOK, nil
			})
		},
	}
}

// isWorker reports whether a name, or the beginning of a node's ID, may mean a worker.
func isWorker(w *api.Worker, name string) bool {
	return w.Name == name || strings.HasPrefix(w.ID, name)
}

// workerTable lays workers out in columns.
func workerTable(list []api.Worker, out screen) string {
	rows := [][]string{{"NAME", "ID", "STATUS", "NOMAD", "CONSUL", "ALLOCS", "REASON"}}
	for _, w := range list {
		consul := "-"
		if w.Consul != nil {
			consul = clean(w.Consul.Alive)
		}
		rows = append(rows, []string{
			clean(w.Name), shortNode(w.ID), clean(w.Status), clean(w.Nomad), consul, strconv.Itoa(len(w.Attempts)), clean(w.Reason),
		})
	}
	return painted(rows, func(column int, text, cell string) string {
		if column == 2 {
			return out.paint(text, workerStyle(cell))
		}
		return text
	})
}

// workerPage shows one worker with what runs on it.
func workerPage(w *api.Worker, out screen) string {
	consul := "not known"
	if h := w.Consul; h != nil {
		consul = fmt.Sprintf("machine %s of %s %s", clean(h.Machine), clean(h.Datacenter), clean(h.Alive))
		if h.Client != "" {
			consul += ", its Nomad client " + clean(h.Client)
		}
	}
	takes := word(w.Eligible, "takes new tasks", "takes no new tasks")
	if w.Draining {
		takes += ", is drained"
	}
	var b strings.Builder
	for _, line := range [][2]string{
		{"Name", clean(w.Name)}, {"ID", clean(w.ID)}, {"Status", out.paint(clean(w.Status), workerStyle(w.Status))}, {"Reason", clean(w.Reason)},
		{"Nomad", fmt.Sprintf("%s, %s", clean(w.Nomad), takes)}, {"Consul", consul},
		{"Datacenter", clean(w.Datacenter)}, {"Pool", clean(w.Pool)}, {"Client", "Nomad " + clean(w.Version)},
	} {
		fmt.Fprintf(&b, "%-10s  %s\n", line[0], line[1])
	}
	if len(w.Attempts) == 0 {
		return b.String() + "\nNo attempt in flight is known to be there.\n\n"
	}
	return b.String() + "\n" + attemptTable(w.Attempts) + "\n"
}

// attemptTable lays attempts on a worker out in columns.
func attemptTable(list []api.WorkerAttempt) string {
	rows := [][]string{{"RUN", "TASK", "ATTEMPT", "ALLOCATION"}}
	for _, t := range list {
		rows = append(rows, []string{clean(t.Run), instanceName(clean(t.Task), t.Key), clean(t.Attempt), clean(t.AllocID)})
	}
	return listing(rows)
}

// shortNode is the part of a node's ID that Nomad shows too.
func shortNode(id string) string { return clean(id[:min(len(id), 8)]) }

func workerStyle(status string) style {
	switch status {
	case "ready":
		return statusStyle("succeeded")
	case "lost", "suspect":
		return statusStyle("failed")
	case "starting":
		return statusStyle("running")
	}
	return statusStyle("waiting")
}
