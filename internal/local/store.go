// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package local

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/cairnflow/cairn/internal/durable"
	"github.com/cairnflow/cairn/internal/scheduler"
	"github.com/cairnflow/cairn/internal/workflow"
)

var _ scheduler.Store = (*Store)(nil)

// StoreFile is the name of the store in a run folder.
const StoreFile = "state.db"

// The versions of the layout below. A file is made with the first one. It gets the second with its first child run, which a
// reader of the first would take for a run of its own, and the third with its first registered workflow, whose definition
// others would drop. A file with a newer one is refused.
const (
	storeVersion          = 1
	storeVersionChildren  = 2
	storeVersionWorkflows = 3
)

// The buckets of the file. Records are flat, "<run>/<key>", so that a save touches as few pages as it can.
var (
	metaBucket        = []byte("meta")        // version, cluster, epoch
	definitionsBucket = []byte("definitions") // hash -> bytes
	runsBucket        = []byte("runs")        // run -> runEntry
	keysBucket        = []byte("keys")        // namespace 0 workflow 0 idempotency key -> run
	recordsBucket     = []byte("records")     // run/key -> value

	versionKey = []byte("version")
	clusterKey = []byte("cluster")
	epochKey   = []byte("epoch")
)

// StoreConfig says which file to open and how.
type StoreConfig struct {
	Path string
	// ReadOnly opens an existing file for reading, beside other readers; writes fail. A writer keeps readers out.
	ReadOnly bool
	// Existing refuses to make the file, as ReadOnly does.
	Existing bool
	// LockTimeout is how long to wait for another process that has the file open. Default: 500ms, long enough for one
	// that is just closing it.
	LockTimeout time.Duration
}

// Store keeps runs in one bbolt file. Every value carries its checksum. It is safe for concurrent use; writes that come in
// while another one is on its way to disk share the next transaction.
type Store struct {
	path string
	db   *bolt.DB

	// mu guards queue and writing.
	mu      sync.Mutex
	queue   []*write
	writing bool

	space space
}

// runEntry is the index entry of a run.
type runEntry struct {
	Workflow   string        `json:"workflow"`
	Namespace  string        `json:"namespace"`
	Key        string        `json:"key,omitempty"` // idempotency key
	CreatedAt  workflow.Time `json:"created_at"`
	Definition string        `json:"definition"`
	Done       bool          `json:"done,omitempty"`
	// Parent is what started a child run; since storeVersionChildren.
	Parent workflow.AttemptID `json:"parent,omitempty"`
	// Labels are here to be filtered by; a store of before they were has none.
	Labels map[string]string `json:"labels,omitempty"`
	// EndedAt and Bytes are for retention: when a run that is done ended, and what its records hold. Both are 0 where an
	// earlier Cairn saved its end.
	EndedAt workflow.Time `json:"ended_at,omitempty"`
	Bytes   int64         `json:"bytes,omitempty"`
}

// OpenStore opens the file, and makes it unless ReadOnly or Existing is set: ErrNotFound then. Its errors name the file and
// say what to do.
func OpenStore(cfg StoreConfig) (*Store, error) {
	if cfg.LockTimeout <= 0 {
		cfg.LockTimeout = 500 * time.Millisecond
	}
	fresh, err := inspect(cfg.Path)
	if err != nil {
		return nil, err
	}
	absent := fmt.Errorf("open state file %s: %w: no such file, or empty", cfg.Path, scheduler.ErrNotFound)
	if fresh && (cfg.ReadOnly || cfg.Existing) {
		return nil, absent
	}
	s := &Store{path: cfg.Path}
	err = guard(cfg.Path, func() error {
		db, err := bolt.Open(cfg.Path, 0o600, &bolt.Options{
			Timeout:  cfg.LockTimeout,
			ReadOnly: cfg.ReadOnly,
			// 64 MiB of address space, not of disk: a growing file is not mapped again in the middle of a run.
			InitialMmapSize: 64 << 20,
			FreelistType:    bolt.FreelistMapType,
			NoStatistics:    true,
		})
		s.db = db
		return err
	})
	if err != nil {
		if errors.Is(err, berrors.ErrTimeout) {
			return nil, fmt.Errorf("open state file %s: it is in use by %s; ask that process through its socket, or wait for its end",
				cfg.Path, lockHolder(cfg.Path))
		}
		return nil, fmt.Errorf("open state file %s: %w", cfg.Path, err)
	}
	s.db.AllocSize = 0 // space is made ahead by written blocks, not by holes: see spaceStep
	if !fresh {
		fresh, err = s.bare()
	}
	switch {
	case err != nil:
	case !fresh:
		err = s.verify()
	case cfg.ReadOnly || cfg.Existing:
		err = absent
	default:
		err = s.create()
	}
	if err != nil {
		return nil, errors.Join(err, s.db.Close())
	}
	s.space.ahead(s.path, s.db)
	return s, nil
}

// Close closes the file; saves under way end first.
func (s *Store) Close() error { return s.db.Close() }

// bare reports that nothing was ever written: whoever made the file was killed at it.
func (s *Store) bare() (bare bool, err error) {
	err = guard(s.path, func() error {
		return s.db.View(func(tx *bolt.Tx) error {
			first, _ := tx.Cursor().First()
			bare = first == nil
			return nil
		})
	})
	return bare, err
}

func (s *Store) create() error {
	var id [16]byte
	if _, err := rand.Read(id[:]); err != nil {
		return fmt.Errorf("create state file %s: %w", s.path, err)
	}
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80 // a version 4 UUID
	uuid := fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
	err := s.db.Update(func(tx *bolt.Tx) error {
		for _, name := range [][]byte{metaBucket, definitionsBucket, runsBucket, keysBucket, recordsBucket} {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		meta := tx.Bucket(metaBucket)
		if meta.Get(clusterKey) != nil {
			return nil // another process was first
		}
		return errors.Join(
			meta.Put(versionKey, seal([]byte(strconv.Itoa(storeVersion)))),
			meta.Put(clusterKey, seal([]byte(uuid))))
	})
	if err != nil {
		return fmt.Errorf("create state file %s: %w", s.path, err)
	}
	return durable.SyncFolder(filepath.Dir(s.path)) // so that the file itself survives a power cut
}

// Create implements scheduler.Store.
func (s *Store) Create(ctx context.Context, epoch uint64, run scheduler.NewRun) (workflow.RunID, error) {
	if err := checkKeys(run.Records); err != nil {
		return "", fmt.Errorf("create run %s: %w", run.ID, err)
	}
	entry, err := json.Marshal(runEntry{Workflow: run.Workflow, Namespace: run.Namespace, Key: run.IdempotencyKey,
		CreatedAt: run.CreatedAt, Definition: run.Definition.Hash, Parent: run.Parent, Labels: run.Labels})
	if err != nil {
		return "", fmt.Errorf("create run %s: %w", run.ID, err)
	}
	taken := workflow.RunID("")
	err = s.update(ctx, func(tx *bolt.Tx) (refusal, fatal error) {
		taken = ""
		if err := fenced(tx, epoch); err != nil {
			return err, nil
		}
		if tx.Bucket(runsBucket).Get([]byte(run.ID)) != nil {
			taken = run.ID
			return scheduler.ErrExists, nil
		}
		key := idempotencyKey(run.Namespace, run.Workflow, run.IdempotencyKey)
		if run.IdempotencyKey != "" {
			if v := tx.Bucket(keysBucket).Get(key); v != nil {
				id, err := unseal(v)
				taken = workflow.RunID(id)
				return errors.Join(scheduler.ErrExists, err), nil
			}
			if err := tx.Bucket(keysBucket).Put(key, seal([]byte(run.ID))); err != nil {
				return nil, err
			}
		}
		if err := raiseEpoch(tx, epoch); err != nil {
			return nil, err
		}
		if run.Parent != "" {
			if err := raiseVersion(tx, storeVersionChildren); err != nil {
				return nil, err
			}
		}
		if err := putDefinition(tx, run.Definition); err != nil {
			return nil, err
		}
		if err := tx.Bucket(runsBucket).Put([]byte(run.ID), seal(entry)); err != nil {
			return nil, err
		}
		return nil, putRecords(tx, run.ID, run.Records)
	})
	if err != nil {
		return taken, fmt.Errorf("create run %s: %w", run.ID, err)
	}
	return run.ID, nil
}

// Load implements scheduler.Store.
func (s *Store) Load(ctx context.Context, id workflow.RunID) ([]scheduler.Record, scheduler.Definition, error) {
	var records []scheduler.Record
	var def scheduler.Definition
	err := s.view(ctx, func(tx *bolt.Tx) error {
		entry, err := getRun(tx, id)
		if err != nil {
			return err
		}
		prefix := recordKey(id, "")
		c := tx.Bucket(recordsBucket).Cursor()
		for k, v := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, v = c.Next() {
			value, err := unseal(v)
			if err != nil {
				return fmt.Errorf("record %s: %w", k, err)
			}
			records = append(records, scheduler.Record{Key: string(k[len(prefix):]), Value: bytes.Clone(value)})
		}
		def.Hash = entry.Definition
		if v := tx.Bucket(definitionsBucket).Get([]byte(entry.Definition)); v != nil {
			value, err := unseal(v)
			if err != nil {
				return fmt.Errorf("definition %s: %w", entry.Definition, err)
			}
			def.Bytes = bytes.Clone(value)
		}
		return nil
	})
	if err != nil {
		return nil, scheduler.Definition{}, fmt.Errorf("load run %s: %w", id, err)
	}
	return records, def, nil
}

// Save implements scheduler.Store.
func (s *Store) Save(ctx context.Context, epoch uint64, id workflow.RunID, records []scheduler.Record, done bool) error {
	if err := checkKeys(records); err != nil {
		return fmt.Errorf("save run %s: %w", id, err)
	}
	err := s.update(ctx, func(tx *bolt.Tx) (refusal, fatal error) {
		if err := fenced(tx, epoch); err != nil {
			return err, nil
		}
		entry, err := getRun(tx, id)
		if err != nil {
			return err, nil
		}
		if err := raiseEpoch(tx, epoch); err != nil {
			return nil, err
		}
		if err := putRecords(tx, id, records); err != nil {
			return nil, err
		}
		if !entry.Done && !done {
			return nil, nil
		}
		entry.Done, entry.EndedAt, entry.Bytes = done, 0, 0
		if done {
			if entry.EndedAt, entry.Bytes, err = weigh(tx, id); err != nil {
				return nil, err
			}
		}
		b, err := json.Marshal(entry)
		if err != nil {
			return nil, err
		}
		return nil, tx.Bucket(runsBucket).Put([]byte(id), seal(b))
	})
	if err != nil {
		return fmt.Errorf("save run %s: %w", id, err)
	}
	return nil
}

// List implements scheduler.Store.
func (s *Store) List(ctx context.Context, filter scheduler.Filter) ([]scheduler.Summary, error) {
	var list []scheduler.Summary
	err := s.view(ctx, func(tx *bolt.Tx) error {
		c := tx.Bucket(runsBucket).Cursor()
		k, _ := c.Last()
		if filter.Before != "" {
			if at, _ := c.Seek([]byte(filter.Before)); at != nil {
				k, _ = c.Prev()
			}
		}
		for ; k != nil && (filter.Limit == 0 || len(list) < filter.Limit); k, _ = c.Prev() {
			id := workflow.RunID(k)
			entry, err := getRun(tx, id)
			if err != nil {
				return err
			}
			sum := scheduler.Summary{
				ID: id, Workflow: entry.Workflow, Namespace: entry.Namespace, Parent: entry.Parent, Labels: entry.Labels,
				CreatedAt: entry.CreatedAt, Done: entry.Done,
			}
			if !filter.Matches(&sum) {
				continue
			}
			if v := tx.Bucket(recordsBucket).Get(recordKey(id, scheduler.HeadKey)); v != nil {
				head, err := unseal(v)
				if err != nil {
					return fmt.Errorf("head of run %s: %w", id, err)
				}
				sum.Head = bytes.Clone(head)
			}
			list = append(list, sum)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list runs: %w", err)
	}
	return list, nil
}

// Delete implements scheduler.Store.
func (s *Store) Delete(ctx context.Context, epoch uint64, id workflow.RunID) error {
	err := s.update(ctx, func(tx *bolt.Tx) (refusal, fatal error) {
		if err := fenced(tx, epoch); err != nil {
			return err, nil
		}
		entry, err := getRun(tx, id)
		if err != nil {
			return err, nil
		}
		if !entry.Done {
			return fmt.Errorf("%w: the run has not ended", scheduler.ErrConflict), nil
		}
		if err := raiseEpoch(tx, epoch); err != nil {
			return nil, err
		}
		prefix := recordKey(id, "")
		c := tx.Bucket(recordsBucket).Cursor()
		for k, _ := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, _ = c.Seek(prefix) {
			if err := c.Delete(); err != nil {
				return nil, err
			}
		}
		if err := tx.Bucket(runsBucket).Delete([]byte(id)); err != nil {
			return nil, err
		}
		if entry.Key != "" {
			if err := tx.Bucket(keysBucket).Delete(idempotencyKey(entry.Namespace, entry.Workflow, entry.Key)); err != nil {
				return nil, err
			}
		}
		return nil, nil
	})
	if err != nil {
		return fmt.Errorf("delete run %s: %w", id, err)
	}
	return nil
}

// Cluster implements scheduler.Store.
func (s *Store) Cluster(ctx context.Context) (string, error) {
	var id string
	err := s.view(ctx, func(tx *bolt.Tx) error {
		v, err := unseal(tx.Bucket(metaBucket).Get(clusterKey))
		id = string(v)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("read cluster ID: %w", err)
	}
	return id, nil
}

func getRun(tx *bolt.Tx, id workflow.RunID) (runEntry, error) {
	var entry runEntry
	v := tx.Bucket(runsBucket).Get([]byte(id))
	if v == nil {
		return entry, scheduler.ErrNotFound
	}
	b, err := unseal(v)
	if err != nil {
		return entry, fmt.Errorf("index entry of run %s: %w", id, err)
	}
	if err := json.Unmarshal(b, &entry); err != nil {
		return entry, fmt.Errorf("index entry of run %s: %w", id, err)
	}
	return entry, nil
}

func putRecords(tx *bolt.Tx, id workflow.RunID, records []scheduler.Record) error {
	b := tx.Bucket(recordsBucket)
	for _, r := range records {
		var err error
		if r.Value == nil {
			err = b.Delete(recordKey(id, r.Key))
		} else {
			err = b.Put(recordKey(id, r.Key), seal(r.Value))
		}
		if err != nil {
			return fmt.Errorf("record %s: %w", r.Key, err)
		}
	}
	return nil
}

// storedEpoch is the highest epoch that has written.
func storedEpoch(tx *bolt.Tx) (uint64, error) {
	v := tx.Bucket(metaBucket).Get(epochKey)
	if v == nil {
		return 0, nil
	}
	b, err := unseal(v)
	if err != nil {
		return 0, fmt.Errorf("epoch: %w", err)
	}
	return strconv.ParseUint(string(b), 10, 64)
}

func fenced(tx *bolt.Tx, epoch uint64) error {
	stored, err := storedEpoch(tx)
	if err != nil {
		return err
	}
	if epoch < stored {
		return fmt.Errorf("%w: epoch %d writes, %d has written", scheduler.ErrFenced, epoch, stored)
	}
	return nil
}

func raiseEpoch(tx *bolt.Tx, epoch uint64) error {
	stored, err := storedEpoch(tx)
	if err != nil || stored == epoch {
		return err
	}
	return tx.Bucket(metaBucket).Put(epochKey, seal(strconv.AppendUint(nil, epoch, 10)))
}

func recordKey(id workflow.RunID, key string) []byte { return []byte(string(id) + "/" + key) }

func idempotencyKey(namespace, name, key string) []byte {
	return []byte(namespace + "\x00" + name + "\x00" + key)
}

func checkKeys(records []scheduler.Record) error {
	for _, r := range records {
		if r.Key == "" {
			return errors.New("a record without a key")
		}
		for _, c := range []byte(r.Key) {
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '/' {
				return fmt.Errorf("record key %q: want a-z, 0-9 and /", r.Key)
			}
		}
	}
	return nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// seal puts a value's checksum in front of it: bbolt checks its own pages only at the root.
func seal(value []byte) []byte {
	sum := crc32.Checksum(value, castagnoli)
	return append([]byte{byte(sum >> 24), byte(sum >> 16), byte(sum >> 8), byte(sum)}, value...)
}

var errChecksum = errors.New("its checksum is wrong")

// unseal gives the value back; it is valid as long as v is.
func unseal(v []byte) ([]byte, error) {
	if len(v) < 4 {
		return nil, errChecksum
	}
	sum := crc32.Checksum(v[4:], castagnoli)
	if !bytes.Equal(v[:4], []byte{byte(sum >> 24), byte(sum >> 16), byte(sum >> 8), byte(sum)}) {
		return nil, errChecksum
	}
	return v[4:], nil
}
