// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

// Package consul keeps runs in Consul's KV store, elects the leader with a Consul session, and tells Consul of this server.
//
// # What fences a write
//
// One counter fences everything: key seq holds {incarnation, epoch, n}. Taking office is one transaction that locks the key
// of the leader and raises the epoch. Every write after it is one transaction that checks that the session still holds that
// key and moves n to n+1. There is one writer, so other keys need no check of their own. At most one transaction is on its
// way; what arrives meanwhile shares the next one. Where the answer is lost, the counter tells: n+1 means done, n not done
// yet, anything else that this server leads no more, or that Consul was restored from a snapshot.
//
// # Layout
//
// Under the prefix (cairn/ by default):
//
//	leader                       locked by the leader's session; its value is the leader's name
//	seq                          the counter
//	cluster                      the UUID made with the store; never changes
//	root                         name of the data prefix: d1
//
// and under the data prefix:
//
//	ix/<run>                     what List and Index tell of a run, its head aside
//	hot/<shard>/<run>/<record>   what changes of a run, while it is active
//	run/<shard>/<run>/r/<record> what never changes of a run: its input, its expansions, its packs
//	run/<shard>/<run>/h          its head, once it is over
//	run/<shard>/<run>/z/<g>/<n>  what else was hot, packed, once it is over
//	run/<shard>/<run>/s/<g>/<n>  a save on its way to what is hot
//	def/<hash>/<n>               a definition, in parts
//	key/<hash>                   idempotency key: the run that has it
//
// There are 256 shards. A save is one transaction. What it points to (packs, expansions, parts of a definition) is written
// before where all is too much for one, and is garbage until something names it. Where what it changes is too much by itself,
// it is written packed, the transaction makes the entry of the run name the pack, and the pack is then carried over to what is
// hot, by this leader or the next one.
//
// # What leaves
//
// The order in which runs leave is that of their ends, which their entries hold, with the size that they had then: retention
// reads the entries in one request, and only where a run has ended or grown too old since. That costs no write of its own
// at the end of a run, and cannot disagree with the runs that are there.
//
// A run with many keys is not deleted in one transaction. Its entry is marked first, with which it is gone for everybody, and
// deleted last, so that whoever reads the entries finds what is left to be done.
//
// Definitions, and what was written ahead of a create that never came, are found by what nobody names. Whoever names a
// definition does so between naming.enter and its end, and the sweep deletes while nobody is there. Both are in the process
// that leads; what another one had on its way is fenced.
//
// # Limits
//
// Consul takes at most 128 operations and 512 KiB of JSON in a transaction, and 512 KiB in a value. Cairn fills transactions
// to 120 operations or 350,000 bytes, which base64 makes 467,000. What is longer than 256 KiB is cut into parts, records
// aside, which are shorter than a transaction by themselves.
package consul
