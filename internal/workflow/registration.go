// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package workflow

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"slices"
)

// Registration is what servers keep of a workflow under a namespace and a name: which definition it is, and which it was.
type Registration struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// Serial grows by one with every change, and says what a change was based on. 0: nothing was ever registered.
	Serial uint64 `json:"serial"`
	// Last is the highest version there ever was. It outlives a deletion, so that no number is used twice.
	Last int `json:"last"`
	// Versions are the newest MaxVersions, oldest first. None: it is deleted, or was never registered.
	Versions []Version `json:"versions,omitempty"`
}

// Version is a definition that was registered once.
type Version struct {
	Number    int    `json:"number"` // counts from 1 within a name
	Hash      string `json:"hash"`   // of the definition
	AppliedAt Time   `json:"applied_at"`
	By        string `json:"by,omitempty"`
}

// Current is the newest version; ok is false when the workflow is not registered.
func (r *Registration) Current() (v Version, ok bool) {
	if len(r.Versions) == 0 {
		return Version{}, false
	}
	return r.Versions[len(r.Versions)-1], true
}

// Version is the version of a number; ok is false when there was none, or it is not kept any more.
func (r *Registration) Version(number int) (v Version, ok bool) {
	for _, v := range r.Versions {
		if v.Number == number {
			return v, true
		}
	}
	return Version{}, false
}

// Apply is the registration with a definition as its newest version. changed is false when it is that already.
func (r Registration) Apply(hash string, at Time, by string) (next Registration, changed bool) {
	if now, ok := r.Current(); ok && now.Hash == hash {
		return r, false
	}
	r.Serial++
	r.Last++
	kept := r.Versions[max(0, len(r.Versions)-MaxVersions+1):]
	r.Versions = append(slices.Clone(kept), Version{Number: r.Last, Hash: hash, AppliedAt: at, By: by})
	return r, true
}

// Delete is the registration without its versions.
func (r Registration) Delete() Registration {
	r.Serial++
	r.Versions = nil
	return r
}

// registrationVersion is the version of the stored form. DecodeRegistration reads this one only: there is no older one yet.
const registrationVersion = 1

// Fifty versions are about 10 KB; a forged form could otherwise grow without bounds.
const maxDecodedRegistration = 1 << 20

type storedRegistration struct {
	Version int `json:"version"`
	Registration
}

// EncodeRegistration gives the stored form of a registration: JSON with a version, compressed to a quarter, so that many fit
// into one transaction of a store.
func EncodeRegistration(r Registration) ([]byte, error) {
	plain, err := json.Marshal(storedRegistration{registrationVersion, r})
	if err != nil {
		return nil, fmt.Errorf("encode the registration of workflow %s: %w", r.Name, err)
	}
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(plain); err != nil {
		return nil, fmt.Errorf("compress the registration of workflow %s: %w", r.Name, err)
	}
	if err := z.Close(); err != nil {
		return nil, fmt.Errorf("compress the registration of workflow %s: %w", r.Name, err)
	}
	return b.Bytes(), nil
}

// DecodeRegistration reads the stored form back. It refuses versions it does not know.
func DecodeRegistration(b []byte) (Registration, error) {
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return Registration{}, fmt.Errorf("decompress registration: %w", err)
	}
	plain, err := io.ReadAll(io.LimitReader(z, maxDecodedRegistration+1))
	if err != nil {
		return Registration{}, fmt.Errorf("decompress registration: %w", err)
	}
	if len(plain) > maxDecodedRegistration {
		return Registration{}, fmt.Errorf("registration has more than %d bytes", maxDecodedRegistration)
	}
	var version struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(plain, &version); err != nil {
		return Registration{}, fmt.Errorf("decode registration: %w", err)
	}
	if version.Version != registrationVersion {
		return Registration{}, fmt.Errorf("registration has format version %d, this Cairn reads %d: use the version of Cairn that wrote it, or a newer one",
			version.Version, registrationVersion)
	}
	var stored storedRegistration
	if err := json.Unmarshal(plain, &stored); err != nil {
		return Registration{}, fmt.Errorf("decode registration: %w", err)
	}
	return stored.Registration, nil
}
