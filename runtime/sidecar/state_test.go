//go:build unix

package sidecar_test

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	runtimev1 "github.com/dapr/dapr/pkg/proto/runtime/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/porttest"
	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/runtime/config"
	"github.com/pillion-dev/pillion/runtime/state/statetest"
)

// metadata is that of a component: names and values.
func metadata(pairs ...string) string {
	text := "  metadata:\n"
	for i := 0; i < len(pairs); i += 2 {
		text += "  - name: " + pairs[i] + "\n    value: " + strconv.Quote(pairs[i+1]) + "\n"
	}
	return text
}

// sidecarOf runs a sidecar alone until it is up, and returns its HTTP door.
func (p *place) sidecarOf(cfg config.Sidecar) (r *run, door uint16) {
	p.t.Helper()
	r = p.start("", cfg)
	r.awaitNotice("sidecar is up")
	for _, e := range p.entries() {
		if e.App == cfg.AppID && (cfg.Namespace == "" || e.Namespace == cfg.Namespace) {
			return r, e.HTTPPort
		}
	}
	p.t.Fatalf("%s has no entry: %v", cfg.AppID, p.entries())
	return nil, 0
}

func (p *place) saved(door uint16, store, body string) {
	p.t.Helper()
	if status, text := post(p.t, door, "/v1.0/state/"+store, body); status != http.StatusNoContent {
		p.t.Fatalf("save in %s: %d %s", store, status, text)
	}
}

func wantState(t *testing.T, door uint16, path, want string) {
	t.Helper()
	if _, text, _ := get(t, door, "/v1.0/state/"+path); text != want {
		t.Errorf("%s is %q, want %q", path, text, want)
	}
}

func TestAnAppHasAStateStoreOfItsOwn(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	r, door := p.sidecarOf(config.Sidecar{AppID: "todo-api"})
	if _, err := os.Stat(p.home.State()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file is there before the first call: %v", err)
	}
	p.saved(door, "statestore", `[{"key":"tasks","value":[{"id":1}]}]`)
	wantState(t, door, "statestore/tasks", `[{"id":1}]`)

	_, other := p.sidecarOf(config.Sidecar{AppID: "other"})
	wantState(t, other, "statestore/tasks", "")
	_, team := p.sidecarOf(config.Sidecar{AppID: "todo-api", Namespace: "team", NamespaceGiven: true})
	wantState(t, team, "statestore/tasks", "")
	p.saved(team, "statestore", `[{"key":"tasks","value":"the team's"}]`)
	wantState(t, door, "statestore/tasks", `[{"id":1}]`)

	r.stop()
	r.end()
	_, again := p.sidecarOf(config.Sidecar{AppID: "todo-api", Namespace: "default", NamespaceGiven: true})
	wantState(t, again, "statestore/tasks", `[{"id":1}]`)
}

func TestTheBuiltInStoreMayBeElsewhere(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	file := filepath.Join(t.TempDir(), "mine?.db")
	_, door := p.sidecarOf(config.Sidecar{AppID: "app", StateFile: file})
	p.saved(door, "statestore", `[{"key":"a","value":1}]`)
	if _, err := os.Stat(file); err != nil {
		t.Error(err)
	}
}

func TestBothDoorsSeeOneState(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	r := p.start("", config.Sidecar{AppID: "app"})
	r.awaitNotice("sidecar is up")
	entry := p.entries()[0]
	p.saved(entry.HTTPPort, "statestore", `[{"key":"a","value":{"n":1}}]`)
	conn, err := grpc.NewClient("127.0.0.1:"+strconv.Itoa(int(entry.GRPCPort)), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // the test is over
	got, err := runtimev1.NewDaprClient(conn).GetState(within.Context(t), &runtimev1.GetStateRequest{StoreName: "statestore", Key: "a"})
	if err != nil || string(got.GetData()) != `{"n":1}` || got.GetEtag() == "" {
		t.Errorf("GetState = %v, %v", got, err)
	}
}

// A component takes the place of the built-in store, comes, goes and changes,
// without a restart.
func TestStateStoresFollowTheirFiles(t *testing.T) {
	t.Parallel()
	p, dir := newPlace(t), t.TempDir()
	file := filepath.Join(dir, "store.yaml")
	put(t, file, component("statestore", "state.in-memory"))
	r, door := p.sidecarOf(config.Sidecar{AppID: "app", ResourcesPaths: []string{dir}})
	p.saved(door, "statestore", `[{"key":"a","value":"in memory"}]`)
	if _, err := os.Stat(p.home.State()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the built-in store's file is there: %v", err)
	}
	put(t, filepath.Join(dir, "more.yaml"), component("more", "state.in-memory"))
	r.awaitSaid("component more added")
	p.saved(door, "more", `[{"key":"a","value":"more"}]`)
	wantState(t, door, "statestore/a", `"in memory"`) // it did not change

	database := filepath.Join(t.TempDir(), "data.db")
	put(t, file, component("statestore", "state.sqlite", metadata("connectionString", database)))
	r.awaitSaid("component statestore changed")
	wantState(t, door, "statestore/a", "")
	p.saved(door, "statestore", `[{"key":"a","value":"in a file"}]`)

	put(t, file, component("statestore", "state.sqlite"))
	r.awaitSaid("connectionString: missing")
	wantState(t, door, "statestore/a", `"in a file"`) // the old one stays

	put(t, file, "")
	r.awaitSaid("component statestore removed")
	wantState(t, door, "statestore/a", "")
	p.saved(door, "statestore", `[{"key":"a","value":"built in"}]`)
	_, text, _ := get(t, door, "/v1.0/metadata")
	if want := `{"name":"statestore","type":"state.sqlite","version":"v1","capabilities":["ETAG","TRANSACTIONAL","TTL","ACTOR"]}`; !strings.Contains(text, want) {
		t.Errorf("metadata: %s", text)
	}
}

func TestAMistakeInAStateStoreEndsTheStart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "a.yaml")
	put(t, file, component("statestore", "state.sqlite", metadata("connectionString", "a.db", "keyPrefix", "a||b", "timeout", "soon",
		"primaryEncryptionKey", "00", "outboxPublishPubsub", "p")))
	err := newPlace(t).start("", config.Sidecar{ResourcesPaths: []string{dir}}).failed()
	for _, want := range []string{
		file + ":1: the component statestore: ", `timeout: "soon" is no duration such as 2s`, "keyPrefix: input key/keyPrefix 'a||b' can't contain '||'",
		"primaryEncryptionKey: this version does not encrypt state", "outboxPublishPubsub: this version has no pub/sub",
	} {
		if !apperr.Is(err, apperr.OwnConfig) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	put(t, file, component("statestore", "state.redis", "  ignoreErrors: true\n"))
	r, door := newPlace(t).sidecarOf(config.Sidecar{AppID: "app", ResourcesPaths: []string{dir}})
	r.awaitSaid("the component statestore cannot be used: redisHost: missing")
	if status, text := post(t, door, "/v1.0/state/statestore", "[]"); status != http.StatusInternalServerError || !strings.Contains(text, "ERR_STATE_STORE_NOT_CONFIGURED") {
		t.Errorf("%d %s: what was asked for is not replaced by the built-in store", status, text)
	}
}

// In daprd's place there is no store that nobody asked for, and one that cannot
// be used ends the start.
func TestStateStoresInDaprdsPlace(t *testing.T) {
	t.Parallel()
	profile := config.RunProfile()
	profile.StrictComponents, profile.HomeResources = true, false
	_, door := newPlace(t).sidecarOf(config.Sidecar{AppID: "app", Profile: profile})
	if status, text := post(t, door, "/v1.0/state/statestore", "[]"); status != http.StatusInternalServerError || !strings.Contains(text, "ERR_STATE_STORE_NOT_CONFIGURED") {
		t.Errorf("%d %s", status, text)
	}
	nobody := porttest.Reserve(t).Addr()
	for name, metadata := range map[string]string{
		"state.redis":  metadata("redisHost", nobody, "redisMaxRetries", "-1"),
		"state.sqlite": metadata("connectionString", filepath.Join(t.TempDir(), "missing", "a.db")),
	} {
		dir := t.TempDir()
		put(t, filepath.Join(dir, "a.yaml"), component("orders", name, "  initTimeout: 1m\n", metadata))
		err := newPlace(t).start("", config.Sidecar{Profile: profile, ResourcesPaths: []string{dir}}).failed()
		if err == nil || !strings.Contains(err.Error(), "the state store orders cannot be used") {
			t.Errorf("%s: %v", name, err)
		}
		put(t, filepath.Join(dir, "a.yaml"), component("orders", name, "  initTimeout: 1m\n  ignoreErrors: true\n", metadata))
		r, door := newPlace(t).sidecarOf(config.Sidecar{AppID: "app", Profile: profile, ResourcesPaths: []string{dir}})
		r.awaitSaid("the state store orders cannot be used yet")
		if status, text := post(t, door, "/v1.0/state/orders", `[{"key":"a","value":1}]`); status != http.StatusInternalServerError || !strings.Contains(text, "ERR_STATE_SAVE") {
			t.Errorf("%s: %d %s", name, status, text)
		}
	}
}

// In front of a person a server that is not there yet is no reason not to start.
func TestAStateStoreThatIsDownIsToldByTheCall(t *testing.T) {
	t.Parallel()
	dir, nobody := t.TempDir(), porttest.Reserve(t).Addr()
	put(t, filepath.Join(dir, "a.yaml"), component("orders", "state.redis", metadata("redisHost", nobody, "redisMaxRetries", "-1")))
	_, door := newPlace(t).sidecarOf(config.Sidecar{AppID: "app", ResourcesPaths: []string{dir}})
	status, text := post(t, door, "/v1.0/state/orders", `[{"key":"a","value":1}]`)
	for _, want := range []string{"failed saving state in state store orders", "redis store orders at " + nobody, "connection refused"} {
		if status != http.StatusInternalServerError || !strings.Contains(text, want) {
			t.Errorf("%d %s, want %q", status, text, want)
		}
	}
}

// What the SDKs send, on a real server, by both doors; the server goes and comes
// back.
func TestStateOnRedis(t *testing.T) {
	t.Parallel()
	server, p, dir := statetest.ServeRedis(t, "--appendonly", "yes", "--appendfsync", "always"), newPlace(t), t.TempDir()
	put(t, filepath.Join(dir, "a.yaml"), component("statestore", "state.redis", metadata("redisHost", server.Addr())))
	_, door := p.sidecarOf(config.Sidecar{AppID: "app", ResourcesPaths: []string{dir}})
	p.saved(door, "statestore", `[{"key":"a","value":[{"id":1}]},{"key":"b","value":2}]`)
	wantState(t, door, "statestore/a", `[{"id":1}]`)
	status, text := post(t, door, "/v1.0/state/statestore/bulk", `{"keys":["a","b","c"]}`)
	if want := `[{"key":"a","data":[{"id":1}],"etag":"1"},{"key":"b","data":2,"etag":"1"},{"key":"c"}]`; status != http.StatusOK || strings.TrimSpace(text) != want {
		t.Errorf("bulk: %d %s, want %s", status, text, want)
	}
	status, text = post(t, door, "/v1.0/state/statestore/transaction",
		`{"operations":[{"operation":"upsert","request":{"key":"a","value":3}},{"operation":"delete","request":{"key":"b","etag":"7"}}]}`)
	if status != http.StatusInternalServerError || !strings.Contains(text, "ERR_STATE_TRANSACTION") {
		t.Errorf("a transaction with a wrong etag: %d %s", status, text)
	}
	wantState(t, door, "statestore/a", `[{"id":1}]`)
	server.Kill()
	status, text = post(t, door, "/v1.0/state/statestore", `[{"key":"a","value":4}]`)
	if status != http.StatusInternalServerError || !strings.Contains(text, "redis store statestore at "+server.Addr()) {
		t.Errorf("without the server: %d %s", status, text)
	}
	server.Start()
	wantState(t, door, "statestore/a", `[{"id":1}]`)
	p.saved(door, "statestore", `[{"key":"a","value":5,"etag":"1"}]`)
	status, text = post(t, door, "/v1.0/state/statestore", `[{"key":"a","value":6,"etag":"1"}]`)
	if status != http.StatusConflict || !strings.Contains(text, "possible etag mismatch") {
		t.Errorf("a wrong etag: %d %s", status, text)
	}
}
