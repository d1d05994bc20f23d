// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package hcl

import "github.com/hashicorp/hcl/v2/hclwrite"

// Format returns a file in the canonical layout: indentation, spaces and aligned equals signs. What the file means does
// not change; a file that does not parse is laid out as far as it can be.
func Format(b []byte) []byte { return hclwrite.Format(b) }
