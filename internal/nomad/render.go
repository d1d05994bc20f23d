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

// start is the first attempt of the instance.
func (r Rendering) start() engine.Start {
	task := &r.Definition.Tasks[r.Task]
	sum := sha256.Sum256(r.Body)
	return engine.Start{
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
		Kind:         task.BodyKind,
		OnWorkerLoss: task.Policy.OnWorkerLoss,
	}
}

// job is the job of the first attempt.
func (r Rendering) job(cluster string, moved Moved) (*nomadapi.Job, error) {
	s := r.start()
	switch {
	case !s.Kind.Cluster():
		return nil, fmt.Errorf("task %s runs without a worker (%s): it becomes no job", s.Task, s.Kind)
	case s.Kind == workflow.BodyDispatch:
		return nil, fmt.Errorf("task %s dispatches a job that exists: Nomad makes the job, from what is registered when the task starts", s.Task)
	}
	job, err := decodeBody(s, moved)
	if err != nil {
		return nil, err
	}
	id, err := jobID(cluster, s.Attempt, s.Task)
	if err != nil {
		return nil, err
	}
	complete(job, cluster, id, s)
	return job, nil
}

// Render returns the job that the first attempt of an instance becomes, as `nomad job run -json` accepts it. Tasks that become
// no job of their own are errors.
func Render(r Rendering) ([]byte, error) {
	job, err := r.job(RenderedCluster, nil)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	out := json.NewEncoder(&b)
	out.SetEscapeHTML(false) // for people to read
	out.SetIndent("", "  ")
	if err := out.Encode(map[string]*nomadapi.Job{"Job": job}); err != nil {
		return nil, fmt.Errorf("encode the job of task %s: %w", r.Definition.Tasks[r.Task].Name, err)
	}
	return b.Bytes(), nil
}
