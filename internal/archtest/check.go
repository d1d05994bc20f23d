// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package archtest

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// violation is one place that breaks a rule.
type violation struct {
	file string // from the root of the repository
	line int
	rule string // one of the rules below
	text string // what is wrong and what to do instead
}

func (v violation) String() string {
	return fmt.Sprintf("%s:%d: %s: %s", v.file, v.line, v.rule, v.text)
}

// The rules, by the name they are reported under.
const (
	ruleHeader    = "header"    // each file starts with the copyright and licence lines
	ruleImport    = "import"    // the import table
	ruleModule    = "module"    // the table of third-party modules
	rulePure      = "pure"      // no clock, machine or chance in pure packages
	ruleGoroutine = "goroutine" // none in workflow and engine
	ruleInit      = "init"      // no init functions
	ruleState     = "state"     // no package variable that is written to
	ruleSleep     = "sleep"     // no time.Sleep, tests included
	ruleSkip      = "skip"      // no skipped test
)

var rules = []string{
	ruleHeader, ruleImport, ruleModule, rulePure, ruleGoroutine, ruleInit, ruleState, ruleSleep, ruleSkip,
}

const header = "// Copyright (c) The Cairn Authors\n// SPDX-License-Identifier: MPL-2.0\n\n"

// checker collects the violations of one tree.
type checker struct {
	fset  *token.FileSet
	found []violation
}

// checkTree checks every Go file of the module whose root is fsys: all packages,
// on whatever system they build. Nested modules and testdata are not part of it.
func checkTree(fsys fs.FS) ([]violation, error) {
	c := &checker{fset: token.NewFileSet()}
	folders := map[string][]*ast.File{}
	err := fs.WalkDir(fsys, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if ignoredFolder(fsys, name) {
				return fs.SkipDir
			}
			return nil
		}
		if path.Ext(name) != ".go" {
			return nil
		}
		source, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		if !strings.HasPrefix(string(source), header) {
			c.report(name, 1, ruleHeader, "the file must start with:\n%s", header)
		}
		file, err := parser.ParseFile(c.fset, name, source, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		folders[path.Dir(name)] = append(folders[path.Dir(name)], file)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the tree: %w", err)
	}
	for folder, files := range folders {
		c.checkFolder(folder, files)
	}
	slices.SortFunc(c.found, func(a, b violation) int {
		return cmp.Or(cmp.Compare(a.file, b.file), a.line-b.line, cmp.Compare(a.rule, b.rule))
	})
	return c.found, nil
}

// ignoredFolder follows the go command: hidden folders, testdata and nested modules.
func ignoredFolder(fsys fs.FS, name string) bool {
	if name == "." {
		return false
	}
	base := path.Base(name)
	if base == "testdata" || strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") {
		return true
	}
	_, err := fs.Stat(fsys, path.Join(name, "go.mod"))
	return err == nil
}

func (c *checker) report(file string, line int, rule, format string, args ...any) {
	c.found = append(c.found, violation{file, line, rule, fmt.Sprintf(format, args...)})
}

func (c *checker) reportAt(pos token.Pos, rule, format string, args ...any) {
	p := c.fset.Position(pos)
	c.report(p.Filename, p.Line, rule, format, args...)
}

func (c *checker) checkFolder(folder string, files []*ast.File) {
	r, known := rowOf(folder)
	if !known {
		c.reportAt(files[0].Package, ruleImport, "package %s has no row in the import table", folder)
	}
	var product []*ast.File
	for _, file := range files {
		test := strings.HasSuffix(c.fset.Position(file.Package).Filename, "_test.go")
		if known {
			c.checkImports(r, file, test)
		}
		if !test {
			product = append(product, file)
			if slices.Contains(pure, r.folder) {
				c.checkPure(r, file)
			}
		}
		c.checkHabits(file)
	}
	c.checkState(product)
}

func (c *checker) checkImports(r row, file *ast.File, test bool) {
	for _, spec := range file.Imports {
		target := importPath(spec)
		inside, local := strings.CutPrefix(target+"/", modulePath+"/")
		switch {
		case local:
			inside = cmp.Or(strings.TrimSuffix(inside, "/"), ".")
			if !r.mayImport(inside, test) {
				c.reportAt(spec.Pos(), ruleImport, "%s must not import %s", r.folder, inside)
			}
		case !strings.Contains(strings.Split(target, "/")[0], "."):
			// The standard library.
		default:
			c.checkModule(r, spec, target, test)
		}
	}
}

func (c *checker) checkModule(r row, spec *ast.ImportSpec, target string, test bool) {
	i := slices.IndexFunc(modules, func(m module) bool { return within(target, m.path) })
	if i < 0 {
		c.reportAt(spec.Pos(), ruleModule, "%s is of no module in the table; add it with its licence", target)
		return
	}
	m := modules[i]
	forTests := m.folders == nil && (test || r.testing)
	if !r.free && !forTests && !slices.Contains(m.folders, r.folder) {
		c.reportAt(spec.Pos(), ruleModule, "%s must not import %s", r.folder, m.path)
	}
}

// checkPure looks for what leaves the program: in imports, calls and go statements.
func (c *checker) checkPure(r row, file *ast.File) {
	for _, spec := range file.Imports {
		target := importPath(spec)
		seeded := r.folder == "internal/sim" && within(target, "math/rand")
		for _, impure := range impureImports {
			if within(target, impure) && !seeded {
				c.reportAt(spec.Pos(), rulePure, "%s is pure and must not import %s", r.folder, target)
			}
		}
	}
	names := importNames(file)
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			if r.folder != "internal/sim" {
				c.reportAt(n.Pos(), ruleGoroutine, "%s starts no goroutines", r.folder)
			}
		case *ast.SelectorExpr:
			target, ok := packageOf(n, names)
			if !ok {
				return true
			}
			if slices.Contains(impureCalls[target], n.Sel.Name) {
				c.reportAt(n.Pos(), rulePure, "%s is pure and must not use %s.%s", r.folder, target, n.Sel.Name)
			}
			if within(target, "math/rand") && !slices.Contains(seededRand, n.Sel.Name) {
				c.reportAt(n.Pos(), rulePure, "draw from a seeded generator instead of %s.%s", target, n.Sel.Name)
			}
		}
		return true
	})
}

// checkHabits checks what holds in every file, tests included.
func (c *checker) checkHabits(file *ast.File) {
	names := importNames(file)
	_, testing := names["testing"]
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			if n.Recv == nil && n.Name.Name == "init" {
				c.reportAt(n.Pos(), ruleInit, "no init functions: let a constructor do it")
			}
		case *ast.SelectorExpr:
			target, ok := packageOf(n, names)
			if ok && target == "time" && n.Sel.Name == "Sleep" {
				c.reportAt(n.Pos(), ruleSleep, "wait for the event itself, or select on a timer and ctx")
			}
			if testing && !ok && slices.Contains([]string{"Skip", "Skipf", "SkipNow"}, n.Sel.Name) {
				c.reportAt(n.Pos(), ruleSkip, "a test that cannot run fails and says what it needs")
			}
		}
		return true
	})
}

// checkState looks for package variables that change after start: those assigned
// to, incremented, deleted from or written through, and those whose type exists to
// be changed.
func (c *checker) checkState(files []*ast.File) {
	if len(files) == 0 {
		return
	}
	info := &types.Info{Uses: map[*ast.Ident]types.Object{}, Defs: map[*ast.Ident]types.Object{}}
	// Imports are not resolved; what they leave untyped does not matter here.
	config := types.Config{Importer: noImporter{}, Error: func(error) {}}
	pkg, _ := config.Check(files[0].Name.Name, c.fset, files, info)

	write := func(expr ast.Expr) {
		id := rootIdent(expr)
		if id == nil {
			return
		}
		if v, ok := info.Uses[id].(*types.Var); ok && v.Parent() == pkg.Scope() {
			c.reportAt(expr.Pos(), ruleState, "package variable %s is written to: make it a field of what owns it", id.Name)
		}
	}
	for _, file := range files {
		names := importNames(file)
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.AssignStmt:
				for _, target := range n.Lhs {
					write(target)
				}
			case *ast.RangeStmt:
				write(n.Key)
				write(n.Value)
			case *ast.IncDecStmt:
				write(n.X)
			case *ast.CallExpr:
				f, ok := n.Fun.(*ast.Ident)
				if ok && (f.Name == "delete" || f.Name == "clear") && len(n.Args) > 0 {
					write(n.Args[0])
				}
			}
			return true
		})
		for _, decl := range file.Decls {
			general, ok := decl.(*ast.GenDecl)
			if !ok || general.Tok != token.VAR {
				continue
			}
			for _, spec := range general.Specs {
				value := spec.(*ast.ValueSpec)
				selector, ok := value.Type.(*ast.SelectorExpr)
				if !ok {
					continue
				}
				if target, ok := packageOf(selector, names); ok && within(target, "sync") {
					c.reportAt(value.Pos(), ruleState, "package variable of type %s.%s: make it a field of what owns it", target, selector.Sel.Name)
				}
			}
		}
	}
}

// noImporter makes the type checker do without the packages a file imports.
type noImporter struct{}

func (noImporter) Import(name string) (*types.Package, error) {
	return nil, fmt.Errorf("%s is not loaded", name)
}

// rootIdent returns the variable at the left end of a.b[c].d, nil if there is none.
func rootIdent(expr ast.Expr) *ast.Ident {
	for {
		switch e := expr.(type) {
		case *ast.Ident:
			return e
		case *ast.SelectorExpr:
			expr = e.X
		case *ast.IndexExpr:
			expr = e.X
		case *ast.SliceExpr:
			expr = e.X
		case *ast.StarExpr:
			expr = e.X
		case *ast.ParenExpr:
			expr = e.X
		default:
			return nil
		}
	}
}

// importNames maps the names under which a file knows its imports to their paths.
func importNames(file *ast.File) map[string]string {
	names := map[string]string{}
	for _, spec := range file.Imports {
		target := importPath(spec)
		name := path.Base(target)
		if name == "v2" {
			name = path.Base(path.Dir(target))
		}
		if spec.Name != nil {
			name = spec.Name.Name
		}
		names[name] = target
	}
	return names
}

// packageOf returns the import path of a qualified name such as time.Now. A local
// variable that hides the import's name is mistaken for it; do not write that.
func packageOf(selector *ast.SelectorExpr, names map[string]string) (string, bool) {
	id, ok := selector.X.(*ast.Ident)
	if !ok {
		return "", false
	}
	target, ok := names[id.Name]
	return target, ok
}

func importPath(spec *ast.ImportSpec) string { return strings.Trim(spec.Path.Value, `"`+"`") }

// within reports whether a slash-separated path is root or below it. The folder "."
// holds only itself: it is package main.
func within(name, root string) bool {
	return name == root || strings.HasPrefix(name, root+"/")
}

// checkTop returns the names that may not stand on the repository's first level.
func checkTop(names []string) []string {
	var strangers []string
	for _, name := range names {
		if !slices.Contains(topLevel, name) {
			strangers = append(strangers, name)
		}
	}
	return strangers
}
