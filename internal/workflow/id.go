// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package workflow

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// RunID names a run: 20 characters of [a-z2-7]. IDs made later sort later, to the millisecond.
type RunID string

// 6 bytes of time and 6 of chance are 96 bits; the last 4 bits of 20 base32 characters stay zero.
const runIDLen = 20

var runIDEncoding = base32.NewEncoding("234567abcdefghijklmnopqrstuvwxyz").WithPadding(base32.NoPadding)

// NewRunID makes an ID from the moment of submission and 6 random bytes; the caller draws them.
func NewRunID(at time.Time, random [6]byte) RunID {
	var b [12]byte
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(at.UnixMilli()))
	copy(b[:6], ms[2:])
	copy(b[6:], random[:])
	return RunID(runIDEncoding.EncodeToString(b[:]))
}

// Time is the moment of submission that the ID was made from, to the millisecond; the zero time for what is no run ID.
func (id RunID) Time() time.Time {
	b, err := runIDEncoding.DecodeString(string(id))
	if err != nil || len(b) != 12 {
		return time.Time{}
	}
	var ms [8]byte
	copy(ms[2:], b[:6])
	return time.UnixMilli(int64(binary.BigEndian.Uint64(ms[:])))
}

// ParseRunID checks that s has the form of a run ID.
func ParseRunID(s string) (RunID, error) {
	if len(s) != runIDLen {
		return "", fmt.Errorf("run ID %q: want %d characters of a-z and 2-7", s, runIDLen)
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < '2' || c > '7') {
			return "", fmt.Errorf("run ID %q: want %d characters of a-z and 2-7", s, runIDLen)
		}
	}
	return RunID(s), nil
}

// AttemptID names one attempt: run, task number, instance number and attempt number, all fixed width, so that no ID is a
// prefix of another and IDs of a run sort by task, instance and attempt.
type AttemptID string

// MakeAttemptID derives the ID of an attempt; task and instance count from 0, the number from 1.
func MakeAttemptID(run RunID, task, instance, number int) AttemptID {
	return AttemptID(fmt.Sprintf("%s-%04d-%06d-%03d", run, task, instance, number))
}

// Parse takes the ID apart again.
func (id AttemptID) Parse() (run RunID, task, instance, number int, err error) {
	parts := strings.Split(string(id), "-")
	if len(parts) != 4 || len(parts[1]) != 4 || len(parts[2]) != 6 || len(parts[3]) != 3 {
		return "", 0, 0, 0, fmt.Errorf("attempt ID %q: want run-task-instance-attempt", string(id))
	}
	if run, err = ParseRunID(parts[0]); err != nil {
		return "", 0, 0, 0, fmt.Errorf("attempt ID %q: %w", string(id), err)
	}
	var n [3]int
	for i, p := range parts[1:] {
		v, err := strconv.ParseUint(p, 10, 32)
		if err != nil {
			return "", 0, 0, 0, fmt.Errorf("attempt ID %q: %w", string(id), err)
		}
		n[i] = int(v)
	}
	return run, n[0], n[1], n[2], nil
}

// ChildRunID derives the ID of the run that an attempt starts: from the ID of the attempt alone, so that whoever starts it
// again starts the same run, a leader too that has lost the record of the first start. It sorts beside the run of the attempt.
func ChildRunID(attempt AttemptID) RunID {
	sum := sha256.Sum256([]byte(attempt))
	var b [12]byte
	if run, _, _, _, err := attempt.Parse(); err == nil {
		runIDEncoding.Decode(b[:], []byte(run)) // of the alphabet: Parse has checked
	}
	copy(b[6:], sum[:6])
	return RunID(runIDEncoding.EncodeToString(b[:]))
}
