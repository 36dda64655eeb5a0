package static_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/pillion-dev/pillion/discovery"
	"github.com/pillion-dev/pillion/discovery/static"
	"github.com/pillion-dev/pillion/internal/apperr"
)

var orders = discovery.Key{Namespace: "default", App: "orders"}

func peers(t *testing.T, given ...string) []static.Peer {
	t.Helper()
	var out []static.Peer
	for _, g := range given {
		p, err := static.ParsePeer(g)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, p)
	}
	return out
}

func TestParsePeer(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]static.Peer{
		"10.0.0.1:4001":              {Host: "10.0.0.1", Port: 4001},
		"[::1]:4001":                 {Host: "::1", Port: 4001},
		"orders=box.example:1":       {Key: discovery.Key{App: "orders"}, Host: "box.example", Port: 1},
		"orders.shop=10.0.0.1:65535": {Key: discovery.Key{App: "orders", Namespace: "shop"}, Host: "10.0.0.1", Port: 65535},
	} {
		got, err := static.ParsePeer(given)
		if err != nil || got != want {
			t.Errorf("ParsePeer(%s) = %+v, %v, want %+v", given, got, err, want)
		}
		if got.String() != given {
			t.Errorf("ParsePeer(%s) prints %s", given, got)
		}
	}
	for _, bad := range []string{"", "host", ":4001", "host:", "host:0", "host:65536", "host:http", "=host:1", "a b=host:1", "-a=host:1", "a.=host:1", "http://host:1", "host:1/path", "a=b=host:1"} {
		if got, err := static.ParsePeer(bad); !apperr.Is(err, apperr.Usage) {
			t.Errorf("ParsePeer(%q) = %+v, %v, want a usage error", bad, got, err)
		}
	}
}

func TestAPeerWithAnIDIsFoundAtOnce(t *testing.T) {
	t.Parallel()
	s := static.New(peers(t, "orders=127.0.0.1:4001", "orders=10.0.0.2:4002", "billing=10.0.0.3:4003", "orders.shop=10.0.0.4:1"))
	got := s.Lookup(orders)
	if len(got) != 2 || fmt.Sprint(got[0].Addrs, got[1].Addrs) != "[127.0.0.1:4001] [10.0.0.2:4002]" ||
		!got[0].Local || got[1].Local || got[0].Source != static.Name || got[0].Instance != "" {
		t.Errorf("Lookup = %+v", got)
	}
	if got := s.All(); len(got) != 4 {
		t.Errorf("All = %+v, want four", got)
	}
}

func TestAPeerWithoutAnIDIsNobodyUntilItSaysWhoItIs(t *testing.T) {
	t.Parallel()
	s := static.New(peers(t, "10.0.0.1:4001", "billing=10.0.0.1:4001"))
	if got := s.Lookup(orders); len(got) != 0 {
		t.Errorf("Lookup = %+v, want nobody", got)
	}
	if got := s.Unidentified(); len(got) != 1 || got[0].Host != "10.0.0.1" {
		t.Errorf("Unidentified = %+v", got)
	}
	version := s.Version()
	s.Learn("10.0.0.1:9", orders)
	if s.Version() != version {
		t.Error("a stranger's word changed the version")
	}
	s.Learn("10.0.0.1:4001", orders)
	if s.Version() == version || len(s.Lookup(orders)) != 1 || len(s.Unidentified()) != 0 {
		t.Errorf("after Learn: %+v, unidentified %+v", s.Lookup(orders), s.Unidentified())
	}
	if got := s.Lookup(discovery.Key{Namespace: "default", App: "billing"}); len(got) != 1 {
		t.Errorf("the peer the user named is now %+v", got)
	}
}

func TestAskIdentifiesAndLooksNamesUp(t *testing.T) {
	t.Parallel()
	s := static.New(peers(t, "10.0.0.1:4001", "10.0.0.2:4002", "orders=localhost:4003"))
	s.IdentifyWith(func(_ context.Context, addr string) (discovery.Key, error) {
		if addr == "10.0.0.2:4002" {
			return discovery.Key{}, errors.New("nobody there")
		}
		return orders, nil
	})
	if err := s.Ask(t.Context(), orders); err != nil {
		t.Fatal(err)
	}
	if got := s.Unidentified(); len(got) != 1 || got[0].Host != "10.0.0.2" {
		t.Errorf("Unidentified = %+v, want the one that did not answer", got)
	}
	if got := s.Lookup(orders); len(got) != 2 || got[1].Addrs[0].Port() != 4003 || !got[1].Local {
		t.Errorf("Lookup = %+v, want the one that answered and localhost", got)
	}
}

func FuzzParsePeer(f *testing.F) {
	for _, s := range []string{"10.0.0.1:4001", "orders=box:1", "a.b=[::1]:2", "=:"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := static.ParsePeer(s)
		if err != nil {
			return
		}
		again, err := static.ParsePeer(p.String())
		if err != nil || again.Host != p.Host || again.Port != p.Port || again.App != p.App {
			t.Errorf("%q is %+v and prints %q, which is %+v, %v", s, p, p.String(), again, err)
		}
	})
}
