// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package nomad

type purgeQueue struct{}

func (q *purgeQueue) add(a *attempt, cfg Config) {}
