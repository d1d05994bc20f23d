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
// One decoder serves three bodies: a task written inline in a workflow, a whole group, and a whole job file.
//
// # The life of a body
//
//	Compile   once per file: finds unknown names and rewrites Nomad's run-time references. Evaluates nothing.
//	Check     before anything runs, with unknown values: reports values of the wrong type.
//	Decode    when a task starts, with real values: the job that Nomad gets.
//	Canonical the same job as JSON whose bytes and hash depend on its content only.
//
// # Two evaluations
//
// A Nomad client evaluates the strings of a task once more, as templates. What the author wrote must stay a template;
// what comes from data (params, outputs of other tasks) must never become one. So the author's templates are found in
// the syntax tree, before anything is evaluated, and travel through the evaluation with a noncharacter in place of their
// first letter. A `${` that stands in the result without it came from data, wherever it was put together, and is escaped where
// the client would read it. See template.go.
package jobspec
