package state_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pillion-dev/pillion/internal/daprerr"
	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/runtime/state"
	"github.com/pillion-dev/pillion/runtime/state/memory"
)

func newBlock(t *testing.T, cfg state.Config, components ...state.Component) *state.Block {
	t.Helper()
	if cfg.App == "" {
		cfg.App = "todo-api"
	}
	b := state.New(cfg)
	for _, c := range components {
		if err := b.Mount(c); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if err := b.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return b
}

func memoryStore(name string) state.Component {
	return state.Component{Name: name, Type: "state.in-memory", Version: "v1", Store: memory.New(nil)}
}

func set(key, value string) state.Set { return state.Set{Key: key, Value: []byte(value)} }

func TestWhatIsSavedIsRead(t *testing.T) {
	t.Parallel()
	b, ctx := newBlock(t, state.Config{}, memoryStore("statestore")), t.Context()
	if err := b.Save(ctx, "statestore", []state.Set{set("a", `{"n":1}`), set("b", `2`)}); err != nil {
		t.Fatal(err)
	}
	item, err := b.Get(ctx, "statestore", state.Get{Key: "a"})
	if err != nil || string(item.Value) != `{"n":1}` || item.ETag == "" {
		t.Errorf("Get(a) = %q, etag %q, %v", item.Value, item.ETag, err)
	}
	items, err := b.BulkGet(ctx, "statestore", state.BulkGet{Keys: []string{"b", "c", "a"}})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, item := range items {
		got = append(got, item.Key+"="+string(item.Value))
	}
	if want := []string{"b=2", "c=", `a={"n":1}`}; !slices.Equal(got, want) {
		t.Errorf("BulkGet = %q, want %q", got, want)
	}
	if err := b.Delete(ctx, "statestore", state.Delete{Key: "a"}); err != nil {
		t.Fatal(err)
	}
	if err := b.DeleteBulk(ctx, "statestore", []state.Delete{{Key: "b"}, {Key: "never"}}); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"a", "b"} {
		if item, err := b.Get(ctx, "statestore", state.Get{Key: key}); err != nil || item.Exists() {
			t.Errorf("Get(%s) after its delete = %q, %v", key, item.Value, err)
		}
	}
}

func TestKeysHaveThePrefixTheirStoreAsksFor(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ keyPrefix, namespace, want string }{
		{"", "team", "todo-api||k"},
		{"appid", "team", "todo-api||k"},
		{"AppID", "team", "todo-api||k"},
		{"namespace", "team", "team.todo-api||k"},
		{"namespace", "", "todo-api||k"},
		{"name", "", "shop||k"},
		{"none", "", "k"},
		{"Shared", "", "shared||k"},
	} {
		store := memory.New(nil)
		b := newBlock(t, state.Config{Namespace: c.namespace},
			state.Component{Name: "shop", KeyPrefix: c.keyPrefix, Store: store})
		if err := b.Save(t.Context(), "shop", []state.Set{set("k", "1")}); err != nil {
			t.Fatal(err)
		}
		if item, err := store.Get(t.Context(), state.Get{Key: c.want}); err != nil || !item.Exists() {
			t.Errorf("keyPrefix %q, namespace %q: nothing under %s", c.keyPrefix, c.namespace, c.want)
		}
	}
}

func TestAnIllegalPrefixIsRefused(t *testing.T) {
	t.Parallel()
	b := state.New(state.Config{App: "todo-api"})
	err := b.Mount(state.Component{Name: "shop", KeyPrefix: "a||b", Store: memory.New(nil)})
	if err == nil || !strings.Contains(err.Error(), "input key/keyPrefix 'a||b' can't contain '||'") {
		t.Errorf("Mount = %v", err)
	}
	if len(b.Stores()) != 0 {
		t.Error("the store is there")
	}
}

// What clients see of each error, of both doors.
func TestErrorsAreDaprs(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	limited := memoryStore("limited")
	limited.MaxOperations = 1
	b := newBlock(t, state.Config{}, memoryStore("statestore"), limited,
		state.Component{Name: "broken", Store: broken{errors.New("dial tcp: refused")}})
	none := newBlock(t, state.Config{})
	wrong := "other"
	for _, c := range []struct {
		name       string
		err        error
		http       int
		body       string
		grpc       uint32
		says       string // over gRPC
		grpcReason string
	}{
		{
			"no store at all", none.Save(ctx, "statestore", nil), 500,
			`{"errorCode":"ERR_STATE_STORE_NOT_CONFIGURED","message":"state store statestore is not configured","details":[` +
				`{"@type":"type.googleapis.com/google.rpc.ErrorInfo","domain":"dapr.io","metadata":{"appID":"todo-api"},"reason":"DAPR_STATE_NOT_CONFIGURED"}]}`,
			9, "state store statestore is not configured", "DAPR_STATE_NOT_CONFIGURED",
		},
		{
			"an unknown store", b.Delete(ctx, "other", state.Delete{Key: "a"}), 400,
			`{"errorCode":"ERR_STATE_STORE_NOT_FOUND","message":"state store other is not found","details":[` +
				`{"@type":"type.googleapis.com/google.rpc.ErrorInfo","domain":"dapr.io","metadata":{"appID":"todo-api"},"reason":"DAPR_STATE_NOT_FOUND"}]}`,
			3, "state store other is not found", "DAPR_STATE_NOT_FOUND",
		},
		{
			"an illegal key", b.Save(ctx, "statestore", []state.Set{set("ke||y", "1")}), 400,
			`{"errorCode":"ERR_MALFORMED_REQUEST","message":"api error: code = InvalidArgument desc = input key/keyPrefix 'ke||y' can't contain '||'","details":[` +
				`{"@type":"type.googleapis.com/google.rpc.BadRequest","field_violations":[{"field":"ke||y","description":"api error: code = InvalidArgument desc = input key/keyPrefix 'ke||y' can't contain '||'"}]},` +
				`{"@type":"type.googleapis.com/google.rpc.ResourceInfo","description":"","owner":"","resource_name":"statestore","resource_type":"state"},` +
				`{"@type":"type.googleapis.com/google.rpc.ErrorInfo","domain":"dapr.io","metadata":null,"reason":"DAPR_STATE_ILLEGAL_KEY"}]}`,
			3, "input key/keyPrefix 'ke||y' can't contain '||'", "DAPR_STATE_ILLEGAL_KEY",
		},
		{
			"no key", b.Save(ctx, "statestore", []state.Set{set("", "1")}), 400,
			`{"errorCode":"ERR_MALFORMED_REQUEST","message":"\"key\" is a required field"}`,
			3, "state key cannot be empty", "ERR_STATE_SAVE",
		},
		{
			"a wrong etag", b.Save(ctx, "statestore", []state.Set{{Key: "a", Value: []byte("1"), ETag: &wrong}}), 409,
			`{"errorCode":"ERR_STATE_SAVE","message":"failed saving state in state store statestore: possible etag mismatch. error from state store: no item under key todo-api||a, or it has expired"}`,
			10, "failed saving state in state store statestore: possible etag mismatch. error from state store: no item under key todo-api||a, or it has expired", "ERR_STATE_SAVE",
		},
		{
			"a delete with a wrong etag", b.Delete(ctx, "statestore", state.Delete{Key: "a", ETag: &wrong}), 409,
			`{"errorCode":"ERR_STATE_DELETE","message":"failed deleting state with key a: possible etag mismatch. error from state store: no item under key todo-api||a, or it has expired"}`,
			10, "failed deleting state with key a: possible etag mismatch. error from state store: no item under key todo-api||a, or it has expired", "ERR_STATE_DELETE",
		},
		{
			"an etag the store never gives", newBlock(t, state.Config{}, state.Component{Name: "s", Store: broken{state.ErrETagInvalid}}).
				Save(ctx, "s", []state.Set{{Key: "a", ETag: &wrong}}), 400,
			`{"errorCode":"ERR_STATE_SAVE","message":"failed saving state in state store s: invalid etag value"}`,
			3, "failed saving state in state store s: invalid etag value", "ERR_STATE_SAVE",
		},
		{
			"a word that is no concurrency", b.Save(ctx, "statestore", []state.Set{{Key: "a", Options: state.Options{Concurrency: "first"}}}), 500,
			`{"errorCode":"ERR_STATE_SAVE","message":"failed saving state in state store statestore: unrecognized concurrency model 'first'"}`,
			13, "failed saving state in state store statestore: unrecognized concurrency model 'first'", "ERR_STATE_SAVE",
		},
		{
			"a word that is no consistency", b.Delete(ctx, "statestore", state.Delete{Key: "a", Options: state.Options{Consistency: "weak"}}), 500,
			`{"errorCode":"ERR_STATE_DELETE","message":"failed deleting state with key a: unrecognized consistency model 'weak'"}`,
			13, "failed deleting state with key a: unrecognized consistency model 'weak'", "ERR_STATE_DELETE",
		},
		{
			"a TTL that is no number", b.Save(ctx, "statestore", []state.Set{{Key: "a", Metadata: map[string]string{"ttlInSeconds": "soon"}}}), 500,
			`{"errorCode":"ERR_STATE_SAVE","message":"failed saving state in state store statestore: error parsing TTL: incorrect value for metadata 'ttlInSeconds': strconv.ParseInt: parsing \"soon\": invalid syntax"}`,
			13, "failed saving state in state store statestore: error parsing TTL: incorrect value for metadata 'ttlInSeconds': strconv.ParseInt: parsing \"soon\": invalid syntax", "ERR_STATE_SAVE",
		},
		{
			"a get that fails", second(b.Get(ctx, "broken", state.Get{Key: "a"})), 500,
			`{"errorCode":"ERR_STATE_GET","message":"fail to get a from state store broken: dial tcp: refused"}`,
			13, "fail to get a from state store broken: dial tcp: refused", "ERR_STATE_GET",
		},
		{
			"a bulk get that fails", second(b.BulkGet(ctx, "broken", state.BulkGet{Keys: []string{"a"}})), 500,
			`{"errorCode":"ERR_STATE_BULK_GET","message":"dial tcp: refused"}`, 2, "dial tcp: refused", "",
		},
		{
			"a bulk delete that fails", b.DeleteBulk(ctx, "broken", []state.Delete{{Key: "a"}}), 500,
			`{"errorCode":"ERR_STATE_BULK_DELETE","message":"failed deleting state in state store broken: dial tcp: refused"}`,
			13, "failed deleting state in state store broken: dial tcp: refused", "ERR_STATE_BULK_DELETE",
		},
		{
			"a transaction with a wrong etag", b.Transact(ctx, "statestore", []state.Step{{"delete", state.Set{Key: "a", ETag: &wrong}}}), 500,
			`{"errorCode":"ERR_STATE_TRANSACTION","message":"error while executing state transaction: possible etag mismatch. error from state store: no item under key todo-api||a, or it has expired"}`,
			13, "error while executing state transaction: possible etag mismatch. error from state store: no item under key todo-api||a, or it has expired", "ERR_STATE_TRANSACTION",
		},
		{
			"an operation that is none", b.Transact(ctx, "statestore", []state.Step{{"insert", set("a", "1")}}), 400,
			`{"errorCode":"ERR_NOT_SUPPORTED_STATE_OPERATION","message":"operation type insert not supported"}`,
			12, "operation type insert not supported", "ERR_NOT_SUPPORTED_STATE_OPERATION",
		},
		{
			"too many operations", b.Transact(ctx, "limited", []state.Step{{"upsert", set("a", "1")}, {"upsert", set("b", "1")}}), 400,
			`{"errorCode":"ERR_STATE_STORE_TOO_MANY_TRANSACTIONS","message":"the transaction contains 2 operations, which is more than what the state store supports: 1","details":[` +
				`{"@type":"type.googleapis.com/google.rpc.ResourceInfo","description":"","owner":"","resource_name":"limited","resource_type":"state"},` +
				`{"@type":"type.googleapis.com/google.rpc.ErrorInfo","domain":"dapr.io","metadata":{"currentOpsTransaction":"2","maxOpsPerTransaction":"1"},"reason":"DAPR_STATE_TOO_MANY_TRANSACTIONS"}]}`,
			3, "the transaction contains 2 operations, which is more than what the state store supports: 1", "DAPR_STATE_TOO_MANY_TRANSACTIONS",
		},
		{
			"a query", b.Query(ctx, "statestore"), 500,
			`{"errorCode":"ERR_STATE_STORE_NOT_SUPPORTED","message":"state store does not support querying","details":[` +
				`{"@type":"type.googleapis.com/google.rpc.ResourceInfo","description":"","owner":"","resource_name":"statestore","resource_type":"state"},` +
				`{"@type":"type.googleapis.com/google.rpc.ErrorInfo","domain":"dapr.io","metadata":null,"reason":"DAPR_STATE_QUERYING_NOT_SUPPORTED"}]}`,
			13, "state store does not support querying", "DAPR_STATE_QUERYING_NOT_SUPPORTED",
		},
		{
			"bytes that are called JSON", b.Save(ctx, "statestore", []state.Set{{Key: "a", Value: []byte("{"), Metadata: map[string]string{"contentType": "application/json"}}}), 400,
			`{"errorCode":"ERR_MALFORMED_REQUEST","message":"unexpected end of JSON input"}`, 2, "unexpected end of JSON input", "",
		},
	} {
		e, isOurs := daprerr.As(c.err)
		if !isOurs {
			t.Errorf("%s: %v, want an error of Dapr's form", c.name, c.err)
			continue
		}
		body, err := json.Marshal(e.Body())
		if err != nil {
			t.Fatal(err)
		}
		// < and > stay as they are: none is in these.
		if diff := cmp.Diff(c.body, string(body)); diff != "" || e.HTTP != c.http {
			t.Errorf("%s: HTTP %d, want %d; body (-want +got)\n%s", c.name, e.HTTP, c.http, diff)
		}
		over := e.ForGRPC()
		reason := ""
		if over.Info != nil {
			reason = over.Info.Reason
		}
		if over.GRPC != c.grpc || over.Message != c.says || reason != c.grpcReason {
			t.Errorf("%s: gRPC %d %q reason %q, want %d %q reason %q", c.name, over.GRPC, over.Message, reason, c.grpc, c.says, c.grpcReason)
		}
		if over.Info != nil && over.Info.Metadata["appID"] != "" {
			t.Errorf("%s: gRPC names the app, which Dapr does not", c.name)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// broken is a store none of whose operations succeed.
type broken struct{ err error }

func (b broken) Get(context.Context, state.Get) (state.Item, error) { return state.Item{}, b.err }
func (b broken) BulkGet(context.Context, []state.Get) ([]state.BulkItem, error) {
	return nil, b.err
}
func (b broken) Transact(context.Context, []state.Operation) error { return b.err }
func (b broken) Close() error                                      { return nil }

func TestNothingToDoIsNoFailure(t *testing.T) {
	t.Parallel()
	b, ctx := newBlock(t, state.Config{}, state.Component{Name: "broken", Store: broken{errors.New("called")}}), t.Context()
	for name, err := range map[string]error{
		"Save":       b.Save(ctx, "broken", nil),
		"DeleteBulk": b.DeleteBulk(ctx, "broken", nil),
		"Transact":   b.Transact(ctx, "broken", nil),
		"BulkGet":    second(b.BulkGet(ctx, "broken", state.BulkGet{})),
	} {
		if err != nil {
			t.Errorf("%s of nothing = %v", name, err)
		}
	}
}

func TestAnItemLivesAsLongAsItsMetadataSays(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	b := newBlock(t, state.Config{}, state.Component{Name: "s", Store: memory.New(func() time.Time { return now })})
	for ttl, expires := range map[string]string{"": "", "-1": "", "0": "", "1": "2027-01-15T08:00:01Z"} {
		err := b.Save(t.Context(), "s", []state.Set{{Key: "a", Metadata: map[string]string{"ttlInSeconds": ttl}}})
		if err != nil {
			t.Fatal(err)
		}
		item, err := b.Get(t.Context(), "s", state.Get{Key: "a"})
		if got := item.Metadata[state.MetadataTTLExpireTime]; err != nil || got != expires {
			t.Errorf("ttlInSeconds %q: expires %q, want %q (%v)", ttl, got, expires, err)
		}
	}
}

func TestEveryOperationGoesThroughAround(t *testing.T) {
	t.Parallel()
	ctx, refused := t.Context(), errors.New("circuit breaker is open")
	var seen []state.Call
	b := newBlock(t, state.Config{Around: func(_ context.Context, c state.Call, _ func(context.Context) error) error {
		seen = append(seen, c)
		return refused
	}}, memoryStore("s"))
	for _, err := range []error{
		second(b.Get(ctx, "s", state.Get{Key: "a"})),
		second(b.BulkGet(ctx, "s", state.BulkGet{Keys: []string{"a"}})),
		b.Save(ctx, "s", []state.Set{set("a", "1")}),
		b.Delete(ctx, "s", state.Delete{Key: "a"}),
		b.DeleteBulk(ctx, "s", []state.Delete{{Key: "a"}}),
		b.Transact(ctx, "s", []state.Step{{"upsert", set("a", "1")}}),
	} {
		if !errors.Is(err, refused) {
			t.Errorf("%v, want %v", err, refused)
		}
	}
	want := []state.Call{{"s", "get"}, {"s", "bulk_get"}, {"s", "set"}, {"s", "delete"}, {"s", "bulk_delete"}, {"s", "transaction"}}
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Errorf("operations (-want +got)\n%s", diff)
	}
}

// slow is a store whose reads wait.
type slow struct {
	*memory.Store
	began, goOn, closed chan struct{}
}

func (s slow) Get(ctx context.Context, r state.Get) (state.Item, error) {
	close(s.began)
	<-s.goOn
	return s.Store.Get(ctx, r)
}

func (s slow) Close() error {
	close(s.closed)
	return s.Store.Close()
}

func TestACallFinishesOnTheStoreItBeganWith(t *testing.T) {
	t.Parallel()
	old := slow{memory.New(nil), make(chan struct{}), make(chan struct{}), make(chan struct{})}
	b := newBlock(t, state.Config{}, state.Component{Name: "s", Type: "old", Store: old})
	if err := b.Save(t.Context(), "s", []state.Set{set("a", "old")}); err != nil {
		t.Fatal(err)
	}
	read := make(chan string, 1)
	go func() {
		item, err := b.Get(t.Context(), "s", state.Get{Key: "a"})
		if err != nil {
			t.Error(err)
		}
		read <- string(item.Value)
	}()
	within.Receive(t, old.began)
	if err := b.Mount(state.Component{Name: "s", Type: "new", Store: memory.New(nil)}); err != nil {
		t.Fatal(err)
	}
	if item, err := b.Get(t.Context(), "s", state.Get{Key: "a"}); err != nil || item.Exists() {
		t.Errorf("a later call = %q, %v, want nothing: it is the new store's", item.Value, err)
	}
	select {
	case <-old.closed:
		t.Error("closed with a call under way")
	default:
	}
	close(old.goOn)
	if got := within.Receive(t, read); got != "old" {
		t.Errorf("the call under way read %q, want old", got)
	}
	within.Receive(t, old.closed)
}

func TestNoCallFailsWhileStoresAreExchanged(t *testing.T) {
	t.Parallel()
	b := newBlock(t, state.Config{}, memoryStore("s"))
	done := make(chan struct{})
	var callers sync.WaitGroup
	for range 4 {
		callers.Go(func() {
			for n := 0; ; n++ {
				if err := b.Save(t.Context(), "s", []state.Set{set("a", "1")}); err != nil {
					t.Errorf("save %d: %v", n, err)
					return
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	for range 500 {
		if err := b.Mount(memoryStore("s")); err != nil {
			t.Fatal(err)
		}
	}
	close(done)
	callers.Wait()
}

func TestCloseDoesNotWaitForEver(t *testing.T) {
	t.Parallel()
	old := slow{memory.New(nil), make(chan struct{}), make(chan struct{}), make(chan struct{})}
	b := newBlock(t, state.Config{}, state.Component{Name: "s", Store: old})
	go func() { _, _ = b.Get(context.WithoutCancel(t.Context()), "s", state.Get{Key: "a"}) }()
	within.Receive(t, old.began)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.Close(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Close with a call under way = %v", err)
	}
	if err := b.Save(t.Context(), "s", nil); err == nil {
		t.Error("a later call finds the store")
	}
	close(old.goOn)
	within.Receive(t, old.closed)
}

func TestStoresAreTold(t *testing.T) {
	t.Parallel()
	b := newBlock(t, state.Config{}, memoryStore("b"), memoryStore("a"))
	want := []state.Info{
		{"a", "state.in-memory", "v1", []string{"ETAG", "TRANSACTIONAL", "TTL", "ACTOR"}},
		{"b", "state.in-memory", "v1", []string{"ETAG", "TRANSACTIONAL", "TTL", "ACTOR"}},
	}
	if diff := cmp.Diff(want, b.Stores()); diff != "" {
		t.Errorf("Stores (-want +got)\n%s", diff)
	}
	b.Unmount("a")
	if got := b.Stores(); len(got) != 1 || got[0].Name != "b" {
		t.Errorf("Stores without a = %v", got)
	}
}
