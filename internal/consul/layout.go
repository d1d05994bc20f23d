// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package consul

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/cairnflow/cairn/internal/scheduler"
	"github.com/cairnflow/cairn/internal/workflow"
)

// keys names the keys outside of the data prefix.
type keys struct{ prefix string }

func (k keys) leader() string  { return k.prefix + "leader" }
func (k keys) seq() string     { return k.prefix + "seq" }
func (k keys) cluster() string { return k.prefix + "cluster" }
func (k keys) root() string    { return k.prefix + "root" }

// firstData is the name of the data prefix that the first leader makes.
const firstData = "d1"

// data names the keys below the data prefix.
type data struct{ prefix string }

func (d data) index() string                    { return d.prefix + "ix/" }
func (d data) indexOf(id workflow.RunID) string { return d.prefix + "ix/" + string(id) }

// shard spreads the runs; the first byte of an ID is time.
func shard(id workflow.RunID) string {
	sum := sha256.Sum256([]byte(id))
	return hex.EncodeToString(sum[:1])
}

// hot is the prefix of what changes of an active run.
func (d data) hot(id workflow.RunID) string {
	return fmt.Sprintf("%shot/%s/%s/", d.prefix, shard(id), id)
}

// ownerPart is the prefix of a key that hot and run begin with.
func (d data) ownerPart(key string) string {
	end := len(d.prefix)
	for range 3 { // hot or run, the shard, the run
		n := strings.IndexByte(key[end:], '/')
		if n < 0 {
			return key
		}
		end += n + 1
	}
	return key[:end]
}

// run is the prefix of everything else of a run.
func (d data) run(id workflow.RunID) string {
	return fmt.Sprintf("%srun/%s/%s/", d.prefix, shard(id), id)
}

// fixed is the prefix of what never changes of a run.
func (d data) fixed(id workflow.RunID) string { return d.run(id) + "r/" }

// packed is the prefix of a generation of what was hot.
func (d data) packed(id workflow.RunID, generation int) string {
	return fmt.Sprintf("%sz/%d/", d.run(id), generation)
}

// staged is the prefix of a generation of saves that were too much for one transaction.
func (d data) staged(id workflow.RunID, generation int) string {
	return fmt.Sprintf("%ss/%d/", d.run(id), generation)
}

// isFixed tells the records that never change once they are written, and are found through others: the input, the parts of
// an expansion and the packs of ended attempts.
func isFixed(record string) bool {
	return record == "i" || strings.HasPrefix(record, "k/") || strings.HasPrefix(record, "p/")
}

// record is the key of a record of an active run.
func (d data) record(id workflow.RunID, record string) string {
	if isFixed(record) {
		return d.fixed(id) + record
	}
	return d.hot(id) + record
}

// head is the key of the head of a run, which List reads of many runs at once.
func (d data) head(id workflow.RunID, done bool) string {
	if done {
		return d.run(id) + scheduler.HeadKey
	}
	return d.record(id, scheduler.HeadKey)
}

func (d data) definitions() string { return d.prefix + "def/" }

// definition is the prefix of the parts of a definition. Its hash reads "sha256:…".
func (d data) definition(hash string) string {
	return d.definitions() + strings.ReplaceAll(hash, ":", "-") + "/"
}

// workflows is the prefix of what is registered, and workflow the key of one; namespaces and names hold no slashes.
func (d data) workflows() string                      { return d.prefix + "wf/" }
func (d data) workflow(namespace, name string) string { return d.workflows() + namespace + "/" + name }

// idempotency is the key of an idempotency key, which may be of any bytes.
func (d data) idempotency(namespace, name, key string) string {
	h := sha256.New()
	for _, s := range []string{namespace, name, key} {
		fmt.Fprintf(h, "%d:%s", len(s), s)
	}
	return d.prefix + "key/" + hex.EncodeToString(h.Sum(nil))
}

// part names the nth part of something; names sort as the parts do.
func part(prefix string, n int) string { return fmt.Sprintf("%s%05d", prefix, n) }

// maxValue is the longest value of what may be cut: Consul takes twice that. A record is not cut: it fits a transaction,
// with the operations that come with every write. The longest is the pack of an attempt with workflow.MaxTaskOutputBytes.
const (
	maxValue  = 256 << 10
	maxRecord = maxBytes - 10_000
)

// split cuts bytes into parts of at most maxValue; at least one.
func split(b []byte) [][]byte {
	var parts [][]byte
	for len(b) > maxValue {
		parts = append(parts, b[:maxValue])
		b = b[maxValue:]
	}
	return append(parts, b)
}
