// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

// Package server puts Cairn together: it picks the adapters of the scheduler's ports, starts scheduler and HTTP API, and
// stops them again. Without a Cairn server every run has a folder of its own below the state folder:
//
//	<state>/runs/<run>/run.json   what the folder is for: written first
//	                   new        while the run is not in the store yet: a folder that keeps it was given up half-made
//	                   state.db   the store
//	                   lock       held by the process that drives the run
//	                   sock       the API of that process
//	                   …          the executor's own (package local)
//	<state>/keys/<hash>           which run an idempotency key belongs to; locked while that run is made
//
// A child run has no folder: it lives in the store, and is driven by the process, of the run above it.
package server
