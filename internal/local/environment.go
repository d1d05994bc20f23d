// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package local

import (
	"bufio"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/cairnflow/cairn/internal/engine"
)

// host is what a task may ask of the machine.
type host struct {
	name  string
	attrs map[string]string // node.unique.name, attr.*
	env   map[string]string // this process's own, without what a task must not inherit
}

// newHost reads the machine's facts, under the names that a Nomad client gives them.
func newHost() *host {
	h := &host{name: "localhost", attrs: map[string]string{}, env: map[string]string{}}
	if name, err := os.Hostname(); err == nil && name != "" {
		h.name = name
	}
	h.attrs["node.unique.name"] = h.name
	h.attrs["attr.cpu.arch"] = runtime.GOARCH
	h.attrs["attr.cpu.numcores"] = strconv.Itoa(runtime.NumCPU())
	h.attrs["attr.kernel.name"] = runtime.GOOS
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		h.attrs["attr.kernel.version"] = unix.ByteSliceToString(u.Release[:])
		h.attrs["attr.kernel.arch"] = unix.ByteSliceToString(u.Machine[:])
	}
	for key, value := range keyValues("/etc/os-release", "=") {
		switch key {
		case "ID":
			h.attrs["attr.os.name"] = strings.Trim(value, `"`)
		case "VERSION_ID":
			h.attrs["attr.os.version"] = strings.Trim(value, `"`)
		}
	}
	if model, ok := keyValues("/proc/cpuinfo", ":")["model name"]; ok {
		h.attrs["attr.cpu.modelname"] = model
	}
	for _, kv := range os.Environ() {
		if name, value, ok := strings.Cut(kv, "="); ok && inheritable(name) {
			h.env[name] = value
		}
	}
	return h
}

// list gives the variables that every process inherits as "name=value", sorted.
func (h *host) list() []string { return envList(h.env) }

func envList(vars map[string]string) []string {
	l := make([]string, 0, len(vars))
	for k, v := range vars {
		l = append(l, k+"="+v)
	}
	slices.Sort(l)
	return l
}

// keyValues reads "key<separator>value" lines; the last of a doubled key wins. No file is an empty one.
func keyValues(path, separator string) map[string]string {
	m := map[string]string{}
	f, err := os.Open(path)
	if err != nil {
		return m
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if k, v, ok := strings.Cut(lines.Text(), separator); ok {
			m[strings.TrimSpace(k)] = strings.TrimSpace(v)
		}
	}
	return m
}

// inheritable says whether a task sees a variable of the process that runs the workflow: all but Cairn's and Nomad's own,
// which belong to whatever surrounds the run, and the credentials that a Nomad client keeps from its tasks by default.
func inheritable(name string) bool {
	if strings.HasPrefix(name, "CAIRN_") || strings.HasPrefix(name, "NOMAD_") {
		return false
	}
	switch name {
	case "CONSUL_TOKEN", "CONSUL_HTTP_TOKEN", "CONSUL_HTTP_TOKEN_FILE", "VAULT_TOKEN", "CONSUL_LICENSE", "VAULT_LICENSE",
		"CONSUL_LICENSE_PATH", "VAULT_LICENSE_PATH", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
		"AWS_METADATA_URL", "GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_OAUTH_ACCESS_TOKEN":
		return false
	}
	return true
}

// attemptFolder lays out the folder of one attempt as a Nomad client lays out an allocation.
type attemptFolder struct {
	dir  string
	task string
}

func (f attemptFolder) allocDir() string   { return filepath.Join(f.dir, "alloc") }
func (f attemptFolder) taskDir() string    { return filepath.Join(f.dir, f.task) }
func (f attemptFolder) localDir() string   { return filepath.Join(f.dir, f.task, "local") }
func (f attemptFolder) secretsDir() string { return filepath.Join(f.dir, f.task, "secrets") }

// outputFile is relative to dir.
func (f attemptFolder) outputFile() string { return filepath.Join("alloc", "data", "cairn_output") }

// log is relative to dir. The name is the one a Nomad client gives to a task's first log file.
func (f attemptFolder) log(stderr bool) string {
	if stderr {
		return filepath.Join("alloc", "logs", f.task+".stderr.0")
	}
	return filepath.Join("alloc", "logs", f.task+".stdout.0")
}

// environment is what the strings of a body may refer to.
type environment struct {
	host *host
	vars map[string]string // the task's environment variables
	// The folders as the task sees them.
	alloc, local, secrets string
}

// newEnvironment makes the environment of an attempt. Without a start it is one to check a body with.
func newEnvironment(h *host, b *body, f attemptFolder, s *engine.Start) *environment {
	e := &environment{host: h, vars: map[string]string{}, alloc: f.allocDir(), local: f.localDir(), secrets: f.secretsDir()}
	if b.driver == "docker" { // a container sees them at Nomad's places, and nothing of this machine's variables
		e.alloc, e.local, e.secrets = "/alloc", "/local", "/secrets"
	} else {
		maps.Copy(e.vars, h.env)
	}
	e.vars["NOMAD_ALLOC_DIR"], e.vars["NOMAD_TASK_DIR"], e.vars["NOMAD_SECRETS_DIR"] = e.alloc, e.local, e.secrets
	e.vars["NOMAD_TASK_NAME"] = b.task
	for k, v := range b.meta {
		name := strings.Map(envName, k)
		e.vars["NOMAD_META_"+name], e.vars["NOMAD_META_"+strings.ToUpper(name)] = v, v
	}
	own := map[string]string{"CAIRN_OUTPUT": e.alloc + "/data/cairn_output", "CAIRN_RUN_ID": "", "CAIRN_WORKFLOW": "", "CAIRN_TASK": "",
		"CAIRN_INSTANCE_KEY": "", "CAIRN_ATTEMPT": "", "CAIRN_FENCE": ""}
	if s != nil {
		own["CAIRN_RUN_ID"] = string(s.Run)
		own["CAIRN_WORKFLOW"] = s.Workflow
		own["CAIRN_TASK"] = s.Task
		own["CAIRN_INSTANCE_KEY"] = s.Key
		own["CAIRN_ATTEMPT"] = strconv.Itoa(s.Number)
		own["CAIRN_FENCE"] = strconv.FormatInt(s.Fence, 10)
	}
	maps.Copy(e.vars, own)
	written := map[string]string{}
	for k, v := range b.env {
		written[k] = e.text(v) // sees the machine's and Nomad's variables, not its neighbours
	}
	maps.Copy(e.vars, written)
	maps.Copy(e.vars, own)
	return e
}

// envName keeps what may stand in the name of a variable.
func envName(r rune) rune {
	switch {
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '_', r == '-', r == '.':
		return r
	}
	return '_'
}

// markers are the variables by which a process is known to belong to an attempt.
func (e *environment) markers() []string {
	var m []string
	for _, name := range []string{"CAIRN_RUN_ID", "CAIRN_TASK", "CAIRN_INSTANCE_KEY", "CAIRN_ATTEMPT"} {
		m = append(m, name+"="+e.vars[name])
	}
	return m
}

// list gives the variables as "name=value", sorted.
func (e *environment) list() []string { return envList(e.vars) }

// reference matches ${ ... } without nested braces.
var reference = regexp.MustCompile(`\$\{([^{}]*)\}`)

// text replaces the references that are known and leaves every other text alone, as a Nomad client does outside config.
func (e *environment) text(s string) string {
	if !strings.Contains(s, "${") {
		return s
	}
	return reference.ReplaceAllStringFunc(s, func(m string) string {
		if v, ok := e.lookup(m[2 : len(m)-1]); ok {
			return v
		}
		return m
	})
}

// unknown lists the references in s to things that a Nomad client could know and this machine does not: text would leave
// them standing, and the program would meet them.
func (e *environment) unknown(s string) []string {
	var names []string
	for _, m := range reference.FindAllStringSubmatch(s, -1) {
		root, _, _ := strings.Cut(strings.TrimSpace(m[1]), ".")
		root, _, _ = strings.Cut(root, "[")
		_, known := e.lookup(m[1])
		if !known && (root == "attr" || root == "node" || root == "meta" || root == "device" || root == "env" || strings.HasPrefix(root, "NOMAD_")) {
			names = append(names, m[1])
		}
	}
	return names
}

var envIndex = regexp.MustCompile(`^env\["([^"]*)"\]$|^env\.([A-Za-z_][A-Za-z0-9_.-]*)$`)

// lookup resolves the inside of a reference.
func (e *environment) lookup(name string) (string, bool) {
	name = strings.TrimSpace(name)
	if m := envIndex.FindStringSubmatch(name); m != nil {
		v, ok := e.vars[m[1]+m[2]]
		return v, ok
	}
	if v, ok := e.host.attrs[name]; ok {
		return v, true
	}
	v, ok := e.vars[name]
	return v, ok
}

// config evaluates a string of a driver's config, which a Nomad client reads as a template: references are replaced,
// $${ and %%{ become ${ and %{, and everything else is an error there and a refusal here.
func (e *environment) config(s string, r *Report) string {
	var out strings.Builder
	for i := 0; i < len(s); {
		rest := s[i:]
		switch {
		case strings.HasPrefix(rest, "$${"), strings.HasPrefix(rest, "%%{"):
			out.WriteString(rest[1:3])
			i += 3
		case strings.HasPrefix(rest, "%{"):
			r.refuse("config holds a template directive, %q, that local runs do not know: write %%%%{ for the text itself", clip(rest))
			return ""
		case strings.HasPrefix(rest, "${"):
			loc := reference.FindStringSubmatchIndex(rest)
			if loc == nil || loc[0] != 0 {
				r.refuse("config holds an expression, %q, that local runs do not know: write $${ for the text itself", clip(rest))
				return ""
			}
			name := rest[loc[2]:loc[3]]
			v, ok := e.lookup(name)
			if !ok {
				r.refuse("${%s} is not known in a local run: there are NOMAD_TASK_DIR, NOMAD_ALLOC_DIR, NOMAD_SECRETS_DIR, NOMAD_TASK_NAME, "+
					"NOMAD_META_*, node.unique.name, attr.os.*, attr.cpu.*, attr.kernel.* and env[\"…\"] (for the text itself write $${)%s",
					name, suggest(name, e.names()))
			}
			out.WriteString(v)
			i += loc[1]
		default:
			out.WriteByte(s[i])
			i++
		}
	}
	return out.String()
}

func (e *environment) names() []string {
	return slices.Sorted(maps.Keys(e.host.attrs))
}

func clip(s string) string {
	if len(s) > 40 {
		return s[:40] + "…"
	}
	return s
}
