// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

// Package sim attacks internal/engine from a seeded world. One seed is one run of one random definition, with a store, an
// executor and leaders that fail in every way the design names:
//
//	generate ─▶ definition ─▶ engine.Machine
//	                              │ Step, EncodeDirty, Load, Outstanding
//	store ◀── save, fenced ── leader ── commands ──▶ executor      all on one virtual clock
//	  │ rollback, lost saves    │ ▲ crashes, takeovers   │ jobs: late, doubled, lost, forgotten, replaced
//	  ▼                         ▼ └──── observations ────┘
//	judge: what must hold at each step            oracle: how everything must have ended
//
// People use every verb, on runs under way and on runs that are over: those are taken up again a few times, and now and then
// run again in part. What a verb must do is worked out before the engine is asked.
//
// Nothing here reads the engine's code to know what is right: judge and oracle are written from the semantics. A failure
// prints the seed and a transcript; Shrink looks for a smaller definition and fewer faults that still fail.
package sim
