// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package consul

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/cairnflow/cairn/internal/scheduler"
)

// maxUnpacked bounds what a pack may hold: far above the records of a run of 100,000 instances, 10 MB.
const maxUnpacked = 256 << 20

// pack makes one value of records: each is the length of the key, one more than that of the value (0 for a record that is to
// be deleted), and then both, all of it compressed.
func pack(records []scheduler.Record) ([]byte, error) {
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	if err != nil {
		return nil, err
	}
	var head []byte
	for _, r := range records {
		head = binary.AppendUvarint(head[:0], uint64(len(r.Key)))
		if r.Value == nil {
			head = binary.AppendUvarint(head, 0)
		} else {
			head = binary.AppendUvarint(head, uint64(len(r.Value))+1)
		}
		for _, part := range [][]byte{head, []byte(r.Key), r.Value} {
			if _, err := z.Write(part); err != nil {
				return nil, err
			}
		}
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// unpack gives the records back. Its checksum tells a pack of which a part is missing.
func unpack(packed []byte) ([]scheduler.Record, error) {
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("unpack records: %w", err)
	}
	b, err := io.ReadAll(io.LimitReader(z, maxUnpacked+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("unpack records: %w", err)
	case len(b) > maxUnpacked:
		return nil, fmt.Errorf("unpack records: more than %d bytes", maxUnpacked)
	}
	var records []scheduler.Record
	for len(b) > 0 {
		key, n := binary.Uvarint(b)
		if n <= 0 {
			return nil, errCut
		}
		value, m := binary.Uvarint(b[n:])
		there := value > 0
		if there {
			value--
		}
		if m <= 0 || key > uint64(len(b)) || value > uint64(len(b)) || key+value > uint64(len(b)-n-m) {
			return nil, errCut
		}
		b = b[n+m:]
		r := scheduler.Record{Key: string(b[:key])}
		if there {
			r.Value = append([]byte{}, b[key:key+value]...)
		}
		records = append(records, r)
		b = b[key+value:]
	}
	return records, nil
}

var errCut = errors.New("unpack records: the pack ends in the middle of a record")
