// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package testcluster

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	nomadapi "github.com/hashicorp/nomad/api"
)

func rawExec(id, command string, args ...string) *nomadapi.Job {
	task := nomadapi.NewTask("main", "raw_exec").SetConfig("command", command).SetConfig("args", args)
	group := nomadapi.NewTaskGroup("main", 1).AddTask(task)
	return nomadapi.NewBatchJob(id, id, "global", 50).AddTaskGroup(group)
}

// runJob registers a job and waits until its task has ended with exit code 0.
func runJob(t *testing.T, client *nomadapi.Client, job *nomadapi.Job) {
	t.Helper()
	if _, _, err := client.Jobs().Register(job, nil); err != nil {
		t.Fatal(err)
	}
	state := waitTask(t, client, *job.ID, func(state *nomadapi.TaskState) bool { return state.State == "dead" })
	if state.Failed {
		t.Fatalf("job %s failed: %v", *job.ID, state.Events[len(state.Events)-1])
	}
}

// waitTask follows the job's allocations until the state of its task satisfies want.
func waitTask(t *testing.T, client *nomadapi.Client, id string, want func(*nomadapi.TaskState) bool) *nomadapi.TaskState {
	t.Helper()
	query := (&nomadapi.QueryOptions{WaitTime: 5 * time.Second}).WithContext(t.Context())
	deadline := time.Now().Add(readyTimeout)
	for time.Now().Before(deadline) {
		allocs, meta, err := client.Jobs().Allocations(id, true, query)
		if err != nil {
			t.Fatal(err)
		}
		for _, alloc := range allocs {
			if state := alloc.TaskStates["main"]; state != nil && want(state) {
				return state
			}
		}
		query.WaitIndex = meta.LastIndex
	}
	t.Fatalf("job %s did not get there within %s", id, readyTimeout)
	return nil
}

func nodeOf(t *testing.T, client *nomadapi.Client, name string) string {
	t.Helper()
	nodes, _, err := client.Nodes().List(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, node := range nodes {
		if node.Name == name {
			return node.ID
		}
	}
	t.Fatalf("no node named %s", name)
	return ""
}

func waitNode(t *testing.T, client *nomadapi.Client, id, status string) {
	t.Helper()
	query := (&nomadapi.QueryOptions{WaitTime: 5 * time.Second}).WithContext(t.Context())
	deadline := time.Now().Add(readyTimeout)
	for time.Now().Before(deadline) {
		node, meta, err := client.Nodes().Info(id, query)
		if err != nil {
			t.Fatal(err)
		}
		if node.Status == status {
			return
		}
		query.WaitIndex = meta.LastIndex
	}
	t.Fatalf("node %s is not %s after %s", id, status, readyTimeout)
}

// processesUnder lists the processes that carry the mark of a cluster, by reading
// /proc itself rather than asking reap.sh.
func processesUnder(t *testing.T, dir string) []string {
	t.Helper()
	environs, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, environ := range environs {
		data, err := os.ReadFile(environ)
		if err == nil && strings.Contains(string(data), marker+"="+dir) {
			found = append(found, filepath.Dir(environ))
		}
	}
	return found
}
