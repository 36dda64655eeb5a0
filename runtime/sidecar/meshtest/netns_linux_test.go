package meshtest_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// namespaces counts those made, for names of their own.
var namespaces atomic.Int64

// cannot skips a test that this machine cannot run; where everything has to
// run it fails.
func cannot(t testing.TB, why string, args ...any) {
	t.Helper()
	if os.Getenv("CI") != "" || os.Getenv("PILLION_TEST_ALL") != "" {
		t.Fatalf(why, args...)
	}
	t.Skipf(why, args...)
}

// namespace makes a network namespace with nothing but loopback.
func namespace(t testing.TB) string {
	t.Helper()
	if os.Geteuid() != 0 {
		cannot(t, "making a network namespace needs root")
	}
	for _, tool := range []string{"ip", "tcpdump"} {
		if _, err := exec.LookPath(tool); err != nil {
			cannot(t, "%s is missing: scripts/test --install gets it", tool)
		}
	}
	name := fmt.Sprintf("pmt%d-%d", os.Getpid(), namespaces.Add(1))
	if out, err := exec.CommandContext(t.Context(), "ip", "netns", "add", name).CombinedOutput(); err != nil {
		cannot(t, "no network namespace can be made here: %v: %s", err, out)
	}
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", name).Run() })
	ip(t, name, "link set lo up")
	return name
}

// ip runs ip inside a namespace.
func ip(t testing.TB, ns, command string) {
	t.Helper()
	args := append([]string{"-n", ns}, strings.Fields(command)...)
	if out, err := exec.CommandContext(t.Context(), "ip", args...).CombinedOutput(); err != nil {
		t.Fatalf("ip -n %s %s: %v: %s", ns, command, err, out)
	}
}

// alone is a machine in a namespace of its own, with nothing but loopback.
func alone(t testing.TB) *machine {
	t.Helper()
	ns := namespace(t)
	m := newMachine(t)
	m.netns = ns
	return m
}

// The addresses of two machines on one cable.
const (
	addrA = "10.9.0.1"
	addrB = "10.9.0.2"
)

// pair makes two machines of one trust domain on one cable.
func pair(t testing.TB) (a, b *machine) {
	t.Helper()
	nsA, nsB := cable(t)
	a = newMachine(t)
	b = a.copied()
	a.netns, b.netns = nsA, nsB
	return a, b
}

// cable makes two namespaces joined by a cable.
func cable(t testing.TB) (a, b string) {
	t.Helper()
	a, b = namespace(t), namespace(t)
	ip(t, a, "link add eth0 type veth peer name eth0 netns "+b)
	for ns, addr := range map[string]string{a: addrA, b: addrB} {
		ip(t, ns, "link set eth0 up")
		ip(t, ns, "addr add "+addr+"/24 dev eth0")
	}
	return a, b
}

// dial connects from where the machine is. A thread goes there for as long as
// the socket is made; what it cannot come back from it does not come back from.
func (m *machine) dial(ctx context.Context, network, addr string) (conn net.Conn, err error) {
	if m.netns == "" {
		return dialPlain(ctx, network, addr)
	}
	return conn, inside(m.netns, func() error {
		conn, err = dialPlain(ctx, network, addr)
		return err
	})
}

// inside runs do on a thread in the namespace.
func inside(ns string, do func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		there, err := os.Open(filepath.Join("/run/netns", ns))
		if err != nil {
			done <- err
			return
		}
		defer func() { _ = there.Close() }() // only read
		if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- err
			return
		}
		done <- do()
	}()
	return <-done
}
