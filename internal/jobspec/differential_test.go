// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package jobspec

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
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
	file, diags := CompileJob("job.nomad.hcl", f.src, f.functions())
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
	file, _ := CompileJob("job.nomad.hcl", f.src, f.functions())
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
		return bothRefuse, nomads.refused + "\n--- ours\n" + ours.refused
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

// result is the outcome of one comparison: of a whole file, or of one group of it.
type result struct{ form, name, outcome, detail string }

// notApplicable is the outcome of a group that cannot be written in a form; the detail says why.
const notApplicable = "not applicable"

// bothRefuse is the outcome of what is wrong to either side. Groups are cut out of their files by this test, so that one that
// is refused must be listed: it could be the knife's fault.
const bothRefuse = "both refuse"

// exception is an outcome that we mean to have although it is not equality.
type exception struct {
	form    string // job, group or inline
	name    string // of the result, or a prefix of several that ends with *
	outcome string
	reason  string
}

func (e exception) covers(r result) bool {
	prefix, several := strings.CutSuffix(e.name, "*")
	return e.form == r.form && e.outcome == r.outcome && (r.name == e.name || several && strings.HasPrefix(r.name, prefix))
}

// differential compares every file in some forms and fails on each outcome but equality, refusal by both, and exceptions that
// occur as they are listed.
func differential(t *testing.T, forms []string, judge func(t testing.TB, binary string, f corpusFile) []result) {
	t.Helper()
	binary, files := testcluster.NomadBinary(t), corpus(t)
	results := make([][]result, len(files))
	var wg sync.WaitGroup
	next := make(chan int)
	for range 4 { // enough to keep two cores busy while programs start
		wg.Go(func() {
			for i := range next {
				results[i] = judge(t, binary, files[i])
			}
		})
	}
	for i := range files {
		next <- i
	}
	close(next)
	wg.Wait()

	type count struct{ form, what string }
	counts := map[count]int{}
	occurred := make([]bool, len(exceptions))
	for i, ofFile := range results {
		if len(ofFile) == 0 {
			t.Errorf("%s was left out", files[i].name)
		}
		for _, r := range ofFile {
			counts[count{r.form, "compared"}]++
			switch listed := slices.IndexFunc(exceptions, func(e exception) bool { return e.covers(r) }); {
			case listed >= 0:
				occurred[listed] = true
				counts[count{r.form, "exceptions"}]++
			case r.outcome == notApplicable:
				counts[count{r.form, "compared"}]--
				counts[count{r.form, notApplicable + ": " + r.detail}]++
			case r.outcome == "equal", r.outcome == bothRefuse && (r.form == "job" || strings.HasPrefix(r.name, "own/bad-")):
				counts[count{r.form, r.outcome}]++
			default:
				t.Errorf("%s, %s: %s\n%s", r.form, r.name, r.outcome, r.detail)
			}
		}
	}
	for i, e := range exceptions {
		if slices.Contains(forms, e.form) && !occurred[i] {
			t.Errorf("the exception %s for %s, %s no longer occurs as listed", e.outcome, e.form, e.name)
		}
	}
	t.Logf("%d files found", len(files))
	for _, c := range slices.SortedFunc(maps.Keys(counts), func(a, b count) int {
		return cmp.Or(strings.Compare(a.form, b.form), strings.Compare(a.what, b.what))
	}) {
		t.Logf("%6s: %4d %s", c.form, counts[c], c.what)
	}
}

func TestWholeJobFilesDecodeAsNomadDecodesThem(t *testing.T) {
	differential(t, []string{"job"}, func(t testing.TB, binary string, f corpusFile) []result {
		vars := neededVariables(f)
		r := result{form: "job", name: f.name}
		r.outcome, r.detail = outcome(t, nomadVerdict(t, binary, f, vars), ourVerdict(t, f, vars))
		// Our own files say by their name what they are for; a slip in one must not pass as a refusal.
		if own, ok := strings.CutPrefix(f.name, "own/"); ok && strings.HasPrefix(own, "bad-") != (r.outcome == bothRefuse) {
			t.Errorf("%s: %s\n%s", f.name, r.outcome, r.detail)
		}
		return []result{r}
	})
}

func TestBodiesDecodeAsNomadDecodesThem(t *testing.T) {
	differential(t, []string{groupForm.name, inlineForm.name}, bodyResults)
}
