// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package cli

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"

	"github.com/cairnflow/cairn/internal/backup"
)

func snapshotVerifyCommand(a *App) *command {
	var asJSON bool
	var s snapshotFile
	return &command{
		synopsis: "Check that a snapshot is sound", arguments: "FILE", min: 1, max: 1, predict: predictSnapshot,
		about: `Reads a snapshot to its end, with all of its checksums, decodes what is Cairn's, and compares the file with the manifest
beside it where there is one. Of an encrypted snapshot without -identity only the file is compared.

Exit codes: 0 it is sound, 1 it is not, 2 it cannot be read.`,
		options: append(s.options(), switchOption(&asJSON, "json", "Print what it holds as JSON.")),
		run: func(args []string) int {
			f, r, code := s.open(a, args[0])
			if f == nil {
				return code
			}
			path := args[0]
			m, err := backup.ManifestOf(context.Background(), backup.Folder(filepath.Dir(path)), filepath.Base(path))
			beside := !errors.Is(err, fs.ErrNotExist)
			if err == nil {
				err = f.Compare(m)
			}
			if err != nil && beside {
				return a.unsound(err)
			}
			_, stock, err := r.Survey(f)
			if beside && errors.Is(err, backup.ErrEncrypted) {
				if asJSON {
					a.printJSON(m.Stock)
				}
				a.say("%s is the file that was written. What is in it, by its manifest, takes -identity to be read.", clean(path))
				return exitOK
			}
			if err != nil {
				return a.unsound(err)
			}
			if asJSON {
				a.printJSON(stock)
				return a.unreadable(stock)
			}
			if code := a.unreadable(stock); code != exitOK {
				return code
			}
			a.say("%s is sound: %s%s.", clean(path), stockText(stock), word(beside, "", "; there is no manifest beside it to compare it with"))
			return exitOK
		},
	}
}
