// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

// Package conformance holds the language and its semantics to their own tables: every row of every table in hcl/README.md
// and in the package documentation of engine has a check here that names it. A row without a check fails the tests, and so
// does a check whose row is gone.
//
// A check plays a workflow, compiled by hcl and driven by engine, in a world with a clock of its own and a script that says
// how attempts end; then it compares what it sees with what the row says. Beside it stands a change of the workflow or of the
// script that takes the row's own condition away: with it the same expectation must fail. So no check can hold by accident.
// Every play is played once more with another leader after every event, who knows only what was saved: nothing may look
// different for it.
//
//	go test ./internal/conformance -v -run Rows      lists every row with its checks
//	CAIRN_CONFORMANCE=inverted go test ./internal/conformance   inverts every expectation; then every check must fail
package conformance
