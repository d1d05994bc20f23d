// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

// Package bench measures Cairn against reference programs, in turn and on the same machine: absolute times mean nothing on a
// shared one, ratios do. `make bench` runs it; each line says what was measured, the median of the pairs and their range.
package bench
