// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

// Package engine is the state machine of a run: no IO, no clock, no goroutine, no chance. A shell feeds it events; Step folds
// each one into the State and returns the commands that became due. The shell saves what changed (EncodeDirty) and only then
// carries the commands out. A new leader loads the records, asks Outstanding what the state still waits for, and carries on:
// recovery after a crash and normal work are the same code.
//
//	event ─▶ Step ─▶ state (dirty records) ─▶ save ─▶ commands ─▶ executor, timer, admission ─▶ events
//
// # How an instance goes
//
//	rule met ─▶ view fixed, `when`, expansion ─▶ queued ──Want/Admit──▶ starting ─▶ running ─▶ verdict
//	                                               ▲                                            │
//	                                               └──────────── waiting (backoff) ◀── retry ───┘
//
// # What is kept how
//
// The durable state is Head, one TaskState for each task, one Instance for each instance that has begun, and the attempts
// that ended. Everything else (derived) follows from it and is kept so that a step costs what changed: counters for each
// task's predecessors, sets of instances by what they wait for, timers. The work list holds the tasks that want a look; a
// step looks at as many as fit its budget of records, and asks for a Continue when some are left. Nothing about the list is
// stored: a task is on it exactly when looking would change something.
//
// # Where to find a rule
//
//	trigger rules, drain and fail_fast by edges      rules.go
//	view, when, expansion, fan-out verdicts          tasks.go
//	admission, observations, verdicts                attempts.go
//	retry                                            retry.go
//	timeouts and deadlines, pauses of them           timers.go
//	endings, verbs, finally, the run's status        ending.go
//	what expressions see                             scope.go
//	outputs, dynamic policies                        policy.go
//	records, chunks, loading                         record.go
package engine
