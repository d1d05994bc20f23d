// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package cli

func taskCommand(*App) *command {
	return groupCommand("Act on single tasks of a run", "Commands for one task of a run, or one instance of a fan-out.")
}
