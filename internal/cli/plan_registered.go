// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/cairnflow/cairn/internal/api"
	"github.com/cairnflow/cairn/internal/server"
	"github.com/cairnflow/cairn/internal/workflow"
)

// planRegistered is what the files of a plan would change of the version that a server has.
type planRegistered struct {
	Server  string `json:"server,omitempty"`
	Problem string `json:"problem,omitempty"` // why that is not known
	// Workflow is what "cairn workflow apply" would do.
	Workflow *api.AppliedWorkflow `json:"workflow,omitempty"`
}

// compareRegistered asks the server that CAIRN_ADDR names what a definition would change there.
func (a *App) compareRegistered(def *workflow.Definition) planRegistered {
	problem := func(err error) planRegistered {
		text := fmt.Errorf("what would change at the server is not known: %w", err)
		return planRegistered{Server: cmp.Or(a.server.Address, a.Getenv(addressEnv)), Problem: sentence(text)}
	}
	cfg, err := a.serverConfig()
	if err != nil {
		return problem(err)
	}
	r, err := server.Remote(context.Background(), cfg)
	if err != nil {
		return problem(err)
	}
	defer r.Close()
	folder := api.Folder{}
	for _, f := range def.Files {
		folder.Files = append(folder.Files, api.File{Path: f.Path, Bytes: f.Bytes, Named: f.Named})
	}
	would, err := r.Apply(context.Background(), api.ApplyRequest{DryRun: true, Folders: []api.Folder{folder}})
	if err != nil {
		return problem(err)
	}
	for _, w := range would.Workflows {
		if w.Name == def.Name {
			return planRegistered{Server: r.Where(), Workflow: &w}
		}
	}
	return problem(errors.New("it says nothing of this workflow"))
}

// text is that for people; nothing where nothing is known.
func (p *planRegistered) text(out screen) string {
	if p == nil || p.Workflow == nil {
		return ""
	}
	w := p.Workflow
	head := fmt.Sprintf("\nAt the server at %s: ", p.Server)
	switch w.Action {
	case api.ActionCreate:
		return head + "not registered\n"
	case api.ActionNone:
		return head + fmt.Sprintf("registered like this, as version %d\n", w.Version)
	}
	return head + fmt.Sprintf("changes of version %d\n", w.Was) + changesText(*w, out)
}
