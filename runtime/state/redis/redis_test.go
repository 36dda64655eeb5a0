package redis_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/internal/porttest"
	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/runtime/state"
	"github.com/pillion-dev/pillion/runtime/state/redis"
	"github.com/pillion-dev/pillion/runtime/state/statetest"
)

// open returns a store as a component's metadata make it. Its time-outs are for
// machines that are slow.
func open(t *testing.T, address string, metadata ...string) *redis.Store {
	t.Helper()
	m := map[string]string{
		"redisHost": address, "dialTimeout": "60s", "readTimeout": "60s", "writeTimeout": "60s", "poolTimeout": "60s",
	}
	for i := 0; i < len(metadata); i += 2 {
		m[metadata[i]] = metadata[i+1]
	}
	cfg, err := redis.FromMetadata("orders", m)
	if err != nil {
		t.Fatal(err)
	}
	s := redis.New(cfg)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestStore(t *testing.T) {
	t.Parallel()
	s := statetest.ServeRedis(t)
	var databases atomic.Int32
	statetest.Run(t, func(t *testing.T) statetest.Harness {
		db := int(databases.Add(1))
		admin := direct(t, s, db)
		return statetest.Harness{
			Shares: true,
			Open:   func() state.Store { return open(t, s.Addr(), "redisDB", strconv.Itoa(db)) },
			Advance: func(d time.Duration) {
				if err := age(context.WithoutCancel(t.Context()), admin, d); err != nil {
					t.Fatal(err)
				}
			},
		}
	})
}

func TestItemsLieAsDaprHasThem(t *testing.T) {
	t.Parallel()
	s := statetest.ServeRedis(t)
	store, admin, ctx := open(t, s.Addr()), direct(t, s, 0), t.Context()
	for range 3 {
		statetest.Save(t, store, state.Set{Key: "app||a", Value: []byte(`{"n":1}`)})
	}
	fields, err := admin.HGetAll(ctx, "app||a").Result()
	if want := (map[string]string{"data": `{"n":1}`, "version": "3"}); err != nil || !maps.Equal(fields, want) {
		t.Errorf("the hash has %v, %v, want %v", fields, err, want)
	}
	for name, write := range map[string]func(key string) error{
		"a text": func(key string) error { return admin.Set(ctx, key, "plain", 0).Err() },
		"a hash without a version": func(key string) error {
			return admin.HSet(ctx, key, "data", "plain").Err()
		},
	} {
		key := "other||" + name
		if err := write(key); err != nil {
			t.Fatal(err)
		}
		item := statetest.Read(t, store, key)
		if string(item.Value) != "plain" || item.ETag != "0" {
			t.Errorf("%s: read %q with etag %q", name, item.Value, item.ETag)
		}
		etag := "0"
		statetest.Save(t, store, state.Set{Key: key, Value: []byte("ours"), ETag: &etag})
		if item := statetest.Read(t, store, key); string(item.Value) != "ours" || item.ETag != "1" {
			t.Errorf("%s: after a write %q with etag %q", name, item.Value, item.ETag)
		}
	}
	// What is neither is an error of its own, in bulk beside those that can be read.
	if err := admin.LPush(ctx, "other||list", "1").Err(); err != nil {
		t.Fatal(err)
	}
	items, err := store.BulkGet(ctx, []state.Get{{Key: "app||a"}, {Key: "other||list"}})
	if err != nil || items[0].Err != nil || string(items[0].Value) != `{"n":1}` || items[1].Err == nil {
		t.Errorf("BulkGet with a list = %+v, %v", items, err)
	}
	if _, err := store.Get(ctx, state.Get{Key: "other||list"}); err == nil || !strings.Contains(err.Error(), "WRONGTYPE") {
		t.Errorf("Get of a list = %v", err)
	}
}

func TestAnETagThatIsNoNumberIsInvalid(t *testing.T) {
	t.Parallel()
	s := statetest.ServeRedis(t)
	store, etag := open(t, s.Addr()), "abc"
	err := store.Transact(t.Context(), []state.Operation{{Delete: &state.Delete{Key: "a", ETag: &etag}}})
	if !errors.Is(err, state.ErrETagInvalid) || err.Error() != `invalid etag value: strconv.Atoi: parsing "abc": invalid syntax` {
		t.Errorf("Transact = %v", err)
	}
}

func TestTheComponentSaysHowLongItemsLive(t *testing.T) {
	t.Parallel()
	s := statetest.ServeRedis(t)
	store, admin := open(t, s.Addr(), "ttlInSeconds", "1000"), direct(t, s, 0)
	for key, set := range map[string]state.Set{
		"default": {}, "own": {TTL: 2000 * time.Second}, "ever": {TTL: state.NoExpiry},
	} {
		set.Key = key
		statetest.Save(t, store, set)
	}
	for key, between := range map[string][2]time.Duration{
		"default": {500 * time.Second, 1000 * time.Second}, "own": {1500 * time.Second, 2000 * time.Second}, "ever": {-1, -1},
	} {
		if left, err := admin.PTTL(t.Context(), key).Result(); err != nil || left < between[0] || left > between[1] {
			t.Errorf("%s lives for %v, %v, want between %v and %v", key, left, err, between[0], between[1])
		}
	}
}

func TestAServerThatForgotTheScriptGetsItAgain(t *testing.T) {
	t.Parallel()
	s := statetest.ServeRedis(t)
	store := open(t, s.Addr())
	for range 2 {
		statetest.Save(t, store, state.Set{Key: "a"})
		if err := direct(t, s, 0).ScriptFlush(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if etag := statetest.Read(t, store, "a").ETag; etag != "2" {
		t.Errorf("after two writes the version is %s", etag)
	}
}

func TestStrongConsistencyWaitsForReplicas(t *testing.T) {
	t.Parallel()
	primary := statetest.ServeRedis(t)
	replica := statetest.ServeRedis(t, "--replicaof", "127.0.0.1 "+strconv.Itoa(primary.Port()))
	within.Until(t, "the replica to follow", func() bool {
		info, err := direct(t, primary, 0).Info(t.Context(), "replication").Result()
		return err == nil && strings.Contains(info, "state=online")
	})
	store := open(t, primary.Addr())
	redis.WaitForReplicas(store, within.Patience/2) // a busy machine may need more than the second of Dapr's
	for i := range 20 {
		key := fmt.Sprintf("app||%d", i)
		strong := state.Options{Consistency: state.Strong}
		statetest.Save(t, store, state.Set{Key: key, Value: []byte("1"), Options: strong})
		if data, err := direct(t, replica, 0).HGet(t.Context(), key, "data").Result(); err != nil || data != "1" {
			t.Errorf("%s: the replica has %q, %v", key, data, err)
		}
	}
	wrong := "9"
	err := store.Transact(t.Context(), []state.Operation{{Delete: &state.Delete{
		Key: "app||1", ETag: &wrong, Options: state.Options{Consistency: state.Strong},
	}}})
	if !errors.Is(err, state.ErrETagMismatch) {
		t.Errorf("a strong delete with a wrong etag = %v", err)
	}
}

func TestAServerThatIsNotThereIsNamed(t *testing.T) {
	t.Parallel()
	port := porttest.Reserve(t)
	store := open(t, port.Addr(), "redisMinRetryInterval", "1")
	want := "redis store orders at " + port.Addr() + ": "
	if _, err := store.Get(t.Context(), state.Get{Key: "a"}); err == nil || !strings.HasPrefix(err.Error(), want) ||
		!strings.Contains(err.Error(), "connection refused") {
		t.Errorf("Get = %v", err)
	}
	err := store.Transact(t.Context(), []state.Operation{{Set: &state.Set{Key: "a"}}})
	if err == nil || !strings.HasPrefix(err.Error(), want) || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("Transact = %v", err)
	}
	if err := store.Ping(t.Context()); err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("Ping = %v", err)
	}
}

func TestPasswords(t *testing.T) {
	t.Parallel()
	s := statetest.ServeRedis(t, "--requirepass", "right")
	statetest.Save(t, open(t, s.Addr(), "redisPassword", "right"), state.Set{Key: "a"})
	for _, metadata := range [][]string{{"redisPassword", "wrong"}, {}} {
		_, err := open(t, s.Addr(), metadata...).Get(t.Context(), state.Get{Key: "a"})
		if err == nil || strings.Contains(err.Error(), "wrong") {
			t.Errorf("Get with %v = %v", metadata, err)
		}
	}
}

// The server goes and comes back with what it has acknowledged; nobody restarts
// the store.
func TestAServerThatComesBackIsUsedAgain(t *testing.T) {
	t.Parallel()
	s := statetest.ServeRedis(t, "--appendonly", "yes", "--appendfsync", "always")
	store := open(t, s.Addr(), "redisMinRetryInterval", "1")
	for i := range 20 { // several connections, which all will be dead
		statetest.Save(t, store, state.Set{Key: strconv.Itoa(i), Value: []byte("before")})
	}
	s.Kill()
	if _, err := store.Get(t.Context(), state.Get{Key: "1"}); err == nil || !strings.Contains(err.Error(), "redis store orders at "+s.Addr()) {
		t.Errorf("Get without the server = %v", err)
	}
	s.Start()
	for i := range 20 {
		if item := statetest.Read(t, store, strconv.Itoa(i)); string(item.Value) != "before" {
			t.Errorf("%d is %q after the restart", i, item.Value)
		}
		statetest.Save(t, store, state.Set{Key: strconv.Itoa(i), Value: []byte("after")})
	}
}

// Each transaction writes two keys. The server is killed in the middle of many.
func TestNoTransactionIsAppliedByHalf(t *testing.T) {
	t.Parallel()
	s := statetest.ServeRedis(t, "--appendonly", "yes", "--appendfsync", "always")
	store := open(t, s.Addr(), "redisMaxRetries", "-1")
	var workers sync.WaitGroup
	var acknowledged [4]int
	begun := make(chan struct{}, len(acknowledged))
	for w := range acknowledged {
		workers.Go(func() {
			for n := 1; ; n++ {
				err := store.Transact(t.Context(), []state.Operation{
					{Set: &state.Set{Key: fmt.Sprintf("left %d", w), Value: []byte(strconv.Itoa(n))}},
					{Set: &state.Set{Key: fmt.Sprintf("right %d", w), Value: []byte(strconv.Itoa(n))}},
				})
				if err != nil {
					return
				}
				acknowledged[w] = n
				if n == 50 {
					begun <- struct{}{}
				}
			}
		})
	}
	for range acknowledged {
		within.Receive(t, begun)
	}
	s.Kill()
	workers.Wait()
	s.Start()
	for w, n := range acknowledged {
		left, right := statetest.Read(t, store, fmt.Sprintf("left %d", w)), statetest.Read(t, store, fmt.Sprintf("right %d", w))
		if string(left.Value) != string(right.Value) {
			t.Errorf("worker %d: left is %s, right is %s", w, left.Value, right.Value)
		}
		if got, err := strconv.Atoi(string(left.Value)); err != nil || got != n && got != n+1 {
			t.Errorf("worker %d: %s is there, %d was acknowledged", w, left.Value, n)
		}
	}
}

// The answer to a write is lost: whether it was carried out is not known, and so
// it is not sent again. A read is.
func TestAWriteIsNeverSentTwice(t *testing.T) {
	t.Parallel()
	s := statetest.ServeRedis(t)
	between := cut(t, s.Addr())
	store := open(t, between.ln.Addr().String(), "redisMaxRetries", "1000000", "redisMinRetryInterval", "1", "redisMaxRetryInterval", "1")
	statetest.Save(t, store, state.Set{Key: "a", Value: []byte("1")})
	between.swallow(true)
	err := store.Transact(within.Context(t), []state.Operation{{Set: &state.Set{Key: "a", Value: []byte("2")}}})
	if err == nil || !strings.Contains(err.Error(), "the server has closed the connection") {
		t.Errorf("Transact = %v", err)
	}
	if version, err := direct(t, s, 0).HGet(t.Context(), "a", "version").Result(); err != nil || version != "2" {
		t.Errorf("the version is %s, %v: want 2, one write before and one without an answer", version, err)
	}
	reading := make(chan string, 1)
	go func() {
		item, err := store.Get(t.Context(), state.Get{Key: "a"})
		reading <- fmt.Sprint(string(item.Value), err)
	}()
	between.swallow(false)
	if got := within.Receive(t, reading); got != "2<nil>" {
		t.Errorf("a read whose answer was lost once = %s", got)
	}
}

func TestMetadataIsDaprs(t *testing.T) {
	t.Parallel()
	cfg, err := redis.FromMetadata("orders", map[string]string{
		"RedisHost": "cache", "redisPort": "7000", "redisUsername": "u", "redisPassword": "p", "redisDB": "3",
		"redisType": "node", "enableTLS": "true", "ttlInSeconds": "60", "maxRetries": "5", "maxRetryBackoff": "2s",
		"redisMinRetryInterval": "20", "dialTimeout": "1s", "readTimeout": "2s", "writeTimeout": "3000",
		"poolSize": "7", "minIdleConns": "1", "maxConnAge": "1h", "actorStateStore": "true", "keyPrefix": "none",
	})
	if err != nil {
		t.Fatal(err)
	}
	if cfg.TLS == nil || cfg.TLS.ServerName != "cache" || cfg.TLS.InsecureSkipVerify {
		t.Errorf("TLS is %+v", cfg.TLS)
	}
	cfg.TLS = nil
	want := redis.Config{
		Name: "orders", Host: "cache:7000", Username: "u", Password: "p", DB: 3, TTL: time.Minute,
		Retries: 5, RetryMin: 20 * time.Millisecond, RetryMax: 2 * time.Second,
		Dial: time.Second, Read: 2 * time.Second, Write: 3 * time.Second, Idle: 5 * time.Minute, MaxAge: time.Hour,
		Connections: 7, MinIdle: 1,
	}
	if cfg != want {
		t.Errorf("FromMetadata = %+v\nwant %+v", cfg, want)
	}
	for metadata, want := range map[[2]string]string{
		{"redisHost", ""}:                   "redisHost: missing",
		{"redisHost", "a:1,b:2"}:            "several servers, which is not supported",
		{"redisHost", "a:1"}:                `"a:1" has a port, and redisPort is 6379`,
		{"redisType", "cluster"}:            `redisType: "cluster" is not supported`,
		{"failover", "true"}:                `failover: "true" is not supported`,
		{"useEntraID", "true"}:              `useEntraID: "true" is not supported`,
		{"queryIndexes", "[]"}:              "no store here can be queried",
		{"redisDB", "first"}:                `redisDB: "first" is no number`,
		{"dialTimeout", "soon"}:             `dialTimeout: "soon" is no duration`,
		{"redisMaxRetries", "often"}:        `redisMaxRetries: "often" is no number`,
		{"clientCert", "-----BEGIN broken"}: "clientCert, clientKey",
	} {
		m := map[string]string{"redisHost": "a", "redisPort": "6379", "enableTLS": "true", metadata[0]: metadata[1]}
		if _, err := redis.FromMetadata("orders", m); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("FromMetadata(%v) = %v, want %q", m, err, want)
		}
	}
}

func TestAStoreThatIsClosedSaysSo(t *testing.T) {
	t.Parallel()
	s := statetest.ServeRedis(t)
	store := open(t, s.Addr())
	statetest.Save(t, store, state.Set{Key: "a"})
	for range 2 {
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := store.Get(t.Context(), state.Get{Key: "a"}); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("Get = %v", err)
	}
}
