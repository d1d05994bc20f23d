// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package faults

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/cairnflow/cairn/internal/testcluster"
)

var (
	cluster  testcluster.Shared
	programs built
)

func TestMain(m *testing.M) { os.Exit(programs.run(func() int { return cluster.Run(m) })) }

// built is the folder of the programs under test, which are built when the first test asks for one.
type built struct {
	mu  sync.Mutex // guards dir and building
	dir string
}

func (b *built) run(tests func() int) int {
	dir, err := os.MkdirTemp("", "cairn-faults-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	b.dir = dir
	code := tests()
	if err := os.RemoveAll(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return max(code, 1)
	}
	return code
}

// program returns the path of a program of this module, built as it is released. "" is cairn itself.
func (b *built) program(t *testing.T, pkg string) string {
	t.Helper()
	name := filepath.Base(pkg)
	if pkg == "" {
		name = "cairn"
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	path := filepath.Join(b.dir, name)
	if _, err := os.Stat(path); err == nil {
		return path
	}
	if out, err := exec.Command("go", "build", "-o", path, "github.com/cairnflow/cairn"+pkg).CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", name, err, out)
	}
	return path
}

// rounds is how many rounds of each kind are played.
func rounds(t *testing.T) int {
	t.Helper()
	return number(t, "CAIRN_FAULTS_ROUNDS", 1)
}

func number(t *testing.T, name string, standard int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return standard
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("%s is %q, want a number above 0", name, text)
	}
	return n
}

// chance returns the source of chance of one round, and logs how to have it again.
func chance(t *testing.T, round int) *rand.Rand {
	t.Helper()
	seed := uint64(number(t, "CAIRN_FAULTS_SEED", int(time.Now().UnixNano()>>10)))
	name := fnv.New64a()
	fmt.Fprint(name, t.Name(), round)
	t.Logf("round %d: CAIRN_FAULTS_SEED=%d", round, seed)
	return rand.New(rand.NewPCG(seed, name.Sum64()))
}
