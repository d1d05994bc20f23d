// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	nomadapi "github.com/hashicorp/nomad/api"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workflow"
)

// decodeBody reads the body of a start that is a job: of every kind but dispatch.
func decodeBody(s engine.Start, moved Moved) (*nomadapi.Job, error) {
	if s.Kind != "" && !s.Kind.Cluster() {
		return nil, fmt.Errorf("task %s runs without a worker (%s): no executor starts it", s.Task, s.Kind)
	}
	var job nomadapi.Job
	if err := json.Unmarshal(s.Body, &job); err != nil {
		return nil, fmt.Errorf("decode the body of task %s: %w", s.Task, err)
	}
	moved.job(&job)
	if s.Kind == workflow.BodyJob {
		return &job, fitsWhole(&job, s.Task)
	}
	if len(job.TaskGroups) != 1 || len(job.TaskGroups[0].Tasks) == 0 {
		return nil, fmt.Errorf("the body of task %s has %d groups: want one group with a task", s.Task, len(job.TaskGroups))
	}
	if len(mains(job.TaskGroups[0])) == 0 {
		return nil, fmt.Errorf("the group of task %s has only sidecars and poststop tasks: nothing in it ever has done its work", s.Task)
	}
	return &job, nil
}

// fitsWhole refuses job files that never end.
func fitsWhole(job *nomadapi.Job, task string) error {
	kind := nomadapi.JobTypeService // what Nomad takes a job for that names no type
	if job.Type != nil && *job.Type != "" {
		kind = *job.Type
	}
	switch {
	case kind != nomadapi.JobTypeBatch:
		return fmt.Errorf("the job of task %s is of type %s: a workflow runs jobs that end, which are of type batch", task, kind)
	case job.Periodic != nil:
		return fmt.Errorf("the job of task %s is periodic: it never ends. Take the periodic block out of its file", task)
	case job.ParameterizedJob != nil:
		return fmt.Errorf("the job of task %s is parameterized: registering it runs nothing. Register it once, and use dispatch", task)
	case len(job.TaskGroups) == 0:
		return fmt.Errorf("the job of task %s has no group", task)
	}
	return nil
}

// complete makes a body the job of one attempt: it sets everything that is Cairn's.
func complete(job *nomadapi.Job, cluster, id string, s engine.Start) {
	if job.Namespace == nil {
		job.Namespace = ptr(s.Namespace)
	}
	if job.Priority == nil && s.Priority > 0 {
		job.Priority = ptr(s.Priority)
	}
	job.Meta = withMeta(job.Meta, metaOf(cluster, s))
	if s.Kind == workflow.BodyJob {
		// A job file stays as it is. Its name is part of what its tasks see, and of the names of its services.
		if deref(job.Name) == "" {
			job.Name = ptr(firstOf(deref(job.ID), jobName(s)))
		}
		job.ID = &id
		return
	}
	job.ID, job.Name = &id, ptr(jobName(s))
	job.Type = ptr(nomadapi.JobTypeBatch)
	if len(job.Datacenters) == 0 {
		job.Datacenters = []string{"*"}
	}
	for _, node := range s.AvoidNodes {
		job.Constraints = append(job.Constraints, nomadapi.NewConstraint("${node.unique.name}", "!=", node))
	}
	for _, group := range job.TaskGroups {
		completeGroup(group, s)
	}
	if strings.Contains(s.Key, "${") {
		job.Meta[metaDollar] = "$"
	}
}

func firstOf(texts ...string) string {
	for _, text := range texts {
		if text != "" {
			return text
		}
	}
	return ""
}

func metaOf(cluster string, s engine.Start) map[string]string {
	return map[string]string{
		metaCluster:    cluster,
		metaEpoch:      strconv.FormatUint(s.Epoch, 10),
		metaRun:        string(s.Run),
		metaTask:       s.Task,
		metaInstance:   strconv.Itoa(s.Instance),
		metaAttempt:    strconv.Itoa(s.Number),
		metaGeneration: strconv.Itoa(s.Generation),
		metaFence:      strconv.FormatInt(s.Fence, 10),
		metaDefinition: s.Definition,
		metaBody:       s.BodyHash,
	}
}

// completeGroup hands retries over to Cairn: one try of every task, its hooks and sidecars too, and no replacement but the
// one that Nomad cannot be kept from.
func completeGroup(group *nomadapi.TaskGroup, s engine.Start) {
	if deref(group.Name) == "" {
		group.Name = ptr(s.Task)
	}
	group.Count = ptr(1)
	group.RestartPolicy = &nomadapi.RestartPolicy{Attempts: ptr(0), Mode: ptr("fail")}
	group.ReschedulePolicy = &nomadapi.ReschedulePolicy{Attempts: ptr(0), Unlimited: ptr(false)}
	group.Disconnect = nil
	if s.OnWorkerLoss.Mode != workflow.Immediate {
		group.Disconnect = &nomadapi.DisconnectStrategy{
			StopOnClientAfter: ptr(stopAfter(s)),
			Replace:           ptr(false),
		}
	}
	for _, task := range group.Tasks {
		if task.Name == "" {
			task.Name = s.Task
		}
		task.RestartPolicy = nil
		task.Env = withMeta(task.Env, envOf(s))
		for _, t := range task.Templates {
			// Nomad's own default restarts the task whenever the data changes. The decoder of bodies leaves it unset or at
			// noop unless the author wrote one.
			if t.ChangeMode == nil || *t.ChangeMode == "" {
				t.ChangeMode = ptr(changeModeNoop)
			}
		}
	}
}
