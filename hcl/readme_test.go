// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package hcl

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnflow/cairn/internal/workflow"
)

func readme(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// section is the text of the README between a heading, of whatever level, and the next one.
func section(t *testing.T, heading string) string {
	t.Helper()
	var out []string
	inside, fenced := false, false
	for _, line := range strings.Split(readme(t), "\n") {
		fenced = fenced != strings.HasPrefix(line, "```")
		if name, ok := strings.CutPrefix(strings.TrimLeft(line, "#"), " "); ok && strings.HasPrefix(line, "#") && !fenced {
			inside = name == heading
			continue
		}
		if inside {
			out = append(out, line)
		}
	}
	if len(out) == 0 {
		t.Fatalf("no section %s", heading)
	}
	return strings.Join(out, "\n")
}

// table is the first table of a section whose header has this first cell and this second one: its rows, cell by cell.
func table(t *testing.T, heading, first, second string) [][]string {
	t.Helper()
	var rows [][]string
	inside := false
	for _, line := range strings.Split(section(t, heading), "\n") {
		if !strings.HasPrefix(line, "|") {
			if inside {
				break
			}
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		switch {
		case inside && !strings.HasPrefix(cells[0], "---"):
			rows = append(rows, cells)
		case !inside:
			inside = cells[0] == first && len(cells) > 1 && cells[1] == second
		}
	}
	if len(rows) == 0 {
		t.Fatalf("section %s has no table with the header %q, %q", heading, first, second)
	}
	return rows
}

var codeSpan = regexp.MustCompile("`([^`]+)`")

// words are the first words of the code in the first cells of a table: `retry` of `retry { }`.
func firstWords(t *testing.T, rows [][]string) []string {
	t.Helper()
	var out []string
	for _, row := range rows {
		spans := codeSpan.FindAllStringSubmatch(row[0], -1)
		if len(spans) != 1 {
			t.Errorf("the row %q names %d things, wanted 1", row[0], len(spans))
			continue
		}
		out = append(out, strings.Fields(spans[0][1])[0])
	}
	slices.Sort(out)
	return out
}

func TestReferenceListsEveryWordAndNothingElse(t *testing.T) {
	for heading, w := range map[string]*words{
		"workflow": workflowWords, "concurrency": concurrencyWords, "outputs of the run": runOutputWords, "param": paramWords,
		"validation": validationWords, "defaults": defaultsWords, "task": taskWords, "retry": retryWords, "on_worker_loss": workerLossWords,
		"outputs of a task": outputWords, "job": jobWords, "dispatch": dispatchWords, "run_workflow": runWorkflowWords,
		"approval": approvalWords, "input": inputWords, "wait": waitWords, "http": httpWords,
	} {
		want := slices.Sorted(slices.Values(slices.Concat(w.attrs, w.blocks)))
		if diff := cmp.Diff(want, firstWords(t, table(t, heading, "", "type"))); diff != "" {
			t.Errorf("table of %s, -wanted +got:\n%s", heading, diff)
		}
	}
}

func TestReferenceListsTheFunctions(t *testing.T) {
	want := sortedKeys(readers)
	for name := range functions() {
		if refusedFunctions[name] == "" {
			want = append(want, name)
		}
	}
	slices.Sort(want)
	var got []string
	for _, row := range table(t, "Functions", "", "functions") {
		for _, code := range codeSpan.FindAllStringSubmatch(row[1], -1) {
			if name, _, call := strings.Cut(code[1], "("); call {
				got = append(got, name)
			} else {
				got = append(got, strings.Fields(code[1])...)
			}
		}
	}
	slices.Sort(got)
	if diff := cmp.Diff(want, slices.Compact(got)); diff != "" {
		t.Errorf("functions in README.md, -wanted +got:\n%s", diff)
	}
	if diff := cmp.Diff(sortedKeys(refusedFunctions), firstWords(t, table(t, "Functions", "function", "why"))); diff != "" {
		t.Errorf("functions left out in README.md, -wanted +got:\n%s", diff)
	}
}

func TestReferenceListsWhatIsReserved(t *testing.T) {
	if diff := cmp.Diff(sortedKeys(planned), firstWords(t, table(t, "Not supported yet", "word", "in the meantime"))); diff != "" {
		t.Errorf("reserved words, -wanted +got:\n%s", diff)
	}
}

func sortedText[T ~string](list []T) []string {
	out := make([]string, len(list))
	for i, v := range list {
		out[i] = string(v)
	}
	slices.Sort(out)
	return out
}

func TestReferenceListsStatusesRulesAndBodies(t *testing.T) {
	bodies := []string{string(workflow.BodyApproval), string(workflow.BodyDispatch), string(workflow.BodyGroup), string(workflow.BodyHTTP), string(workflow.BodyJob),
		string(workflow.BodyRunWorkflow), string(workflow.BodyWait), "inline task", "join"}
	slices.Sort(bodies)
	var listed []string
	for _, row := range table(t, "bodies", "body", "runs") {
		listed = append(listed, strings.Trim(row[0], "`"))
	}
	slices.Sort(listed)
	for name, c := range map[string]struct{ want, got []string }{
		"bodies":        {bodies, listed},
		"trigger rules": {sortedText(workflow.TriggerRules()), firstWords(t, table(t, "Trigger rules", "rule", "starts when"))},
		"statuses of a run": {sortedText([]workflow.RunStatus{workflow.RunQueued, workflow.RunRunning, workflow.RunPausing, workflow.RunPaused, workflow.RunStopping,
			workflow.RunSucceeded, workflow.RunFailed, workflow.RunCancelled, workflow.RunSkipped}), firstWords(t, table(t, "of a run", "status", "meaning"))},
		"statuses of tasks": {sortedText([]workflow.Status{workflow.Pending, workflow.Queued, workflow.Waiting, workflow.Starting, workflow.Running, workflow.Succeeded,
			workflow.Failed, workflow.Skipped, workflow.Omitted, workflow.Cancelled}), firstWords(t, table(t, "of tasks and instances", "status", "meaning"))},
		"verdicts": {sortedText([]workflow.Verdict{workflow.VerdictSucceeded, workflow.VerdictFailed, workflow.VerdictTimedOut, workflow.VerdictError, workflow.VerdictLost,
			workflow.VerdictInterrupted, workflow.VerdictCancelled}), firstWords(t, table(t, "of attempts", "verdict", "meaning"))},
		"values of run":     {sortedText(runNames), runReferences(t)},
		"methods of a call": {sortedText(httpMethods), methods(t)},
	} {
		if diff := cmp.Diff(c.want, c.got); diff != "" {
			t.Errorf("%s, -wanted +got:\n%s", name, diff)
		}
	}
}

func runReferences(t *testing.T) []string {
	var out []string
	for _, row := range table(t, "Values", "reference", "meaning") {
		if name, ok := strings.CutPrefix(strings.Trim(row[0], "`"), "run."); ok {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

func methods(t *testing.T) []string {
	var out []string
	for _, row := range table(t, "http", "", "type") {
		if row[0] == "`method`" {
			for _, span := range codeSpan.FindAllStringSubmatch(row[1], -1) {
				out = append(out, span[1])
			}
		}
	}
	slices.Sort(out)
	return out
}

// A rule is known by its first cell, so within a table no two are alike.
func TestRowsOfTheReferenceAreToldApart(t *testing.T) {
	heading, seen, rows := "", map[string]bool{}, 0
	for _, line := range strings.Split(readme(t), "\n") {
		if strings.HasPrefix(line, "#") {
			heading = strings.TrimLeft(line, "# ")
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		if !strings.HasPrefix(line, "|") {
			seen = map[string]bool{}
			continue
		}
		first := strings.TrimSpace(cells[0])
		if seen[first] {
			t.Errorf("section %s has two rows %q", heading, first)
		}
		seen[first] = true
		rows++
	}
	if rows < 200 {
		t.Errorf("only %d rows were found", rows)
	}
}

func TestExamplesOfTheReferenceCompile(t *testing.T) {
	blocks := strings.Split(readme(t), "```hcl\n")[1:]
	if len(blocks) < 12 {
		t.Fatalf("%d examples", len(blocks))
	}
	for _, block := range blocks {
		src, _, _ := strings.Cut(block, "```")
		if !strings.HasPrefix(src, "workflow ") {
			src = "workflow \"example\" {\n" + src
			for _, name := range []string{"a", "b"} {
				if strings.Contains(src, "task."+name) {
					src += "task \"" + name + "\" {}\n"
				}
			}
			if !strings.Contains(src, "param \"day\"") {
				src += "param \"day\" {\n  type = string\n}\n"
			}
			if !strings.Contains(src, "task \"") {
				src += "task \"a\" {}\n"
			}
			src += "}\n"
		}
		files := []workflow.File{
			{Path: "README.hcl", Bytes: []byte(src)},
			{Path: "jobs/etl.nomad.hcl", Named: true, Bytes: []byte("variable \"day\" {}\njob \"etl\" {\n  type = \"batch\"\n  group \"g\" {\n    task \"t\" {\n      driver = \"docker\"\n    }\n  }\n}\n")},
			{Path: "region/workflow.hcl", Named: true, Bytes: []byte("workflow \"region\" {\n  param \"region\" {}\n  param \"day\" {}\n  task \"a\" {}\n}\n")},
		}
		_, diags := Compile(files, "")
		diags = slices.DeleteFunc(diags, func(d Diagnostic) bool { return d.Summary == "A job that is not Cairn's" })
		if len(diags) > 0 {
			t.Errorf("%s\n%s", diags, src)
		}
	}
}
