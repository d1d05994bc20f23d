// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package backup

import (
	"cmp"
	"errors"
	"fmt"
)

// Entry is a key of Consul's KV store, as a snapshot holds it.
type Entry struct {
	Key       string // any bytes, at least one
	Value     []byte // the visitor's to keep; nil where Consul has none
	Flags     uint64 // the writer's own
	LockIndex uint64 // how often the key was locked

	CreateIndex, ModifyIndex uint64
	Session                  string // that holds the lock, empty if none does
}

const (
	// maxText bounds a key, and every other string of an entry. Consul's own bound for keys is 512 bytes, where it has one.
	maxText = 64 << 10
	// maxValue bounds a value: 128 times what Consul takes unless it is told to take more (kv_max_value_size), and much more
	// than its log can bear.
	maxValue = 64 << 20
)

// kindKey is the kind of records that are keys.
const kindKey = 2

// kinds names the kinds of records that Consul writes. It gives each number once, and never anew.
var kinds = map[byte]string{
	0:       "registration",
	kindKey: "key",
	3:       "session",
	4:       "legacy ACL",
	5:       "tombstone",
	6:       "coordinates",
	7:       "prepared query",
	9:       "autopilot",
	12:      "legacy intention",
	13:      "CA root",
	14:      "CA provider state",
	15:      "CA configuration",
	16:      "index",
	17:      "ACL token",
	19:      "ACL policy",
	22:      "config entry",
	23:      "ACL role",
	25:      "ACL binding rule",
	27:      "ACL auth method",
	29:      "chunking state",
	30:      "federation state",
	31:      "system metadata",
	32:      "service virtual IP",
	33:      "free virtual IP",
	35:      "peering",
	38:      "peering trust bundle",
	40:      "peering secrets",
	42:      "resource",
}

// state reads state.bin.
type state struct {
	values
	found *Contents
	visit func(Entry) error
}

// read reads it to its end.
func (s *state) read() error {
	if err := s.header(); err != nil {
		return fmt.Errorf("header, at byte %d: %w", s.at, err)
	}
	var counts [256]int
	for number := 1; s.offset < s.size; number++ {
		begin := s.offset
		kind, err := s.byte()
		if err != nil {
			return fmt.Errorf("record %d, at byte %d: %w", number, begin, err)
		}
		if err := s.record(kind); err != nil {
			return fmt.Errorf("record %d (%s) from byte %d on, at byte %d: %w", number, nameOf(kind), begin, s.at, err)
		}
		counts[kind]++
	}
	for kind, n := range counts {
		if n > 0 {
			s.found.Records[nameOf(byte(kind))] = n
		}
	}
	return nil
}

func nameOf(kind byte) string { return cmp.Or(kinds[kind], fmt.Sprintf("kind %d", kind)) }

func (s *state) header() error {
	known := false
	err := s.fields(func(name string) (err error) {
		if name != "LastIndex" {
			return s.skip()
		}
		known = true
		s.found.LastIndex, err = s.number()
		return err
	})
	if err == nil && !known {
		err = errors.New("it has no LastIndex: something else than Consul has written it, Nomad perhaps")
	}
	return err
}

func (s *state) record(kind byte) error {
	if kind != kindKey {
		return s.skip()
	}
	e, ours, err := s.entry()
	if err != nil || !ours {
		return err
	}
	if e.Key == "" {
		return errors.New("it is a key without a name")
	}
	s.found.Keys++
	s.found.KeyBytes += int64(len(e.Key) + len(e.Value))
	if s.visit == nil {
		return nil
	}
	if err := s.visit(e); err != nil {
		return foreign{err}
	}
	return nil
}

// entry reads a key, which is ours if it is of the partition and namespace that Community Consul has.
func (s *state) entry() (e Entry, ours bool, err error) {
	ours = true
	err = s.fields(func(name string) (err error) {
		switch name {
		case "Key":
			e.Key, err = s.text()
		case "Value":
			e.Value, err = s.bytes(maxValue)
		case "Flags":
			e.Flags, err = s.number()
		case "LockIndex":
			e.LockIndex, err = s.number()
		case "CreateIndex":
			e.CreateIndex, err = s.number()
		case "ModifyIndex":
			e.ModifyIndex, err = s.number()
		case "Session":
			e.Session, err = s.text()
		case "Partition", "Namespace":
			var tenant string
			tenant, err = s.text()
			ours = ours && cmp.Or(tenant, "default") == "default"
		default:
			err = s.skip()
		}
		return err
	})
	return e, ours, err
}
