// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package hcl

import (
	"github.com/hashicorp/hcl/v2/hclwrite"

	"github.com/cairnflow/cairn/internal/workflow"
)

// Format returns a file in the canonical layout: indentation, spaces and aligned equals signs. What the file means does
// not change. A file with syntax errors has no layout: then there are only findings.
func Format(file workflow.File) ([]byte, Diagnostics) {
	f := &findings{}
	parse([]workflow.File{file}, f)
	if f.list.HasErrors() {
		return nil, f.sorted()
	}
	return hclwrite.Format(file.Bytes), nil
}
