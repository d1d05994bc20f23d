// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package backup

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"

	"filippo.io/age"
)

// File is a snapshot in a file of this machine, which may be encrypted.
type File struct {
	path string
	ids  []age.Identity
}

// NewFile names a file, and one with the private keys that it may take; keys may be empty.
func NewFile(path, keys string) (*File, error) {
	ids, err := Identities(keys)
	if err != nil {
		return nil, err
	}
	return &File{path, ids}, nil
}

// Open opens it for being read in clear.
func (f *File) Open() (io.ReadCloser, error) {
	file, err := os.Open(f.path)
	if err != nil {
		return nil, err
	}
	plain, err := Plain(file, f.ids)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", f.path, err), file.Close())
	}
	return struct {
		io.Reader
		io.Closer
	}{plain, file}, nil
}

// Compare compares the file, as it is, with its manifest.
func (f *File) Compare(m Manifest) error {
	file, err := os.Open(f.path)
	if err != nil {
		return err
	}
	sum := sha256.New()
	size, err := io.Copy(sum, file)
	if err := errors.Join(err, file.Close()); err != nil {
		return err
	}
	if err := same(size, sum, m); err != nil {
		return fmt.Errorf("%s: %w", f.path, err)
	}
	return nil
}

// Read reads it to its end, as the function Read does.
func (f *File) Read(show func(Entry) error) (Contents, error) {
	r, err := f.Open()
	if err != nil {
		return Contents{}, err
	}
	found, err := Read(r, show)
	if err := errors.Join(err, r.Close()); err != nil {
		return found, fmt.Errorf("%s: %w", f.path, err)
	}
	return found, nil
}
