// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

// Cairn runs workflows written in HCL as Nomad batch jobs or local processes.
package main

func main() {}
