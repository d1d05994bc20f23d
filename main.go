// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

// Cairn runs workflows written in HCL as Nomad batch jobs or local processes.
package main

import (
	"os"
	"runtime"

	"github.com/cairnflow/cairn/internal/cli"
)

// ballast is memory that is never touched, so it costs none, and that the garbage collector counts as in use: it begins a
// cycle when the heap has doubled, and a heap of a few megabytes doubles many times in a short run.
const ballast = 32 << 20

func main() {
	b := make([]byte, ballast)
	code := cli.Run(os.Args[1:])
	runtime.KeepAlive(b)
	os.Exit(code)
}
