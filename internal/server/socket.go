// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package server

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
)

// maxSocketPath is what the kernel takes as the address of a unix socket, less the terminating zero (sockaddr_un).
const maxSocketPath = 107

// socketPath returns a path of the folder's socket that is short enough for the kernel. release ends its use.
func socketPath(f folder) (path string, release func(), err error) {
	if path = f.file(sockFileName); len(path) <= maxSocketPath {
		return path, func() {}, nil
	}
	dir, err := os.Open(string(f))
	if err != nil {
		return "", nil, fmt.Errorf("open the run folder: %w", err)
	}
	return fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), sockFileName), func() { dir.Close() }, nil
}

// listen opens the socket of the run folder. Whoever calls it is the one that drives the run, or will fail to become it
// before anything is done.
func listen(f folder) (net.Listener, func(), error) {
	path, release, err := socketPath(f)
	if err != nil {
		return nil, nil, err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		release()
		return nil, nil, fmt.Errorf("remove the socket of a process that has ended: %w", err)
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		release()
		return nil, nil, fmt.Errorf("open the socket of the run: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		listener.Close()
		release()
		return nil, nil, fmt.Errorf("protect the socket of the run: %w", err)
	}
	return listener, release, nil
}
