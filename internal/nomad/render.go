// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	nomadapi "github.com/hashicorp/nomad/api"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workflow"
)

// RenderedCluster stands for the UUID of a store in rendered jobs.
const RenderedCluster = "00000000-0000-0000-0000-000000000000"

// Rendering is one instance of a task with its rendered body.
type Rendering struct {
	Definition *workflow.Definition
	Run        workflow.RunID
	Task       int // number of the task
	Instance   int
	Key        string // empty for a plain task
	Body       []byte
}

// Render returns the job that the first attempt of an instance becomes, as `nomad job run -json` accepts it.
func Render(r Rendering) ([]byte, error) {
	task := &r.Definition.Tasks[r.Task]
	sum := sha256.Sum256(r.Body)
	s := engine.Start{
		Attempt:      workflow.MakeAttemptID(r.Run, r.Task, r.Instance, 1),
		Run:          r.Run,
		Workflow:     r.Definition.Name,
		Definition:   r.Definition.Hash,
		Namespace:    r.Definition.Namespace,
		Priority:     r.Definition.Priority,
		Task:         task.Name,
		TaskNo:       r.Task,
		Instance:     r.Instance,
		Key:          r.Key,
		Number:       1,
		Generation:   1,
		Epoch:        1,
		Fence:        1,
		Body:         r.Body,
		BodyHash:     hex.EncodeToString(sum[:]),
		OnWorkerLoss: task.Policy.OnWorkerLoss,
	}
	job, err := decodeBody(s)
	if err != nil {
		return nil, err
	}
	id, err := jobID(RenderedCluster, s.Attempt, s.Task)
	if err != nil {
		return nil, err
	}
	complete(job, RenderedCluster, id, s)
	var b bytes.Buffer
	out := json.NewEncoder(&b)
	out.SetEscapeHTML(false) // for people to read
	out.SetIndent("", "  ")
	if err := out.Encode(map[string]*nomadapi.Job{"Job": job}); err != nil {
		return nil, fmt.Errorf("encode the job of task %s: %w", s.Task, err)
	}
	return b.Bytes(), nil
}
