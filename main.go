// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

// Cairn runs workflows written in HCL as Nomad batch jobs or local processes.
package main

import (
	"os"

	"github.com/cairnflow/cairn/internal/cli"
)

func main() { os.Exit(cli.Run(os.Args[1:])) }
