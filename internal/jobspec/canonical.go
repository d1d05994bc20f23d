// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package jobspec

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/cairnflow/cairn/internal/rawjson"
)

// Canonical returns v as JSON that depends on its content only: keys sorted at every depth, no spaces, no HTML escapes.
func Canonical(v any) ([]byte, error) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("encode body: %w", err)
	}
	// Structs encode in the order of their fields, which another version of the api module may change.
	return rawjson.Sort(out.Bytes()), nil
}

// Hash is the SHA-256 of canonical JSON, in lower-case hexadecimal.
func Hash(canonical []byte) string {
	sum := sha256.Sum256(canonical)
	return hex.EncodeToString(sum[:])
}
