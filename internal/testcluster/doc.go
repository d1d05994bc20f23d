// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

// Package testcluster starts real Consul and Nomad agents for tests and
// reference programs, several of each, and stops them. It runs on Linux.
//
// A package whose tests want one agent between them writes
//
//	var cluster testcluster.Shared
//
//	func TestMain(m *testing.M) { os.Exit(cluster.Run(m)) }
//
//	func TestSomething(t *testing.T) {
//		client := cluster.Nomad(t).Client()
//		...
//	}
//
// and separates its tests by job ID, key prefix or namespace. A test that kills,
// restarts or configures agents starts its own:
//
//	nomad := testcluster.Nomad(t, testcluster.NomadConfig{Clients: 2})
//	err := nomad.Clients[0].PowerOff()
//
// The zero configuration is one server and one client (Nomad) or one server
// (Consul). They are ready when the call returns, in about two seconds. A
// program without a testing.TB calls StartNomad or StartConsul and, at its end,
// Close.
//
// Each test that asks for an agent or its binary carries the attribute
// "cairn-agents", by which `make test` counts the tests that ran against real
// agents. Agents, the tasks they started, their mounts and their files are gone
// when the test ends, and also when the test process is killed: a watcher waits
// for the end of the process and cleans up after it.
package testcluster
