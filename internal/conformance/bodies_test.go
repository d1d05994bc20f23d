// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package conformance

// partsOfBodies are the checks of the bodies of tasks.
var partsOfBodies = []map[string][]check{}
