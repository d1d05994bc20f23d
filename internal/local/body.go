// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package local

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cairnflow/cairn/internal/rawjson"
)

// body is what a local run takes from a rendered task body, the JSON of a Nomad job with one group and one task.
type body struct {
	task        string
	driver      string
	user        string
	config      map[string]any
	env         map[string]string
	meta        map[string]string // of job, group and task, the inner ones winning
	templates   []template
	killSignal  string
	killTimeout time.Duration
}

// template is a file with literal text.
type template struct {
	destination string
	data        string
	perms       string
}

// defaultKillTimeout and defaultKillSignal are Nomad's, so that a task meets the same end here and there: 5 s, and SIGINT
// for the drivers that run processes (docker takes SIGTERM).
const (
	defaultKillTimeout = 5 * time.Second
	defaultKillSignal  = "SIGINT"
)

// defaultPriority is Nomad's, and that of a workflow that writes none: it is in every body and nobody's wish.
const defaultPriority = "50"

// use says what a local run does with a field of the body.
type use int

const (
	used    use = iota // it is read below, or says nothing that matters here
	ignored            // it has no meaning on one machine: one warning
	refused            // running without it would be something else than what was written
)

// fields tells for the fields of one JSON object what becomes of them; a field that is not listed is refused.
type fields map[string]struct {
	use  use
	name string // in HCL
	why  string // refused only: the way out, a clause
}

var jobFields = sync.OnceValue(func() fields {
	return fields{
		"Type": {use: used}, "TaskGroups": {use: used}, "Meta": {use: used}, "ID": {use: used}, "Name": {use: used},
		"Stop": {use: used}, "Namespace": {use: used}, "Region": {use: used},
		"Datacenters": {ignored, "datacenters", ""}, "NodePool": {ignored, "node_pool", ""}, "Priority": {ignored, "priority", ""},
		"Constraints": {ignored, "constraint", ""}, "Affinities": {ignored, "affinity", ""}, "Spreads": {ignored, "spread", ""},
		"AllAtOnce": {ignored, "all_at_once", ""}, "Update": {ignored, "update", ""}, "Migrate": {ignored, "migrate", ""},
		"Reschedule": {ignored, "reschedule", ""}, "UI": {ignored, "ui", ""},
		"Multiregion":      {refused, "multiregion", "there is one machine; leave it out"},
		"Periodic":         {refused, "periodic", "one run runs once; leave it out"},
		"ParameterizedJob": {refused, "parameterized", "give the workflow a param instead"},
	}
})

var groupFields = sync.OnceValue(func() fields {
	return fields{
		"Name": {use: used}, "Tasks": {use: used}, "Meta": {use: used}, "Count": {use: used},
		"Constraints": {ignored, "constraint", ""}, "Affinities": {ignored, "affinity", ""}, "Spreads": {ignored, "spread", ""},
		"RestartPolicy": {ignored, "restart", ""}, "ReschedulePolicy": {ignored, "reschedule", ""}, "Disconnect": {ignored, "disconnect", ""},
		"EphemeralDisk": {ignored, "ephemeral_disk", ""}, "Update": {ignored, "update", ""}, "Migrate": {ignored, "migrate", ""},
		"ShutdownDelay": {ignored, "shutdown_delay", ""}, "StopAfterClientDisconnect": {ignored, "stop_after_client_disconnect", ""},
		"MaxClientDisconnect": {ignored, "max_client_disconnect", ""}, "PreventRescheduleOnLost": {ignored, "prevent_reschedule_on_lost", ""},
		"Volumes":        {refused, "volume", "read and write files of this machine by their path"},
		"Networks":       {refused, "network", "the task uses this machine's network as it is"},
		"Services":       {refused, "service", "there is nothing to register with"},
		"Consul":         {refused, "consul", "there is no Consul in a local run"},
		"Scaling":        {refused, "scaling", "use the task's count"},
		"MaxRunDuration": {refused, "max_run_duration", "use the task's timeout"},
	}
})

var taskFields = sync.OnceValue(func() fields {
	return fields{
		"Name": {use: used}, "Driver": {use: used}, "User": {use: used}, "Config": {use: used}, "Env": {use: used}, "Meta": {use: used},
		"KillTimeout": {use: used}, "KillSignal": {use: used}, "Templates": {use: used},
		"Constraints": {ignored, "constraint", ""}, "Affinities": {ignored, "affinity", ""}, "Resources": {ignored, "resources", ""},
		"RestartPolicy": {ignored, "restart", ""}, "LogConfig": {ignored, "logs", ""}, "Leader": {ignored, "leader", ""},
		"ShutdownDelay": {ignored, "shutdown_delay", ""}, "Actions": {ignored, "action", ""}, "Schedule": {ignored, "schedule", ""},
		"Kind":            {refused, "kind", "leave it out"},
		"Lifecycle":       {refused, "lifecycle", "make it a task of the workflow"},
		"Services":        {refused, "service", "there is nothing to register with"},
		"Artifacts":       {refused, "artifact", "fetch the file in the task itself, or run with -nomad"},
		"Vault":           {refused, "vault", "there is no Vault in a local run; run with -nomad"},
		"Consul":          {refused, "consul", "there is no Consul in a local run; run with -nomad"},
		"Secrets":         {refused, "secret", "there is no secret store in a local run; run with -nomad"},
		"DispatchPayload": {refused, "dispatch_payload", "use params"},
		"VolumeMounts":    {refused, "volume_mount", "read and write files of this machine by their path"},
		"CSIPluginConfig": {refused, "csi_plugin", "run with -nomad"},
		"ScalingPolicies": {refused, "scaling", "leave it out"},
		"Identity":        {refused, "identity", "nobody here issues identities; run with -nomad"},
		"Identities":      {refused, "identity", "nobody here issues identities; run with -nomad"},
	}
})

var templateFields = sync.OnceValue(func() fields {
	return fields{
		"DestPath": {use: used}, "EmbeddedTmpl": {use: used}, "Perms": {use: used}, "LeftDelim": {use: used}, "RightDelim": {use: used},
		// What would happen when the text changes: it is literal and does not.
		"ChangeMode": {use: used}, "ChangeSignal": {use: used}, "ChangeScript": {use: used}, "Splay": {use: used}, "Once": {use: used},
		"Wait": {use: used}, "VaultGrace": {use: used}, "ErrMissingKey": {use: used},
		"SourcePath": {refused, "template source", "write the text as data"},
		"Envvars":    {refused, "template env", "use the env block"},
		"Uid":        {refused, "template uid", "the file belongs to the task's user"},
		"Gid":        {refused, "template gid", "the file belongs to the task's user"},
	}
})

// object is a JSON object with the fields that say something.
type object map[string]json.RawMessage

// objectOf takes a JSON object apart; null is an empty one. Fields that are null, as most are, are left out.
func objectOf(raw []byte) (object, error) {
	o := object{}
	members, ok := rawjson.Members(raw)
	if !ok && string(raw) != "null" {
		return nil, fmt.Errorf("%s is not an object", clip(string(raw)))
	}
	for _, m := range members {
		if string(m.Value) != "null" {
			o[m.Text()] = m.Value
		}
	}
	return o, nil
}

// objects decodes a field that is a list of objects.
func (o object) objects(name string) ([]object, error) {
	if unset(o[name]) {
		return nil, nil
	}
	elements, ok := rawjson.Elements(o[name])
	if !ok {
		return nil, fmt.Errorf("%s: %s is not a list", name, clip(string(o[name])))
	}
	list := make([]object, len(elements))
	for i, e := range elements {
		var err error
		if list[i], err = objectOf(e); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return list, nil
}

// sift sorts the fields of o by f: refusals and names of ignored ones go into r.
func (o object) sift(f fields, r *Report) {
	for _, name := range slices.Sorted(maps.Keys(o)) {
		if unset(o[name]) {
			continue
		}
		known, ok := f[name]
		switch {
		case !ok:
			r.refuse("%s is not known to local runs; run with -nomad", name)
		case known.use == refused:
			r.refuse("%s cannot be used in a local run: %s", known.name, known.why)
		case known.use == ignored:
			r.ignore(known.name)
		}
	}
}

// unset tells values that say nothing: null, false, 0, "", and empty lists and objects.
func unset(v json.RawMessage) bool {
	switch string(bytes.TrimSpace(v)) {
	case "", "null", "false", "0", `""`, "[]", "{}":
		return true
	}
	return false
}

// field decodes one field into to; an absent one leaves it as it is.
func field[T any](o object, name string, to *T) error {
	if unset(o[name]) {
		return nil
	}
	if err := json.Unmarshal(o[name], to); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// parseBody reads a rendered body. An error means that it is not one; what a local run cannot do is in the report.
func parseBody(raw []byte) (*body, Report, error) {
	var r Report
	b := &body{meta: map[string]string{}, killTimeout: defaultKillTimeout}
	if !json.Valid(raw) {
		return nil, r, fmt.Errorf("read task body: %w", json.Unmarshal(raw, new(any)))
	}
	job, err := objectOf(raw)
	if inner, ok := job["Job"]; err == nil && ok && len(job) == 1 { // the form that `nomad job run -json` takes
		job, err = objectOf(inner)
	}
	if err != nil {
		return nil, r, fmt.Errorf("read task body: %w", err)
	}
	kind, count := "batch", 1
	groups, err := job.objects("TaskGroups")
	if err = errors.Join(err, field(job, "Type", &kind)); err != nil {
		return nil, r, fmt.Errorf("read task body: %w", err)
	}
	if len(groups) != 1 {
		return nil, r, fmt.Errorf("read task body: %d groups, want one", len(groups))
	}
	group := groups[0]
	tasks, err := group.objects("Tasks")
	if err = errors.Join(err, field(group, "Count", &count)); err != nil {
		return nil, r, fmt.Errorf("read task body: %w", err)
	}
	if len(tasks) != 1 {
		return nil, r, fmt.Errorf("read task body: %d tasks in the group, want one", len(tasks))
	}
	task := tasks[0]
	var killTimeout *time.Duration
	if !unset(task["Config"]) {
		decoder := json.NewDecoder(bytes.NewReader(task["Config"]))
		decoder.UseNumber() // 5000000000 stays itself
		if err := decoder.Decode(&b.config); err != nil {
			return nil, r, fmt.Errorf("read task body: Config: %w", err)
		}
	}
	templates, err := task.objects("Templates")
	err = errors.Join(err, field(task, "Name", &b.task), field(task, "Driver", &b.driver), field(task, "User", &b.user),
		field(task, "Env", &b.env), field(task, "KillSignal", &b.killSignal))
	if v, ok := task["KillTimeout"]; ok { // 0 is a value here: kill at once
		err = errors.Join(err, json.Unmarshal(v, &killTimeout))
	}
	if killTimeout != nil {
		b.killTimeout = *killTimeout
	}
	for _, o := range []object{job, group, task} {
		var meta map[string]string
		err = errors.Join(err, field(o, "Meta", &meta))
		maps.Copy(b.meta, meta)
	}
	if err != nil {
		return nil, r, fmt.Errorf("read task body: %w", err)
	}

	if string(bytes.TrimSpace(job["Priority"])) == defaultPriority {
		delete(job, "Priority")
	}
	job.sift(jobFields(), &r)
	group.sift(groupFields(), &r)
	task.sift(taskFields(), &r)
	if kind != "batch" {
		r.refuse("a job of type %s cannot run: a task of a workflow is a batch job", kind)
	}
	if count != 1 {
		r.refuse("a group with count %d cannot be run here: use the task's count", count)
	}
	for _, o := range templates {
		t, err := parseTemplate(o, &r)
		if err != nil {
			return nil, r, fmt.Errorf("read task body: template: %w", err)
		}
		b.templates = append(b.templates, t)
	}
	return b, r, nil
}

func parseTemplate(o object, r *Report) (template, error) {
	t := template{perms: "0644"}
	left := "{{"
	err := errors.Join(field(o, "DestPath", &t.destination), field(o, "EmbeddedTmpl", &t.data), field(o, "Perms", &t.perms),
		field(o, "LeftDelim", &left))
	if err != nil {
		return t, err
	}
	o.sift(templateFields(), r)
	if t.destination == "" {
		r.refuse("a template without a destination cannot be written")
	}
	if strings.Contains(t.data, left) {
		r.refuse("template %s uses functions (%s), and local runs write literal text only: take the value from a param or an output, or run with -nomad",
			t.destination, left)
	}
	return t, nil
}
