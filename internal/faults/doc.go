// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

// Package faults breaks Cairn from outside: it kills the compiled program, its supervisor and the agents it talks to, fills
// its disk, and presses Ctrl-C, and holds what the tasks themselves wrote (package ledger) against what Cairn says. It also
// takes everything that needs a Nomad there and back, from a file to what Nomad says of the jobs.
//
// Servers live on three servers of Consul and two workers of Nomad, and go on while all of them are killed and frozen, their
// connections cut, lossy and slow, their clocks stepped and Consul's disk slow: `make test-faults`, as root, in a network of
// its own. Without one the part runs that needs none, for twenty seconds.
//
// It also has many wait for one change at once: CAIRN_FAULTS_WATCHES says how many (300 by default).
//
// CAIRN_FAULTS_ROUNDS says how many rounds of every kind to play (1 by default; a release is judged by 20), and
// CAIRN_FAULTS_SEED repeats what chance chose. With -v every round is printed, with its seed:
//
//	CAIRN_FAULTS_ROUNDS=20 go test ./internal/faults -count=1 -v -timeout 2h
package faults
