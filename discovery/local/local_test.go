package local_test

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/pillion-dev/pillion/discovery"
	"github.com/pillion-dev/pillion/discovery/local"
	"github.com/pillion-dev/pillion/internal/rundir"
)

var orders = discovery.Key{Namespace: "default", App: "orders"}

func folder(t testing.TB) *rundir.Dir {
	t.Helper()
	dir, err := rundir.Open(t.TempDir(), "0a1b2c3d")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func run(t testing.TB, dir *rundir.Dir, e rundir.Entry) *rundir.Registration {
	t.Helper()
	if e.Namespace == "" {
		e.Namespace = "default"
	}
	reg, err := dir.Register(e)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = reg.Close() })
	return reg
}

func mesh(addrs ...string) (out []netip.AddrPort) {
	for _, a := range addrs {
		out = append(out, netip.MustParseAddrPort(a))
	}
	return out
}

func TestAnInstanceIsFoundFromItsStartToItsEnd(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	s := local.New(dir, local.Options{})
	if got := s.Lookup(orders); len(got) != 0 {
		t.Fatalf("Lookup of nobody = %v", got)
	}
	reg := run(t, dir, rundir.Entry{App: "orders", State: "starting", Mesh: mesh("10.0.0.1:4001", "127.0.0.1:4001")})
	got := s.Lookup(orders)
	if len(got) != 1 || got[0].Instance != reg.Entry().ID || got[0].State != discovery.Starting ||
		!got[0].Local || got[0].Source != local.Name || fmt.Sprint(got[0].Addrs) != "[127.0.0.1:4001 10.0.0.1:4001]" {
		t.Fatalf("Lookup = %+v, want the instance, loopback first", got)
	}
	before := s.Version()
	if err := reg.Update(func(e *rundir.Entry) { e.State = "ready" }); err != nil {
		t.Fatal(err)
	}
	if s.Version() == before {
		t.Error("a new state left the version as it was")
	}
	if got := s.Lookup(orders); got[0].State != discovery.Ready {
		t.Errorf("state = %s, want ready", got[0].State)
	}
	if err := reg.Close(); err != nil {
		t.Fatal(err)
	}
	if got := s.Lookup(orders); len(got) != 0 {
		t.Errorf("after its end: %+v", got)
	}
}

func TestAnAnswerIsTheCallers(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	s := local.New(dir, local.Options{})
	run(t, dir, rundir.Entry{App: "orders", Mesh: mesh("127.0.0.1:4001")})
	s.Lookup(orders)[0].App = "changed"
	s.All()[0].App = "changed"
	if got := s.Lookup(orders); len(got) != 1 || got[0].App != "orders" {
		t.Errorf("Lookup = %+v", got)
	}
}

func TestOnlyWhatCanBeReachedIsFound(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	s := local.New(dir, local.Options{NetNS: 7})
	run(t, dir, rundir.Entry{App: "orders", NetNS: 8, Mesh: mesh("127.0.0.1:4001")})
	run(t, dir, rundir.Entry{App: "orders", NetNS: 7})
	run(t, dir, rundir.Entry{App: "orders", Namespace: "shop", NetNS: 7, Mesh: mesh("127.0.0.1:4002")})
	want := run(t, dir, rundir.Entry{App: "orders", NetNS: 7, Mesh: mesh("0.0.0.0:4003")})
	got := s.Lookup(orders)
	if len(got) != 1 || got[0].Instance != want.Entry().ID || got[0].Addrs[0] != mesh("127.0.0.1:4003")[0] {
		t.Errorf("Lookup = %+v, want only the one of this network and namespace, at loopback", got)
	}
	if got := s.All(); len(got) != 2 {
		t.Errorf("All = %+v, want both namespaces", got)
	}
}

func TestTheResolverDropsAnInstanceThatIsGone(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	reg := run(t, dir, rundir.Entry{App: "orders", State: "ready", Mesh: mesh("127.0.0.1:4001")})
	r := discovery.New(discovery.Options{Sources: []discovery.Source{local.New(dir, local.Options{})}})
	got, err := r.Endpoints(t.Context(), orders)
	if err != nil || len(got) != 1 {
		t.Fatalf("Endpoints = %+v, %v", got, err)
	}
	if err := reg.Close(); err != nil {
		t.Fatal(err)
	}
	r.Failed(got[0])
	if r.Known(orders) {
		t.Error("an app whose last instance has ended is still known")
	}
}

func BenchmarkLookupThroughTheResolver(b *testing.B) {
	dir := folder(b)
	for i := range 10 {
		run(b, dir, rundir.Entry{App: "orders", State: "ready", Mesh: mesh(fmt.Sprintf("127.0.0.1:%d", 4001+i))})
	}
	r := discovery.New(discovery.Options{Sources: []discovery.Source{local.New(dir, local.Options{})}})
	b.ReportAllocs()
	for b.Loop() {
		if got, err := r.Endpoints(b.Context(), orders); len(got) != 10 || err != nil {
			b.Fatal(got, err)
		}
	}
}

// The first look-up ever reads the folder.
func BenchmarkFirstLookup(b *testing.B) {
	dir := folder(b)
	for i := range 10 {
		run(b, dir, rundir.Entry{App: "orders", State: "ready", Mesh: mesh(fmt.Sprintf("127.0.0.1:%d", 4001+i))})
	}
	for b.Loop() {
		r := discovery.New(discovery.Options{Sources: []discovery.Source{local.New(dir, local.Options{})}})
		if got, err := r.Endpoints(b.Context(), orders); len(got) != 10 || err != nil {
			b.Fatal(got, err)
		}
	}
}

func TestTheMeshSocketIsFoundByTheAddress(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	s := local.New(dir, local.Options{})
	reg := run(t, dir, rundir.Entry{App: "orders", Mesh: mesh("127.0.0.1:4001"), MeshSocket: "/run/x.mesh"})
	run(t, dir, rundir.Entry{App: "stock", Mesh: mesh("127.0.0.1:4002")})
	if got := s.Socket(netip.MustParseAddrPort("127.0.0.1:4001")); got != "/run/x.mesh" {
		t.Errorf("the socket is %q", got)
	}
	if got := s.Socket(netip.MustParseAddrPort("127.0.0.1:4002")); got != "" {
		t.Errorf("an instance without one has %q", got)
	}
	if err := reg.Close(); err != nil {
		t.Fatal(err)
	}
	if got := s.Socket(netip.MustParseAddrPort("127.0.0.1:4001")); got != "" {
		t.Errorf("after its end there is %q", got)
	}
}
