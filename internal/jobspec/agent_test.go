// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package jobspec

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	nomadapi "github.com/hashicorp/nomad/api"
	"github.com/zclconf/go-cty/cty"

	"github.com/cairnflow/cairn/internal/testcluster"
)

// Everything that a client might take for a template, for each way in which a client reads text.
func TestDataReachesTheProgramAsItIs(t *testing.T) {
	nomad := testcluster.Nomad(t, testcluster.NomadConfig{}).Client()
	data := `${node.unique.name} ${NOMAD_ALLOC_ID} ${env["PATH"]} ${DECLARED} ${upper("a")} ${nobody.knows} ${ node.class } ` +
		`%{ if true }yes%{ endif } $${node.unique.name} $$$$ $ ${ "'` + "`" + `\n%%{ ${meta.cairn_dollar} ${NOMAD_META_cairn_dollar}{x} 5$`
	in := decodeTask(t, `
		driver = "raw_exec"
		env {
			DECLARED = "declared"
			DATA     = param.x
			AUTHOR   = "${param.x}${NOMAD_TASK_NAME}"
		}
		config {
			command = "/bin/sh"
			args = ["-c", <<-EOT
				cd "$NOMAD_ALLOC_DIR/data"
				printf %s "$1" > arg
				printf %s "$2" > arg_author
				printf %s "$DATA" > env
				printf %s "$AUTHOR" > env_author
				cp "$NOMAD_TASK_DIR/t" template
			EOT
			, "sh", param.x, "${param.x}${NOMAD_TASK_NAME}"]
		}
		template {
			data        = param.x
			destination = "local/t"
		}
	`, map[string]cty.Value{"param": object("x", data)})
	job := in.Assemble("work")
	job.ID = ptr("data")
	want := map[string]string{"arg": data, "arg_author": data + "work", "env": data, "env_author": data + "work", "template": data}
	if diff := cmp.Diff(want, runToEnd(t, nomad, job, "arg", "arg_author", "env", "env_author", "template")); diff != "" {
		t.Error(diff)
	}
}

// runToEnd registers a batch job, waits until its allocation has ended and returns files of its data folder.
func runToEnd(t *testing.T, nomad *nomadapi.Client, job *nomadapi.Job, names ...string) map[string]string {
	t.Helper()
	for _, g := range job.TaskGroups {
		g.RestartPolicy = &nomadapi.RestartPolicy{Attempts: ptr(0), Mode: ptr("fail")}
		g.ReschedulePolicy = &nomadapi.ReschedulePolicy{Attempts: ptr(0), Unlimited: ptr(false)}
	}
	if _, _, err := nomad.Jobs().Register(job, nil); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	query := (&nomadapi.QueryOptions{WaitTime: 10 * time.Second}).WithContext(ctx)
	var alloc *nomadapi.AllocationListStub
	for alloc == nil || alloc.ClientStatus != "complete" && alloc.ClientStatus != "failed" {
		allocs, meta, err := nomad.Jobs().Allocations(*job.ID, true, query)
		if err != nil {
			t.Fatal(err)
		}
		query.WaitIndex = meta.LastIndex
		if len(allocs) > 0 {
			alloc = allocs[0]
		}
	}
	full, _, err := nomad.Allocations().Info(alloc.ID, nil)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, name := range names {
		r, err := nomad.AllocFS().Cat(full, "alloc/data/"+name, nil)
		if err != nil {
			t.Fatalf("read %s: %v (%s)", name, err, whyFailed(full))
		}
		content, err := io.ReadAll(r)
		r.Close()
		if err != nil {
			t.Fatal(err)
		}
		files[name] = string(content)
	}
	return files
}

// whyFailed is what the events of an allocation's task say.
func whyFailed(alloc *nomadapi.Allocation) string {
	var events []string
	for _, e := range alloc.TaskStates["work"].Events {
		events = append(events, e.DisplayMessage)
	}
	return strings.Join(events, "; ")
}
