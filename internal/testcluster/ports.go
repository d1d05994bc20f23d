// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package testcluster

import (
	"fmt"
	"net"
	"os"
)

// Ports come from blocks between 10000 and 20000: below the range that the kernel
// gives to outgoing connections (32768 and up) and below the one that Nomad gives
// to tasks (20000 to 32000), so that a port stays ours while its agent is down.
const (
	firstPort  = 10000
	lastPort   = 20000
	portsBlock = 100
)

// portBlock is a run of loopback ports reserved for one cluster. Its first port is
// held open as the lock that keeps other test processes away from the rest.
type portBlock struct {
	lock net.Listener
	next int
	end  int
}

func reservePorts() (*portBlock, error) {
	const blocks = (lastPort - firstPort) / portsBlock
	// Processes start their search at different blocks, to collide rarely.
	for i := range blocks {
		start := firstPort + (os.Getpid()+i)%blocks*portsBlock
		lock, err := net.Listen("tcp", loopback(start))
		if err != nil {
			continue
		}
		return &portBlock{lock: lock, next: start + 1, end: start + portsBlock}, nil
	}
	return nil, fmt.Errorf("every block of ports between %d and %d is taken", firstPort, lastPort)
}

// take returns the next port of the block that is free for TCP and UDP.
func (b *portBlock) take() (int, error) {
	for b.next < b.end {
		port := b.next
		b.next++
		if portFree(port) {
			return port, nil
		}
	}
	return 0, fmt.Errorf("the cluster's %d ports are used up: start fewer agents", portsBlock)
}

func (b *portBlock) release() error { return b.lock.Close() }

func portFree(port int) bool {
	tcp, err := net.Listen("tcp", loopback(port))
	if err != nil {
		return false
	}
	defer tcp.Close()
	udp, err := net.ListenPacket("udp", loopback(port))
	if err != nil {
		return false
	}
	return udp.Close() == nil
}

func loopback(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
