// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package cli_test

import (
	"bufio"
	"io"
	"strings"
	"testing"
)

// waitFor reads lines until one holds the text, and goes on reading in the background so that the writer never blocks.
func waitFor(t *testing.T, out io.Reader, text string) {
	t.Helper()
	lines := bufio.NewScanner(out)
	var seen []string
	for lines.Scan() {
		seen = append(seen, lines.Text())
		if strings.Contains(lines.Text(), text) {
			go func() {
				for lines.Scan() {
				}
			}()
			return
		}
	}
	t.Fatalf("%q never came:\n%s", text, strings.Join(seen, "\n"))
}
