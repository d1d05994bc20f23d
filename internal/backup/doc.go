// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

// Package backup takes snapshots of Consul, keeps them, and reads them, trusting nothing that they say of themselves.
//
// # Backups
//
// A backup is two files, at a Target:
//
//	cairn-20260131T020000.000Z-AB12CD.snap   the snapshot; .snap.age where it is encrypted
//	cairn-20260131T020000.000Z-AB12CD.json   its manifest, which is written last: without it there is no backup
//
// A third one, .drill, says what came of the last drill, where there was one.
//
// What arrives from Consul is read to its end while it is written, so that every checksum is compared and every key of Cairn's
// decoded before the file counts, and the file is then read back. The leader's Keeper takes one when it is due, and removes those
// that are too many or too old. Encryption is that of age (https://age-encryption.org), for public keys: a server can write what
// it cannot read.
//
// # The archive
//
// A snapshot is a tar file, compressed by gzip, with three files:
//
//	meta.json     what Raft knows of it, in JSON: {"Version", "ID", "Index", "Term", …, "Size"}; Size is that of state.bin
//	state.bin     the state of Consul
//	SHA256SUMS    two lines, of a SHA-256 sum in hexadecimal, two spaces, and "meta.json" or "state.bin"
//
// Consul writes them in this order and reads them in any. Nothing follows the end of the tar file, which Consul insists on too.
// Read is the stricter one: it takes each file once, as a plain file, and of a size that has a bound.
//
// # The state
//
// It is a map with the field LastIndex, the last index of Consul that changed something, and then one record after the other to
// the end of the file: a byte that says of which kind it is, and one value. All values are MessagePack. The keys of the KV store
// are of kind 2, each a map with the fields of Entry; the other kinds are counted and skipped. Consul writes MessagePack in its
// old form, which knows only one kind of string; the new forms of strings, bytes and extensions are read as well.
//
// Kinds from 64 on belong to Consul Enterprise, whose keys also name a partition and a namespace. Community Consul restores none
// of these. Here they are counted and skipped, like the keys that are not of the default partition and namespace: what is looked
// for may stand beside them.
package backup
