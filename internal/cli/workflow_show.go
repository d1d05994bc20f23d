// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/client"
)

func workflowListCommand(a *App) *command {
	var namespace string
	var asJSON bool
	return &command{
		synopsis: "List registered workflows by name",
		about: `Lists the workflows of a namespace that are registered at the server, by name, each with its newest
version.`,
		examples: []string{"cairn workflow list"},
		options:  []option{namespaceOption(&namespace), switchOption(&asJSON, "json", "Print the list as JSON."), a.staleOption()},
		run:      func([]string) int { return a.listWorkflows(namespace, asJSON) },
	}
}

func (a *App) listWorkflows(namespace string, asJSON bool) int {
	r, code := a.asked(context.Background())
	if r == nil {
		return code
	}
	defer r.Close()
	all := api.Workflows{Workflows: []api.WorkflowEntry{}}
	for q := (client.WorkflowsQuery{Namespace: namespace, PerPage: maxPerPage}); ; {
		page, err := r.Workflows(context.Background(), q)
		if err != nil {
			return a.unanswered(err)
		}
		all.Workflows = append(all.Workflows, page.Workflows...)
		if q.Next = page.Next; q.Next == "" {
			break
		}
	}
	switch {
	case asJSON:
		a.printJSON(all)
	case len(all.Workflows) == 0:
		a.say("No workflows on the server at %s.", r.Where())
	default:
		rows := [][]string{{"NAME", "VERSION", "APPLIED", "BY"}}
		for _, w := range all.Workflows {
			rows = append(rows, []string{clean(w.Name), strconv.Itoa(w.Version), ago(a.Now(), w.AppliedAt), clean(w.By)})
		}
		a.print(listing(rows))
	}
	return exitOK
}

func workflowVersionsCommand(a *App) *command {
	var namespace string
	var asJSON bool
	return &command{
		synopsis:  "List the versions of a workflow",
		arguments: "NAME",
		min:       1,
		max:       1,
		about: `Lists the versions of a workflow that the server keeps, the newest first: the last 50. Numbers are never
used twice, not even after the workflow was deleted and applied again.`,
		examples: []string{"cairn workflow versions etl"},
		options:  []option{namespaceOption(&namespace), switchOption(&asJSON, "json", "Print the list as JSON."), a.staleOption()},
		predict:  a.predictRegistered(),
		run:      func(args []string) int { return a.listVersions(namespace, args[0], asJSON) },
	}
}

func (a *App) listVersions(namespace, name string, asJSON bool) int {
	r, code := a.asked(context.Background())
	if r == nil {
		return code
	}
	defer r.Close()
	list, err := r.WorkflowVersions(context.Background(), namespace, name)
	if err != nil {
		return a.denied(err, false)
	}
	if asJSON {
		a.printJSON(list)
		return exitOK
	}
	rows := [][]string{{"VERSION", "APPLIED", "BY", "DEFINITION"}}
	for _, v := range list.Versions {
		rows = append(rows, []string{strconv.Itoa(v.Version), ago(a.Now(), v.AppliedAt), clean(v.By), shortHash(v.Definition)})
	}
	a.print(listing(rows))
	return exitOK
}

func workflowShowCommand(a *App) *command {
	q := client.WorkflowQuery{}
	var asJSON bool
	c := &command{
		synopsis:  "Show a registered workflow, or its source",
		arguments: "NAME",
		min:       1,
		max:       1,
		about: `Shows a version of a registered workflow: who applied it, its params and its tasks; with -source the
files that it was applied from, as they were.`,
		examples: []string{"cairn workflow show etl", "cairn workflow show -version 3 -source etl"},
		options: []option{
			namespaceOption(&q.Namespace),
			versionOption(&q.Version, "This version instead of the newest."),
			switchOption(&q.Source, "source", "Print the files: of one its text, of several each below its name. With -json they are added."),
			switchOption(&asJSON, "json", "Print it as JSON."),
			a.staleOption(),
		},
		predict: a.predictRegistered(),
	}
	c.run = func(args []string) int {
		q.Name = args[0]
		return a.showWorkflow(q, asJSON)
	}
	return c
}

// versionOption is a version of a workflow, by number.
func versionOption(target *int, usage string) option {
	return funcOption("version", "NUMBER", usage, func(text string) error {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return fmt.Errorf("-version %s: want a number from 1 on", text)
		}
		*target = n
		return nil
	})
}

func (a *App) showWorkflow(q client.WorkflowQuery, asJSON bool) int {
	r, code := a.asked(context.Background())
	if r == nil {
		return code
	}
	defer r.Close()
	w, err := r.Workflow(context.Background(), q)
	switch {
	case err != nil:
		return a.denied(err, false)
	case asJSON:
		a.printJSON(w)
	case q.Source:
		a.print(sourceText(w.Files))
	default:
		a.print(registeredText(w, a.Now(), a.screenOf(a.Stdout)))
	}
	return exitOK
}

// sourceText is the text of files: of one alone as it is, so that it can be written to a file again.
func sourceText(files []api.File) string {
	if len(files) == 1 {
		return string(files[0].Bytes)
	}
	var b strings.Builder
	for _, f := range files {
		fmt.Fprintf(&b, "# ---- %s ----\n", clean(f.Path))
		if !utf8.Valid(f.Bytes) {
			fmt.Fprintf(&b, "# no text: %s\n", count(len(f.Bytes), "byte"))
			continue
		}
		b.Write(f.Bytes)
		if len(f.Bytes) > 0 && f.Bytes[len(f.Bytes)-1] != '\n' {
			b.WriteByte('\n')
		}
	}
	return b.String()
}

// registeredText lays a workflow out for people.
func registeredText(w api.Workflow, now time.Time, out screen) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Workflow %s: version %d", out.paint(clean(w.Name), bold), w.Version)
	if w.Version != w.Newest {
		fmt.Fprintf(&b, " (the newest is %d)", w.Newest)
	}
	b.WriteString("\n\n")
	rows := [][]string{{"Applied", ago(now, w.AppliedAt)}}
	if w.By != "" {
		rows[0][1] += " by " + clean(w.By)
	}
	rows = append(rows, []string{"Definition", shortHash(w.Definition)}, []string{"Active runs", strconv.Itoa(w.ActiveRuns)})
	for _, about := range [][]string{{"Description", w.Description}, {"Owner", w.Owner}} {
		if about[1] != "" {
			rows = append(rows, []string{about[0], clean(about[1])})
		}
	}
	if len(w.Labels) > 0 {
		var labels []string
		for _, k := range slices.Sorted(maps.Keys(w.Labels)) {
			labels = append(labels, clean(k+"="+w.Labels[k]))
		}
		rows = append(rows, []string{"Labels", strings.Join(labels, ", ")})
	}
	b.WriteString(columns(rows))
	if len(w.Params) > 0 {
		rows = [][]string{{"PARAM", "TYPE", "", "DESCRIPTION"}}
		for _, p := range w.Params {
			var notes []string
			if p.Required {
				notes = append(notes, "required")
			}
			if p.Sensitive {
				notes = append(notes, "sensitive")
			}
			rows = append(rows, []string{p.Name, clean(p.Type), strings.Join(notes, ", "), clean(p.Description)})
		}
		b.WriteString("\n" + columns(rows))
	}
	rows = [][]string{{"TASK", "DOES", "AFTER"}}
	for _, t := range w.Tasks {
		does := t.Body
		if t.FanOut {
			does += ", many times"
		}
		if t.Kind != "task" {
			does += ", finally"
		}
		after := strings.Join(t.After, ", ")
		if t.TriggerRule != "all_success" {
			after += " (" + t.TriggerRule + ")"
		}
		rows = append(rows, []string{t.Name, does, after})
	}
	b.WriteString("\n" + columns(rows))
	return b.String()
}

// listing is columns at the left margin, as lists are printed.
func listing(rows [][]string) string {
	var b strings.Builder
	for _, line := range strings.SplitAfter(columns(rows), "\n") {
		b.WriteString(strings.TrimPrefix(line, "  "))
	}
	return b.String()
}

// ago is how long something is past.
func ago(now, at time.Time) string { return lasting(now.Sub(at)) + " ago" }

// shortHash is as much of a definition's hash as tells it from others.
func shortHash(hash string) string {
	const enough = len("sha256:") + 12
	if len(hash) <= enough {
		return hash
	}
	return hash[:enough]
}
