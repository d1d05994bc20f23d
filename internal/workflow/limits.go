// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package workflow

import "time"

// Limits of one run. More is refused with the number; larger data belongs in artifacts.
const (
	MaxOutputBytes      = 64 << 10  // one output
	MaxTaskOutputBytes  = 256 << 10 // all outputs of one instance, and the output file itself
	MaxRunOutputBytes   = 8 << 20   // all outputs of a run
	MaxParamBytes       = 256 << 10 // all params of a run
	MaxKeyBytes         = 128       // one expansion key
	MaxExpansionBytes   = 4 << 20   // the keys of one expansion
	MaxDefinitionBytes  = 2 << 20   // a definition, compressed
	MaxArgumentBytes    = 128 << 10 // one argument or environment value: MAX_ARG_STRLEN of Linux
	MaxStdoutTailBytes  = 256 << 10 // how much of the end of stdout is searched for outputs
	MaxTasks            = 10000     // tasks of a workflow: four digits in a job ID
	MaxInstances        = 1000000   // instances of a task: six digits in a job ID
	MaxAttemptNumber    = 999       // attempts of an instance over all generations: three digits in a job ID
	MaxPolicyAttempts   = 100       // retry.max_attempts
	MaxNameBytes        = 63        // names of workflows, tasks, params, outputs
	MaxRunOutputsNumber = 1000      // outputs a run or a task may declare
	MaxRunDepth         = 32        // of child runs below a run that somebody started
	MaxHTTPTimeout      = 60 * time.Second
	DefaultHTTPTimeout  = 30 * time.Second // of a call that writes none
	MaxHTTPBodyBytes    = 64 << 10         // of a call and of its answer
	MaxPayloadBytes     = 16 << 10         // of a dispatch: Nomad's limit
	MaxLabelsBytes      = 4 << 10          // names and values of a workflow's labels: every list of runs carries them
	MaxNamedFiles       = 1000             // files that a definition carries beside its own
	MaxVersions         = 50               // versions of a registered workflow that are kept
	MaxApplied          = 100              // workflows that one apply changes: they are registered in one transaction
	MaxByBytes          = 256              // who applied a version
)
