// Package statetest is what every state store has to do, as tests.
package statetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/runtime/state"
)

// A Harness is what one test has of the kind of store under test.
type Harness struct {
	// Open returns a store on the data of this test: each call another one, all
	// on the same data if the store can share it. The harness closes it.
	Open func() state.Store
	// Shares says that all see the same data.
	Shares bool
	// Advance moves the time that the stores see.
	Advance func(time.Duration)
}

// Run runs the suite; newHarness is called for each of its tests, with that.
func Run(t *testing.T, newHarness func(t *testing.T) Harness) {
	t.Helper()
	for _, test := range slices.Sorted(maps.Keys(tests())) {
		t.Run(test, func(t *testing.T) {
			t.Parallel()
			tests()[test](t, newHarness(t))
		})
	}
}

func tests() map[string]func(*testing.T, Harness) {
	return map[string]func(*testing.T, Harness){
		"nothing":                    nothing,
		"values come back":           values,
		"every write has an etag":    etags,
		"an etag must be there":      conditions,
		"first write":                firstWrite,
		"delete":                     deletes,
		"time to live":               ttl,
		"expired is not there":       expired,
		"a transaction has an order": order,
		"all or nothing":             allOrNothing,
		"bulk":                       bulk,
		"many at once":               manyAtOnce,
		"one of many is first":       oneIsFirst,
		"the context ends":           contextEnds,
		"shared":                     shared,
		"values are the store's own": ownership,
	}
}

// Save is a transaction of one set.
func Save(t *testing.T, s state.Store, set state.Set) {
	t.Helper()
	if err := s.Transact(t.Context(), []state.Operation{{Set: &set}}); err != nil {
		t.Fatalf("save %q: %v", set.Key, err)
	}
}

// Read is the item under a key.
func Read(t *testing.T, s state.Store, key string) state.Item {
	t.Helper()
	item, err := s.Get(t.Context(), state.Get{Key: key})
	if err != nil {
		t.Fatalf("get %q: %v", key, err)
	}
	return item
}

func set(key, value string) state.Set { return state.Set{Key: key, Value: []byte(value)} }

func with(s state.Set, etag string) state.Set {
	s.ETag = &etag
	return s
}

func save(t *testing.T, s state.Store, set state.Set) error {
	t.Helper()
	return s.Transact(t.Context(), []state.Operation{{Set: &set}})
}

func remove(t *testing.T, s state.Store, d state.Delete) error {
	t.Helper()
	return s.Transact(t.Context(), []state.Operation{{Delete: &d}})
}

// wantMismatch fails unless err is the answer to an ETag that is not there.
func wantMismatch(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, state.ErrETagMismatch) {
		t.Errorf("%s = %v, want %v", what, err, state.ErrETagMismatch)
	}
}

func wantValue(t *testing.T, s state.Store, key, want string) {
	t.Helper()
	item := Read(t, s, key)
	if !item.Exists() || string(item.Value) != want {
		t.Errorf("%q is %q (etag %q), want %q", key, item.Value, item.ETag, want)
	}
}

func wantNothing(t *testing.T, s state.Store, key string) {
	t.Helper()
	if item := Read(t, s, key); item.Exists() || item.Value != nil || item.Metadata != nil {
		t.Errorf("%q is %q (etag %q, %v), want nothing", key, item.Value, item.ETag, item.Metadata)
	}
}

func nothing(t *testing.T, h Harness) {
	s := h.Open()
	wantNothing(t, s, "app||never")
	items, err := s.BulkGet(t.Context(), []state.Get{{Key: "app||never"}})
	if err != nil || len(items) != 1 || items[0].Exists() || items[0].Err != nil || items[0].Key != "app||never" {
		t.Errorf("BulkGet = %+v, %v", items, err)
	}
	if items, err := s.BulkGet(t.Context(), nil); err != nil || len(items) != 0 {
		t.Errorf("BulkGet of nothing = %+v, %v", items, err)
	}
	if err := s.Transact(t.Context(), nil); err != nil {
		t.Errorf("an empty transaction = %v", err)
	}
}

func values(t *testing.T, h Harness) {
	s := h.Open()
	big := bytes.Repeat([]byte("0123456789abcdef"), 4<<20/16)
	for name, value := range map[string][]byte{
		"json":         []byte(`{"a": [1, 2.50, 12345678901234567890], "b": "\u00e9<>&"}`),
		"text":         []byte("tägliche Aufgaben\r\n"),
		"empty":        {},
		"null":         []byte("null"),
		"zero bytes":   {0, 1, 2, 0, 0},
		"no utf-8":     {0xff, 0xfe, 0x80, 'a', 0xc3},
		"4 MiB":        big,
		"4 MiB binary": append([]byte{0xff}, big...),
		"looks base64": []byte("AAEC"),
		"a number":     []byte("12"),
	} {
		key := "app||" + name
		Save(t, s, state.Set{Key: key, Value: value})
		item := Read(t, s, key)
		if !item.Exists() || !bytes.Equal(item.Value, value) {
			t.Errorf("%s: got %d bytes %.40q, want %d bytes %.40q", name, len(item.Value), item.Value, len(value), value)
		}
	}
	for _, key := range []string{
		"app||", "app||a b", "app||' OR 1=1 --", `app||"`, "app||%", "app||{x}", "app||ключ", "app||a:b*?[c]", "app||A", "app||a",
		"app||" + strings.Repeat("long", 1000), "app||\x01",
	} {
		Save(t, s, state.Set{Key: key, Value: []byte(key)})
		wantValue(t, s, key, key)
	}
	wantValue(t, s, "app||a", "app||a") // not A's
}

func etags(t *testing.T, h Harness) {
	s := h.Open()
	seen := map[string]bool{}
	for i := range 5 {
		Save(t, s, set("app||a", "same"))
		etag := Read(t, s, "app||a").ETag
		if etag == "" || seen[etag] {
			t.Errorf("write %d has etag %q, as one before", i, etag)
		}
		seen[etag] = true
		if again := Read(t, s, "app||a").ETag; again != etag {
			t.Errorf("read again, the etag is %q and was %q", again, etag)
		}
	}
}

func conditions(t *testing.T, h Harness) {
	s := h.Open()
	wantMismatch(t, "set with an etag where nothing is", save(t, s, with(set("app||a", "1"), "1")))
	wantNothing(t, s, "app||a")
	Save(t, s, set("app||a", "1"))
	first := Read(t, s, "app||a").ETag
	Save(t, s, with(set("app||a", "2"), first))
	wantMismatch(t, "set with the version before", save(t, s, with(set("app||a", "3"), first)))
	wantValue(t, s, "app||a", "2")
	Save(t, s, with(set("app||a", "4"), "")) // empty: no condition
	wantValue(t, s, "app||a", "4")
	last := Read(t, s, "app||a").ETag
	wantMismatch(t, "last-write with the version before", save(t, s, state.Set{
		Key: "app||a", Value: []byte("5"), ETag: &first, Options: state.Options{Concurrency: state.LastWrite},
	}))
	if err := save(t, s, with(set("app||a", "6"), last+"9")); !errors.Is(err, state.ErrETagMismatch) && !errors.Is(err, state.ErrETagInvalid) {
		t.Errorf("set with an etag that never was = %v", err)
	}
	wantValue(t, s, "app||a", "4")
}

func firstWrite(t *testing.T, h Harness) {
	s := h.Open()
	first := state.Options{Concurrency: state.FirstWrite}
	write := func(value string, etag *string) error {
		return save(t, s, state.Set{Key: "app||a", Value: []byte(value), ETag: etag, Options: first})
	}
	if err := write("1", nil); err != nil {
		t.Fatal(err)
	}
	wantMismatch(t, "a second first write", write("2", nil))
	empty := ""
	wantMismatch(t, "a second first write with an empty etag", write("2", &empty))
	wantValue(t, s, "app||a", "1")
	etag := Read(t, s, "app||a").ETag
	if err := write("3", &etag); err != nil {
		t.Errorf("first write with the version that is there = %v", err)
	}
	wantMismatch(t, "first write with the version before", write("4", &etag))
	Save(t, s, set("app||a", "5")) // last-write still can
	wantValue(t, s, "app||a", "5")
	if err := remove(t, s, state.Delete{Key: "app||a"}); err != nil {
		t.Fatal(err)
	}
	if err := write("6", nil); err != nil {
		t.Errorf("a first write where nothing is any more = %v", err)
	}
}

func deletes(t *testing.T, h Harness) {
	s := h.Open()
	if err := remove(t, s, state.Delete{Key: "app||never"}); err != nil {
		t.Errorf("delete of nothing = %v", err)
	}
	etag := "1"
	wantMismatch(t, "delete of nothing with an etag", remove(t, s, state.Delete{Key: "app||never", ETag: &etag}))
	Save(t, s, set("app||a", "1"))
	before := Read(t, s, "app||a").ETag
	Save(t, s, set("app||a", "2"))
	wantMismatch(t, "delete with the version before", remove(t, s, state.Delete{Key: "app||a", ETag: &before}))
	wantValue(t, s, "app||a", "2")
	now := Read(t, s, "app||a").ETag
	if err := remove(t, s, state.Delete{Key: "app||a", ETag: &now}); err != nil {
		t.Errorf("delete with the version that is there = %v", err)
	}
	wantNothing(t, s, "app||a")
	Save(t, s, set("app||b", "1"))
	empty := ""
	if err := remove(t, s, state.Delete{Key: "app||b", ETag: &empty}); err != nil {
		t.Errorf("delete with an empty etag = %v", err)
	}
	wantNothing(t, s, "app||b")
}

func ttl(t *testing.T, h Harness) {
	s := h.Open()
	short := state.Set{Key: "app||short", Value: []byte("1"), TTL: 1000 * time.Second}
	Save(t, s, short)
	Save(t, s, state.Set{Key: "app||ever", Value: []byte("1"), TTL: state.NoExpiry})
	Save(t, s, set("app||plain", "1"))
	renewed, kept := short, short
	renewed.Key, kept.Key = "app||renewed", "app||kept"
	Save(t, s, renewed)
	Save(t, s, kept)
	text := Read(t, s, "app||short").Metadata[state.MetadataTTLExpireTime]
	if _, err := time.Parse(time.RFC3339, text); err != nil {
		t.Errorf("ttlExpireTime is %q: %v", text, err)
	}
	for _, key := range []string{"app||ever", "app||plain"} {
		if item := Read(t, s, key); len(item.Metadata) != 0 {
			t.Errorf("%s has metadata %v", key, item.Metadata)
		}
	}
	h.Advance(600 * time.Second)
	wantValue(t, s, "app||short", "1")
	Save(t, s, renewed)                  // for another 1000 s
	Save(t, s, set("app||kept", "kept")) // for ever: a write says how long
	h.Advance(600 * time.Second)
	wantNothing(t, s, "app||short")
	wantValue(t, s, "app||renewed", "1")
	wantValue(t, s, "app||kept", "kept")
	wantValue(t, s, "app||ever", "1")
	items, err := s.BulkGet(t.Context(), []state.Get{{Key: "app||short"}, {Key: "app||renewed"}})
	if err != nil {
		t.Fatal(err)
	}
	if items[0].Exists() || !items[1].Exists() || items[1].Metadata[state.MetadataTTLExpireTime] == "" {
		t.Errorf("BulkGet = %+v", items)
	}
	h.Advance(1_000_000 * time.Second)
	wantNothing(t, s, "app||renewed")
	wantValue(t, s, "app||ever", "1")
	wantValue(t, s, "app||kept", "kept")
}

// What has expired but was not removed yet is not there for conditions either.
func expired(t *testing.T, h Harness) {
	s := h.Open()
	for _, key := range []string{"app||a", "app||b", "app||c"} {
		Save(t, s, state.Set{Key: key, Value: []byte("1"), TTL: 1000 * time.Second})
	}
	etag := Read(t, s, "app||a").ETag
	h.Advance(1001 * time.Second)
	wantMismatch(t, "set with the etag of what has expired", save(t, s, with(set("app||a", "2"), etag)))
	wantMismatch(t, "delete with the etag of what has expired", remove(t, s, state.Delete{Key: "app||b", ETag: &etag}))
	err := save(t, s, state.Set{Key: "app||c", Value: []byte("2"), Options: state.Options{Concurrency: state.FirstWrite}})
	if err != nil {
		t.Errorf("first write where something has expired = %v", err)
	}
	wantValue(t, s, "app||c", "2")
}

func upsert(key, value string) state.Operation {
	s := set(key, value)
	return state.Operation{Set: &s}
}

func deletion(key string) state.Operation { return state.Operation{Delete: &state.Delete{Key: key}} }

func order(t *testing.T, h Harness) {
	s := h.Open()
	Save(t, s, set("app||b", "old"))
	err := s.Transact(t.Context(), []state.Operation{
		upsert("app||a", "1"), upsert("app||a", "2"), deletion("app||b"), upsert("app||c", "1"), deletion("app||c"),
		deletion("app||d"), upsert("app||d", "3"),
	})
	if err != nil {
		t.Fatal(err)
	}
	wantValue(t, s, "app||a", "2")
	wantNothing(t, s, "app||b")
	wantNothing(t, s, "app||c")
	wantValue(t, s, "app||d", "3")
}

func allOrNothing(t *testing.T, h Harness) {
	s := h.Open()
	Save(t, s, set("app||a", "a"))
	Save(t, s, set("app||b", "b"))
	before := Read(t, s, "app||a")
	wrong := "17"
	bad := with(set("app||b", "changed"), wrong)
	for name, last := range map[string]state.Operation{
		"a set with a wrong etag":    {Set: &bad},
		"a delete with a wrong etag": {Delete: &state.Delete{Key: "app||b", ETag: &wrong}},
	} {
		ops := []state.Operation{upsert("app||a", "changed"), upsert("app||new", "1"), deletion("app||b"), upsert("app||b", "x"), last}
		wantMismatch(t, name, s.Transact(t.Context(), ops))
		if after := Read(t, s, "app||a"); string(after.Value) != "a" || after.ETag != before.ETag {
			t.Errorf("%s: a is %q with etag %q, and was %q with %q", name, after.Value, after.ETag, before.Value, before.ETag)
		}
		wantValue(t, s, "app||b", "b")
		wantNothing(t, s, "app||new")
	}
}

func bulk(t *testing.T, h Harness) {
	s := h.Open()
	const many = 1200 // more than any statement takes at once
	var ops []state.Operation
	var gets []state.Get
	for i := range many {
		key := fmt.Sprintf("app||%d", i)
		if i%3 != 0 {
			ops = append(ops, upsert(key, strconv.Itoa(i)))
		}
		gets = append(gets, state.Get{Key: key})
	}
	gets = append(gets, state.Get{Key: "app||1"}) // asked for twice
	if err := s.Transact(t.Context(), ops); err != nil {
		t.Fatal(err)
	}
	items, err := s.BulkGet(t.Context(), gets)
	if err != nil || len(items) != len(gets) {
		t.Fatalf("BulkGet = %d items, %v", len(items), err)
	}
	for i, item := range items {
		want := ""
		if i%3 != 0 {
			want = strconv.Itoa(i % many)
		}
		if i == many {
			want = "1"
		}
		if item.Key != gets[i].Key || string(item.Value) != want || item.Exists() != (want != "") || item.Err != nil {
			t.Fatalf("item %d is %+v, want %q", i, item, want)
		}
	}
	if single := Read(t, s, "app||1"); single.ETag != items[1].ETag {
		t.Errorf("etag %q alone and %q in bulk", single.ETag, items[1].ETag)
	}
}

// Increment adds one to a number, however often others are faster.
func Increment(ctx context.Context, s state.Store, key string) error {
	for {
		item, err := s.Get(ctx, state.Get{Key: key})
		if err != nil {
			return err
		}
		n, _ := strconv.Atoi(string(item.Value)) // nothing there is 0
		next := state.Set{Key: key, Value: []byte(strconv.Itoa(n + 1))}
		next.Options.Concurrency = state.FirstWrite
		if item.Exists() {
			next.ETag = &item.ETag
		}
		err = s.Transact(ctx, []state.Operation{{Set: &next}})
		if !errors.Is(err, state.ErrETagMismatch) {
			return err
		}
	}
}

func manyAtOnce(t *testing.T, h Harness) {
	const workers, each = 8, 15
	stores := []state.Store{h.Open()}
	if h.Shares {
		stores = append(stores, h.Open(), h.Open())
	}
	var wg sync.WaitGroup
	for i := range workers {
		s := stores[i%len(stores)]
		wg.Go(func() {
			for range each {
				if err := Increment(t.Context(), s, "app||n"); err != nil {
					t.Errorf("increment: %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
	for _, s := range stores {
		wantValue(t, s, "app||n", strconv.Itoa(workers*each))
	}
}

func oneIsFirst(t *testing.T, h Harness) {
	s := h.Open()
	var wg sync.WaitGroup
	won := make(chan string, 16)
	for i := range cap(won) {
		wg.Go(func() {
			value := strconv.Itoa(i)
			err := save(t, s, state.Set{
				Key: "app||lock", Value: []byte(value), Options: state.Options{Concurrency: state.FirstWrite},
			})
			switch {
			case err == nil:
				won <- value
			case !errors.Is(err, state.ErrETagMismatch):
				t.Errorf("first write: %v", err)
			}
		})
	}
	wg.Wait()
	close(won)
	winners := slices.Collect(func(yield func(string) bool) {
		for w := range won {
			if !yield(w) {
				return
			}
		}
	})
	if len(winners) != 1 {
		t.Fatalf("%d were first: %v", len(winners), winners)
	}
	wantValue(t, s, "app||lock", winners[0])
}

func contextEnds(t *testing.T, h Harness) {
	s := h.Open()
	Save(t, s, set("app||a", "1"))
	enough := errors.New("the caller has gone")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(enough)
	if _, err := s.Get(ctx, state.Get{Key: "app||a"}); !errors.Is(err, enough) {
		t.Errorf("Get = %v, want %v", err, enough)
	}
	if _, err := s.BulkGet(ctx, []state.Get{{Key: "app||a"}}); !errors.Is(err, enough) {
		t.Errorf("BulkGet = %v, want %v", err, enough)
	}
	if err := s.Transact(ctx, []state.Operation{upsert("app||a", "2")}); !errors.Is(err, enough) {
		t.Errorf("Transact = %v, want %v", err, enough)
	}
	wantValue(t, s, "app||a", "1")
}

func shared(t *testing.T, h Harness) {
	if !h.Shares {
		return // each store is alone: there is nothing to share
	}
	a, b := h.Open(), h.Open()
	Save(t, a, set("app||a", "1"))
	wantValue(t, b, "app||a", "1")
	Save(t, b, with(set("app||a", "2"), Read(t, a, "app||a").ETag))
	wantValue(t, a, "app||a", "2")
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	wantValue(t, b, "app||a", "2")
	wantValue(t, h.Open(), "app||a", "2")
}

// A door reads the next request into the same buffer.
func ownership(t *testing.T, h Harness) {
	s := h.Open()
	value := []byte("original")
	Save(t, s, state.Set{Key: "app||a", Value: value})
	copy(value, "changed!")
	wantValue(t, s, "app||a", "original")
}
