// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package jobspec

import (
	"context"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	nomadapi "github.com/hashicorp/nomad/api"
	"github.com/zclconf/go-cty/cty"

	"github.com/cairnflow/cairn/internal/testcluster"
)

// hostile is everything that a client might take for a template, for each way in which a client reads text.
const hostile = `${node.unique.name} ${NOMAD_ALLOC_ID} ${env["PATH"]} ${DECLARED} ${upper("a")} ${nobody.knows} ${ node.class } ` +
	`%{ if true }yes%{ endif } $${node.unique.name} $$$$ $ ${ "'` + "`" + `\n%%{ ${meta.cairn_dollar} ${NOMAD_META_cairn_dollar}{x} ` +
	`{{ env "PATH" }} {{{{- key "a" -}} }} {{/* [[ env "PATH" ]] {{"{{"}} {{define "T1"}}{ 5$`

// hostileTask writes hostile text, from param.x, to files called after the prefix, by each way a program can be given text.
func hostileTask(prefix string) string {
	return strings.ReplaceAll(`
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
				printf %s "$1" > PREFIXarg
				printf %s "$2" > PREFIXarg_author
				printf %s "$DATA" > PREFIXenv
				printf %s "$AUTHOR" > PREFIXenv_author
				for t in data author other; do cp "$NOMAD_TASK_DIR/$t" PREFIXtemplate_$t; done
			EOT
			, "sh", param.x, "${param.x}${NOMAD_TASK_NAME}"]
		}
		template {
			data        = param.x
			destination = "local/data"
		}
		template {
			data        = "${param.x}{{ env \"NOMAD_TASK_NAME\" }}{{ printf \"%s\" \"${param.x}\" }}${param.x}"
			destination = "local/author"
		}
		template {
			data            = "${param.x}[[ env \"NOMAD_TASK_NAME\" ]]${param.x}"
			destination     = "local/other"
			left_delimiter  = "[["
			right_delimiter = "]]"
		}
	`, "PREFIX", prefix)
}

// hostileFiles is what such a task must write.
func hostileFiles(prefix, task string) map[string]string {
	return map[string]string{
		prefix + "arg": hostile, prefix + "arg_author": hostile + task, prefix + "env": hostile, prefix + "env_author": hostile + task,
		prefix + "template_data": hostile, prefix + "template_author": hostile + task + hostile + hostile,
		prefix + "template_other": hostile + task + hostile,
	}
}

func TestDataReachesTheProgramAsItIs(t *testing.T) {
	nomad := testcluster.Nomad(t, testcluster.NomadConfig{}).Client()
	vars := map[string]cty.Value{"param": object("x", hostile)}
	t.Run("inline", func(t *testing.T) {
		job := decodeTask(t, hostileTask("a_"), vars).Assemble("work")
		job.ID = ptr("inline")
		want := hostileFiles("a_", "work")
		if diff := cmp.Diff(want, runToEnd(t, nomad, job, slices.Sorted(maps.Keys(want))...)); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("group", func(t *testing.T) {
		job := decodeGroup(t, "group {\ntask \"first\" {\nlifecycle {\nhook = \"prestart\"\n}\n"+hostileTask("a_")+"\n}\n"+
			"task \"work\" {\n"+hostileTask("b_")+"\n}\n}", vars).Assemble("all")
		job.ID = ptr("group")
		want := hostileFiles("a_", "first")
		maps.Copy(want, hostileFiles("b_", "work"))
		if diff := cmp.Diff(want, runToEnd(t, nomad, job, slices.Sorted(maps.Keys(want))...)); diff != "" {
			t.Error(diff)
		}
	})
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
