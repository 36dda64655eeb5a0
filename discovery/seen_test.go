package discovery_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pillion-dev/pillion/discovery"
)

func TestSeenRemembersAcrossProcessesOfOneHome(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "seen.json")
	open := func() *discovery.Seen {
		s, err := discovery.OpenSeen(path)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	billing := discovery.Key{Namespace: "shop", App: "billing"}
	one, two := open(), open()
	one.Note(orders)
	two.Note(billing)
	for _, s := range []*discovery.Seen{one, two} {
		if err := s.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	later := open()
	for _, key := range []discovery.Key{orders, billing} {
		if !later.Lately(key) || !later.Ever(key) {
			t.Errorf("%v is forgotten", key)
		}
	}
	if later.Lately(discovery.Key{Namespace: "shop", App: "orders"}) {
		t.Error("an app of another namespace is remembered")
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode of the file: %v, %v, want 0600", info.Mode(), err)
	}
}

func TestSeenKnowsWhatAnotherProcessHasWritten(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "seen.json")
	one, err := discovery.OpenSeen(path)
	if err != nil {
		t.Fatal(err)
	}
	two, err := discovery.OpenSeen(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		key := discovery.Key{Namespace: "shop", App: fmt.Sprint("app", i)}
		if two.Lately(key) {
			t.Errorf("%v is remembered before it answered", key)
		}
		one.Note(key)
		if err := one.Flush(); err != nil {
			t.Fatal(err)
		}
		if !two.Lately(key) {
			t.Errorf("%v is not known to the other process", key)
		}
	}
}

func TestSeenForgets(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "seen.json")
		s, err := discovery.OpenSeen(path)
		if err != nil {
			t.Fatal(err)
		}
		s.Note(orders)
		time.Sleep(24*time.Hour + time.Second)
		if s.Lately(orders) || !s.Ever(orders) {
			t.Error("after a day: want not lately, but ever")
		}
		time.Sleep(30 * 24 * time.Hour)
		if s.Ever(orders) {
			t.Error("after a month it is still remembered")
		}
	})
}

// A time that is still to come was written when the clock was wrong: it is not
// believed, and not kept.
func TestSeenDoesNotBelieveTheFuture(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "seen.json")
	text := fmt.Sprintf("{%q: %q}", orders.String(), time.Now().AddDate(1, 0, 0).Format(time.RFC3339))
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := discovery.OpenSeen(path)
	if err != nil {
		t.Fatal(err)
	}
	if s.Lately(orders) || s.Ever(orders) {
		t.Error("an app is known because it will answer")
	}
	s.Note(orders)
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var written map[string]time.Time
	if err := json.Unmarshal(data, &written); err != nil {
		t.Fatal(err)
	}
	if at := written[orders.String()]; at.IsZero() || at.After(time.Now()) {
		t.Errorf("it is written that it answered at %v", at)
	}
}

func TestSeenIsBounded(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "seen.json")
	s, err := discovery.OpenSeen(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5000 {
		s.Note(discovery.Key{Namespace: "default", App: fmt.Sprint("app", i)})
	}
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var kept map[string]time.Time
	if err := json.Unmarshal(data, &kept); err != nil || len(kept) != 4096 {
		t.Errorf("%d apps are kept (%v), want 4096", len(kept), err)
	}
}

func TestADamagedSeenIsAMemoryLost(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "seen.json")
	if err := os.WriteFile(path, []byte(`{"orders.default": "20`), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := discovery.OpenSeen(path)
	if err != nil {
		t.Fatal(err)
	}
	s.Note(orders)
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	if data, _ := os.ReadFile(path); !strings.Contains(string(data), "orders.default") {
		t.Errorf("the file holds %s", data)
	}
}

func TestSeenIsWrittenAtTheEndOfRun(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "seen.json")
	s, err := discovery.OpenSeen(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	s.Note(orders)
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if data, _ := os.ReadFile(path); !strings.Contains(string(data), "orders.default") {
		t.Errorf("the file holds %s", data)
	}
}

func TestANilSeenRemembersNothing(t *testing.T) {
	t.Parallel()
	var s *discovery.Seen
	s.Note(orders)
	if s.Lately(orders) || s.Ever(orders) || s.Flush() != nil {
		t.Error("a nil Seen remembers or fails")
	}
}

func TestASeenAppIsKnownForADayAndLookedForLonger(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, err := discovery.OpenSeen(filepath.Join(t.TempDir(), "seen.json"))
		if err != nil {
			t.Fatal(err)
		}
		r := discovery.New(discovery.Options{Sources: []discovery.Source{&table{name: "local"}}, Seen: s})
		if r.Known(orders) {
			t.Error("known before it has answered")
		}
		r.Answered(orders)
		if !r.Known(orders) {
			t.Error("not known after it has answered")
		}
		time.Sleep(25 * time.Hour)
		if r.Known(orders) {
			t.Error("known a day later")
		}
		start := time.Now()
		find(t, r, orders)
		if took := time.Since(start); took != time.Second {
			t.Errorf("an app that answered yesterday is not found after %v, want the default of 1s", took)
		}
	})
}

func TestLabelsDependOnKeyNamespaceAndApp(t *testing.T) {
	t.Parallel()
	secret := []byte("a discovery key of thirty-two by")
	labels := map[string]string{}
	for name, label := range map[string]string{
		"plain":           discovery.Label(discovery.DeriveKey(secret, ""), orders),
		"other app":       discovery.Label(discovery.DeriveKey(secret, ""), discovery.Key{Namespace: "default", App: "order"}),
		"other namespace": discovery.Label(discovery.DeriveKey(secret, ""), discovery.Key{Namespace: "shop", App: "orders"}),
		"other trust":     discovery.Label(discovery.DeriveKey([]byte("another"), ""), orders),
		"host scope":      discovery.Label(discovery.DeriveKey(secret, "m1"), orders),
		"other host":      discovery.Label(discovery.DeriveKey(secret, "m2"), orders),
		"every":           discovery.EveryLabel(discovery.DeriveKey(secret, "")),
	} {
		if len(label) != 25 || label[0] != '_' || label != strings.ToLower(label) {
			t.Errorf("%s: %q is not an underscore and 24 lower-case characters", name, label)
		}
		if other, taken := labels[label]; taken {
			t.Errorf("%s and %s share a label", name, other)
		}
		labels[label] = name
	}
}
