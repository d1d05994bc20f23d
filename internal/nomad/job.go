// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package nomad

import (
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	nomadapi "github.com/hashicorp/nomad/api"

	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workflow"
)

// Meta keys of Cairn's jobs. Their values are those recorded with the attempt: a changed value would make Nomad restart
// a running task.
const (
	metaCluster    = "cairn_cluster"
	metaEpoch      = "cairn_epoch"
	metaRun        = "cairn_run"
	metaTask       = "cairn_task"
	metaInstance   = "cairn_instance"
	metaAttempt    = "cairn_attempt"
	metaGeneration = "cairn_generation"
	metaFence      = "cairn_fence"
	metaDefinition = "cairn_definition"
	metaBody       = "cairn_body"      // hash of the body as rendered
	metaTombstone  = "cairn_tombstone" // why this job was registered stopped
	metaDollar     = "cairn_dollar"    // see envText
)

// Reasons of tombstones.
const (
	tombKilled  = "killed"
	tombUnknown = "outcome unknown"
	tombNoBody  = "no body"
)

const (
	maxSlug = 40
	// A job ID ends in -tttt-iiiiii-aaax.
	idTail = 4 + 1 + 6 + 1 + 3 + 1

	changeModeNoop = "noop"

	defaultKillTimeout = 5 * time.Second // Nomad's
	defaultStopAfter   = 5 * time.Minute // on_worker_loss.stop_after, where a start has none

	// outputFile is where a task writes its outputs, below the allocation's folder.
	outputFile = "alloc/data/cairn_output"
	outputEnv  = "${NOMAD_ALLOC_DIR}/data/cairn_output"
)

// jobPrefix is what the IDs of all jobs of a cluster begin with. Four characters keep IDs short; the whole UUID is in
// the job's meta.
func jobPrefix(cluster string) string { return "cairn-" + cluster[:4] + "-" }

// jobID is the ID of an attempt's job. Numbers have a fixed width and the x terminates it, so that no ID is a prefix of
// another: Nomad up to 1.11.2 computes a job's status over all jobs whose IDs begin with its own.
func jobID(cluster string, attempt workflow.AttemptID, task string) (string, error) {
	run, taskNo, instance, number, err := attempt.Parse()
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s%s-%s-%04d-%06d-%03dx", jobPrefix(cluster), run, slug(task), taskNo, instance, number), nil
}

// slug makes a task's name fit for a job ID.
func slug(task string) string {
	s := []byte(strings.ToLower(task))
	for i, c := range s {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			s[i] = '-'
		}
	}
	return string(s[:min(len(s), maxSlug)])
}

// parseJobID finds the attempt a job ID was made for.
func parseJobID(cluster, id string) (workflow.AttemptID, bool) {
	const runLen = 20
	rest, ok := strings.CutPrefix(id, jobPrefix(cluster))
	if !ok || len(rest) < runLen+1+1+idTail || !strings.HasSuffix(rest, "x") {
		return "", false
	}
	attempt := workflow.AttemptID(rest[:runLen] + "-" + strings.TrimSuffix(rest[len(rest)-idTail:], "x"))
	if _, _, _, _, err := attempt.Parse(); err != nil {
		return "", false
	}
	return attempt, true
}

// jobName is what people see: nightly_orders/extract[eu] #2.
func jobName(s engine.Start) string {
	key := ""
	if s.Key != "" {
		key = "[" + strings.Map(printable, s.Key) + "]"
	}
	return fmt.Sprintf("%s/%s%s #%d", s.Workflow, s.Task, key, s.Number)
}

func printable(r rune) rune {
	if r < ' ' || r == 0x7f {
		return '_'
	}
	return r
}

func envOf(s engine.Start) map[string]string {
	return map[string]string{
		"CAIRN_RUN_ID":       string(s.Run),
		"CAIRN_WORKFLOW":     s.Workflow,
		"CAIRN_TASK":         s.Task,
		"CAIRN_INSTANCE_KEY": envText(s.Key),
		"CAIRN_ATTEMPT":      strconv.Itoa(s.Number),
		"CAIRN_FENCE":        strconv.FormatInt(s.Fence, 10),
		"CAIRN_OUTPUT":       outputEnv,
	}
}

// envText keeps data from being read as a reference. A Nomad client replaces ${name} in environment values once and
// knows no escape, so the dollar itself comes out of a reference.
func envText(data string) string {
	return strings.ReplaceAll(data, "${", "${NOMAD_META_"+metaDollar+"}{")
}

// withMeta overlays ours over what the author wrote.
func withMeta(theirs, ours map[string]string) map[string]string {
	if theirs == nil {
		return ours
	}
	theirs = maps.Clone(theirs)
	maps.Copy(theirs, ours)
	return theirs
}

// tombstone is the job that bars an attempt from ever starting: the same one, stopped. Where the body cannot be had or
// is refused, one that Nomad accepts stands for it.
func tombstone(job *nomadapi.Job, reason string) *nomadapi.Job {
	t := *job
	t.Stop = ptr(true)
	t.Meta = withMeta(job.Meta, map[string]string{metaTombstone: reason})
	return &t
}

// standIn is a body for the tombstone of an attempt whose own cannot be had.
func standIn(s engine.Start) *nomadapi.Job {
	task := &nomadapi.Task{Name: s.Task, Driver: "raw_exec", Config: map[string]any{"command": "/bin/false"}}
	return &nomadapi.Job{TaskGroups: []*nomadapi.TaskGroup{{Name: ptr(s.Task), Tasks: []*nomadapi.Task{task}}}}
}

func stopAfter(s engine.Start) time.Duration {
	if s.OnWorkerLoss.StopAfter > 0 {
		return s.OnWorkerLoss.StopAfter
	}
	return defaultStopAfter
}

func ptr[T any](v T) *T { return &v }
