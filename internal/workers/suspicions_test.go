// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package workers

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestASuspicionIsConfirmedByASecondLook(t *testing.T) {
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	at := func(s float64) time.Time { return start.Add(time.Duration(s * float64(time.Second))) }
	// The suspects of each look, by second; "!": withheld; "?": the client of a answers then.
	for name, c := range map[string]struct {
		looks []string
		want  string
	}{
		"confirmed after two seconds":            {[]string{"a", "a", "a", "a"}, "2a 3a"},
		"gone in between":                        {[]string{"a", "", "a", "a", "a"}, "4a"},
		"two workers at their own times":         {[]string{"a", "ab", "ab", "b"}, "2a 3b"},
		"withheld":                               {[]string{"a", "a!", "a!", "a", "a", "a"}, "5a"},
		"its client answers":                     {[]string{"a", "a", "a?", "a", "a", "a"}, "2a"},
		"its client answered ten seconds before": {[]string{"a", "a", "a?", "a", "a", "a", "a", "a", "a", "a", "a", "a", "a", "a", "a"}, "2a 14a"},
	} {
		t.Run(name, func(t *testing.T) {
			var s Suspicions
			got := ""
			for second, look := range c.looks {
				v := View{Workers: []Worker{{Node: Node{ID: "well"}, Status: Ready}}}
				answers := false
				for _, id := range look {
					switch id {
					case '!':
						v.Withheld = "too many"
					case '?':
						answers = true
					default:
						v.Workers = append(v.Workers, Worker{Node: Node{ID: string(id)}, Status: Suspect})
					}
				}
				for _, w := range s.Look(v, at(float64(second))) {
					got += fmt.Sprintf(" %d%s", second, w.ID)
				}
				if answers {
					s.Heard("a", at(float64(second)))
				}
			}
			if diff := cmp.Diff(" "+c.want, got); diff != "" {
				t.Errorf("confirmed (-want +got):\n%s", diff)
			}
		})
	}
}
