// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package backup

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"filippo.io/age"
)

// Recipients reads those for whom backups are encrypted: public keys of age, as age-keygen prints them.
func Recipients(keys []string) ([]age.Recipient, error) {
	var out []age.Recipient
	for n, key := range keys {
		r, err := age.ParseX25519Recipient(key)
		switch {
		case err != nil && strings.HasPrefix(strings.ToUpper(key), "AGE-SECRET-KEY-"): // which nobody should read in a log
			return nil, fmt.Errorf("entry %d is a private key of age. Make a new one, keep that away from the servers, and put its public key here, which begins with age1", n+1)
		case err != nil:
			return nil, fmt.Errorf("entry %d is no public key of age, which begins with age1 and is printed by age-keygen", n+1)
		}
		out = append(out, r)
	}
	return out, nil
}

// Identities reads a file with private keys of age, as age-keygen writes it; none where path is empty.
func Identities(path string) ([]age.Identity, error) {
	if path == "" {
		return nil, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the private key: %w", err)
	}
	ids, err := age.ParseIdentities(f)
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("read the private key: %s: %w", path, err)
	}
	return ids, nil
}

// ErrEncrypted: a snapshot is encrypted, and nobody gave a key for it.
var ErrEncrypted = errors.New("the snapshot is encrypted: it takes the private key of one whom it was encrypted for (-identity FILE)")

// magic begins a file of age.
const magic = "age-encryption.org/"

// Plain reads a snapshot that may be encrypted.
func Plain(r io.Reader, ids []age.Identity) (io.Reader, error) {
	head := make([]byte, len(magic))
	n, err := io.ReadFull(r, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, err
	}
	whole := io.MultiReader(bytes.NewReader(head[:n]), r)
	if string(head[:n]) != magic {
		return whole, nil
	}
	if len(ids) == 0 {
		return nil, ErrEncrypted
	}
	plain, err := age.Decrypt(whole, ids...)
	if err != nil {
		return nil, fmt.Errorf("decrypt: %w", err)
	}
	return plain, nil
}

// sealed is a writer that encrypts for recipients, or one that does not where there are none.
func sealed(w io.Writer, recipients []age.Recipient) (io.WriteCloser, error) {
	if len(recipients) == 0 {
		return open{w}, nil
	}
	return age.Encrypt(w, recipients...)
}

type open struct{ io.Writer }

func (open) Close() error { return nil }
