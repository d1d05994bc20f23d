// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package conformance

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/cairnflow/cairn/hcl"
	"github.com/cairnflow/cairn/internal/workflow"
)

// folder are files by path. One whose text begins with "-> " is a link to what follows, "|" is a named pipe, and one that
// ends in a slash is a folder.
type folder map[string]string

// laid lays the files out on disk for a while. DIR stands for where in what use says.
func (f folder) laid(use func(dir string) string) string {
	top, err := os.MkdirTemp("", "conformance")
	if err != nil {
		panic(err)
	}
	dir := filepath.Join(top, "flow")
	for path, text := range f {
		at := filepath.Join(dir, path)
		err := os.MkdirAll(filepath.Dir(at), 0o755)
		target, link := strings.CutPrefix(text, "-> ")
		switch {
		case err != nil:
		case strings.HasSuffix(path, "/"):
			err = os.MkdirAll(at, 0o755)
		case link:
			err = os.Symlink(target, at)
		case text == "|":
			err = syscall.Mkfifo(at, 0o644)
		default:
			err = os.WriteFile(at, []byte(text), 0o644)
		}
		if err != nil {
			panic(err)
		}
	}
	said := strings.ReplaceAll(use(dir), dir, "DIR")
	if err := os.RemoveAll(top); err != nil {
		panic(err)
	}
	return said
}

// with is the folder with one more file.
func (f folder) with(path, text string) folder {
	f = maps.Clone(f)
	f[path] = text
	return f
}

// reads tells which files a path in the folder brings, those that are only named in brackets, or why none.
func (f folder) reads(path string) func() string {
	return func() string {
		return f.laid(func(dir string) string {
			files, diags := hcl.Load(filepath.Join(dir, path))
			if diags.HasErrors() {
				return said(diags)
			}
			return names(files)
		})
	}
}

func names(files []workflow.File) string {
	var own, named []string
	for _, file := range files {
		if file.Named {
			named = append(named, file.Path)
		} else {
			own = append(own, file.Path)
		}
	}
	return strings.Join(own, " ") + " (" + strings.Join(named, " ") + ")"
}

// compiles tells what compiling a path in the folder says, or the arguments of task a.
func (f folder) compiles(path, name string) func() string {
	return func() string {
		return f.laid(func(dir string) string {
			files, diags := hcl.Load(filepath.Join(dir, path))
			if diags.HasErrors() {
				return said(diags)
			}
			return argsIn(files, name)
		})
	}
}

// argsIn are the arguments of task a of a workflow in these files.
func argsIn(files []workflow.File, name string) string {
	def, eval, diags := hcl.CompileAndOpen(files, name)
	if diags.HasErrors() {
		return said(diags)
	}
	v, problem := bodyOf(def, eval, nil)
	if problem != "" {
		return problem
	}
	return argsOf(string(v.JSON))
}

// flowIn is the text of a file with a workflow.
func flowIn(name, inside string) string { return fmt.Sprintf("workflow %q {\n%s\n}\n", name, inside) }

var oneTask = flowIn("w", task("a", ""))

// naming are all findings about a name that stands wherever names are declared.
func naming(name string) func() string {
	return func() string {
		flow := fmt.Sprintf("workflow %q {\n locals {\n  %s = 1\n }\n param %q {}\n output %q {\n  value = 1\n }\n%s}\n", name, name, name, name, task(name, fmt.Sprintf("output %q {}", name)))
		_, diags := hcl.Compile([]workflow.File{{Path: "w.hcl", Bytes: []byte(flow)}}, "")
		var about []string
		for _, d := range diags {
			if d.Summary == "Invalid name" {
				_, after, _ := strings.Cut(d.Detail, "is no name for ")
				what, _, _ := strings.Cut(after, ".")
				about = append(about, what)
			}
		}
		return fmt.Sprint(len(diags), " ", strings.Join(about, ", "))
	}
}

const everywhere = "a workflow, a local, a param, an output, a task, an output"

// throughPipe reads a workflow from a pipe that this process holds, as from <(command).
func throughPipe(text string) string {
	r, w, err := os.Pipe()
	if err != nil {
		panic(err)
	}
	if _, err := w.WriteString(text); err != nil {
		panic(err)
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	files, diags := hcl.Load(fmt.Sprintf("/dev/fd/%d", r.Fd()))
	if err := r.Close(); err != nil {
		panic(err)
	}
	if diags.HasErrors() {
		return said(diags)
	}
	_, diags = hcl.Compile(files, "")
	return said(diags)
}

// manyNamed is a folder whose workflow asks after so many files.
func manyNamed(n int) func() string {
	return folder{"a.hcl": flowIn("w", "locals {\n"+repeat(n, " x%[1]d = fileexists(\"n%[1]d\")\n")+"}\n"+task("a", ""))}.reads("a.hcl")
}

// stored says whether a definition that carries so many bytes, which cannot be compressed, can be stored.
func stored(n int) func() string {
	return func() string {
		noise := make([]byte, n)
		source := rand.NewPCG(1, 2)
		for i := range noise {
			noise[i] = byte(source.Uint64())
		}
		def, diags := hcl.Compile([]workflow.File{{Path: "a.hcl", Bytes: []byte(flowIn("w", echo("a", "filesha1(\"n\")", "")))}, {Path: "n", Bytes: noise, Named: true}}, "w")
		if diags.HasErrors() {
			return said(diags)
		}
		_, err := workflow.EncodeDefinition(def)
		if err != nil {
			_, after, _ := strings.Cut(err.Error(), "the limit is ")
			return "the limit is " + after
		}
		return "stored"
	}
}

// hashes are whether two definitions have the same identity, by name and files.
func hashes(name1 string, files1 []workflow.File, name2 string, files2 []workflow.File) func() string {
	return func() string {
		one, diags1 := hcl.Compile(files1, name1)
		two, diags2 := hcl.Compile(files2, name2)
		if diags1.HasErrors() || diags2.HasErrors() {
			return said(diags1) + said(diags2)
		}
		return map[bool]string{true: "the same", false: "another"}[one.Hash == two.Hash]
	}
}

func twoFlows(note string) []workflow.File {
	return []workflow.File{{Path: "a.hcl", Bytes: []byte(flowIn("v", task("a", "")) + flowIn("w", echo("a", "filemd5(\"n.hcl\")", "")))}, {Path: "n.hcl", Bytes: []byte(note), Named: true}}
}

// unmarked are the same files, each as one of the workflow's own.
func unmarked(files []workflow.File) []workflow.File {
	for i := range files {
		files[i].Named = false
	}
	return files
}

// later is what a run makes of a file that has changed on disk since, or of one that was read anew.
func later(again bool) func() string {
	return func() string {
		f := folder{"a.hcl": flowIn("w", echo("a", "file(\"n\")", "")), "n": "before"}
		return f.laid(func(dir string) string {
			files, _ := hcl.Load(dir)
			if err := os.WriteFile(filepath.Join(dir, "n"), []byte("after"), 0o644); err != nil {
				panic(err)
			}
			if again {
				files, _ = hcl.Load(dir)
			}
			return argsIn(files, "w")
		})
	}
}

// library is a workflow that names files of every kind, which name others.
var library = folder{
	"a.hcl": flowIn("w", echo("a", "file(\"d.txt\"), templatefile(\"tpl/t.tpl\", { x = 1 })", "")+"task \"j\" {\n job {\n  source = \"jobs/j.nomad.hcl\"\n }\n}\n"+
		"task \"c\" {\n run_workflow {\n  source = \"child\"\n }\n}\n"),
	"d.txt": "d", "tpl/t.tpl": "${x}${file(\"n.txt\")}", "tpl/n.txt": "n",
	"jobs/j.nomad.hcl": "job \"j\" {\n type = \"batch\"\n group \"g\" {\n  task \"t\" {\n   driver = \"raw_exec\"\n   config {\n    command = file(\"c.txt\")\n   }\n  }\n }\n}\n",
	"jobs/c.txt":       "true",
	"child/c.hcl":      flowIn("c", echo("a", "file(\"e.txt\")", "")), "child/e.txt": "e", "unused.txt": "u", "n.txt": "top",
}

var filesTable = map[string][]check{
	"Files: a path": {
		{with: folder{"a.hcl": "", "b.hcl": ""}.reads("a.hcl"), without: folder{"a.hcl": "", "b.hcl": ""}.reads("b.hcl"), want: "a.hcl ()"},
		{with: folder{"b.hcl": "", "a.hcl": "", ".h.hcl": "", "sub/c.hcl": "", "j.nomad.hcl": "", "x.txt": ""}.reads(""),
			without: folder{"b.hcl": "", "a.hcl": "", "h.hcl": ""}.reads(""), want: "a.hcl b.hcl ()"},
		{with: folder{"a.hcl": flowIn("w", echo("a", "local.x", "")), "b.hcl": "locals {\n x = \"of b\"\n}\n"}.compiles("", ""),
			without: folder{"a.hcl": flowIn("w", echo("a", "local.x", "")), "b.hcl": "locals {\n x = \"of b\"\n}\n"}.compiles("a.hcl", ""), want: "of b"},
		{with: folder{"a.txt": ""}.reads(""), without: folder{"a.hcl": ""}.reads(""), want: "invalid: No workflow files: The folder DIR holds no *.hcl file. Name a folder that does, or a file."},
	},
	"Files: regular files": {
		{with: folder{"a.hcl": "|"}.reads("a.hcl"), without: folder{"a.hcl": oneTask}.reads("a.hcl"),
			want: "invalid: Not a regular file: DIR/a.hcl is a named pipe. A workflow is read from regular files: rename this one, or name another."},
		{with: folder{"a.hcl": oneTask, "b.hcl/": ""}.reads(""), without: folder{"a.hcl": oneTask, "b/": ""}.reads(""),
			want: "invalid: Not a regular file: DIR/b.hcl is a folder. A workflow is read from regular files: rename this one, or name another."},
		{with: folder{"a.hcl": oneTask + "# \xff\n"}.compiles("", ""), without: folder{"a.hcl": oneTask + "# ü\n"}.compiles("", ""),
			want: "invalid: Not a text file: The file is not text in UTF-8: a byte 0xff stands here. Name another file, or save this one as UTF-8."},
		{with: func() string { return throughPipe(oneTask) }, without: func() string { return throughPipe("") }, want: "valid"},
	},
	"Files: the top of a file": {
		{with: folder{"a.hcl": "locals {\n x = \"top\"\n}\n" + flowIn("v", echo("a", "\"v\"", "")) + flowIn("w", echo("a", "local.x", ""))}.compiles("", "w"),
			without: folder{"a.hcl": "locals {\n x = \"top\"\n}\n" + flowIn("v", echo("a", "\"v\"", "")) + flowIn("w", echo("a", "local.x", ""))}.compiles("", "v"), want: "top"},
		{with: folder{"a.hcl": oneTask + task("b", "")}.compiles("", ""), without: folder{"a.hcl": oneTask}.compiles("", ""),
			want: "invalid: Not allowed here: task cannot be written at the top of a file. A task belongs into a workflow block."},
	},
	"Files: names": {
		{with: naming("a" + strings.Repeat("_0-z", 15) + "zz"), without: naming("a" + strings.Repeat("_0-z", 15) + "zzz"), want: "0 "},
		{with: naming("Day"), without: naming("day"), want: "6 " + everywhere},
		{with: naming("dAy"), without: naming("day"), want: "6 " + everywhere},
		{with: naming("_day"), without: naming("d_ay"), want: "6 " + everywhere},
	},
	"Files: named files": {
		{with: library.reads(""), without: library.with("tpl/t.tpl", "${x}").reads(""),
			want: "a.hcl (child/c.hcl child/e.txt d.txt jobs/c.txt jobs/j.nomad.hcl tpl/n.txt tpl/t.tpl)"},
		{with: library.compiles("", "w"), without: library.with("d.txt", "x").compiles("", "w"), want: "d 1n"},
	},
	"Files: constant paths": {
		refused("param \"p\" {\n default = \"w.hcl\"\n}\n"+echo("a", "file(param.p)", ""),
			"Not a path: file reads a file: it is read when the workflow is submitted, once, so its path cannot depend on param.p. Write the path as text; where each instance needs another file, put a map of them into locals.",
			"file(param.p)", "file(\"w.hcl\")"),
		refused("locals {\n p = \"w.hcl\"\n}\n"+echo("a", "file(local.p)", ""),
			"Not a path: file reads a file: it is read when the workflow is submitted, once, so its path cannot depend on local.p. Write the path as text; where each instance needs another file, put a map of them into locals.",
			"file(local.p)", "file(join(\".\", [\"w\", \"hcl\"]))"),
	},
	"Files: paths": {
		{with: library.compiles("", "w"), without: library.with("tpl/n.txt", "x").compiles("", "w"), want: "d 1n"},
		{with: library.compiles("child", "c"), without: library.with("child/e.txt", "x").compiles("child", "c"), want: "e"},
		{with: library.reads(""), without: library.with("jobs/j.nomad.hcl", "").reads(""), want: "a.hcl (child/c.hcl child/e.txt d.txt jobs/c.txt jobs/j.nomad.hcl tpl/n.txt tpl/t.tpl)"},
		refused(echo("a", "file(\".\\\\w.hcl\")", ""), "Not a path: file reads a file: the path has a character that no path may hold: write slashes between its parts.", ".\\\\w", "./w"),
	},
	"Files: below the folder": {
		refused(echo("a", "file(\"/w.hcl\")", ""),
			"Not a path: file reads a file: the path is absolute. Files are read below the workflow's folder only: put the file there and write its path from there.", "/w", "w"),
		refused(echo("a", "file(\"sub/../../w.hcl\")", ""),
			"Not a path: file reads a file: the path leads out of the workflow's folder. Files are read below it only: put the file there.", "../../w", "../w"),
		{with: folder{"a.hcl": flowIn("w", echo("a", "file(\"n\")", "")), "n": "-> ../out", "../out": "secret"}.compiles("", "w"),
			without: folder{"a.hcl": flowIn("w", echo("a", "file(\"n\")", "")), "n": "-> sub/in", "sub/in": "mine"}.compiles("", "w"),
			want:    "invalid: Cannot read a file: n: it is a link that leads out of the workflow's folder. Files are read below it only: put the file there."},
		{with: folder{"a.hcl": flowIn("w", echo("a", "file(\"n\")", "")), "n": "-> sub/in", "sub/in": "mine"}.compiles("", "w"),
			without: folder{"a.hcl": flowIn("w", echo("a", "file(\"n\")", "")), "n": "own"}.compiles("", "w"), want: "mine"},
	},
	"Files: what is carried": {
		{with: manyNamed(workflow.MaxNamedFiles + 1), without: manyNamed(workflow.MaxNamedFiles),
			want: "invalid: Too many files: A workflow may name 1000 files. Put data where the tasks can read it, and pass its name."},
		{with: stored(2<<20 + 1), without: stored(1900 << 10),
			want: "the limit is 2097152: split the workflow, or move data out of its files into artifacts"},
	},
	"Files: identity": {
		{with: hashes("w", twoFlows("x"), "w", twoFlows("x")), without: hashes("v", twoFlows("x"), "w", twoFlows("x")), want: "the same"},
		{with: hashes("w", twoFlows("x"), "w", twoFlows("x")), without: hashes("w", twoFlows("x"), "w", twoFlows("y")), want: "the same"},
		{with: hashes("w", twoFlows("#"), "w", twoFlows("#")), without: hashes("w", twoFlows("#"), "w", unmarked(twoFlows("#"))), want: "the same"},
		{with: later(false), without: later(true), want: "before"},
	},
}
