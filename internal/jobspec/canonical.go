// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package jobspec

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
)

// Canonical returns v as JSON that depends on its content only: keys sorted at every depth, no spaces, no HTML escapes.
func Canonical(v any) ([]byte, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode body: %w", err)
	}
	// Structs encode in the order of their fields, which another version of the api module may change; maps encode sorted.
	var tree any
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber() // nanoseconds do not fit a float64
	if err := dec.Decode(&tree); err != nil {
		return nil, fmt.Errorf("encode body: %w", err)
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(tree); err != nil {
		return nil, fmt.Errorf("encode body: %w", err)
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), nil
}

// Hash is the SHA-256 of canonical JSON, in lower-case hexadecimal.
func Hash(canonical []byte) string {
	sum := sha256.Sum256(canonical)
	return hex.EncodeToString(sum[:])
}
