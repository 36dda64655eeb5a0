package mdns

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pillion-dev/pillion/discovery"
	"github.com/pillion-dev/pillion/internal/rundir"
)

const (
	// formatVersion is that of the TXT strings. A reader ignores others.
	formatVersion = "1"
	// gone is the state of a goodbye: with a time to live of zero, which
	// anybody can write on a record, nothing would be proven.
	gone discovery.State = "gone"

	macBytes  = 16
	hostBytes = 10
	// maxString is the longest TXT string (RFC 1035 §3.3.14), and maxAddrs
	// how many addresses are told of an instance.
	maxString = 255
	maxAddrs  = 8
	// namePad is what an app's encrypted name is a multiple of, so that its
	// length says little.
	namePad = 32
)

var errNotOurs = errors.New("not a record of this trust domain")

// A record is what an instance says of itself on the wire.
type record struct {
	discovery.Key
	instance string
	host     string // which machine and network namespace, as a hash
	addrs    []netip.AddrPort
	state    discovery.State
	epoch    time.Time // when it last said anything new
}

// keys are what one scope of a trust domain signs, hides and asks with. They
// are never changed.
type keys struct {
	label []byte // of discovery.Label
	mac   []byte
	name  cipher.AEAD
	nonce []byte
	every string // the label all instances answer to
	host  string // this machine and network namespace
}

// newKeys derives the keys of a scope. machine is empty in LAN scope.
func newKeys(secret []byte, machine string, netns uint64) (*keys, error) {
	base := discovery.DeriveKey(secret, machine)
	k := &keys{label: base, every: discovery.EveryLabel(base)}
	var err error
	var name []byte
	for info, to := range map[string]*[]byte{"record mac": &k.mac, "record name": &name, "record nonce": &k.nonce} {
		if *to, err = hkdf.Expand(sha256.New, base, info, sha256.Size); err != nil {
			return nil, fmt.Errorf("derive the keys of records: %w", err)
		}
	}
	block, err := aes.NewCipher(name)
	if err != nil {
		return nil, fmt.Errorf("derive the keys of records: %w", err)
	}
	if k.name, err = cipher.NewGCM(block); err != nil {
		return nil, fmt.Errorf("derive the keys of records: %w", err)
	}
	sum := k.sum("host", MachineID(), strconv.FormatUint(netns, 10))
	k.host = strings.ToLower(base32.StdEncoding.EncodeToString(sum[:hostBytes]))
	return k, nil
}

// sum is the MAC over parts, each with its length before it.
func (k *keys) sum(parts ...string) []byte {
	h := hmac.New(sha256.New, k.mac)
	var size [4]byte
	for _, p := range parts {
		binary.BigEndian.PutUint32(size[:], uint32(len(p))) //nolint:gosec // strings of a packet
		h.Write(size[:])
		h.Write([]byte(p))
	}
	return h.Sum(nil)
}

// encode writes the TXT strings of r, the MAC last.
func (k *keys) encode(r record) []string {
	txt := []string{
		"v=" + formatVersion,
		"k=" + discovery.Label(k.label, r.Key),
		"n=" + k.hide(r),
		"h=" + r.host,
		"e=" + strconv.FormatInt(r.epoch.UnixMilli(), 10),
		"st=" + string(r.state),
		"a=" + joinAddrs(r.addrs),
	}
	mac := k.sum(append([]string{r.instance}, txt...)...)
	return append(txt, "m="+base64.RawURLEncoding.EncodeToString(mac[:macBytes]))
}

// decode reads what encode wrote for the instance. Everything else, and
// whatever was not made with these keys, is errNotOurs.
func (k *keys) decode(instance string, txt []string) (record, error) {
	n := len(txt)
	if n == 0 || n > 32 || !rundir.IsID(instance) {
		return record{}, errNotOurs
	}
	mac, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(txt[n-1], "m="))
	want := k.sum(append([]string{instance}, txt[:n-1]...)...)
	if err != nil || !strings.HasPrefix(txt[n-1], "m=") || !hmac.Equal(mac, want[:macBytes]) {
		return record{}, errNotOurs
	}
	fields := map[string]string{}
	for _, s := range txt[:n-1] {
		key, value, _ := strings.Cut(s, "=")
		fields[key] = value
	}
	if fields["v"] != formatVersion {
		return record{}, errNotOurs
	}
	r := record{instance: instance, host: fields["h"], state: discovery.State(fields["st"])}
	if r.Key, err = k.reveal(fields["n"]); err != nil {
		return record{}, err
	}
	millis, err := strconv.ParseInt(fields["e"], 10, 64)
	if err != nil {
		return record{}, errNotOurs
	}
	r.epoch = time.UnixMilli(millis)
	r.addrs, err = splitAddrs(fields["a"])
	return r, err
}

// hide encrypts the app's name, so that the LAN cannot read who runs what. The
// nonce follows from what is hidden and for whom: it never meets another text.
func (k *keys) hide(r record) string {
	name := r.Namespace + "\x00" + r.App + "\x00"
	name += strings.Repeat("\x00", (namePad-len(name)%namePad)%namePad)
	h := hmac.New(sha256.New, k.nonce)
	h.Write([]byte(r.instance + "\x00" + name))
	nonce := h.Sum(nil)[:k.name.NonceSize()]
	return base64.RawURLEncoding.EncodeToString(k.name.Seal(nonce, nonce, []byte(name), nil))
}

func (k *keys) reveal(hidden string) (discovery.Key, error) {
	sealed, err := base64.RawURLEncoding.DecodeString(hidden)
	if err != nil || len(sealed) < k.name.NonceSize() {
		return discovery.Key{}, errNotOurs
	}
	name, err := k.name.Open(nil, sealed[:k.name.NonceSize()], sealed[k.name.NonceSize():], nil)
	if err != nil {
		return discovery.Key{}, errNotOurs
	}
	parts := strings.SplitN(string(name), "\x00", 3)
	if len(parts) != 3 || parts[0] == "" || parts[1] == "" {
		return discovery.Key{}, errNotOurs
	}
	return discovery.Key{Namespace: parts[0], App: parts[1]}, nil
}

// joinAddrs writes as many addresses as fit, best first.
func joinAddrs(addrs []netip.AddrPort) string {
	var b strings.Builder
	for i, a := range addrs {
		s := a.String()
		if i == maxAddrs || b.Len()+len(s)+len("a=,") > maxString {
			break
		}
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(s)
	}
	return b.String()
}

func splitAddrs(s string) ([]netip.AddrPort, error) {
	if s == "" {
		return nil, nil
	}
	var addrs []netip.AddrPort
	for part := range strings.SplitSeq(s, ",") {
		a, err := netip.ParseAddrPort(part)
		if err != nil || a.Port() == 0 || a.Addr().IsUnspecified() || a.Addr().IsMulticast() {
			return nil, errNotOurs
		}
		addrs = append(addrs, a)
	}
	return addrs, nil
}

// endpoint is r as this process can use it, or false if there is no way to it.
// On the same host and network namespace loopback comes first: it survives
// whatever becomes of the network. From elsewhere, loopback is a mistake.
func (k *keys) endpoint(r record) (discovery.Endpoint, bool) {
	e := discovery.Endpoint{
		Key: r.Key, Instance: r.instance, State: r.state, Source: Name, Local: r.host == k.host,
	}
	for _, a := range r.addrs {
		loopback := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), a.Port())
		switch {
		case e.Local && !a.Addr().IsLoopback() && !slices.Contains(e.Addrs, loopback):
			e.Addrs = append(e.Addrs, loopback, a)
		case e.Local || !a.Addr().IsLoopback():
			if !slices.Contains(e.Addrs, a) {
				e.Addrs = append(e.Addrs, a)
			}
		}
	}
	return e, len(e.Addrs) > 0
}
