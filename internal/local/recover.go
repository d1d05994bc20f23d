// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cairnflow/cairn/internal/durable"
	"github.com/cairnflow/cairn/internal/engine"
	"github.com/cairnflow/cairn/internal/workflow"
)

const bootFile = "boot"

// bootRecord remembers under which boot of the machine the folder was used first. After a restart of the machine nothing
// that was not synced can be trusted, a claim that is not there included.
type bootRecord struct {
	ID string `json:"id"`
	// Since is when another boot than the first was noticed; 0 = the machine has not been restarted.
	Since workflow.Time `json:"since,omitempty"`
}

func readBoot(dir string) (bootRecord, error) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return bootRecord{}, fmt.Errorf("read boot ID: %w", err)
	}
	now := bootRecord{ID: strings.TrimSpace(string(id))}
	path := filepath.Join(dir, bootFile)
	b, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return now, fmt.Errorf("read boot record: %w", err)
	default:
		var last bootRecord
		if err := json.Unmarshal(b, &last); err != nil {
			return now, fmt.Errorf("read boot record %s: %w", path, err)
		}
		if last.ID == now.ID {
			return last, nil
		}
		now.Since = workflow.At(time.Now())
	}
	if b, err = json.Marshal(now); err != nil {
		return now, err
	}
	return now, durable.Replace(path, b)
}

// recover learns from the folder and the journal what an earlier supervisor did. Attempts it left without an end are lost:
// its children died with it, and whatever they had started is killed here, before anybody hears of it.
func (s *supervisor) recover(records map[workflow.AttemptID]*record) error {
	names, err := os.ReadDir(filepath.Join(s.dir, attemptsDir))
	if err != nil {
		return fmt.Errorf("read attempts: %w", err)
	}
	var open []*attempt
	found := map[workflow.AttemptID]bool{}
	for _, n := range names {
		id := workflow.AttemptID(n.Name())
		if _, _, _, _, err := id.Parse(); err != nil {
			continue // not ours
		}
		found[id] = true
		a := &attempt{id: id}
		s.attempts[id] = a
		if r := records[id]; r != nil && r.end != nil {
			a.state = *r.end
			continue
		}
		open = append(open, a)
	}
	for id, r := range records { // a folder that somebody removed stays claimed
		if !found[id] {
			a := &attempt{id: id}
			s.attempts[id] = a
			if r.end != nil {
				a.state = *r.end
			} else {
				open = append(open, a)
			}
		}
	}
	slices.SortFunc(open, func(a, b *attempt) int { return strings.Compare(string(a.id), string(b.id)) })
	if err := s.killLeftovers(open, records); err != nil {
		return err
	}
	for _, a := range open {
		message := "its supervisor was killed before it could be started"
		if r := records[a.id]; r != nil && r.start != nil {
			a.state = attemptState{PID: r.start.PID, StartedAt: r.start.At}
			message = "its supervisor was killed while it ran"
		} else if r != nil && r.claim != nil {
			message = "its supervisor was killed while it was being started"
		}
		s.finish(a, attemptState{Kind: engine.OutcomeLost, Message: message})
	}
	return nil
}

// leftoverPatience bounds how long a start of the supervisor waits for killed processes to be gone.
const leftoverPatience = 30 * time.Second

// killLeftovers kills every process of the attempts and waits until none is left.
func (s *supervisor) killLeftovers(open []*attempt, records map[workflow.AttemptID]*record) error {
	if len(open) == 0 {
		return nil
	}
	deadline := time.Now().Add(leftoverPatience)
	for {
		var left []process
		for _, p := range processes() {
			if !p.zombie && slices.ContainsFunc(open, func(a *attempt) bool { return s.leftover(p, a, records[a.id]) }) {
				left = append(left, p)
			}
		}
		if len(left) == 0 {
			break
		}
		for _, p := range left {
			if err := endProcess(p, time.Until(deadline)); err != nil {
				return fmt.Errorf("kill process %d, left by a supervisor that was killed: %w", p.pid, err)
			}
		}
	}
	for _, a := range open {
		if r := records[a.id]; r != nil && r.claim != nil && len(r.claim.Cleanup) > 0 {
			ctx, cancel := context.WithDeadline(context.Background(), deadline)
			out, err := exec.CommandContext(ctx, r.claim.Cleanup[0], r.claim.Cleanup[1:]...).CombinedOutput()
			cancel()
			if err != nil && !strings.Contains(string(out), "No such container") {
				return fmt.Errorf("clean up after attempt %s: %s: %w: %s", a.id, strings.Join(r.claim.Cleanup, " "), err, out)
			}
		}
	}
	return nil
}

// leftover says whether a process stems from an attempt of the predecessor.
func (s *supervisor) leftover(p process, a *attempt, r *record) bool {
	if r != nil && r.start != nil && p.pid == r.start.PID && p.ticks >= r.start.Ticks && p.ticks <= r.start.TicksTo {
		return true
	}
	var markers []string
	if r != nil && r.claim != nil {
		markers = r.claim.Markers
	}
	return p.belongs(markers, s.folder(a.id))
}

// endProcess kills one process, and no other that has got its number meanwhile, and waits for its end.
func endProcess(p process, patience time.Duration) error {
	fd, err := unix.PidfdOpen(p.pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if now, ok := readProcess(p.pid); !ok || now.ticks != p.ticks {
		return nil
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return err
	}
	for end := time.Now().Add(patience); ; {
		left := time.Until(end)
		if left <= 0 {
			return errors.New("it does not die")
		}
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(left/time.Millisecond)+1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		if n > 0 {
			return nil
		}
	}
}
