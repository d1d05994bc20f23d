// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

// Package hcl is the front end of Cairn: it reads workflow files, checks everything that can be known before anything runs,
// compiles a workflow.Definition, and evaluates its expressions while it runs. README.md is the language reference.
//
// # From a file to a job
//
//	Load      reads a file or a folder.
//	Compile   parses, checks and compiles; every finding is a Diagnostic, all of them at once.
//	Params    converts and checks what a submitter gives for the params.
//	Evaluator evaluates what Compile left for run time: conditions, fan-outs, policies, bodies, outputs.
//
// # How the inside is cut
//
// decode.go, task.go and policy.go turn syntax into a flow: which expression stands where and what it may read. They know
// no values. check.go evaluates a flow with unknown values of the declared types; evaluate.go evaluates it with real ones. Both
// use the same conversions (kind.go), so that what is refused at run time is refused before it wherever it can be known.
package hcl
