// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package workflow

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// definitionVersion is the version of the stored form. DecodeDefinition reads this one only: there is no older one yet.
const definitionVersion = 1

// 32 times the compressed limit: text compresses about 10 times, and a forged 2 MiB could otherwise grow to 2 GiB.
const maxDecodedDefinition = 32 * MaxDefinitionBytes

// storedDefinition is the stored form. The sources are apart, as text: inside the definition they would be base64, which
// grows by a third and compresses badly.
type storedDefinition struct {
	Version    int            `json:"version"`
	Definition *Definition    `json:"definition"`
	Sources    []storedSource `json:"sources"`
}

type storedSource struct {
	Path  string `json:"path"`
	Text  string `json:"text,omitempty"`
	Bytes []byte `json:"bytes,omitempty"` // instead of Text, when it is not UTF-8
	Named bool   `json:"named,omitempty"`
}

// EncodeDefinition gives the stored form of a definition: JSON with a version, compressed. It refuses one that is larger
// than MaxDefinitionBytes.
func EncodeDefinition(def *Definition) ([]byte, error) {
	plain, err := encodePlain(def)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	if err != nil {
		return nil, fmt.Errorf("compress definition %s: %w", def.Name, err)
	}
	if _, err := z.Write(plain); err != nil {
		return nil, fmt.Errorf("compress definition %s: %w", def.Name, err)
	}
	if err := z.Close(); err != nil {
		return nil, fmt.Errorf("compress definition %s: %w", def.Name, err)
	}
	if b.Len() > MaxDefinitionBytes {
		return nil, fmt.Errorf("definition %s has %d bytes compressed, the limit is %d: split the workflow, or move data out of its files into artifacts",
			def.Name, b.Len(), MaxDefinitionBytes)
	}
	return b.Bytes(), nil
}

func encodePlain(def *Definition) ([]byte, error) {
	stored := storedDefinition{Version: definitionVersion, Sources: make([]storedSource, len(def.Files))}
	for i, f := range def.Files {
		stored.Sources[i] = storedSource{Path: f.Path, Named: f.Named}
		if utf8.Valid(f.Bytes) {
			stored.Sources[i].Text = string(f.Bytes)
		} else {
			stored.Sources[i].Bytes = f.Bytes
		}
	}
	bare := *def
	bare.Files = nil
	stored.Definition = &bare
	plain, err := json.Marshal(stored)
	if err != nil {
		return nil, fmt.Errorf("encode definition %s: %w", def.Name, err)
	}
	return plain, nil
}

// DecodeDefinition reads the stored form back. It refuses versions it does not know.
func DecodeDefinition(b []byte) (*Definition, error) {
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("decompress definition: %w", err)
	}
	plain, err := io.ReadAll(io.LimitReader(z, maxDecodedDefinition+1))
	if err != nil {
		return nil, fmt.Errorf("decompress definition: %w", err)
	}
	if len(plain) > maxDecodedDefinition {
		return nil, fmt.Errorf("definition has more than %d bytes", maxDecodedDefinition)
	}
	var version struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(plain, &version); err != nil {
		return nil, fmt.Errorf("decode definition: %w", err)
	}
	if version.Version != definitionVersion {
		return nil, fmt.Errorf("definition has format version %d, this Cairn reads %d: use the version of Cairn that wrote it, or a newer one",
			version.Version, definitionVersion)
	}
	var stored storedDefinition
	if err := json.Unmarshal(plain, &stored); err != nil {
		return nil, fmt.Errorf("decode definition: %w", err)
	}
	if stored.Definition == nil {
		return nil, errors.New("decode definition: it is empty")
	}
	def := stored.Definition
	def.Files = nil
	for _, s := range stored.Sources {
		f := File{Path: s.Path, Bytes: s.Bytes, Named: s.Named}
		if f.Bytes == nil {
			f.Bytes = []byte(s.Text)
		}
		def.Files = append(def.Files, f)
	}
	return def, nil
}
