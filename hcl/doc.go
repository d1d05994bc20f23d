// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

// Package hcl is the front end of Cairn: it reads workflow files, checks everything that can be known before anything runs,
// compiles a workflow.Definition, and evaluates its expressions while it runs. README.md is the language reference.
//
// # From a file to a job
//
//	Load      reads a file or a folder, and every file that these name.
//	Compile   parses, checks and compiles; every finding is a Diagnostic, all of them at once. It takes files and touches no disk.
//	Params    converts and checks what a submitter, or a parent run, gives for the params.
//	Evaluator evaluates what Compile left for run time: conditions, fan-outs, policies, bodies, outputs; and compiles child
//	          workflows from the definition's own files.
//
// # How the inside is cut
//
// gather.go collects files, from disk or from a definition; bundle.go keeps them and the namespaces in them, one for each child
// workflow. decode.go, task.go, bodies.go and policy.go turn syntax into a flow: which expression stands where and what it may read. They know
// no values. check.go evaluates a flow with unknown values of the declared types; evaluate.go evaluates it with real ones. Both
// use the same conversions (kind.go), so that what is refused at run time is refused before it wherever it can be known.
// diff.go tells two definitions apart by their syntax alone.
package hcl
