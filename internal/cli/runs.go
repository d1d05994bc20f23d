// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package cli

func runsCommand(*App) *command {
	return groupCommand("List, show and control runs", `Commands for runs: those that a "cairn run" of this user drives, and those that have ended. ID is a run's
ID; the beginning of one will do if no other run begins so.`)
}
