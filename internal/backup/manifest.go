// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/cairnflow/cairn/internal/api"
)

// Manifest describes a backup.
type Manifest = api.Backup

// Drill is what came of a drill.
type Drill = api.BackupDrill

// Stock is what a snapshot holds of one Cairn.
type Stock = api.BackupStock

// manifestFormat is the newest form of a manifest; older ones are read.
const manifestFormat = 1

const (
	plainSuffix     = ".snap"
	encryptedSuffix = ".snap.age"
	manifestSuffix  = ".json"
	drillSuffix     = ".drill"
	timeForm        = "20060102T150405.000Z"
)

// nameForm is that of the files of a backup. Their order is that of time.
var nameForm = regexp.MustCompile(`^cairn-(\d{8}T\d{6}\.\d{3}Z)-[A-Z2-7]{6}(\.snap|\.snap\.age|\.json|\.drill)$`)

// maxManifest bounds what is read of a manifest, and of what came of a drill.
const maxManifest = 1 << 20

// takenAt is the moment in a name; false: it is no name of a backup's file.
func takenAt(name string) (at time.Time, ok bool) {
	m := nameForm.FindStringSubmatch(name)
	if m == nil {
		return at, false
	}
	at, err := time.Parse(timeForm, m[1])
	return at, err == nil
}

// stem is what the names of the files of a backup begin with.
func stem(name string) string {
	for _, suffix := range []string{encryptedSuffix, plainSuffix, manifestSuffix, drillSuffix} {
		if cut, ok := strings.CutSuffix(name, suffix); ok {
			return cut
		}
	}
	return name
}

// List reads the manifests at a target, the newest first. A manifest that cannot be read is told in problems.
func List(ctx context.Context, target Target) (list []Manifest, problems []error, err error) {
	names, err := target.Names(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("list the backups in %s: %w", target, err)
	}
	there := map[string]bool{}
	for _, name := range names {
		there[name] = true
	}
	slices.Sort(names)
	for _, name := range slices.Backward(names) {
		if _, ok := takenAt(name); !ok || !strings.HasSuffix(name, manifestSuffix) {
			continue
		}
		m, err := readManifest(ctx, target, name)
		if err == nil && !there[m.Name] {
			err = fmt.Errorf("its snapshot %s is gone", m.Name)
		}
		if drill := stem(name) + drillSuffix; err == nil && there[drill] {
			if m.Drill, err = readDrill(ctx, target, drill); err != nil {
				problems = append(problems, fmt.Errorf("what came of a drill, %s: %w", drill, err))
				err = nil
			}
		}
		if ctx.Err() != nil {
			return nil, nil, fmt.Errorf("list the backups in %s: %w", target, ctx.Err())
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("backup %s: %w", name, err))
			continue
		}
		list = append(list, m)
	}
	return list, problems, nil
}

// LastDrilled names the backup, of those that count, that a drill was made of last; empty: there was none.
func LastDrilled(list []Manifest, counts func(Manifest) bool) (name string) {
	var last time.Time
	for _, m := range list {
		if m.Drill != nil && m.Drill.At.After(last) && counts(m) {
			name, last = m.Name, m.Drill.At
		}
	}
	return name
}

// ManifestOf reads the manifest of a snapshot by the name of its file. fs.ErrNotExist: it has none.
func ManifestOf(ctx context.Context, target Target, name string) (Manifest, error) {
	m, err := readManifest(ctx, target, stem(name)+manifestSuffix)
	if err != nil {
		return m, fmt.Errorf("the manifest of %s: %w", name, err)
	}
	return m, nil
}

func readManifest(ctx context.Context, target Target, name string) (m Manifest, err error) {
	if err := readJSON(ctx, target, name, "manifest", &m); err != nil {
		return m, err
	}
	m.Drill = nil // is none of its own
	if m.Format < 1 || m.Format > manifestFormat {
		return m, fmt.Errorf("it has format %d, this Cairn reads up to %d: use a newer one", m.Format, manifestFormat)
	}
	if stem(m.Name) != stem(name) {
		return m, fmt.Errorf("it is that of %q", m.Name)
	}
	return m, nil
}

func readDrill(ctx context.Context, target Target, name string) (*Drill, error) {
	var d Drill
	if err := readJSON(ctx, target, name, "outcome of a drill", &d); err != nil {
		return nil, err
	}
	return &d, nil
}

func readJSON(ctx context.Context, target Target, name, what string, into any) error {
	f, err := target.Open(ctx, name)
	if err != nil {
		return err
	}
	b, err := io.ReadAll(io.LimitReader(f, maxManifest+1))
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if len(b) > maxManifest {
		return fmt.Errorf("it has more than %d bytes and is no %s", maxManifest, what)
	}
	if err := json.Unmarshal(b, into); err != nil {
		return fmt.Errorf("it is no %s: %w", what, err)
	}
	return nil
}

// NoteDrill keeps what came of a drill beside the backup that it was of, instead of what came of the one before. Where root does so
// for servers that are somebody else, it is for whom the snapshot is.
func NoteDrill(ctx context.Context, folder Folder, m Manifest, d Drill) error {
	name := stem(m.Name) + drillSuffix
	if err := putJSON(ctx, folder, name, d); err != nil {
		return err
	}
	info, err := os.Stat(filepath.Join(string(folder), m.Name))
	if err != nil {
		return err
	}
	owner, known := info.Sys().(*syscall.Stat_t)
	if known && os.Geteuid() == 0 && owner.Uid != 0 {
		return os.Chown(filepath.Join(string(folder), name), int(owner.Uid), int(owner.Gid))
	}
	return nil
}

func putJSON(ctx context.Context, target Target, name string, content any) error {
	b, err := json.MarshalIndent(content, "", "  ")
	if err != nil {
		return err
	}
	return target.Put(ctx, name, func(w io.Writer) error {
		_, err := w.Write(append(b, '\n'))
		return err
	})
}
