// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

// Package local serves the scheduler's three ports on one machine without a cluster: a Store in a bbolt file, an Elector
// on a file lock, and an Executor whose attempts are child processes of a supervisor that outlives a killed `cairn run`.
//
// Everything of a run lies in its run folder:
//
//	state.db         the store
//	lock, epoch      the elector: who leads (pid inside), and the last epoch given out
//	supervisor.sock  where the run's process gives starts and kills to the supervisor
//	supervisor.lock  held by the living supervisor
//	supervisor.log   what the supervisor has to say, normally nothing
//	boot             the machine's boot ID when the supervisor first ran
//	journal          pid, start time and exit status of every attempt, one JSON line each
//	attempts/<id>/   made before the attempt is forked: its claim, its task's folders, its logs and its output file
package local
