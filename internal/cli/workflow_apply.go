// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package cli

import (
	"context"
	"path/filepath"

	"github.com/cairnflow/cairn/hcl"
	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/client"
)

func workflowApplyCommand(a *App) *command {
	var approved, asJSON bool
	c := &command{
		synopsis:  "Register workflows, or new versions of them",
		arguments: "PATH",
		min:       1,
		max:       1,
		about: `Registers every workflow in PATH at the server: all of them or, if one has a problem, none. PATH is a
file, a folder of workflow files, or a folder of such folders. What would change is shown first, block
by block, and in a terminal it is done after a "yes". Layout, comments and order are no changes of a
workflow, but make a version all the same if they differ. One that is registered like this already
stays at its version.

Runs that are under way keep the definition that they were started with.

Exit codes: 0 everything is registered, 1 it is not, 2 nothing was done: the files have problems, or
nobody has said yes, 4 the server cannot be reached.`,
		examples: []string{"cairn workflow apply examples/etl", "cairn workflow apply -auto-approve workflows"},
		options: []option{
			switchOption(&approved, "auto-approve", "Do not ask. Outside of a terminal, where nobody can be asked, it has to be said."),
			switchOption(&asJSON, "json", "Print what was done as JSON. Needs -auto-approve."),
		},
		predict: predictWorkflow,
	}
	c.run = func(args []string) int {
		if asJSON && !approved {
			return c.usageError("-json asks nobody: it needs -auto-approve")
		}
		return a.applyWorkflows(args[0], approved, asJSON)
	}
	return c
}

// applyWorkflows registers the workflows of a path, after they were looked at.
func (a *App) applyWorkflows(path string, approved, asJSON bool) int {
	req, code := a.applyRequest(path, asJSON)
	if code != exitOK {
		return code
	}
	r, code := a.asked(context.Background())
	if r == nil {
		return code
	}
	defer r.Close()
	if approved {
		return a.apply(r.Client, req, asJSON)
	}
	req.DryRun = true
	plan, err := a.send(r.Client, req)
	if err != nil {
		return a.denied(err, asJSON)
	}
	a.print(appliedText(plan, a.screenOf(a.Stdout)))
	if plan.unchanged() {
		a.say("Nothing to do.")
		return exitOK
	}
	if !a.interactive() {
		a.errorf("Nothing was applied: this is no terminal, so nobody can be asked. Say -auto-approve if it is meant.")
		return exitUsage
	}
	if a.question("\nApply this to the server at "+r.Where()+"? Only \"yes\" will do: ") != "yes" {
		a.say("Nothing was applied.")
		return exitUsage
	}
	req.DryRun, req.Expect = false, map[string]int{} // what was looked at, and nothing else
	for _, w := range plan.Workflows {
		req.Expect[w.Name] = w.Was
	}
	done, err := a.send(r.Client, req)
	if err != nil {
		return a.denied(err, asJSON)
	}
	a.say("%s", done.outcome())
	return exitOK
}

// apply registers workflows that nobody is to be asked about.
func (a *App) apply(c *client.Client, req api.ApplyRequest, asJSON bool) int {
	done, err := a.send(c, req)
	if err != nil {
		return a.denied(err, asJSON)
	}
	if asJSON {
		a.printJSON(done.Applied)
		return exitOK
	}
	a.print(appliedText(done, a.screenOf(a.Stdout)))
	a.say("%s", done.outcome())
	return exitOK
}

// applied is what an apply has done, or would do.
type applied struct{ api.Applied }

// send makes the request. It may be repeated: what is registered already stays as it is.
func (a *App) send(c *client.Client, req api.ApplyRequest) (out applied, err error) {
	err = a.patiently(func() (err error) {
		out.Applied, err = c.Apply(context.Background(), req)
		return err
	})
	return out, err
}

// applyRequest reads and checks the workflows of a path. On failure it has said why.
func (a *App) applyRequest(path string, asJSON bool) (api.ApplyRequest, int) {
	req := api.ApplyRequest{By: a.user()}
	folders, diags := hcl.Folders(path)
	if diags.HasErrors() {
		a.report(source{}, diags, asJSON)
		return req, exitUsage
	}
	code := exitOK
	var problems api.Diagnostics
	for _, folder := range folders {
		s, diags := load(folder)
		if !diags.HasErrors() {
			_, more := hcl.CompileAll(s.files)
			diags = append(diags, more...)
		}
		if diags.HasErrors() {
			code = exitUsage
		}
		if asJSON { // one document for all of them
			problems.Diagnostics = append(problems.Diagnostics, s.document(diags).Diagnostics...)
		}
		if !asJSON || !diags.HasErrors() {
			a.report(s, diags, false)
		}
		one := api.Folder{Path: filepath.ToSlash(folder)}
		if !s.folder {
			one.Path = filepath.ToSlash(filepath.Dir(folder))
		}
		for _, f := range s.files {
			one.Files = append(one.Files, api.File{Path: f.Path, Bytes: f.Bytes, Named: f.Named})
		}
		req.Folders = append(req.Folders, one)
	}
	if code != exitOK && asJSON {
		a.printJSON(problems)
	}
	return req, code
}
