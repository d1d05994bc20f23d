// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

// Package workflow holds the pure data of Cairn: definitions, tasks, policies, statuses, IDs and the graph that ties
// tasks together. It reads no file, asks no clock and starts no goroutine; everything else in the tree speaks in its types.
package workflow
