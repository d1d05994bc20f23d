// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package consul

import "testing"

func TestWhatIsWrittenEveryServerCanRead(t *testing.T) {
	for name, c := range map[string]struct {
		formats []int
		want    int
	}{
		"alone":                           {nil, entryVersion},
		"all of this version":             {[]int{entryVersion, entryVersion}, entryVersion},
		"one is older":                    {[]int{entryVersion, entryVersion - 1}, oldestFormat},
		"one is newer":                    {[]int{entryVersion + 1, entryVersion}, entryVersion},
		"one does not say":                {[]int{0, entryVersion}, oldestFormat},
		"one is too old to be written to": {[]int{-5, entryVersion}, oldestFormat},
	} {
		t.Run(name, func(t *testing.T) {
			var list []Member
			for _, n := range c.formats {
				list = append(list, Member{Format: n})
			}
			if got := writable(list); got != c.want {
				t.Errorf("format %d is written, want %d", got, c.want)
			}
		})
	}
}
