package sidecar

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/pillion-dev/pillion/internal/apperr"
)

// maxSocketPath is what every system takes for the path of a Unix socket.
const maxSocketPath = 100

// bindDoors opens both doors where the profile has them: on loopback, or as
// Dapr's flags say.
func (s *sidecar) bindDoors(ctx context.Context) error {
	if s.cfg.UnixDomainSocket != "" && !s.cfg.Profile.LoopbackDoors {
		return s.bindSockets(ctx)
	}
	var err error
	if s.http, err = s.bindPort(ctx, s.cfg.HTTPPort, defaultHTTPPort); err != nil {
		return s.taken(err, s.cfg.HTTPPort, "--dapr-http-port")
	}
	if s.grpc, err = s.bindPort(ctx, s.cfg.GRPCPort, defaultGRPCPort); err != nil {
		return s.taken(err, s.cfg.GRPCPort, "--dapr-grpc-port")
	}
	return nil
}

func (s *sidecar) bindPort(ctx context.Context, given, preferred uint16) (door, error) {
	if s.cfg.Profile.LoopbackDoors {
		return bindDoor(ctx, given, preferred, s.cfg.Spared)
	}
	return s.bindAddresses(ctx, s.cfg.ListenAddresses, given)
}

// bindAddresses binds port at each of the addresses; without any, everywhere.
// An address that this machine does not have is left out as long as there is
// another one. One whose port somebody else holds is an error: who calls there
// would reach a stranger.
func (s *sidecar) bindAddresses(ctx context.Context, addresses []string, port uint16) (door, error) {
	if len(addresses) == 0 {
		addresses = []string{""}
	}
	d := door{port: port}
	var first error
	for _, address := range addresses {
		ln, err := bindTCP(ctx, address, d.port)
		if errors.Is(err, syscall.EADDRINUSE) {
			d.close()
			return door{}, err
		}
		if err != nil {
			s.log.Warn("not listening on an address", "address", address, "err", err)
			first = errors.Join(first, err)
			continue
		}
		d.port = listenPort(ln)
		d.listeners = append(d.listeners, ln)
	}
	if len(d.listeners) == 0 {
		return door{}, first
	}
	return d, nil
}

// bindTCP binds a port at a host, which may stand in brackets; "" is all of the
// machine's addresses.
func bindTCP(ctx context.Context, host string, port uint16) (net.Listener, error) {
	var lc net.ListenConfig
	host = strings.Trim(host, "[]")
	return lc.Listen(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(int(port))))
}

// bindSockets opens the doors as the Unix sockets that daprd has.
func (s *sidecar) bindSockets(ctx context.Context) error {
	for name, d := range map[string]*door{"http": &s.http, "grpc": &s.grpc} {
		path := filepath.Join(s.cfg.UnixDomainSocket, "dapr-"+s.cfg.AppID+"-"+name+".socket")
		ln, err := bindSocket(ctx, path)
		if err != nil {
			return &apperr.Error{
				Reason: apperr.PortTaken, Err: err,
				What:  "the socket " + path + " cannot be opened",
				Cause: reasonOf(err),
				Hint:  "give --unix-domain-socket a folder that is there, is yours, and has a short path",
			}
		}
		d.listeners = []net.Listener{ln}
	}
	return nil
}

var (
	errSocketPath = fmt.Errorf("the path has more than %d bytes", maxSocketPath)
	errSocketHeld = errors.New("another sidecar of this app ID listens on it")
)

// bindSocket listens on a Unix socket. One that a sidecar has left behind when
// it was killed, and nobody answers on, gives way.
func bindSocket(ctx context.Context, path string) (net.Listener, error) {
	if len(path) > maxSocketPath {
		return nil, errSocketPath
	}
	if info, err := os.Lstat(path); err == nil && info.Mode()&fs.ModeSocket != 0 {
		var d net.Dialer
		if conn, err := d.DialContext(ctx, "unix", path); err == nil {
			_ = conn.Close() // only asked whether somebody is there
			return nil, errSocketHeld
		}
		_ = os.Remove(path) // else listening says what is wrong
	}
	var lc net.ListenConfig
	return lc.Listen(ctx, "unix", path)
}

// bindInternal opens the mesh listener as Dapr's flags say.
func (s *sidecar) bindInternal(ctx context.Context) (net.Listener, error) {
	if s.cfg.MeshPort != 0 {
		return bindTCP(ctx, s.cfg.InternalListenAddress, s.cfg.MeshPort)
	}
	ln, err := bindTCP(ctx, s.cfg.InternalListenAddress, s.stablePort())
	if err == nil {
		return ln, nil
	}
	return bindTCP(ctx, s.cfg.InternalListenAddress, 0)
}

// bindPublic opens the port for health and metadata only, if one was given.
func (s *sidecar) bindPublic(ctx context.Context) error {
	if s.cfg.PublicPort == 0 {
		return nil
	}
	var err error
	if s.public, err = s.bindAddresses(ctx, []string{s.cfg.PublicListenAddress}, s.cfg.PublicPort); err != nil {
		return s.taken(err, s.cfg.PublicPort, "--dapr-public-port")
	}
	return nil
}

// beyondLoopback reports whether somebody else than this machine's programs can
// reach the door.
func (d door) beyondLoopback() bool {
	for _, ln := range d.listeners {
		if addr, ok := ln.Addr().(*net.TCPAddr); ok && !addr.IP.IsLoopback() {
			return true
		}
	}
	return false
}

// allowedHosts are the names that the doors answer to. A door that others
// reach has whatever names they know this machine by.
func (s *sidecar) allowedHosts() []string {
	if s.cfg.UnixDomainSocket != "" || s.http.beyondLoopback() || s.grpc.beyondLoopback() {
		return append([]string{"*"}, s.cfg.AllowedHosts...)
	}
	return s.cfg.AllowedHosts
}
