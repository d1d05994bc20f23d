// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/server"
)

func operatorCommand(*App) *command {
	return groupCommand("Look after servers", `Commands for the servers that share a store. They ask the one that -address or CAIRN_ADDR names.`)
}

func operatorLeaderCommand(a *App) *command {
	var asJSON bool
	return &command{
		synopsis: "Say which server leads",
		about: `Says which server leads, where it is, and the number (epoch) of its leadership. Any server knows.

Exit codes: 0 somebody leads, 1 nobody does at the moment, 4 the server does not answer.`,
		options: []option{switchOption(&asJSON, "json", "Print it as JSON.")},
		run: func([]string) int {
			return a.operate(context.Background(), func(r *server.Reader) (int, error) {
				leader, err := r.Leader(context.Background())
				if err != nil {
					return 0, err
				}
				if asJSON {
					a.printJSON(leader)
				} else if leader.Name != "" {
					a.print(fmt.Sprintf("%s leads at %s, with epoch %d.\n", clean(leader.Name), clean(leader.URL), leader.Epoch))
				}
				if leader.Name == "" {
					a.say("Nobody leads at the moment: another server takes over within seconds. If none does, see \"cairn operator members\".")
					return exitFailed, nil
				}
				return exitOK, nil
			})
		},
	}
}

func operatorMembersCommand(a *App) *command {
	var asJSON bool
	return &command{
		synopsis: "List the servers that share a store",
		about: `Lists the servers that are registered in Consul with the store of the server that is asked: whether Consul takes
them for healthy, which one leads, and which one gave this answer. FORMAT is the number of the form in which a
server writes into the store.`,
		options: []option{switchOption(&asJSON, "json", "Print the list as JSON.")},
		run: func([]string) int {
			return a.operate(context.Background(), func(r *server.Reader) (int, error) {
				list, err := r.Members(context.Background())
				if err != nil {
					return 0, err
				}
				if asJSON {
					a.printJSON(list)
					return exitOK, nil
				}
				a.print(memberTable(list.Members, a.screenOf(a.Stdout)))
				return exitOK, nil
			})
		},
	}
}

func operatorStepDownCommand(a *App) *command {
	var req api.StepDownRequest
	var asJSON bool
	return &command{
		synopsis: "Have the leader hand over to another server",
		about: `Has the leader give up the leadership at once, for example before its machine is looked after. What runs goes on.
Another server takes over; where none is healthy, the same one leads again.`,
		options: []option{
			textOption(&req.Reason, "reason", "TEXT", "Why; it goes into the log of the leader."),
			switchOption(&asJSON, "json", "Print the answer as JSON."),
		},
		run: func([]string) int {
			return a.operate(context.Background(), func(r *server.Reader) (int, error) {
				req.By = a.user()
				done, err := r.StepDown(context.Background(), req)
				if err != nil {
					return 0, err
				}
				if asJSON {
					a.printJSON(done)
					return exitOK, nil
				}
				text := fmt.Sprintf("%s gave up the leadership of epoch %d", clean(done.Name), done.Epoch)
				switch next := done.Leader; {
				case next == nil:
					text += ". Nobody is known to lead yet: see \"cairn operator leader\"."
				case next.Name == done.Name:
					text += fmt.Sprintf(". No other server took it: it leads again, with epoch %d.", next.Epoch)
				default:
					text += fmt.Sprintf("; %s leads now, with epoch %d.", clean(next.Name), next.Epoch)
				}
				a.print(text + "\n")
				return exitOK, nil
			})
		},
	}
}

// operate asks a server for something that no store on this machine knows.
func (a *App) operate(ctx context.Context, do func(*server.Reader) (int, error)) int {
	r, code := a.asked(ctx)
	if r == nil {
		return code
	}
	defer r.Close()
	code, err := do(r)
	if err != nil {
		return a.unanswered(err)
	}
	return code
}

// memberTable lays servers out in columns.
func memberTable(list []api.Member, out screen) string {
	rows := [][]string{{"NAME", "ADDRESS", "VERSION", "FORMAT", "HEALTH", "LEADS", "ANSWERS", "PROBLEM"}}
	for _, m := range list {
		format := "-"
		if m.Format > 0 {
			format = strconv.Itoa(m.Format)
		}
		rows = append(rows, []string{
			clean(m.Name), clean(m.Address), clean(m.Version), format, word(m.Healthy, "healthy", "failing"), word(m.Leader, "yes", "no"),
			word(m.Answers, "yes", "no"), clean(m.Problem),
		})
	}
	return painted(rows, func(column int, text, cell string) string {
		if column == 4 && cell != "healthy" {
			return out.paint(text, statusStyle("failed"))
		}
		return text
	})
}

// painted lays rows out, the first of which is the head. paint may give a cell, padded and plain, another look.
func painted(rows [][]string, paint func(column int, text, cell string) string) string {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	for n, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			text := pad(cell, widths[i])
			if n > 0 {
				text = paint(i, text, cell)
			}
			line.WriteString(text + "  ")
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	return b.String()
}

func word(is bool, yes, no string) string {
	if is {
		return yes
	}
	return no
}
