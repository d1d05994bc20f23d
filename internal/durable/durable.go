// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

// Package durable writes files so that they outlive the loss of power.
package durable

import (
	"errors"
	"os"
	"path/filepath"
)

// Replace writes a small file, for its owner only: what is there afterwards, after a crash too, is the old content or the new
// one, never half of it. It is in place when Replace returns. Two at once may each fail; path + ".new" is left behind by a crash.
func Replace(path string, content []byte) error {
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	return SyncFolder(filepath.Dir(path))
}

// SyncFolder makes durable which files a folder has.
func SyncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
