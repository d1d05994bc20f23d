// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

// Package archtest holds the rules of the house that a test can check: who may
// import whom, what pure packages may not do, and a few habits. If a rule proves
// wrong, change its table here, and say why in the commit.
package archtest

import "slices"

// modulePath is the module whose packages the tables name.
const modulePath = "github.com/cairnflow/cairn"

// row says what a package, and the packages below its folder, may import. The
// standard library and the row's own packages are always allowed; third-party
// modules are in the table of modules.
type row struct {
	folder  string   // from the root of the repository; "." is package main
	imports []string // folders of this module
	free    bool     // tests and reference programs: anything, and nobody imports it
	testing bool     // exists for tests: only _test.go files and free rows import it
}

// packages is the import table. A package without a row is an error.
var packages = []row{
	{folder: ".", imports: []string{"internal/cli"}},
	{folder: "hcl", imports: []string{"internal/workflow", "internal/jobspec"}},
	{folder: "plugin"},
	{folder: "examples", free: true},

	// The pure core.
	{folder: "internal/workflow"},
	{folder: "internal/engine", imports: []string{"internal/workflow"}},
	{folder: "internal/sim", imports: []string{"internal/engine", "internal/workflow"}},

	{folder: "internal/workers"}, // what two adapters know of workers, and what that means

	// The shell and its adapters, which never know each other.
	{folder: "internal/scheduler", imports: core},
	{folder: "internal/consul", imports: append([]string{"internal/durable", "internal/workers", "internal/backup"}, shell...)},
	{folder: "internal/nomad", imports: append([]string{"internal/access", "internal/workers"}, shell...)},
	{folder: "internal/local", imports: append([]string{"internal/rawjson", "internal/durable"}, shell...)},
	{folder: "internal/jobspec", imports: []string{"internal/rawjson"}},
	{folder: "internal/rawjson"},
	{folder: "internal/durable"},
	{folder: "internal/archive", imports: append([]string{"internal/api", "internal/durable"}, shell...)}, // documents, as the API gives them
	{folder: "internal/httpcall", imports: core},                                                          // gives the engine's outcomes, for a port of the scheduler

	// What people and machines talk to.
	{folder: "internal/access"}, // between whoever asks who a caller is and whoever knows
	{folder: "internal/api"},
	{folder: "internal/client", imports: []string{"internal/api"}},
	{folder: "internal/httpapi", imports: append([]string{"internal/access", "internal/api", "hcl"}, shell...)},
	{folder: "internal/config"},
	{folder: "internal/backup", imports: []string{"internal/api", "internal/durable"}}, // manifests, as the API gives them
	{folder: "internal/cli", imports: []string{
		"internal/server", "internal/client", "hcl", "internal/workflow",
		"internal/api", "internal/config", "internal/backup", "internal/nomad",
	}},

	// The composition root: everything of the product but cli.
	{folder: "internal/server", imports: append([]string{
		"hcl", "internal/jobspec", "internal/consul", "internal/nomad", "internal/local", "internal/httpcall", "internal/durable",
		"internal/access", "internal/archive", "internal/api", "internal/client", "internal/httpapi", "internal/config", "internal/backup", "internal/workers",
	}, shell...)},

	// For tests and development only.
	{folder: "internal/porttest", imports: shell, testing: true},
	{folder: "internal/testcluster", testing: true},
	{folder: "internal/archtest", testing: true},
	{folder: "internal/tools", testing: true},
	{folder: "internal/bench", free: true},
	{folder: "internal/faults", free: true},
	{folder: "internal/conformance", free: true},
}

var (
	core  = []string{"internal/engine", "internal/workflow"}
	shell = append([]string{"internal/scheduler"}, core...)
)

// module is a third-party module and the rows that may import it. The licences are
// those that fit MPL-2.0.
type module struct {
	path    string
	licence string
	folders []string // nil: test code only
}

// modules lists every module that is imported directly.
var modules = []module{
	{"github.com/hashicorp/hcl/v2", "MPL-2.0", hclUsers},
	{"github.com/zclconf/go-cty", "MIT", hclUsers},
	{"github.com/zclconf/go-cty-yaml", "Apache-2.0", []string{"hcl", "internal/jobspec"}},
	{"github.com/hashicorp/go-cty-funcs", "MPL-2.0", []string{"hcl", "internal/jobspec"}},
	{"github.com/agext/levenshtein", "Apache-2.0", append([]string{"internal/local", "internal/httpapi", "internal/cli"}, hclUsers...)},

	{"github.com/hashicorp/nomad/api", "MPL-2.0", []string{"internal/jobspec", "internal/nomad", "internal/testcluster"}},
	{"github.com/hashicorp/consul/api", "MPL-2.0", []string{"internal/consul", "internal/testcluster"}},
	{"go.etcd.io/bbolt", "MIT", []string{"internal/local"}},

	{"github.com/prometheus/client_golang", "Apache-2.0", []string{"internal/server"}},

	{"github.com/hashicorp/cli", "MPL-2.0", []string{"internal/cli"}},
	{"github.com/posener/complete", "MIT", []string{"internal/cli"}}, // the completion that hashicorp/cli speaks
	{"filippo.io/age", "BSD-3-Clause", []string{"internal/backup"}},
	{"golang.org/x/term", "BSD-3-Clause", []string{"internal/cli"}},
	{"golang.org/x/sync", "BSD-3-Clause", []string{"internal/consul"}},
	{"golang.org/x/sys", "BSD-3-Clause", []string{"internal/local", "internal/cli"}},
	{"github.com/hashicorp/go-hclog", "MIT", []string{
		"internal/scheduler", "internal/consul", "internal/nomad", "internal/local",
		"internal/archive", "internal/httpapi", "internal/server", "internal/backup", "internal/cli", "internal/porttest",
	}},

	{"github.com/google/go-cmp", "BSD-3-Clause", nil},
	{"pgregory.net/rapid", "MPL-2.0", nil},
	{"github.com/santhosh-tekuri/jsonschema/v6", "Apache-2.0", nil},
}

// hclUsers are the only packages that know HashiCorp's configuration language.
var hclUsers = []string{"hcl", "internal/jobspec", "internal/config"}

// pure lists the packages that see neither clock, machine nor chance: what they
// need of these arrives as a value.
var pure = []string{"internal/workflow", "internal/engine", "internal/sim", "internal/workers"}

// impureImports are packages, with all below them, that only exist to leave the
// program. math/rand is allowed to the simulator, whose generator has a seed.
var impureImports = []string{"os", "net", "syscall", "io/ioutil", "crypto/rand", "math/rand", "log", "plugin"}

// impureCalls are functions of packages that are otherwise harmless.
var impureCalls = map[string][]string{
	"time": {"Now", "Since", "Until", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick", "Sleep"},
	"fmt":  {"Print", "Printf", "Println", "Scan", "Scanf", "Scanln"},
}

// seededRand are the functions and types of math/rand and math/rand/v2 that take
// their chance from a seed; all others draw from the process's own generator.
var seededRand = []string{"New", "NewSource", "NewPCG", "NewChaCha8", "NewZipf", "Rand", "Source", "PCG", "ChaCha8", "Zipf"}

// topLevel is what the repository's first level may hold.
var topLevel = []string{
	".ci", ".gitignore", ".golangci.yml", "CHANGELOG.md", "GNUmakefile", "LICENSE", "README.md",
	"examples", "go.mod", "go.sum", "hcl", "internal", "jobs", "main.go", "plugin",
}

// rowOf returns the row of the package in a folder: its own or the nearest above.
func rowOf(folder string) (row, bool) {
	for _, r := range packages {
		if within(folder, r.folder) {
			return r, true
		}
	}
	return row{}, false
}

// mayImport reports whether a file of row r may import the folder target.
func (r row) mayImport(target string, test bool) bool {
	if r.free {
		return true
	}
	to, known := rowOf(target)
	switch {
	case !known || to.free:
		return false
	case to.folder == r.folder:
		return true
	case to.testing:
		return test
	}
	return slices.Contains(r.imports, to.folder)
}
