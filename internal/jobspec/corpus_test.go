// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package jobspec

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty/function"
)

// corpusFile is one job file of the differential test.
type corpusFile struct {
	name string // "own/…" from testdata, "nomad/…" from Nomad's module, "docs/…#n" the nth fenced block of a page
	dir  string // where file() reads
	src  []byte
}

// functions are those that the file may call.
func (f corpusFile) functions() map[string]function.Function {
	return AllFunctions(".", func(name string) ([]byte, error) { return os.ReadFile(filepath.Join(f.dir, name)) })
}

var (
	jobBlock = regexp.MustCompile(`(?m)^\s*job\s+"[^"\n]*"\s*\{`)
	fence    = regexp.MustCompile("(?ms)^([ \t]*)```[^\n]*\n(.*?)^[ \t]*```[ \t]*$")
)

// corpus collects our own job files and, from the module cache, every job file and every documented job block of the
// Nomad that the tests run against.
func corpus(t testing.TB) []corpusFile {
	t.Helper()
	var files []corpusFile
	own, err := filepath.Glob("testdata/jobs/*.nomad.hcl")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range own {
		files = append(files, corpusFile{"own/" + filepath.Base(path), filepath.Dir(path), readFile(t, path)})
	}
	walkNomad(t, func(rel, dir string, src []byte) {
		switch filepath.Ext(rel) {
		case ".hcl", ".nomad", ".job", ".tpl":
			if jobBlock.Match(src) {
				files = append(files, corpusFile{"nomad/" + rel, dir, src})
			}
		case ".mdx", ".md":
			for i, block := range fencedJobs(src) {
				files = append(files, corpusFile{fmt.Sprintf("docs/%s#%d", rel, i+1), dir, block})
			}
		}
	})
	return files
}

// fencedJobs returns the code blocks of a page that hold a job block.
func fencedJobs(page []byte) [][]byte {
	var jobs [][]byte
	for _, m := range fence.FindAllSubmatch(page, -1) {
		if jobBlock.Match(m[2]) {
			jobs = append(jobs, m[2])
		}
	}
	return jobs
}

// nomadFile is a file of the Nomad module that the agents are built from. It is read, never copied.
type nomadFile struct {
	rel, dir string
	src      []byte
}

// nomadFiles are the files of the module that hold a job block, or might by their name.
var nomadFiles = sync.OnceValues(func() ([]nomadFile, error) {
	root, err := nomadModule()
	if err != nil {
		return nil, err
	}
	var files []nomadFile
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		src, err := os.ReadFile(path)
		if jobBlock.Match(src) || slices.Contains([]string{".hcl", ".nomad", ".job", ".json"}, filepath.Ext(path)) {
			files = append(files, nomadFile{rel, filepath.Dir(path), src})
		}
		return err
	})
	return files, err
})

func walkNomad(t testing.TB, visit func(rel, dir string, src []byte)) {
	t.Helper()
	files, err := nomadFiles()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		visit(f.rel, f.dir, f.src)
	}
}

func nomadModule() (string, error) {
	cmd := exec.Command("go", "mod", "download", "-json", "github.com/hashicorp/nomad")
	cmd.Dir = "../tools/nomad"
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("find the Nomad module: %w", err)
	}
	var module struct{ Dir string }
	err = json.Unmarshal(out, &module)
	return module.Dir, err
}

func readFile(t testing.TB, path string) []byte {
	t.Helper()
	src, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return src
}

// notJobFiles are files of the module that hold the text of a job and are no job files, by their extension.
var notJobFiles = map[string]string{
	".go":   "a job in the text of a program",
	".js":   "a job in the text of a program",
	".bash": "a job in the text of a program",
}

// Everything in Nomad's module that could be a job file is one of the corpus, or is counted here as what it is.
func TestTheCorpusLeavesNoJobFileOut(t *testing.T) {
	inCorpus, jobsInCorpus := map[string]bool{}, 0
	for _, f := range corpus(t) {
		name, block, _ := strings.Cut(f.name, "#")
		inCorpus[name] = true
		if block != "" {
			jobsInCorpus += len(jobBlock.FindAll(f.src, -1))
		}
	}
	counts := map[string]int{}
	jobsOnPages := 0
	walkNomad(t, func(rel, _ string, src []byte) {
		ext := filepath.Ext(rel)
		hasJob := jobBlock.Match(src)
		switch {
		case inCorpus["nomad/"+rel]:
			counts["job files"]++
		case inCorpus["docs/"+rel]:
			counts["pages with job blocks"]++
			jobsOnPages += len(jobBlock.FindAll(src, -1))
		case hasJob && notJobFiles[ext] != "":
			counts[notJobFiles[ext]+" ("+ext+")"]++
		case hasJob:
			t.Errorf("%s holds a job block and is left out", rel)
		case ext == ".hcl" || ext == ".nomad" || ext == ".job":
			counts["no job block: "+kindOfFile(src)]++
		case ext == ".json" && bytes.Contains(src, []byte(`"Job"`)):
			counts["a job in JSON, which is no job file's language"]++
		}
	})
	if jobsOnPages != jobsInCorpus {
		t.Errorf("the pages hold %d job blocks, of which %d are in the corpus", jobsOnPages, jobsInCorpus)
	}
	if counts["job files"] < 195 {
		t.Errorf("%d job files in Nomad's module; there were 195 and more", counts["job files"])
	}
	for _, what := range slices.Sorted(maps.Keys(counts)) {
		t.Logf("%4d %s", counts[what], what)
	}
	t.Logf("%4d job blocks on pages", jobsOnPages)
}

// kindOfFile says what a file without a job block is, by the first thing in it.
func kindOfFile(src []byte) string {
	file, diags := hclsyntax.ParseConfig(src, "x.hcl", hcl.InitialPos)
	if diags.HasErrors() {
		return "not in HCL 2"
	}
	body := file.Body.(*hclsyntax.Body)
	first, at := "empty", len(src)+1
	for _, b := range body.Blocks {
		if b.TypeRange.Start.Byte < at {
			first, at = "begins with the block "+b.Type, b.TypeRange.Start.Byte
		}
	}
	for name, attr := range body.Attributes {
		if attr.NameRange.Start.Byte < at {
			first, at = "begins with the argument "+name, attr.NameRange.Start.Byte
		}
	}
	return first
}
