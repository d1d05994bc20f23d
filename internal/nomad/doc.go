// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

// Package nomad runs attempts as batch jobs of a Nomad cluster.
//
// # The life of an attempt
//
//	Start     the body becomes a job of Cairn's own shape (job.go), is validated once per task and definition, and is
//	          registered create-only (register.go): the same start twice, by one leader or by two, makes one job.
//	Watch     the event stream of each namespace in use wakes us (stream.go); lists of the jobs in flight, on every
//	          connect and every 30 seconds, tell what the stream dropped (list.go).
//	judge     everything known of one job's allocations folds into what became of the attempt (verdict.go, pure).
//	tend      what a judgement needs besides: stop the job, look at it, read its output file, wait for a lost worker.
//	Settle    the attempt is forgotten; its job is purged some time later (sweep.go).
//
// Nomad's own words about an end are not trusted: `complete` and `dead` also stand for killed, drained and lost. Whether a
// task ended by itself is read from its events only.
package nomad
