// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/cairnflow/cairn/internal/durable"
	"github.com/cairnflow/cairn/internal/scheduler"
)

var _ scheduler.Elector = (*Elector)(nil)

const (
	lockFile  = "lock"
	epochFile = "epoch"

	// trust is how long a leadership holds between renewals. The lock itself holds as long as the process lives; a renewal
	// only notices that somebody has removed or replaced the run folder.
	trust = 30 * time.Second
	// lockRetry is how often a waiting contender looks: a blocking flock cannot be called off.
	lockRetry = 20 * time.Millisecond
)

// Elector gives the leadership of a run folder to the process that holds its lock. The lock falls with the process.
type Elector struct {
	dir string

	// mu guards what follows.
	mu    sync.Mutex
	lock  *os.File // nil: does not lead
	epoch uint64
}

// NewElector returns the elector of a run folder.
func NewElector(dir string) *Elector { return &Elector{dir: dir} }

// Acquire implements scheduler.Elector.
func (e *Elector) Acquire(ctx context.Context) (scheduler.Leadership, error) {
	t := time.NewTicker(lockRetry)
	defer t.Stop()
	for {
		l, err := e.tryAcquire()
		if err == nil || !errors.Is(err, errLocked) {
			return l, err
		}
		select {
		case <-ctx.Done():
			return scheduler.Leadership{}, fmt.Errorf("acquire the lock of %s: %w", e.dir, ctx.Err())
		case <-t.C:
		}
	}
}

func (e *Elector) tryAcquire() (scheduler.Leadership, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.lock != nil {
		return scheduler.Leadership{}, fmt.Errorf("acquire the lock of %s: this process leads already, with epoch %d", e.dir, e.epoch)
	}
	sent := time.Now()
	f, err := tryLock(filepath.Join(e.dir, lockFile))
	if err != nil {
		return scheduler.Leadership{}, fmt.Errorf("acquire the lock of %s: %w", e.dir, err)
	}
	// First of all the pid, over that of a predecessor that was killed: others name it as soon as the lock is taken.
	err = writePID(f)
	var epoch uint64
	if err == nil {
		epoch, err = e.nextEpoch()
	}
	if err != nil {
		return scheduler.Leadership{}, errors.Join(fmt.Errorf("acquire the lock of %s: %w", e.dir, err), f.Close())
	}
	e.lock, e.epoch = f, epoch
	return scheduler.Leadership{Epoch: epoch, TrustedUntil: sent.Add(trust)}, nil
}

// nextEpoch raises the stored epoch by one, durably. The caller holds the lock.
func (e *Elector) nextEpoch() (uint64, error) {
	last, err := e.readEpoch()
	if err != nil {
		return 0, err
	}
	next := last + 1
	if err := durable.Replace(filepath.Join(e.dir, epochFile), strconv.AppendUint(nil, next, 10)); err != nil {
		return 0, fmt.Errorf("store epoch %d: %w", next, err)
	}
	return next, nil
}

func (e *Elector) readEpoch() (uint64, error) {
	b, err := os.ReadFile(filepath.Join(e.dir, epochFile))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read epoch: %w", err)
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read epoch: %s is damaged: %w", filepath.Join(e.dir, epochFile), err)
	}
	return n, nil
}

// Renew implements scheduler.Elector.
func (e *Elector) Renew(_ context.Context, l scheduler.Leadership) (scheduler.Leadership, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	sent := time.Now()
	if e.lock == nil || e.epoch != l.Epoch {
		return l, fmt.Errorf("renew epoch %d: %w", l.Epoch, scheduler.ErrFenced)
	}
	if same, err := sameFile(e.lock, filepath.Join(e.dir, lockFile)); err != nil || !same {
		return l, errors.Join(fmt.Errorf("renew epoch %d: the lock file of %s was replaced: %w", l.Epoch, e.dir, scheduler.ErrFenced), err)
	}
	switch stored, err := e.readEpoch(); {
	case err != nil:
		return l, fmt.Errorf("renew epoch %d: %w", l.Epoch, err)
	case stored != l.Epoch:
		return l, fmt.Errorf("renew epoch %d: epoch %d leads: %w", l.Epoch, stored, scheduler.ErrFenced)
	}
	l.TrustedUntil = sent.Add(trust)
	return l, nil
}

// Release implements scheduler.Elector.
func (e *Elector) Release(_ context.Context, l scheduler.Leadership) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.lock == nil || e.epoch != l.Epoch {
		return nil
	}
	err := errors.Join(e.lock.Truncate(0), e.lock.Close())
	e.lock = nil
	if err != nil {
		return fmt.Errorf("release the lock of %s: %w", e.dir, err)
	}
	return nil
}

// Leader implements scheduler.Elector: "pid 123".
func (e *Elector) Leader(context.Context) (string, error) {
	pid, err := Leader(e.dir)
	if err != nil || pid == 0 {
		return "", err
	}
	return fmt.Sprintf("pid %d", pid), nil
}

// Leader tells which process schedules the run of a folder; 0 = none.
func Leader(dir string) (pid int, err error) {
	_, pid, err = lockedBy(filepath.Join(dir, lockFile))
	if err != nil {
		return 0, fmt.Errorf("read the lock of %s: %w", dir, err)
	}
	return pid, nil
}

// lockedBy tells whether a lock file is locked, and by whom; the pid is 0 in the moment before it is written.
func lockedBy(path string) (held bool, pid int, err error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, 0, nil
	}
	if err != nil {
		return false, 0, err
	}
	defer f.Close() // and with it the shared lock
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB)
	if err == nil || !errors.Is(err, syscall.EWOULDBLOCK) {
		return false, 0, err
	}
	b := make([]byte, 32)
	n, err := f.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return true, 0, err
	}
	if text := strings.TrimSpace(string(b[:n])); text != "" {
		pid, err = strconv.Atoi(text)
		return true, pid, err
	}
	return true, 0, nil
}

var errLocked = errors.New("another process holds it")

// tryLock opens the file and locks it without waiting; errLocked when another process has it. Closing the file unlocks it.
func tryLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, errLocked
		}
		return nil, err
	}
	if same, err := sameFile(f, path); err != nil || !same {
		f.Close()
		return nil, errLocked // replaced between open and lock: look again
	}
	return f, nil
}

// LockFile locks a file for this process, and writes its number into it. Closing the file unlocks it. An error says who has it.
func LockFile(path string) (*os.File, error) {
	f, err := tryLock(path)
	if errors.Is(err, errLocked) {
		if _, pid, readErr := lockedBy(path); readErr == nil && pid != 0 {
			err = fmt.Errorf("process %d holds it", pid)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	if err := writePID(f); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
	}
	return f, nil
}

func sameFile(f *os.File, path string) (bool, error) {
	a, err := f.Stat()
	if err != nil {
		return false, err
	}
	b, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return os.SameFile(a, b), nil
}

func writePID(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}
