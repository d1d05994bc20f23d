// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package jobspec

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	nomadapi "github.com/hashicorp/nomad/api"
	"github.com/zclconf/go-cty/cty"

	"github.com/cairnflow/cairn/internal/testcluster"
)

// corpusFile is one job file of the differential test.
type corpusFile struct {
	name string // "own/…" from testdata, "nomad/…" from Nomad's module, "docs/…#n" the nth fenced block of a page
	dir  string // where file() reads
	src  []byte
}

// corpus collects our own job files and, from the module cache, every job file and every documented job block of the
// Nomad that the tests run against.
func corpus(t *testing.T) []corpusFile {
	t.Helper()
	var files []corpusFile
	own, err := filepath.Glob("testdata/jobs/*.nomad.hcl")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range own {
		files = append(files, corpusFile{"own/" + filepath.Base(path), filepath.Dir(path), readFile(t, path)})
	}
	root := nomadModule(t)
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		switch filepath.Ext(path) {
		case ".hcl", ".nomad", ".job":
			if src := readFile(t, path); jobBlock.Match(src) {
				files = append(files, corpusFile{"nomad/" + rel, filepath.Dir(path), src})
			}
		case ".mdx", ".md":
			for i, src := range fencedJobs(readFile(t, path)) {
				files = append(files, corpusFile{fmt.Sprintf("docs/%s#%d", rel, i+1), filepath.Dir(path), src})
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

var (
	jobBlock = regexp.MustCompile(`(?m)^\s*job\s+"[^"]*"\s*\{`)
	fence    = regexp.MustCompile("(?ms)^([ \t]*)```(?:hcl|nomad|terraform)?[^\n]*\n(.*?)^[ \t]*```[ \t]*$")
)

// fencedJobs returns the code blocks of a page that begin with a job file's blocks.
func fencedJobs(page []byte) [][]byte {
	var jobs [][]byte
	for _, m := range fence.FindAllSubmatch(page, -1) {
		if jobBlock.Match(m[2]) {
			jobs = append(jobs, m[2])
		}
	}
	return jobs
}

func readFile(t testing.TB, path string) []byte {
	t.Helper()
	src, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return src
}

// nomadModule is the folder of the Nomad module that the agents are built from. Its job files are read, never copied.
func nomadModule(t testing.TB) string {
	t.Helper()
	cmd := exec.Command("go", "mod", "download", "-json", "github.com/hashicorp/nomad")
	cmd.Dir = "../tools/nomad"
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("find the Nomad module: %v", err)
	}
	var module struct{ Dir string }
	if err := json.Unmarshal(out, &module); err != nil {
		t.Fatal(err)
	}
	return module.Dir
}

// verdict is what one decoder says of a file: a job, or why not.
type verdict struct {
	job     *nomadapi.Job
	refused string
}

// nomadVerdict asks the real program. It never talks to a server: -output prints what was parsed and ends.
func nomadVerdict(t testing.TB, binary string, f corpusFile, vars map[string]string) verdict {
	t.Helper()
	path := filepath.Join(t.TempDir(), "job.nomad.hcl")
	if err := os.WriteFile(path, f.src, 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"job", "run", "-output", "-hcl2-strict=true"}
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		args = append(args, "-var", name+"="+vars[name])
	}
	cmd := exec.Command(binary, append(args, path)...)
	cmd.Env = []string{"HOME=" + t.TempDir()}
	cmd.Dir = f.dir
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) {
			t.Fatal(err)
		}
		return verdict{refused: strings.TrimSpace(stderr.String())}
	}
	var out struct{ Job *nomadapi.Job }
	if err := json.Unmarshal(stdout.Bytes(), &out); err != nil || out.Job == nil {
		t.Fatalf("output of nomad is no job: %v\n%s", err, stdout.String())
	}
	return verdict{job: out.Job}
}

// ourVerdict is the same by this package. Like Nomad's, the job goes through JSON once.
func ourVerdict(t testing.TB, f corpusFile, vars map[string]string) verdict {
	t.Helper()
	file, diags := CompileJob("job.nomad.hcl", f.src, AllFunctions(f.dir))
	if diags.HasErrors() {
		return verdict{refused: diags.Error()}
	}
	job, diags := file.Decode(variableValues(t, file, vars))
	if diags.HasErrors() {
		return verdict{refused: diags.Error()}
	}
	return verdict{job: throughJSON(t, job)}
}

func throughJSON(t testing.TB, job *nomadapi.Job) *nomadapi.Job {
	t.Helper()
	raw, err := Canonical(job)
	if err != nil {
		t.Fatal(err)
	}
	var out nomadapi.Job
	if err := json.Unmarshal(raw, &out); err != nil {
		t.Fatal(err)
	}
	return &out
}

// neededVariables gives a value, as on a command line, to each variable of a file that has no default.
func neededVariables(f corpusFile) map[string]string {
	file, _ := CompileJob("job.nomad.hcl", f.src, AllFunctions(f.dir))
	vars := map[string]string{}
	if file == nil {
		return vars
	}
	for _, v := range file.variables {
		if v.fallback != cty.NilVal {
			continue
		}
		switch {
		case v.want == cty.Number:
			vars[v.name] = "7"
		case v.want == cty.Bool:
			vars[v.name] = "true"
		case v.want == cty.NilType, v.want == cty.String:
			vars[v.name] = "text"
		case v.want.IsListType(), v.want.IsSetType():
			vars[v.name] = `["a", "b"]`
		default:
			vars[v.name] = `{ a = "b" }`
		}
	}
	return vars
}

// variableValues reads values the way a command line gives them.
func variableValues(t testing.TB, file *JobFile, vars map[string]string) map[string]cty.Value {
	t.Helper()
	values := map[string]cty.Value{}
	for _, v := range file.variables {
		text, ok := vars[v.name]
		switch {
		case !ok:
		case v.want == cty.NilType, v.want == cty.String, v.want == cty.Number:
			values[v.name] = cty.StringVal(text)
		default:
			expr, diags := hclsyntax.ParseExpression([]byte(text), "var", hcl.InitialPos)
			if diags.HasErrors() {
				t.Fatal(diags)
			}
			value, diags := expr.Value(nil)
			if diags.HasErrors() {
				t.Fatal(diags)
			}
			values[v.name] = value
		}
	}
	return values
}

// outcome compares two verdicts. It is "equal", "both refuse", "only Nomad refuses", "only we refuse", or the paths at which
// the jobs differ.
func outcome(t testing.TB, nomads, ours verdict) (string, string) {
	t.Helper()
	switch {
	case nomads.job == nil && ours.job == nil:
		return "both refuse", nomads.refused + "\n--- ours\n" + ours.refused
	case nomads.job == nil:
		return "only Nomad refuses", nomads.refused
	case ours.job == nil:
		return "only we refuse", ours.refused
	}
	want, got := tree(t, nomads.job), tree(t, ours.job)
	var paths []string
	var text strings.Builder
	compare("", want, got, func(path string, want, got any) {
		paths = append(paths, path)
		fmt.Fprintf(&text, "%s\n  nomad %s\n  ours  %s\n", path, asJSON(t, want), asJSON(t, got))
	})
	if len(paths) == 0 {
		return "equal", ""
	}
	return "differs at " + strings.Join(paths, " "), text.String()
}

// tree is a job as parsed JSON, after the canonicalisation of the api module.
func tree(t testing.TB, job *nomadapi.Job) any {
	t.Helper()
	job.Canonicalize()
	raw, err := json.Marshal(job)
	if err != nil {
		t.Fatal(err)
	}
	var out any
	if err := json.Unmarshal(raw, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// compare calls report for every path at which two trees differ.
func compare(path string, want, got any, report func(path string, want, got any)) {
	if w, ok := want.(map[string]any); ok {
		if g, ok := got.(map[string]any); ok {
			keys := maps.Clone(w)
			maps.Copy(keys, g)
			for _, k := range slices.Sorted(maps.Keys(keys)) {
				compare(path+"/"+k, w[k], g[k], report)
			}
			return
		}
	}
	if w, ok := want.([]any); ok {
		if g, ok := got.([]any); ok && len(w) == len(g) {
			for i := range w {
				compare(fmt.Sprintf("%s/%d", path, i), w[i], g[i], report)
			}
			return
		}
	}
	if !reflect.DeepEqual(want, got) {
		report(path, want, got)
	}
}

// exception is a file on which the two may differ, in exactly this way.
type exception struct{ outcome, reason string }

// differential compares every file by judge and fails on each outcome but equality, refusal by both, and exceptions
// that occur as they are listed.
func differential(t *testing.T, files []corpusFile, exceptions map[string]exception, judge func(t testing.TB, f corpusFile) (string, string)) {
	t.Helper()
	type result struct{ name, outcome, detail string }
	results := make([]result, len(files))
	var wg sync.WaitGroup
	next := make(chan int)
	for range 4 { // enough to keep two cores busy while programs start
		wg.Go(func() {
			for i := range next {
				outcome, detail := judge(t, files[i])
				results[i] = result{files[i].name, outcome, detail}
			}
		})
	}
	for i := range files {
		next <- i
	}
	close(next)
	wg.Wait()

	counts := map[string]int{}
	occurred := map[string]bool{}
	for _, r := range results {
		expected, listed := exceptions[r.name]
		switch {
		case r.outcome == "":
			t.Errorf("%s was left out", r.name)
		case listed && expected.outcome == r.outcome:
			counts["exceptions"]++
			occurred[r.name] = true
		case !listed && (r.outcome == "equal" || r.outcome == "both refuse" || r.outcome == notApplicable):
			counts[r.outcome]++
		default:
			t.Errorf("%s: %s\n%s", r.name, r.outcome, r.detail)
		}
	}
	for name := range exceptions {
		if !occurred[name] {
			t.Errorf("the exception for %s no longer occurs as listed", name)
		}
	}
	t.Logf("%d files: %v", len(files), counts)
}

// notApplicable is the outcome of a file that has nothing to compare in this form.
const notApplicable = "no group with exactly one task"

// jobExceptions are the files on which we mean to differ from Nomad's parser.
var jobExceptions = map[string]exception{
	"own/group-secret-twice.nomad.hcl": {
		"differs at /TaskGroups/0/Tasks/0/Secrets/1/Name /TaskGroups/0/Tasks/0/Secrets/1/Path",
		"Nomad 1.11 gives a task that has secrets of its own those twice, and not the group's",
	},
}

func TestWholeJobFilesDecodeAsNomadDecodesThem(t *testing.T) {
	binary := testcluster.NomadBinary(t)
	files := corpus(t)
	differential(t, files, jobExceptions, func(t testing.TB, f corpusFile) (string, string) {
		vars := neededVariables(f)
		result, detail := outcome(t, nomadVerdict(t, binary, f, vars), ourVerdict(t, f, vars))
		// Our own files say by their name what they are for; a slip in one must not pass as a refusal.
		if own, ok := strings.CutPrefix(f.name, "own/"); ok && strings.HasPrefix(own, "bad-") != (result == "both refuse") {
			t.Errorf("%s: %s\n%s", f.name, result, detail)
		}
		return result, detail
	})
}
