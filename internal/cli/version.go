// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

func versionCommand(a *App) *command {
	var asJSON bool
	return &command{
		synopsis: "Print the version of cairn",
		about:    "Prints the version of cairn, the commit it was built from, and the Go release that built it.",
		options:  []option{switchOption(&asJSON, "json", "Print it as JSON.")},
		run: func([]string) int {
			if asJSON {
				a.printJSON(buildVersion())
			} else {
				a.print(versionText() + "\n")
			}
			return exitOK
		},
	}
}

// Version is the release that this tree becomes.
const Version = "0.1.0-dev"

type build struct {
	Version  string `json:"version"`
	Revision string `json:"revision"`
	Modified bool   `json:"modified"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func buildVersion() build {
	b := build{Version: Version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Revision = s.Value
		case "vcs.modified":
			b.Modified = s.Value == "true"
		}
	}
	return b
}

func versionText() string {
	b := buildVersion()
	revision := ""
	if b.Revision != "" {
		revision = " " + b.Revision[:min(len(b.Revision), 12)]
		if b.Modified {
			revision += " with changes"
		}
	}
	return fmt.Sprintf("cairn %s%s (%s, %s)", b.Version, revision, b.Go, b.Platform)
}
