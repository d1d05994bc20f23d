// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package engine

import (
	"github.com/cairnflow/cairn/internal/workflow"
)

// Evaluator evaluates the expressions of one definition. It is pure: equal arguments give equal results, on every machine.
// An error is a sentence for people, with the source line in front.
type Evaluator interface {
	Evaluate(expr workflow.Expr, scope workflow.Scope) (workflow.Value, error)
}
