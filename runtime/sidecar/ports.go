package sidecar

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/human"
	"github.com/pillion-dev/pillion/internal/rundir"
	"github.com/pillion-dev/pillion/runtime/supervisor"
)

// Ports a sidecar prefers, as daprd has them.
const (
	defaultHTTPPort = 3500
	defaultGRPCPort = 50001
	firstMeshPort   = 47300 // of Dapr's stable internal port
)

// tries is how many ports above the preferred one are tried before the system
// chooses: thirty sidecars with both doors, twice over.
const tries = 64

// A door is one bound port: a listener on each loopback address of the
// machine.
type door struct {
	port      uint16
	listeners []net.Listener
}

func (d door) close() {
	for _, ln := range d.listeners {
		_ = ln.Close() // nobody was served yet
	}
}

// bindDoor binds port on loopback, IPv4 and IPv6. With port zero it takes the
// first free one from preferred upwards. It binds before anybody is told: a
// number that was only looked at can be gone when it is used. It spares ports
// that others were promised.
func bindDoor(ctx context.Context, port, preferred uint16, spared []uint16) (door, error) {
	if port != 0 {
		return bindLoopback(ctx, port)
	}
	for i := range uint16(tries) {
		if slices.Contains(spared, preferred+i) {
			continue
		}
		d, err := bindLoopback(ctx, preferred+i)
		if err == nil || !errors.Is(err, syscall.EADDRINUSE) && !errors.Is(err, syscall.EACCES) {
			return d, err
		}
	}
	return bindLoopback(ctx, 0)
}

// bindLoopback binds port on 127.0.0.1 and, where the machine has it, on ::1.
// Clients resolve localhost to either.
func bindLoopback(ctx context.Context, port uint16) (door, error) {
	var lc net.ListenConfig
	v4, err := lc.Listen(ctx, "tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port))))
	if err != nil {
		return door{}, err
	}
	d := door{port: listenPort(v4), listeners: []net.Listener{v4}}
	v6, err := lc.Listen(ctx, "tcp6", net.JoinHostPort("::1", strconv.Itoa(int(d.port))))
	switch {
	case err == nil:
		d.listeners = append(d.listeners, v6)
	case errors.Is(err, syscall.EADDRINUSE):
		d.close()
		return door{}, err
	default: // no IPv6 here
	}
	return d, nil
}

// Ports that no system gives to those who ask for any: Linux begins at 32768,
// others at 49152. Kubernetes gives its own from 30000.
const (
	firstUnlikely = 20000
	lastUnlikely  = 29999
)

// freePort is a port for an app that takes it from PORT, and a claim to it that
// lasts until it is closed. It is free now; the app binds it a moment later.
// Nobody else is likely to take it meanwhile: neither a client's connection nor a
// listener on any port does, nor another pillion while it is claimed.
func freePort(ctx context.Context) (port uint16, claim io.Closer, err error) {
	for range tries {
		port := uint16(firstUnlikely + rand.N(lastUnlikely-firstUnlikely+1)) //nolint:gosec // no secret, and in range
		claim, ok := claimPort(ctx, port)
		if !ok {
			continue
		}
		if d, err := bindLoopback(ctx, port); err == nil {
			d.close()
			return port, claim, nil
		}
		_ = claim.Close() // somebody else has it
	}
	return 0, nil, &apperr.Error{
		Reason: apperr.PortTaken, What: "no free port was found for the app",
		Cause: fmt.Sprintf("%d of those from %d to %d were tried", tries, firstUnlikely, lastUnlikely),
		Hint:  "choose one: --app-port <port>",
	}
}

// bindMesh binds the mesh listener: on loopback, or with lan on all addresses,
// where nothing but mutual TLS is spoken. Without a port it takes Dapr's stable
// one if that is free, so that static peers and firewalls can rely on it.
func bindMesh(ctx context.Context, port, stable uint16, lan bool) (net.Listener, error) {
	host := "127.0.0.1"
	if lan {
		host = ""
	}
	var lc net.ListenConfig
	if port != 0 {
		return lc.Listen(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(int(port))))
	}
	ln, err := lc.Listen(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(int(stable))))
	if err == nil {
		return ln, nil
	}
	return lc.Listen(ctx, "tcp", net.JoinHostPort(host, "0"))
}

// stablePort is Dapr's rule (daprd pkg/ports): the same app of the same user,
// folder and machine gets the same port each time.
func (s *sidecar) stablePort() uint16 {
	folder := s.workingFolder()
	machine, _ := os.Hostname() // a port that is only less stable
	sum := sha256.Sum256([]byte(strings.Join([]string{s.cfg.AppID, folder, strconv.Itoa(os.Getuid()), machine}, "|")))
	port := firstMeshPort + binary.LittleEndian.Uint16(sum[:2])%(65535-firstMeshPort)
	if slices.Contains(s.cfg.Spared, port) {
		return 0
	}
	return port
}

func listenPort(ln net.Listener) uint16 {
	if addr, ok := ln.Addr().(*net.TCPAddr); ok {
		return uint16(addr.Port) //nolint:gosec // a port fits
	}
	return 0
}

// portTaken says who holds a port that was asked for.
func portTaken(err error, port uint16, flag string, live []rundir.Entry) error {
	if !errors.Is(err, syscall.EADDRINUSE) {
		return &apperr.Error{
			Reason: apperr.PortTaken, Err: err,
			What:  fmt.Sprintf("port %d cannot be opened", port),
			Cause: reasonOf(err),
			Hint:  "leave out " + flag + " to get a free one",
		}
	}
	e := &apperr.Error{
		Reason: apperr.PortTaken, Err: err,
		What: fmt.Sprintf("port %d is taken", port),
		Hint: "leave out " + flag + " to get a free one",
	}
	for _, entry := range live {
		if entry.HTTPPort == port || entry.GRPCPort == port || entry.AppPort == port || entry.MetricsPort == port {
			e.Cause = fmt.Sprintf("%s of %s has had it since %s (pid %d)",
				entry.App, tilde(entry.Folder), entry.Since.Local().Format("15:04"), entry.PID)
			e.Run = []string{"pillion", "stop", entry.App}
			e.Hint = "pillion stop " + entry.App + ", or leave out " + flag + " to get a free one"
			return e
		}
	}
	if holder, ok := supervisor.HolderOf(port); ok {
		e.Cause = holder.String() + " holds it"
		return e
	}
	e.Cause = "another program holds it"
	return e
}

// reasonOf is what the system said, without the calls around it.
func reasonOf(err error) string {
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return errno.Error()
	}
	return err.Error()
}

// tilde shortens a path below the user's home.
func tilde(path string) string {
	home, _ := os.UserHomeDir() // without one paths are whole
	return human.Tilde(path, home)
}
