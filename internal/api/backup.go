// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package api

import "time"

// Backup describes a backup: a snapshot of all of Consul in a file. It is kept as a file of its own beside the snapshot, written
// after it: without it there is no backup.
type Backup struct {
	Format    int         `json:"format"` // of this description
	Name      string      `json:"name"`   // of the snapshot's file
	TakenAt   time.Time   `json:"taken_at"`
	By        string      `json:"by"`      // name of the server
	Version   string      `json:"version"` // of its Cairn
	Encrypted bool        `json:"encrypted"`
	Size      int64       `json:"size"`   // of the file, in bytes
	SHA256    string      `json:"sha256"` // of the file
	Index     uint64      `json:"index"`  // of Consul, that the snapshot was taken at
	Keys      int         `json:"keys"`   // in Consul's KV store, Cairn's and all others
	Stock     BackupStock `json:"stock"`
	// Drill is what came of the last drill; absent where there was none. It is kept in a file of its own.
	Drill *BackupDrill `json:"drill,omitempty"`
}

// BackupDrill is what came of a drill: a backup was restored into a Consul of its own, and read.
type BackupDrill struct {
	At       time.Time `json:"at"`
	By       string    `json:"by"`       // name of the machine
	Restored string    `json:"restored"` // how long Consul took for it
	Read     string    `json:"read"`     // how long all runs took to be read
	Active   int       `json:"active"`   // runs that were read, to their last attempt
	Ended    int       `json:"ended"`
	Broken   []string  `json:"broken"` // what cannot be restored or read; nothing: the backup is good
}

// Good reports whether everything was read.
func (d *BackupDrill) Good() bool { return len(d.Broken) == 0 }

// BackupStock is what a snapshot holds of one Cairn.
type BackupStock struct {
	Prefix      string `json:"prefix"`  // of its keys
	Cluster     string `json:"cluster"` // its UUID
	Incarnation string `json:"incarnation"`
	Epoch       uint64 `json:"epoch"` // of the newest leadership
	Data        string `json:"data"`  // name of the data prefix
	Keys        int    `json:"keys"`
	Bytes       int64  `json:"bytes"`  // of keys and values
	Active      int    `json:"active"` // runs
	Ended       int    `json:"ended"`
	Definitions int    `json:"definitions"`
	Workflows   int    `json:"workflows"` // registered
	// Unreadable counts what is there and cannot be read, or is missing. Problems tell of the first of it.
	Unreadable int      `json:"unreadable"`
	Problems   []string `json:"problems"`
}

// Backups is the answer of GET /v1/operator/snapshots: the backups that the leader keeps, the newest first.
type Backups struct {
	Backups  []Backup `json:"backups"`
	Folder   string   `json:"folder"`   // of the leader
	Interval string   `json:"interval"` // between two of them, as in 1h0m0s; empty: none is taken by itself
	// NextAt is when the next one is due; absent where none is.
	NextAt  *time.Time `json:"next_at,omitempty"`
	Running bool       `json:"running"` // one is being taken
	Overdue bool       `json:"overdue"` // the newest is older than twice the interval
	// Drilled names the one of this Cairn that a drill was made of last; empty where there was none.
	Drilled string `json:"drilled"`
	// Trouble says why the last try failed, and which files cannot be read; empty where all is well.
	Trouble string `json:"trouble"`
}

// LastDrilled is the backup that a drill was made of last; nil where there was none.
func (b *Backups) LastDrilled() *Backup {
	for i := range b.Backups {
		if b.Backups[i].Name == b.Drilled && b.Backups[i].Drill != nil {
			return &b.Backups[i]
		}
	}
	return nil
}
