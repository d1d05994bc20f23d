// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

// Package jobspec turns HCL bodies into the structs of Nomad's API module.
//
// # The idea
//
// The api module describes its own HCL form: every field that may be written in a job file carries a tag such as
// `hcl:"kill_timeout,optional"`. This package reads those tags once, by reflection, and decodes by them, so a field that
// a newer api module knows is supported the day the module is updated, and no list of fields exists here that could drift.
// What the tags do not say (the shorthand of constraints, ports, defaults, inherited blocks) is written out in exceptions.go
// and nowhere else.
//
// # The bodies
//
// One decoder serves all of them; they differ in what may stand at the top and in how strict they are.
//
//	CompileTask      a workflow's task that is one Nomad task: every field of a task, and of its group and job what a task needs
//	CompileGroup     a workflow's task that holds a group block, with the job's placement beside it
//	CompileBatchJob  a job file that a workflow's task runs: as it is, but it must be a batch job
//	CompileJob       a job file as `nomad job run` takes it
//
// In the first two Cairn owns some fields (see names.go), names of nobody's are errors, and data is escaped. A job file is
// taken verbatim, and for that reason takes no data that Nomad would evaluate.
//
// # The life of a body
//
//	Compile   once per file: finds unknown names and rewrites Nomad's run-time references. Evaluates nothing.
//	Check     before anything runs, with unknown values: reports values of the wrong type.
//	Decode    when a task starts, with real values; Body.Job and Assemble make the job that Nomad gets.
//	Canonical the same job as JSON whose bytes and hash depend on its content only.
//
// Nothing here reads a disk. Functions such as file get their bytes from a FileReader; Files and NamedFiles list the paths that
// are read, so that a definition can carry the files.
//
// # Two evaluations
//
// A Nomad client evaluates the strings of a task once more, as templates. What the author wrote must stay a template;
// what comes from data (params, outputs of other tasks) must never become one. So the author's templates are found in
// the syntax tree, before anything is evaluated, and travel through the evaluation with a noncharacter in place of their
// first letter. A `${` that stands in the result without it came from data, wherever it was put together, and is escaped where
// the client would read it. See template.go.
//
// The data of a template block is read as a Go template instead, whose actions ({{ … }}) are kept apart from data in the same
// way. A value inside of an action's string stays a part of that string, whatever it is. See actions.go. Delimiters must be
// plain text in the block itself, and text that comes by way of a local is the author's with the ordinary delimiters only.
package jobspec
