package mdns

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/pillion-dev/pillion/discovery"
	"github.com/pillion-dev/pillion/tls/identity"
)

func testKeys(t testing.TB, secret, machine string) *keys {
	t.Helper()
	k, err := newKeys([]byte(secret), machine, 7)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func testRecord(k *keys) record {
	return record{
		Key: discovery.Key{Namespace: "default", App: "orders"}, instance: "aaaaaaaa", host: k.host,
		addrs: []netip.AddrPort{netip.MustParseAddrPort("10.0.0.1:4001"), netip.MustParseAddrPort("[2001:db8::1]:4001")},
		state: discovery.Ready, epoch: time.UnixMilli(1700000000123),
	}
}

func equalRecords(a, b record) bool {
	return a.Key == b.Key && a.instance == b.instance && a.host == b.host && a.state == b.state &&
		a.epoch.Equal(b.epoch) && slices.Equal(a.addrs, b.addrs)
}

func TestARecordIsReadOnlyWithTheKeysItWasMadeWith(t *testing.T) {
	t.Parallel()
	k := testKeys(t, "secret", "")
	r := testRecord(k)
	txt := k.encode(r)
	if got, err := k.decode(r.instance, txt); err != nil || !equalRecords(got, r) {
		t.Errorf("decode = %+v, %v, want %+v", got, err, r)
	}
	if _, err := k.decode("bbbbbbbb", txt); err == nil {
		t.Error("a record of another instance is believed")
	}
	for name, other := range map[string]*keys{"another trust domain": testKeys(t, "other", ""), "host scope": testKeys(t, "secret", "m")} {
		if _, err := other.decode(r.instance, txt); err == nil {
			t.Errorf("%s reads it", name)
		}
	}
	for i := range txt {
		changed := slices.Clone(txt)
		changed[i] += "x"
		if _, err := k.decode(r.instance, changed); err == nil {
			t.Errorf("a change in %q is not noticed", txt[i])
		}
	}
	if _, err := k.decode(r.instance, append(slices.Clone(txt), "x=1")); err == nil {
		t.Error("a string behind the MAC is not noticed")
	}
	if all := strings.Join(txt, " "); strings.Contains(all, "orders") || strings.Contains(all, "default") {
		t.Errorf("the name can be read: %s", all)
	}
}

func TestALabelIsComparedWithoutCase(t *testing.T) {
	t.Parallel()
	label, ok := asked(dns.Question{Name: "_ABC._Sub._PILLION._tcp.LOCAL.", Qtype: dns.TypePTR, Qclass: dns.ClassINET})
	if !ok || label != "_abc" {
		t.Errorf("asked = %q, %v", label, ok)
	}
	for _, q := range []dns.Question{
		{Name: "_abc._sub._pillion._tcp.local.", Qtype: dns.TypeA, Qclass: dns.ClassINET},
		{Name: "_abc._sub._pillion._tcp.local.", Qtype: dns.TypePTR, Qclass: dns.ClassCHAOS},
		{Name: "_abc._sub._http._tcp.local.", Qtype: dns.TypePTR, Qclass: dns.ClassINET},
	} {
		if _, ok := asked(q); ok {
			t.Errorf("%v is taken for a question of ours", q)
		}
	}
}

func TestLongestNamesAndManyAddressesFit(t *testing.T) {
	t.Parallel()
	k := testKeys(t, "secret", "")
	r := testRecord(k)
	r.App, r.Namespace = strings.Repeat("a", 63), strings.Repeat("n", 63)
	r.addrs = nil
	for i := range 50 {
		r.addrs = append(r.addrs, netip.AddrPortFrom(netip.MustParseAddr("2001:db8:1111:2222:3333:4444:5555:6666"), uint16(60000+i)))
	}
	for _, s := range k.encode(r) {
		if len(s) > maxString {
			t.Errorf("a string of %d bytes: %s", len(s), s)
		}
	}
	got, err := k.decode(r.instance, k.encode(r))
	if err != nil || len(got.addrs) == 0 || got.addrs[0] != r.addrs[0] || got.Key != r.Key {
		t.Errorf("decode = %+v, %v", got, err)
	}
	three := []record{r, r, r, r}
	for _, packet := range k.responses(func(record) string { return "_abc" }, three) {
		if len(packet) > 3000 {
			t.Errorf("a packet of %d bytes", len(packet))
		}
	}
}

func TestWhereAnInstanceIsReached(t *testing.T) {
	t.Parallel()
	k := testKeys(t, "secret", "")
	addrs := func(s ...string) (out []netip.AddrPort) {
		for _, a := range s {
			out = append(out, netip.MustParseAddrPort(a))
		}
		return out
	}
	for _, c := range []struct {
		name  string
		host  string
		said  []netip.AddrPort
		local bool
		want  []netip.AddrPort
	}{
		{"here, loopback", k.host, addrs("127.0.0.1:1"), true, addrs("127.0.0.1:1")},
		{"here, on the LAN", k.host, addrs("10.0.0.1:1", "10.1.0.1:1"), true, addrs("127.0.0.1:1", "10.0.0.1:1", "10.1.0.1:1")},
		{"elsewhere", "other", addrs("10.0.0.1:1", "127.0.0.1:1"), false, addrs("10.0.0.1:1")},
		{"elsewhere, no way", "other", addrs("127.0.0.1:1"), false, nil},
	} {
		r := testRecord(k)
		r.host, r.addrs = c.host, c.said
		e, ok := k.endpoint(r)
		if ok != (c.want != nil) || ok && (e.Local != c.local || !slices.Equal(e.Addrs, c.want)) {
			t.Errorf("%s: %v, local %v, %v, want %v", c.name, e.Addrs, e.Local, ok, c.want)
		}
	}
}

func TestTheCacheForgetsAndAsksToBeRefreshed(t *testing.T) {
	t.Parallel()
	k, c := testKeys(t, "secret", ""), newCache()
	r := testRecord(k)
	start := time.Unix(1800000000, 0)
	if !c.add(k, r, start) || c.add(k, r, start) {
		t.Error("want news once")
	}
	lookup := func(after time.Duration) (n int, stale bool) {
		found, stale := c.lookup(r.Key, start.Add(after))
		return len(found), stale
	}
	version := c.present(start.Add(47 * time.Second))
	if n, stale := lookup(47 * time.Second); n != 1 || stale {
		t.Errorf("at 47 s: %d, %v", n, stale)
	}
	if got := c.present(start.Add(48 * time.Second)); got == version {
		t.Error("at 80 % of its life the version has not changed: nobody would look it up")
	}
	if n, stale := lookup(48 * time.Second); n != 1 || !stale {
		t.Errorf("at 48 s: %d, %v, want it to be refreshed", n, stale)
	}
	version = c.present(start.Add(59 * time.Second))
	if got := c.present(start.Add(60 * time.Second)); got == version {
		t.Error("the version does not say that it expired")
	}
	if n, _ := lookup(60 * time.Second); n != 0 || len(c.known) != 0 {
		t.Errorf("at 60 s: %d, %d kept", n, len(c.known))
	}
}

// An instance that never looks anybody up hears of all the others.
func TestTheCacheForgetsAlthoughNobodyAsks(t *testing.T) {
	t.Parallel()
	k, c := testKeys(t, "secret", ""), newCache()
	r := testRecord(k)
	now := time.Unix(1800000000, 0)
	for n := range 200 {
		r.instance = fmt.Sprintf("i%07d", n)
		now = now.Add(time.Second)
		if !c.add(k, r, now) {
			t.Fatalf("instance %d is no news", n)
		}
	}
	if most := int(lasting/time.Second) + 1; len(c.known) > most {
		t.Errorf("%d are kept of 200, want at most %d", len(c.known), most)
	}
}

func TestTheCacheBelievesNoRecording(t *testing.T) {
	t.Parallel()
	k, c := testKeys(t, "secret", ""), newCache()
	now := time.Unix(1800000000, 0)
	r := testRecord(k)
	c.add(k, r, now)
	old := r
	old.epoch, old.addrs = r.epoch.Add(-time.Minute), []netip.AddrPort{netip.MustParseAddrPort("10.6.6.6:1")}
	if c.add(k, old, now) {
		t.Error("an older word replaced a newer one")
	}
	bye := r
	bye.state, bye.epoch = gone, r.epoch.Add(time.Second)
	if !c.add(k, bye, now) || len(c.all(now)) != 0 {
		t.Error("a goodbye is not believed")
	}
	if c.add(k, r, now) || len(c.all(now)) != 0 {
		t.Error("an answer that was under way brought it back")
	}
	c.present(now.Add(time.Minute))
	if len(c.known) != 0 {
		t.Error("what was gone is kept for ever")
	}
}

func TestTheCacheIsBounded(t *testing.T) {
	t.Parallel()
	k, c := testKeys(t, "secret", ""), newCache()
	now := time.Unix(1800000000, 0)
	r := testRecord(k)
	for i := range maxCached + 10 {
		r.instance = string([]byte{'a' + byte(i%26), 'a' + byte(i/26%26), 'a' + byte(i/676%26), 'a', 'a', 'a', 'a', 'a'})
		c.add(k, r, now)
	}
	if n := len(c.all(now)); n != maxCached {
		t.Errorf("%d kept, want %d", n, maxCached)
	}
}

func FuzzRecord(f *testing.F) {
	k := testKeys(f, "secret", "")
	f.Add("default", "orders", "10.0.0.1:4001", "ready", int64(1700000000123), 40)
	f.Add("n_1", "a-b", "[2001:db8::1]:1", "starting", int64(0), 0)
	f.Fuzz(func(t *testing.T, namespace, app, addr, state string, epoch int64, at int) {
		a, err := netip.ParseAddrPort(addr)
		if err != nil || a.Port() == 0 || a.Addr().IsUnspecified() || a.Addr().IsMulticast() || len(state) > 20 || len(addr) > 60 ||
			identity.CheckNamespace(namespace) != nil || identity.CheckAppID(app) != nil {
			t.Skip()
		}
		r := record{
			Key: discovery.Key{Namespace: namespace, App: app}, instance: "aaaaaaaa", host: k.host,
			addrs: []netip.AddrPort{a}, state: discovery.State(state), epoch: time.UnixMilli(epoch),
		}
		txt := k.encode(r)
		got, err := k.decode(r.instance, txt)
		if err != nil || !equalRecords(got, r) {
			t.Fatalf("decode = %+v, %v, want %+v", got, err, r)
		}
		all := strings.Join(txt, "\n")
		if at < 0 || at >= len(all) || all[at] == '\n' {
			t.Skip()
		}
		bent := strings.Split(all[:at]+string(all[at]^1)+all[at+1:], "\n")
		if _, err := k.decode(r.instance, bent); err == nil && strings.Join(bent[:len(bent)-1], "\n") != strings.Join(txt[:len(txt)-1], "\n") {
			t.Fatalf("a bit was turned at %d and nobody noticed: %q", at, bent)
		}
	})
}

func FuzzPacket(f *testing.F) {
	k := testKeys(f, "secret", "")
	r := testRecord(k)
	for _, packet := range k.responses(func(record) string { return "_abc" }, []record{r}) {
		f.Add(packet)
	}
	packet, err := question("_abc", k.every)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(packet)
	f.Fuzz(func(t *testing.T, packet []byte) {
		m, err := parse(packet)
		if err != nil {
			return
		}
		for _, label := range questions(m) {
			if strings.ToLower(label) != label {
				t.Errorf("label %q", label)
			}
		}
		for _, got := range k.read(m) {
			if !equalRecords(got, r) {
				t.Errorf("%+v was never signed", got)
			}
		}
	})
}

func BenchmarkAnswer(b *testing.B) {
	k := testKeys(b, "secret", "")
	r := testRecord(k)
	b.ReportAllocs()
	for b.Loop() {
		if got := k.responses(func(record) string { return "_abc" }, []record{r}); len(got) != 1 {
			b.Fatal(len(got))
		}
	}
}
