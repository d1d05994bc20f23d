// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

// Package archive keeps runs that have left the store, in a folder.
//
// # Layout
//
//	<day>/<run>-<changed>.jsonl.gz   one run; the day is that of its ID, in UTC, the time is in nanoseconds
//	tmp/<name>                       a file that is being written
//
// A name says which run it is, whose ID begins with the moment of submission, so that the names alone give the order of a list,
// and when it last changed: a run that was archived, did not leave, and went on, is archived once more beside itself, and the
// newest file counts. Nothing is ever written over by something older, whoever is late.
//
// # A file
//
// Lines of JSON, compressed:
//
//	{"version": 1, "last_at": …, "namespaces": […], "entry": {…}}    what a list tells: the only line that a list reads
//	{"run": {…}}                                  the run document, as GET /v1/run/ID gives it
//	{"task": "…", "instances": [{…}, …]}          the instances of a task that the document only counts, in pages
//
// What is sensitive is not in it: the document says "(sensitive)" in its place. Not kept are the definition, logs, and what
// the engine would need to go on with the run.
//
// # Several servers
//
// The leader archives, into its own folder. Servers may share one: names of files that are being written are drawn, and a
// finished file is the same whoever has written it.
package archive
