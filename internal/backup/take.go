// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package backup

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"
	"time"

	"filippo.io/age"
)

// Source gives snapshots of all of Consul.
type Source interface {
	// Snapshot begins one. What it reads ends with an error where the snapshot is not whole, as far as that is known.
	Snapshot(ctx context.Context) (io.ReadCloser, error)
}

// Survey counts what a snapshot holds of one Cairn. It is shown every key of Consul once, in their order.
type Survey interface {
	Look(Entry) error
	// Stock is what was counted. An error means that there is nothing to be restored.
	Stock() (Stock, error)
}

// taker takes snapshots.
type taker struct {
	source      Source
	survey      func() Survey
	target      Target
	recipients  []age.Recipient
	by, version string
	now         func() time.Time
}

// take takes one: what arrives is read to its end and surveyed while it is written, and then the file is read once more. The
// manifest comes last.
func (t *taker) take(ctx context.Context) (m Manifest, err error) {
	base := fmt.Sprintf("cairn-%s-%s", t.now().UTC().Format(timeForm), rand.Text()[:nameRandom])
	m = Manifest{Format: manifestFormat, Name: base + plainSuffix, By: t.by, Version: t.version, TakenAt: t.now().UTC(), Encrypted: len(t.recipients) > 0}
	if m.Encrypted {
		m.Name = base + encryptedSuffix
	}
	filled, begun := make(chan Manifest, 1), m
	err = t.target.Put(ctx, m.Name, func(w io.Writer) error { // which may go on after Put has given up
		err := t.fill(ctx, w, &begun)
		filled <- begun
		return err
	})
	if err != nil {
		return Manifest{}, err
	}
	m = <-filled
	defer func() {
		if err != nil {
			removing, cancel := context.WithTimeout(context.WithoutCancel(ctx), tidyWithin)
			defer cancel()
			err = errors.Join(err, t.target.Remove(removing, m.Name))
		}
	}()
	if err := verify(ctx, t.target, m, t.survey); err != nil {
		return m, fmt.Errorf("read back: %w", err)
	}
	return m, putJSON(ctx, t.target, base+manifestSuffix, m)
}

// fill writes a snapshot, and completes the manifest.
func (t *taker) fill(ctx context.Context, w io.Writer, m *Manifest) error {
	sum := sha256.New()
	file := &tally{to: io.MultiWriter(w, sum)}
	out, err := sealed(file, t.recipients)
	if err != nil {
		return fmt.Errorf("encrypt: %w", err)
	}
	body, err := t.source.Snapshot(ctx)
	if err != nil {
		return err
	}
	survey := t.survey()
	found, err := Read(io.TeeReader(body, out), survey.Look)
	if err := errors.Join(err, body.Close()); err != nil {
		return err
	}
	if err := out.Close(); err != nil {
		return fmt.Errorf("encrypt: %w", err)
	}
	m.Index, m.Keys, m.Size, m.SHA256 = found.Index, found.Keys, file.bytes, hex.EncodeToString(sum.Sum(nil))
	m.Stock, err = survey.Stock()
	return err
}

// tally counts the bytes that are written.
type tally struct {
	to    io.Writer
	bytes int64
}

func (c *tally) Write(p []byte) (int, error) {
	n, err := c.to.Write(p)
	c.bytes += int64(n)
	return n, err
}

// verify reads a backup to its end, and compares it with its manifest. One that is encrypted takes a key to be read: of that, it
// sees that the file is what was written.
func verify(ctx context.Context, target Target, m Manifest, newSurvey func() Survey) (err error) {
	f, err := target.Open(ctx, m.Name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	sum := sha256.New()
	file := &tally{to: sum}
	raw := io.TeeReader(f, file)
	if !m.Encrypted {
		survey := newSurvey()
		if _, err := Read(raw, survey.Look); err != nil {
			return err
		}
		if _, err := survey.Stock(); err != nil {
			return err
		}
	}
	if _, err := io.Copy(io.Discard, raw); err != nil {
		return err
	}
	return same(file.bytes, sum, m)
}

// same compares a file with what its manifest says.
func same(size int64, sum hash.Hash, m Manifest) error {
	if got := hex.EncodeToString(sum.Sum(nil)); size != m.Size || got != m.SHA256 {
		return fmt.Errorf("%w: it has %d bytes with SHA-256 %s, its manifest says %d bytes with %s", ErrDamaged, size, got, m.Size, m.SHA256)
	}
	return nil
}

// prune removes the backups of the cluster of one of them that are too many or too old, but never that one, nor the one that a
// drill was made of last, and what crashes have left. list is the newest first. It returns those that stay.
func (t *taker) prune(ctx context.Context, list []Manifest, last Manifest, retain int, oldest time.Time) ([]Manifest, error) {
	var kept []Manifest
	var errs []error
	ours := func(m Manifest) bool {
		return m.Stock.Cluster == last.Stock.Cluster && m.Stock.Prefix == last.Stock.Prefix
	}
	drilled := LastDrilled(list, ours)
	own := 0
	for _, m := range list {
		if ours(m) {
			own++
			if m.Name != last.Name && m.Name != drilled && (own > retain || m.TakenAt.Before(oldest)) {
				err := t.target.Remove(ctx, stem(m.Name)+manifestSuffix)
				if err == nil { // not before: a manifest without a snapshot would be trouble
					err = errors.Join(t.target.Remove(ctx, m.Name), t.target.Remove(ctx, stem(m.Name)+drillSuffix))
				}
				errs = append(errs, err)
				continue
			}
		}
		kept = append(kept, m)
	}
	names, err := t.target.Names(ctx)
	errs = append(errs, err)
	there := map[string]bool{}
	for _, name := range names {
		there[name] = true
	}
	for _, name := range names {
		at, ok := takenAt(name)
		if ok && !strings.HasSuffix(name, manifestSuffix) && !there[stem(name)+manifestSuffix] && t.now().Sub(at) > leftover {
			errs = append(errs, t.target.Remove(ctx, name))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return kept, fmt.Errorf("remove what is too old from %s: %w", t.target, err)
	}
	return kept, nil
}

// nameRandom is how many drawn letters tell apart what two servers take in one moment.
const nameRandom = 6
