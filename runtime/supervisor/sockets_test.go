//go:build linux

package supervisor_test

import (
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/internal/porttest"
	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/runtime/supervisor"
)

func itoa(n int) string { return strconv.Itoa(n) }

func TestSocketsAreThoseTheTreeListensOn(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var out buffer
	in, hold := pipe(t)
	defer func() { _ = hold.Close() }()
	p := start(t, supervisor.Spec{
		// In a session of its own, beneath a shell, with what it inherited.
		Command: []string{"sh", "-c", `exec 5<&0; setsid "$@" <&5 & wait`, "sh", self, "127.0.0.1:0", "[::1]:0", ":0", "127.0.0.3:0"},
		Env:     append(os.Environ(), roleVar+"=listener"), In: in, Out: &out,
	})
	eventually(t, "four addresses are said", func() bool { return strings.Count(out.String(), "\n") == 4 })
	var want []netip.AddrPort
	for line := range strings.Lines(out.String()) {
		want = append(want, netip.MustParseAddrPort(strings.TrimSpace(line)))
	}
	var got []netip.AddrPort
	sockets, err := p.Sockets()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range sockets {
		got = append(got, s.Addr)
		if !strings.HasPrefix(s.Name, "supervisor") || s.PID == p.PID() {
			t.Errorf("%v is said to be of %s (%d)", s.Addr, s.Name, s.PID)
		}
	}
	order := func(a, b netip.AddrPort) int { return a.Compare(b) }
	slices.SortFunc(got, order)
	slices.SortFunc(want, order)
	if !slices.Equal(got, want) {
		t.Errorf("Sockets = %v, want %v", got, want)
	}
}

func TestHolderOfAPort(t *testing.T) {
	t.Parallel()
	reserved := porttest.Reserve(t)
	ln, port := reserved.Listen(t), reserved.Number()
	h, ok := supervisor.HolderOf(port)
	folder, _ := os.Getwd()
	if !ok || h.PID != os.Getpid() || h.UID != os.Getuid() || h.Folder != folder || !slices.Equal(h.Command, os.Args) {
		t.Errorf("HolderOf = %+v, %v, want this process", h, ok)
	}
	if h.Since.After(time.Now().Add(time.Minute)) || time.Since(h.Since) > time.Hour {
		t.Errorf("it is said to run since %v", h.Since)
	}
	if want := "supervisor.test (pid " + itoa(os.Getpid()) + ")"; !strings.HasPrefix(h.String(), "supervisor") {
		t.Errorf("it is called %s, want %s", h, want)
	}
	_ = ln.Close()
	// A process that another test starts in this moment may hold it for a little.
	within.Until(t, "nobody to hold a free port", func() bool {
		_, ok := supervisor.HolderOf(port)
		return !ok
	})
}
