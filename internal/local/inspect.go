// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package local

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"

	bolt "go.etcd.io/bbolt"
)

// The head of a bbolt file: two pages, each with a checksummed description of the whole; the newer one holds. bbolt
// itself trusts the size it finds there, and a file cut short would end this process with a bus error.
const (
	boltMagic      = 0xED0CDAED
	boltPageHeader = 16
	boltMetaSize   = 64 // magic, version, page size, flags (4 bytes each), root (16), free list, high water, transaction, checksum (8 each)
)

// inspect checks that the file is a whole bbolt file. fresh: there is none yet, or an empty one.
func inspect(path string) (fresh bool, err error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("open state file: %w", err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return false, fmt.Errorf("open state file: %w", err)
	}
	if !st.Mode().IsRegular() {
		return false, fmt.Errorf("open state file %s: it is not a regular file", path)
	}
	if st.Size() == 0 {
		return true, nil
	}
	var newest, highWater uint64
	found := false
	pageSize := int64(os.Getpagesize())
	for _, at := range []int64{0, pageSize} {
		var b [boltMetaSize]byte
		if _, err := f.ReadAt(b[:], at+boltPageHeader); err != nil {
			if errors.Is(err, io.EOF) {
				continue
			}
			return false, fmt.Errorf("read state file: %w", err)
		}
		sum := fnv.New64a()
		sum.Write(b[:56])
		if binary.NativeEndian.Uint32(b[:]) != boltMagic || binary.NativeEndian.Uint64(b[56:]) != sum.Sum64() {
			continue
		}
		if tx := binary.NativeEndian.Uint64(b[48:]); !found || tx > newest {
			found, newest, highWater = true, tx, binary.NativeEndian.Uint64(b[40:])
		}
		pageSize = int64(binary.NativeEndian.Uint32(b[8:]))
	}
	switch {
	case !found:
		return false, fmt.Errorf("open state file %s: it is not one, or its beginning is damaged; restore it from a copy, or remove the run's folder",
			path)
	case int64(highWater)*pageSize > st.Size():
		return false, fmt.Errorf("open state file %s: it was cut short: %d bytes of at least %d; restore it from a copy, or remove the run's folder",
			path, st.Size(), int64(highWater)*pageSize)
	}
	return false, nil
}

// verify reads the whole file once: its version, and every value against its checksum.
func (s *Store) verify() error {
	err := guard(s.path, func() error {
		return s.db.View(func(tx *bolt.Tx) error {
			meta := tx.Bucket(metaBucket)
			if meta == nil {
				return errors.New("it holds no Cairn state")
			}
			v, err := unseal(meta.Get(versionKey))
			if err != nil {
				return fmt.Errorf("version: %w", err)
			}
			if n, err := strconv.Atoi(string(v)); err != nil || n < storeVersion || n > storeVersionWorkflows {
				return fmt.Errorf("it has version %s, this cairn knows versions %d to %d; use the cairn that wrote it, or a newer one",
					v, storeVersion, storeVersionWorkflows)
			}
			for _, name := range [][]byte{metaBucket, definitionsBucket, runsBucket, keysBucket, recordsBucket, workflowsBucket} {
				b := tx.Bucket(name)
				if b == nil && bytes.Equal(name, workflowsBucket) {
					continue // there is none before the first workflow
				}
				if b == nil {
					return fmt.Errorf("its part %q is missing", name)
				}
				err := b.ForEach(func(k, v []byte) error {
					if _, err := unseal(v); err != nil {
						return fmt.Errorf("%s %q: %w", name, k, err)
					}
					return nil
				})
				if err != nil {
					return err
				}
			}
			return nil
		})
	})
	if err != nil {
		return fmt.Errorf("open state file %s: %w", s.path, err)
	}
	return nil
}

// guard turns what bbolt does on a damaged file, panics and faults in its memory map, into an error.
func guard(path string, do func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("state file %s is damaged (%v); restore it from a copy, or remove the run's folder", path, r)
		}
	}()
	return do()
}

// lockHolder names the process that has the file locked, for an error message.
func lockHolder(path string) string {
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil {
		return "another process"
	}
	pid := flockHolder(st.Ino)
	if pid == 0 {
		return "another process"
	}
	if pid == os.Getpid() {
		return fmt.Sprintf("this process (pid %d)", pid)
	}
	return fmt.Sprintf("process %d", pid)
}

// flockHolder finds in /proc/locks who holds a flock on the inode; 0 when it cannot be told.
func flockHolder(inode uint64) int {
	f, err := os.Open("/proc/locks")
	if err != nil {
		return 0
	}
	defer f.Close()
	suffix := ":" + strconv.FormatUint(inode, 10)
	for lines := bufio.NewScanner(f); lines.Scan(); {
		// "1: FLOCK  ADVISORY  WRITE 708 08:01:1234 0 EOF"; one that waits has "->" after the number.
		w := strings.Fields(lines.Text())
		if len(w) >= 6 && w[1] == "FLOCK" && strings.HasSuffix(w[5], suffix) {
			if pid, err := strconv.Atoi(w[4]); err == nil {
				return pid
			}
		}
	}
	return 0
}
