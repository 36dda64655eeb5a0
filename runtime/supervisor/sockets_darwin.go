package supervisor

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// lsofBound is how long lsof may take: it is asked for listening sockets only.
const lsofBound = 3 * time.Second

// Sockets lists the TCP sockets the app's tree listens on. It asks lsof.
func (p *Process) Sockets() ([]Socket, error) {
	var pids []string
	for _, proc := range p.tree() {
		pids = append(pids, strconv.Itoa(proc.PID))
	}
	if len(pids) == 0 {
		return nil, nil
	}
	return lsof("-a", "-p", strings.Join(pids, ","), "-iTCP")
}

// HolderOf says which process of this machine listens on a TCP port, at
// whatever address.
func HolderOf(port uint16) (Holder, bool) {
	found, err := lsof(fmt.Sprintf("-iTCP:%d", port))
	if err != nil || len(found) == 0 {
		return Holder{}, false
	}
	return Holder{PID: found[0].PID, UID: -1, Name: found[0].Name}, true
}

// lsof lists listening sockets. Its own exit status says only whether it found
// any.
func lsof(which ...string) ([]Socket, error) {
	ctx, cancel := context.WithTimeout(context.Background(), lsofBound) //nolint:contextcheck // bounded, and nobody has one to give
	defer cancel()
	args := append([]string{"-nP", "-w", "-sTCP:LISTEN", "-Fpcn"}, which...)
	out, err := exec.CommandContext(ctx, "/usr/sbin/lsof", args...).Output() //nolint:gosec // numbers
	if ctx.Err() != nil {
		return nil, fmt.Errorf("list listening sockets: %w", err)
	}
	var found []Socket
	var now Socket
	for line := range bytes.Lines(out) {
		text := strings.TrimSpace(string(line))
		if text == "" {
			continue
		}
		switch value := text[1:]; text[0] {
		case 'p':
			now.PID, _ = strconv.Atoi(value) // lsof prints numbers
		case 'c':
			now.Name = value
		case 'n':
			addr, err := netip.ParseAddrPort(strings.Replace(value, "*:", "[::]:", 1))
			if err == nil {
				now.Addr = addr
				found = append(found, now)
			}
		}
	}
	return found, nil
}
