// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package local

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// spec is what the supervisor needs to run one attempt: a command, ready to be executed.
type spec struct {
	Task        string         `json:"task"`
	Command     string         `json:"command"`
	Args        []string       `json:"args"`
	Env         []string       `json:"env"`                // sorted
	Without     []string       `json:"without,omitempty"`  // see packEnv
	WorkDir     string         `json:"work_dir,omitempty"` // relative to the task's folder, or absolute; empty = that folder
	User        string         `json:"user,omitempty"`
	Files       []specFile     `json:"files,omitempty"`
	Markers     []string       `json:"markers"`
	KillSignal  syscall.Signal `json:"kill_signal"`
	KillTimeout time.Duration  `json:"kill_timeout"`
	// Cleanup is a command that ends what the process has started elsewhere (a container); run when the process did not
	// end by itself.
	Cleanup []string `json:"cleanup,omitempty"`
	// StartFailure is the exit code with which the command says that it started nothing; 0 = there is none.
	StartFailure int `json:"start_failure,omitempty"`
}

// specFile is a literal file below the attempt's folder.
type specFile struct {
	Path string      `json:"path"` // relative to the attempt's folder
	Data string      `json:"data"`
	Mode os.FileMode `json:"mode"`
}

// driver runs bodies of one of Nomad's drivers.
type driver struct {
	run     []string          // config keys with an effect
	ignored []string          // config keys without one here
	refused map[string]string // config keys that would change what runs: the way out
	render  func(c *config, b *body, e *environment, s *spec)
}

var drivers = sync.OnceValue(func() map[string]driver {
	isolation := []string{"pid_mode", "ipc_mode", "cap_add", "cap_drop"}
	return map[string]driver{
		"raw_exec": {
			run:     []string{"command", "args", "work_dir", "denied_envvars"},
			ignored: []string{"cgroup_v1_override", "cgroup_v2_override", "oom_score_adj"},
			render:  renderExec,
		},
		"exec": {run: []string{"command", "args", "work_dir"}, ignored: isolation, render: renderExec},
		"java": {
			run:     []string{"class", "class_path", "jar_path", "jvm_options", "args", "work_dir"},
			ignored: isolation,
			render:  renderJava,
		},
		"docker": {run: slices.Concat([]string{"image", "command", "args", "force_pull"}, slices.Sorted(maps.Keys(dockerFlags()))),
			ignored: []string{"auth_soft_fail", "container_exists_attempts", "cpu_hard_limit", "cpu_cfs_period", "image_pull_timeout",
				"memory_hard_limit", "logging", "healthchecks", "oom_score_adj", "cgroupns"},
			refused: map[string]string{
				"auth": "use docker login", "volumes": "work in the folders that NOMAD_ALLOC_DIR and NOMAD_TASK_DIR name",
				"mount": "work in the folders that NOMAD_ALLOC_DIR and NOMAD_TASK_DIR name", "mounts": "work in the folders that NOMAD_ALLOC_DIR and NOMAD_TASK_DIR name",
				"devices": "run with -nomad", "ports": "a local run has no ports", "port_map": "a local run has no ports", "load": "load the image before the run",
				"network_aliases": "run with -nomad", "isolation": "leave it out", "tty": "leave it out", "interactive": "leave it out",
			},
			render: renderDocker},
	}
})

// render turns a body into a command. What cannot run goes into r; the spec is meaningless then.
func render(b *body, e *environment, r *Report) *spec {
	s := &spec{Task: b.task, Env: e.list(), User: b.user, Markers: e.markers(), KillTimeout: b.killTimeout}
	renderSignal(b, s, r)
	if b.driver != "docker" {
		checkUser(b.user, r)
	}
	for name, v := range b.env {
		if name == "" || strings.ContainsAny(name, "=\x00") || strings.Contains(v, "\x00") {
			r.refuse("env holds the name %q, or a value of it, that no process can have", name)
		}
	}
	for _, v := range slices.Sorted(maps.Values(b.env)) {
		for _, name := range e.unknown(v) {
			r.refuse("env uses ${%s}, which is not known in a local run%s", name, suggest(name, e.names()))
		}
	}
	renderTemplates(b, e, s, r)

	all := drivers()
	d, ok := all[b.driver]
	switch {
	case b.driver == "":
		r.refuse("the task names no driver")
	case !ok:
		known := slices.Sorted(maps.Keys(all))
		r.refuse("driver %s cannot run here%s: local runs know %s; run with -nomad", b.driver, suggest(b.driver, known), strings.Join(known, ", "))
	default:
		c := &config{driver: b.driver, values: b.config, env: e, report: r}
		c.checkKeys(d)
		d.render(c, b, e, s)
	}
	return s
}

func renderSignal(b *body, s *spec, r *Report) {
	name := b.killSignal
	if name == "" {
		name = defaultKillSignal
		if b.driver == "docker" {
			name = "SIGTERM"
		}
	}
	if s.KillSignal = unix.SignalNum(strings.ToUpper(name)); s.KillSignal == 0 {
		r.refuse("kill_signal %q is no signal of this machine", name)
	}
	if b.killTimeout < 0 {
		r.refuse("kill_timeout %s is negative", b.killTimeout)
	}
}

func checkUser(name string, r *Report) {
	if name == "" {
		return
	}
	u, err := user.Lookup(name)
	switch {
	case err != nil:
		r.refuse("user %q is not known on this machine", name)
	case os.Geteuid() != 0 && u.Uid != strconv.Itoa(os.Geteuid()):
		r.refuse("user %q: only root can run a task as somebody else", name)
	}
}

func renderTemplates(b *body, e *environment, s *spec, r *Report) {
	for _, t := range b.templates {
		mode, err := strconv.ParseUint(t.perms, 8, 32)
		if err != nil || mode > 0o777 {
			r.refuse("template %s: perms %q are not like \"0644\"", t.destination, t.perms)
		}
		// A destination is relative to the task's folder; the folders that variables name are absolute.
		path := t.destination
		for dir, rel := range map[string]string{e.alloc: "alloc", e.local: filepath.Join(b.task, "local"), e.secrets: filepath.Join(b.task, "secrets")} {
			if rest, ok := strings.CutPrefix(e.text(path), dir+"/"); ok {
				path = "/" + filepath.Join(rel, rest)
				break
			}
		}
		if path == t.destination {
			path = filepath.Join("/", b.task, e.text(path))
		}
		path = strings.TrimPrefix(filepath.Clean(path), "/")
		first, _, deeper := strings.Cut(path, "/")
		if !deeper || first != "alloc" && first != b.task || len(e.unknown(t.destination)) > 0 {
			r.refuse("template %s: the destination must be a file below the task's folder", t.destination)
		}
		s.Files = append(s.Files, specFile{Path: path, Data: t.data, Mode: os.FileMode(mode)})
	}
}

func renderExec(c *config, b *body, e *environment, s *spec) {
	s.Command, s.Args, s.WorkDir = c.text("command", true), c.list("args"), c.text("work_dir", false)
	if denied := c.list("denied_envvars"); len(denied) > 0 {
		s.Env = slices.DeleteFunc(s.Env, func(kv string) bool {
			name, _, _ := strings.Cut(kv, "=")
			_, host := e.host.env[name]
			return host && slices.Contains(denied, name)
		})
	}
}

func renderJava(c *config, b *body, e *environment, s *spec) {
	class, jar := c.text("class", false), c.text("jar_path", false)
	if class == "" && jar == "" {
		c.report.refuse("driver java: config needs class or jar_path")
	}
	s.Command, s.WorkDir = "java", c.text("work_dir", false)
	s.Args = c.list("jvm_options")
	if path := c.text("class_path", false); path != "" {
		s.Args = append(s.Args, "-cp", path)
	}
	if jar != "" {
		s.Args = append(s.Args, "-jar", jar)
	}
	if class != "" {
		s.Args = append(s.Args, class)
	}
	s.Args = append(s.Args, c.list("args")...)
	c.needs("java", "a Java runtime")
}

// dockerFlag is the option of `docker run` that a config key becomes, and how the value is written.
type dockerFlag struct {
	flag string
	kind byte // s: text, b: switch, l: one option per element, m: one option per key=value, w: elements joined by spaces
}

func dockerFlags() map[string]dockerFlag {
	return map[string]dockerFlag{
		"cap_add": {"--cap-add", 'l'}, "cap_drop": {"--cap-drop", 'l'}, "cpuset_cpus": {"--cpuset-cpus", 's'},
		"dns_search_domains": {"--dns-search", 'l'}, "dns_options": {"--dns-option", 'l'}, "dns_servers": {"--dns", 'l'},
		"entrypoint": {"--entrypoint", 'w'}, "extra_hosts": {"--add-host", 'l'}, "group_add": {"--group-add", 'l'},
		"hostname": {"--hostname", 's'}, "init": {"--init", 'b'}, "ipc_mode": {"--ipc", 's'}, "labels": {"--label", 'm'},
		"mac_address": {"--mac-address", 's'}, "network_mode": {"--network", 's'}, "runtime": {"--runtime", 's'},
		"pids_limit": {"--pids-limit", 's'}, "pid_mode": {"--pid", 's'}, "privileged": {"--privileged", 'b'},
		"readonly_rootfs": {"--read-only", 'b'}, "security_opt": {"--security-opt", 'l'}, "shm_size": {"--shm-size", 's'},
		"storage_opt": {"--storage-opt", 'm'}, "sysctl": {"--sysctl", 'm'}, "ulimit": {"--ulimit", 'm'}, "uts_mode": {"--uts", 's'},
		"userns_mode": {"--userns", 's'}, "volume_driver": {"--volume-driver", 's'}, "work_dir": {"--workdir", 's'},
	}
}

// dockerStartFailure is the exit code of `docker run` when docker itself could not start the container.
const dockerStartFailure = 125

func renderDocker(c *config, b *body, e *environment, s *spec) {
	// The folders and the name are filled in by the supervisor's working folder and the attempt: see withContainer.
	args := []string{"run", "--rm", "--name", containerPlaceholder}
	for _, name := range slices.Sorted(maps.Keys(e.vars)) {
		args = append(args, "--env", name+"="+e.vars[name])
	}
	for _, mount := range []string{allocPlaceholder + ":/alloc", localPlaceholder + ":/local", secretsPlaceholder + ":/secrets"} {
		args = append(args, "--volume", mount)
	}
	if b.user != "" {
		args = append(args, "--user", b.user)
	}
	if c.text("force_pull", false) == "true" {
		args = append(args, "--pull", "always")
	}
	var entry []string
	flags := dockerFlags()
	for _, key := range slices.Sorted(maps.Keys(flags)) {
		f := flags[key]
		switch f.kind {
		case 's':
			if v := c.text(key, false); v != "" {
				args = append(args, f.flag, v)
			}
		case 'b':
			if c.text(key, false) == "true" {
				args = append(args, f.flag)
			}
		case 'l':
			for _, v := range c.list(key) {
				args = append(args, f.flag, v)
			}
		case 'm':
			for _, v := range c.pairs(key) {
				args = append(args, f.flag, v)
			}
		case 'w':
			if entry = c.list(key); len(entry) > 0 {
				args = append(args, f.flag, entry[0])
			}
		}
	}
	args = append(args, c.text("image", true))
	if len(entry) > 1 {
		args = append(args, entry[1:]...)
	}
	if command := c.text("command", false); command != "" {
		args = append(args, command)
	}
	s.Command, s.Args, s.User = "docker", append(args, c.list("args")...), ""
	s.Env = slices.Sorted(slices.Values(append(e.host.list(), s.Markers...))) // for the docker command itself
	s.StartFailure = dockerStartFailure
	c.needs("docker", "the docker command")
}

// What render leaves open for one attempt.
const (
	containerPlaceholder = "\x00container"
	allocPlaceholder     = "\x00alloc"
	localPlaceholder     = "\x00local"
	secretsPlaceholder   = "\x00secrets"
)

// withContainer fills in what a docker command needs of its attempt: a name of its own and the folders.
func (s *spec) withContainer(name string, f attemptFolder) {
	r := strings.NewReplacer(containerPlaceholder, name, allocPlaceholder, f.allocDir(), localPlaceholder, f.localDir(),
		secretsPlaceholder, f.secretsDir())
	for i, a := range s.Args {
		s.Args[i] = r.Replace(a)
	}
	s.Cleanup = []string{"docker", "rm", "--force", name}
}

// config reads the values of a driver's config, evaluated.
type config struct {
	driver string
	values map[string]any
	env    *environment
	report *Report
}

func (c *config) checkKeys(d driver) {
	known := slices.Concat(d.run, d.ignored, slices.Sorted(maps.Keys(d.refused)))
	for _, key := range slices.Sorted(maps.Keys(c.values)) {
		why, no := d.refused[key]
		switch {
		case c.values[key] == nil || slices.Contains(d.run, key):
		case slices.Contains(d.ignored, key):
			c.report.ignore("config." + key)
		case no:
			c.report.refuse("driver %s: config.%s cannot be used in a local run: %s", c.driver, key, why)
		default:
			c.report.refuse("driver %s: config has no attribute %s%s", c.driver, key, suggest(key, known))
		}
	}
}

func (c *config) text(key string, required bool) string {
	v, ok := c.values[key]
	if !ok || v == nil {
		if required {
			c.report.refuse("driver %s: config needs %s", c.driver, key)
		}
		return ""
	}
	s := c.scalar(key, v)
	if required && s == "" {
		c.report.refuse("driver %s: config.%s is empty", c.driver, key)
	}
	return s
}

func (c *config) scalar(key string, v any) string {
	switch v := v.(type) {
	case string:
		if strings.Contains(v, "\x00") {
			c.report.refuse("driver %s: config.%s holds a NUL byte", c.driver, key)
		}
		return c.env.config(v, c.report)
	case bool, json.Number:
		return fmt.Sprint(v)
	}
	c.report.refuse("driver %s: config.%s must be text, or a list of text where a list belongs", c.driver, key)
	return ""
}

func (c *config) list(key string) []string {
	v, ok := c.values[key]
	if !ok || v == nil {
		return nil
	}
	elements, ok := v.([]any)
	if !ok {
		c.report.refuse("driver %s: config.%s must be a list of text", c.driver, key)
		return nil
	}
	list := make([]string, len(elements))
	for i, e := range elements {
		list[i] = c.scalar(key, e)
	}
	return list
}

// pairs reads a map, or a block (a list of one map), as sorted "key=value".
func (c *config) pairs(key string) []string {
	v := c.values[key]
	if l, ok := v.([]any); ok && len(l) == 1 {
		v = l[0]
	}
	if v == nil {
		return nil
	}
	m, ok := v.(map[string]any)
	if !ok {
		c.report.refuse("driver %s: config.%s must be a map", c.driver, key)
		return nil
	}
	var list []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		list = append(list, k+"="+c.scalar(key, m[k]))
	}
	return list
}

// needs refuses the body where the machine lacks a command.
func (c *config) needs(command, what string) {
	if _, err := exec.LookPath(command); err != nil {
		c.report.refuse("driver %s needs %s, and there is none in the PATH", c.driver, what)
	}
}
