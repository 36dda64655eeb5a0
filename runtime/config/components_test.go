package config_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/runtime/config"
)

// app is whose resources are read.
var app = config.Sidecar{AppID: "orders", Namespace: "default"}

func environment(pairs ...string) func(string) string {
	set := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		set[pairs[i]] = pairs[i+1]
	}
	return func(name string) string { return set[name] }
}

// read reads one file for the app.
func read(t *testing.T, text string, pairs ...string) (config.Resources, error) {
	t.Helper()
	return app.Resources([]string{folder(t, "a.yaml", text)}, environment(pairs...))
}

// store is a component of the kind, with metadata in YAML's flow form.
func store(name, kind, metadata string, more ...string) string {
	return "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata:\n  name: " + name + "\nspec:\n  type: " + kind +
		"\n  version: v1\n  metadata: " + metadata + "\n" + strings.Join(more, "")
}

func TestComponentsAreReadAsDaprHasThem(t *testing.T) {
	t.Parallel()
	got, err := read(t, `apiVersion: dapr.io/v1alpha1
kind: Component
metadata:
  name: statestore
spec:
  type: state.redis
  version: v1
  ignoreErrors: true
  initTimeout: 20s
  metadata:
  - name: redisHost
    value: localhost:6379
  - name: maxRetries
    value: 10000000
  - name: enableTLS
    value: false
  - name: share
    value: 0.25
  - name: list
    value: [a, {b: "<c>"}]
  - name: nothing
    value: ""
  - name: fromEnv
    envRef: HOST
  - name: both
    value: written
    envRef: HOST
  - name: emptyRef
    value: kept
    secretKeyRef: {name: "", key: ""}
  - name: consumerID
    value: "{appID}-{podName}-{namespace}"
unknownField: 1
---
---
kind: Subscription
metadata: [nobody, "reads this"]
---
apiVersion: example.org/v1
kind: Component
spec: 7
`, "HOST", "h1", "POD_NAME", "p1")
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Components) != 1 {
		t.Fatalf("%d components", len(got.Components))
	}
	c := got.Components[0]
	want := config.Component{
		Name: "statestore", Type: "state.redis", Version: "v1", IgnoreErrors: true, InitTimeout: 20 * time.Second, At: c.At,
		Metadata: map[string]string{
			"redisHost": "localhost:6379", "maxRetries": "10000000", "enableTLS": "false", "share": "0.25",
			"list": `["a",{"b":"<c>"}]`, "nothing": "", "fromEnv": "h1", "both": "written", "emptyRef": "kept",
			"consumerID": "orders-p1-default.orders",
		},
	}
	if diff := cmp.Diff(want, c); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if !strings.HasSuffix(c.At, "a.yaml:1") {
		t.Errorf("it stands at %s", c.At)
	}
	if v, ok := c.Property("REDISHOST"); !ok || v != "localhost:6379" {
		t.Errorf("Property = %q, %v", v, ok)
	}
}

func TestAUUIDIsMadeForEachPlace(t *testing.T) {
	t.Parallel()
	got, err := read(t, store("s", "state.redis", `[{name: a, value: "{uuid}"}, {name: b, value: "{uuid}"}]`))
	if err != nil {
		t.Fatal(err)
	}
	m := got.Components[0].Metadata
	form := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	if m["a"] == m["b"] || !form.MatchString(m["a"]) {
		t.Errorf("%v", m)
	}
}

func TestSecretsComeFromFileAndEnvironment(t *testing.T) {
	t.Parallel()
	file := filepath.Join(folder(t, "secrets.json", `{"plain": "p1", "number": 7, "db": {"user": "u1", "deep": {"password": "d1"}}, "list": ["l0", "l1"]}`), "secrets.json")
	for name, c := range map[string]struct {
		store, ref string
		want       string
	}{
		"environment":            {store("s", "secretstores.local.env", "[]"), "{name: KEY, key: KEY}", "k1"},
		"without a key":          {store("s", "secretstores.local.env", "[]"), "{name: KEY}", "k1"},
		"with a prefix":          {store("s", "secretstores.local.env", "[{name: PREFIX, value: APP_}]"), "{name: KEY}", "k2"},
		"file":                   {store("s", "secretstores.local.file", "[{name: secretsFile, value: "+file+"}]"), "{name: plain}", "p1"},
		"a number":               {store("s", "secretstores.local.file", "[{name: secretsFile, value: "+file+"}]"), "{name: number}", "7"},
		"nested":                 {store("s", "secretstores.local.file", "[{name: secretsFile, value: "+file+"}]"), "{name: \"db:deep:password\"}", "d1"},
		"a list":                 {store("s", "secretstores.local.file", "[{name: secretsFile, value: "+file+"}]"), "{name: \"list:1\"}", "l1"},
		"nested, own separator":  {store("s", "secretstores.local.file", "[{name: secretsFile, value: "+file+"}, {name: nestedSeparator, value: .}]"), "{name: db.user, key: db.user}", "u1"},
		"several values":         {store("s", "secretstores.local.file", "[{name: secretsFile, value: "+file+"}, {name: multiValued, value: true}]"), "{name: db, key: \"deep:password\"}", "d1"},
		"several values, plain":  {store("s", "secretstores.local.file", "[{name: secretsFile, value: "+file+"}, {name: multiValued, value: \"true\"}]"), "{name: plain}", "p1"},
		"a store behind a store": {store("s", "secretstores.local.file", "[{name: secretsFile, secretKeyRef: {name: FILE}}]", "auth: {secretStore: e}\n---\n", store("e", "secretstores.local.env", "[]")), "{name: plain}", "p1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// The component stands before the store it asks.
			got, err := read(t, store("statestore", "state.redis", "[{name: redisPassword, secretKeyRef: "+c.ref+"}]", "auth:\n  secretStore: s\n")+"---\n"+c.store,
				"KEY", "k1", "APP_KEY", "k2", "FILE", file)
			if err != nil {
				t.Fatal(err)
			}
			if one := got.Components[0]; one.Metadata["redisPassword"] != c.want || one.Unusable != "" {
				t.Errorf("%+v, want %q", one, c.want)
			}
		})
	}
}

func TestAnEndpointsSecretsComeFromItsStore(t *testing.T) {
	t.Parallel()
	got, err := read(t, minimal("pay", "  headers:\n  - name: X-Key\n    secretKeyRef: {name: KEY}\n  clientTLS:\n    rootCA:\n      secretKeyRef: {name: ROOT}\nauth:\n  secretStore: env\n")+
		"---\n"+store("env", "secretstores.local.env", "[]"), "KEY", "k1", "ROOT", "pem")
	if err != nil {
		t.Fatal(err)
	}
	e := got.HTTPEndpoints[0]
	if e.Unusable != "" || e.Headers[0].Value != "k1" || e.TLS.RootCA != "pem" {
		t.Errorf("%+v", e)
	}
}

func TestTheStoresThatCanBeUsedAreThere(t *testing.T) {
	t.Parallel()
	file := filepath.Join(folder(t, "s.json", `{"b": "2", "a": {"x": "1"}}`), "s.json")
	got, err := read(t, store("env", "secretstores.local.env", "[]")+"---\n"+
		store("file", "secretstores.local.file", "[{name: secretsFile, value: "+file+"}]")+"---\n"+store("vault", "secretstores.hashicorp.vault", "[]"),
		"KEY", "k", "DAPR_API_TOKEN", "leaked")
	if err != nil || len(got.SecretStores) != 2 {
		t.Fatalf("%v, %v", got.SecretStores, err)
	}
	if names := got.SecretStores[1].Names(); !cmp.Equal(names, []string{"a:x", "b"}) {
		t.Errorf("%v", names)
	}
	if v, err := got.SecretStores[0].Get("KEY"); err != nil || v["KEY"] != "k" {
		t.Errorf("%v, %v", v, err)
	}
	for _, s := range got.SecretStores {
		for _, name := range []string{"DAPR_API_TOKEN", "missing"} {
			if v, err := s.Get(name); err == nil {
				t.Errorf("%s: %s is %v", s.Name, name, v)
			}
		}
	}
}

const redis = "[{name: redisPassword, secretKeyRef: {name: KEY, key: KEY}}]"

func TestWhatIsMissingMakesAComponentUnusable(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "gone.json")
	for want, text := range map[string]string{
		"auth.secretStore does not say in which":        store("statestore", "state.redis", redis),
		"there is no component of that name":            store("statestore", "state.redis", redis, "auth: {secretStore: s}\n"),
		"it is a state.redis, and no secret store":      store("statestore", "state.redis", redis, "auth: {secretStore: statestore2}\n---\n", store("statestore2", "state.redis", "[]")),
		"this version has no secretstores.kubernetes":   store("statestore", "state.redis", redis, "auth: {secretStore: s}\n---\n", store("s", "secretstores.kubernetes", "[]")),
		"has no secret \"KEY\"":                         store("statestore", "state.redis", redis, "  ignoreErrors: true\nauth: {secretStore: s}\n---\n", store("s", "secretstores.local.env", "[]")),
		"this version has no pubsub.redis: publishing":  store("statestore", "pubsub.redis", redis),
		"state.redis is known here in version v1, not ": strings.Replace(store("statestore", "state.redis", "[]"), "version: v1", "version: v2", 1),
		"are, by way of other stores, in itself":        store("s", "secretstores.local.file", "[{name: secretsFile, secretKeyRef: {name: a}}]", "auth: {secretStore: s}\n"),
		"secretsFile: there is no " + file:              store("statestore", "secretstores.local.file", "[{name: secretsFile, value: "+file+"}]", "  ignoreErrors: true\n"),
	} {
		got, err := read(t, text)
		if err != nil {
			t.Errorf("%q: %v", want, err)
			continue
		}
		if c := got.Components[0]; !strings.Contains(c.Unusable, want) || c.Unknown {
			t.Errorf("%+v, want %q", c, want)
		}
	}
	for kind, meant := range map[string]string{
		"stat.redis": "state.redis", "state.reddis": "state.redis", "pubsub.kafca": "pubsub.kafka", "lock.Rediss": "lock.redis",
	} {
		got, err := read(t, store("x", kind, "[]"))
		if err != nil || !got.Components[0].Unknown || !strings.Contains(got.Components[0].Unusable, "did you mean "+meant+"?") {
			t.Errorf("%s: %+v, %v", kind, got.Components, err)
		}
	}
}

func TestMistakesInComponentsAreNamedWithTheirLine(t *testing.T) {
	t.Parallel()
	secrets := folder(t, "broken.json", "{\n  \"a\": \"hunter2\",\n  b\n}", "list.json", "[1]", "good.json", "{}")
	env := "auth: {secretStore: s}\n---\n" + store("s", "secretstores.local.env", "[]")
	for want, text := range map[string]string{
		"a.yaml:1: Component statestore: metadata redisPassword: the secret store s (secretstores.local.env) has no secret \"KEY\"": store("statestore", "state.redis", redis, env),
		"has no key \"OTHER\"":                                                   store("statestore", "state.redis", "[{name: p, secretKeyRef: {name: HERE, key: OTHER}}]", env),
		"may not be the environment's DAPR_API_TOKEN":                            store("statestore", "state.redis", "[{name: p, envRef: DAPR_API_TOKEN}]"),
		"may not be the environment's app_api_token":                             store("statestore", "state.redis", "[{name: p, envRef: app_api_token}]"),
		"the environment's NOT_LISTED":                                           store("statestore", "state.redis", "[{name: p, envRef: NOT_LISTED}]"),
		"metadata.name is missing":                                               store("", "state.redis", "[]"),
		"spec.type is missing":                                                   store("statestore", "", "[]"),
		"spec.metadata[1] has no name":                                           store("statestore", "state.redis", "[{name: a}, {value: b}]"),
		"initTimeout: \"soon\" is not a time":                                    store("statestore", "state.redis", "[]", "  initTimeout: soon\n"),
		"{podName} is not known":                                                 store("statestore", "state.redis", "[{name: a, value: \"{podName}\"}]"),
		"a.yaml:9: Component statestore: a text stands where true or false":      store("statestore", "state.redis", "[]", "  ignoreErrors: perhaps\n"),
		"a.yaml:8: Component statestore: a text stands where a list is expected": store("statestore", "state.redis", "all"),
		"it is defined at ":                                                      store("statestore", "state.redis", "[]", "---\n", store("statestore", "state.sqlite", "[]")),
		"secretsFile is missing":                                                 store("s", "secretstores.local.file", "[]"),
		"broken.json:3: it is not":                                               store("s", "secretstores.local.file", "[{name: secretsFile, value: "+filepath.Join(secrets, "broken.json")+"}]"),
		"list.json:1: it is not":                                                 store("s", "secretstores.local.file", "[{name: secretsFile, value: "+filepath.Join(secrets, "list.json")+"}]"),
		"multiValued: \"perhaps\" is":                                            store("s", "secretstores.local.file", "[{name: secretsFile, value: "+filepath.Join(secrets, "good.json")+"}, {name: multiValued, value: perhaps}]"),
	} {
		_, err := read(t, text, "HERE", "hunter2", "DAPR_API_TOKEN", "hunter2", "NOT_LISTED", "hunter2", "DAPR_ENV_KEYS", "HERE OTHER")
		if !apperr.Is(err, apperr.OwnConfig) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestDeniedTypesCannotBeUsed(t *testing.T) {
	t.Parallel()
	dir := folder(t, "a.yaml", store("a", "state.redis", redis, "auth: {secretStore: s}\n---\n", store("s", "secretstores.local.env", "[]"), "---\n", store("b", "state.sqlite", "[]")))
	for name, c := range map[string]struct {
		denied, unusable []string
	}{
		"nothing":         {nil, nil},
		"a type":          {[]string{"state.sqlite"}, []string{"b"}},
		"a version":       {[]string{"state.sqlite/v1", "state.redis/v2"}, []string{"b"}},
		"a secrets store": {[]string{"secretstores.local.env"}, []string{"a", "s"}},
	} {
		got, err := app.Resources([]string{dir}, environment("KEY", "k"), c.denied...)
		if err != nil {
			t.Fatal(err)
		}
		var unusable []string
		for _, one := range got.Components {
			if one.Unusable != "" {
				unusable = append(unusable, one.Name)
			}
		}
		if !cmp.Equal(unusable, c.unusable) {
			t.Errorf("%s: %v, want %v", name, unusable, c.unusable)
		}
	}
}

// What is right is read beside what is not, and every mistake is named.
func TestAllMistakesAreReportedAtOnce(t *testing.T) {
	t.Parallel()
	dir := folder(t, "a.yaml", store("ok", "state.redis", "[]"), "b.yaml", "a: [\n", "c.yaml", store("", "state.redis", "[]"))
	got, err := app.Resources([]string{dir, filepath.Join(dir, "a.yaml")}, environment())
	if len(got.Components) != 1 || err == nil || !strings.Contains(err.Error(), "b.yaml:1") || !strings.Contains(err.Error(), "c.yaml:1") {
		t.Errorf("%+v, %v", got.Components, err)
	}
}

// As with Dapr, an app that nobody gave a namespace takes the resources of all.
func TestNamespacesCountOnceOneWasGiven(t *testing.T) {
	t.Parallel()
	dir := folder(t, "a.yaml", strings.Replace(store("s", "state.redis", "[]"), "name: s", "name: s\n  namespace: prod", 1))
	for name, c := range map[string]struct {
		app  config.Sidecar
		want int
	}{
		"not given": {config.Sidecar{Namespace: "default"}, 1},
		"given":     {config.Sidecar{Namespace: "default", NamespaceGiven: true}, 0},
		"another":   {config.Sidecar{Namespace: "test"}, 0},
		"its own":   {config.Sidecar{Namespace: "prod", NamespaceGiven: true}, 1},
	} {
		got, err := c.app.Resources([]string{dir}, environment())
		if err != nil || len(got.Components) != c.want {
			t.Errorf("%s: %d, %v", name, len(got.Components), err)
		}
	}
}

func TestAFileThatIsTooLargeIsRefused(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.yaml")
	if err := os.WriteFile(path, []byte(strings.Repeat("# x\n", 300_000)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := app.Resources([]string{path}, environment()); err == nil || !strings.Contains(err.Error(), "1 MiB") {
		t.Errorf("%v", err)
	}
}

// Whatever a file holds, reading it ends without a panic, and with an error or
// not.
func FuzzResources(f *testing.F) {
	f.Add(store("s", "state.redis", redis))
	f.Add(minimal("pay", ""))
	f.Add("kind: Resiliency\nmetadata: {name: r}\nspec: {policies: {retries: {a: {maxRetries: 3}}}}\n")
	f.Add("a: &a [*a]\n---\n- ?\n")
	f.Fuzz(func(t *testing.T, text string) {
		_, _ = read(t, text)
	})
}
