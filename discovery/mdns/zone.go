package mdns

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/pillion-dev/pillion/discovery"
	"github.com/pillion-dev/pillion/internal/filelock"
	"github.com/pillion-dev/pillion/internal/rundir"
)

// maxAnswer bounds the instances in the answers to one question; on the LAN
// less, where the library puts them all into one packet. Of more, each answer
// has others.
const (
	maxAnswer    = 48
	maxAnswerLAN = 12
)

// A zone is what a scope answers: the instances of the runtime folder, so that
// one process answers for all, and its own. It is safe for concurrent use.
type zone struct {
	keys  *keys
	lan   bool
	netns uint64
	dir   *rundir.Dir // nil: only the own instance

	mu      sync.Mutex // guards what follows
	version uint64
	read    bool
	labels  map[string][]rundir.Entry
	all     []rundir.Entry
	own     *record
	left    string // the own instance's id, once it has said goodbye
	machine []netip.Addr
}

// present sets what the own instance says of itself; nil after its goodbye.
func (z *zone) present(own *record, left string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.own, z.left = own, left
}

// at sets the machine's addresses on the LAN.
func (z *zone) at(machine []netip.Addr) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.machine = machine
}

// answer returns the records behind a label.
func (z *zone) answer(label string) []record {
	entries, own, machine := z.behind(label)
	var records []record
	for _, e := range entries {
		if held, err := filelock.Held(e.Lock); err != nil || !held {
			continue // killed since the folder was read
		}
		if r := z.record(e, machine); len(r.addrs) > 0 {
			records = append(records, r)
		}
	}
	if own != nil {
		records = append(records, *own)
	}
	most := maxAnswer
	if z.lan {
		most = maxAnswerLAN
	}
	if len(records) > most {
		//nolint:gosec // fairness, no secret
		rand.Shuffle(len(records), func(i, j int) { records[i], records[j] = records[j], records[i] })
		records = records[:most]
	}
	return records
}

// behind returns what there is to say under a label.
func (z *zone) behind(label string) ([]rundir.Entry, *record, []netip.Addr) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.reread()
	entries := z.labels[label]
	if label == z.keys.every {
		entries = z.all
	}
	mine := z.left
	var own *record
	if z.own != nil {
		mine = z.own.instance
		if label == z.keys.every || label == discovery.Label(z.keys.label, z.own.Key) {
			own = z.own
		}
	}
	entries = slices.DeleteFunc(slices.Clone(entries), func(e rundir.Entry) bool { return e.ID == mine })
	return entries, own, z.machine
}

// reread reads the folder if it has changed. Callers hold mu.
func (z *zone) reread() {
	if z.dir == nil {
		return
	}
	version := z.dir.Version()
	if z.read && version == z.version {
		return
	}
	entries, err := z.dir.Entries()
	if err != nil {
		return // what was known has to do
	}
	z.version, z.read = version, true
	z.labels, z.all = map[string][]rundir.Entry{}, nil
	for _, e := range entries {
		if e.NetNS != z.netns || z.lan && !e.LAN || e.State == string(discovery.Draining) {
			continue
		}
		label := discovery.Label(z.keys.label, discovery.Key{Namespace: e.Namespace, App: e.App})
		z.labels[label] = append(z.labels[label], e)
		z.all = append(z.all, e)
	}
}

func (z *zone) record(e rundir.Entry, machine []netip.Addr) record {
	epoch := e.Changed
	if epoch.IsZero() {
		epoch = e.Since
	}
	return z.make(discovery.Announcement{
		Key:      discovery.Key{Namespace: e.Namespace, App: e.App},
		Instance: e.ID, Addrs: e.Mesh, State: discovery.State(e.State),
	}, epoch, machine)
}

// make is what an instance says of itself in this scope.
func (z *zone) make(a discovery.Announcement, epoch time.Time, machine []netip.Addr) record {
	listening := a.Addrs
	if len(listening) == 0 && a.Port != 0 {
		listening = []netip.AddrPort{netip.AddrPortFrom(netip.IPv4Unspecified(), a.Port)}
	}
	r := record{Key: a.Key, instance: a.Instance, host: z.keys.host, state: a.State, epoch: epoch}
	if z.lan {
		r.addrs = onLAN(listening, machine)
	} else {
		r.addrs = discovery.Reachable(listening)
	}
	return r
}
