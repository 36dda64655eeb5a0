//go:build unix

package sidecar_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/runtime/config"
	"github.com/pillion-dev/pillion/runtime/sidecar"
)

// put writes a file as editors do: the new one takes the old one's name.
func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path+"~", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+"~", path); err != nil {
		t.Fatal(err)
	}
}

// awaitSaid waits for a notice that holds text anywhere.
func (r *run) awaitSaid(text string) string {
	r.t.Helper()
	var found string
	r.await("notice with "+text, func() bool {
		for _, n := range r.notices() {
			if strings.Contains(n.String(), text) {
				found = n.String()
			}
		}
		return found != ""
	})
	return found
}

func control(policies string) string {
	return "apiVersion: dapr.io/v1alpha1\nkind: Configuration\nmetadata:\n  name: c\nspec:\n  accessControl:\n    defaultAction: deny\n    policies:\n" + policies
}

const notifyOnly = `    - appId: todo
      trustDomain: public
      namespace: default
      defaultAction: deny
      operations:
      - name: /notify
        httpVerb: [GET]
        action: allow
`

// Access control is the callee's, by the identity that the caller's certificate
// proves, and changes with its file.
func TestAccessControlOfAConfigurationIsEnforced(t *testing.T) {
	t.Parallel()
	_, port := told(t)
	file := filepath.Join(t.TempDir(), "config.yaml")
	put(t, file, control(notifyOnly))
	p := newPlace(t)
	callee := p.start("", config.Sidecar{AppID: "notification", AppPort: port, ConfigFiles: []string{file}})
	callee.awaitNotice("sidecar is up")
	doors := map[string]uint16{}
	for _, app := range []string{"todo", "other"} {
		r := p.start("", config.Sidecar{AppID: app})
		r.awaitNotice("sidecar is up")
	}
	for _, e := range p.entries() {
		doors[e.App] = e.HTTPPort
	}
	expect := func(caller, path string, want int, says ...string) {
		t.Helper()
		status, text, _ := get(t, doors[caller], "/v1.0/invoke/notification/method"+path)
		if status != want {
			t.Errorf("%s calls %s: %d %s, want %d", caller, path, status, text, want)
		}
		for _, part := range says {
			if !strings.Contains(text, part) {
				t.Errorf("%s calls %s: %s, want %s", caller, path, text, part)
			}
		}
	}
	expect("todo", "/notify", 200)
	expect("todo", "/notify/deeper", 200)
	expect("todo", "/other?q=1", 403, `"errorCode":"ERR_DIRECT_INVOKE"`,
		"access control policy has denied access to id: spiffe://public/ns/default/todo operation: other verb: GET", file+":9")
	expect("other", "/notify", 403, "access control policy has denied access to id: spiffe://public/ns/default/other operation: notify verb: GET")
	expect("todo", "/x/../notify", 403)

	put(t, file, control("    - appId: other\n"))
	callee.awaitSaid("the resources stay as they were; cause: spec.accessControl cannot be enforced: " + file + `:9: the policy "other" lacks trustDomain and namespace`)
	expect("todo", "/notify", 200)
	put(t, file, control("    - {\n"))
	callee.awaitSaid("cause: " + file + ":9: ")
	put(t, file, "")
	callee.awaitSaid("cause: " + file + ": it says nothing any more")
	expect("todo", "/notify", 200)

	put(t, file, control(strings.ReplaceAll(notifyOnly, "todo", "other")))
	callee.awaitSaid("resources read anew · access control changed")
	expect("todo", "/notify", 403)
	expect("other", "/notify", 200)
	put(t, file, "kind: Configuration\n")
	callee.await("no policy", func() bool {
		status, _, _ := get(t, doors["todo"], "/v1.0/invoke/notification/method/other")
		return status == 200
	})
}

// A call into another namespace arrives once a policy there names the caller.
func TestAPolicyLetsAnAppOfAnotherNamespaceCall(t *testing.T) {
	t.Parallel()
	_, port := told(t)
	file := filepath.Join(t.TempDir(), "config.yaml")
	put(t, file, "kind: Configuration\n")
	p := newPlace(t)
	callee := p.start("", config.Sidecar{AppID: "shop", Namespace: "private", AppPort: port, ConfigFiles: []string{file}})
	callee.awaitNotice("sidecar is up")
	p.start("", config.Sidecar{AppID: "todo"}).awaitNotice("sidecar is up")
	var door uint16
	for _, e := range p.entries() {
		if e.App == "todo" {
			door = e.HTTPPort
		}
	}
	for path, want := range map[string]apperr.Reason{"shop.private": apperr.NamespaceDenied, "shop": apperr.AppNotFound, "shop.other": apperr.AppNotFound} {
		status, text, head := get(t, door, "/v1.0/invoke/"+path+"/method/a")
		if head.Get("Pillion-Error") != string(want) {
			t.Errorf("%s: %d %s, want %s", path, status, text, want)
		}
	}
	put(t, file, control("    - {appId: todo, trustDomain: public, namespace: default, defaultAction: allow}\n"))
	callee.awaitSaid("access control changed")
	if status, text, _ := get(t, door, "/v1.0/invoke/shop.private/method/a"); status != 200 ||
		!strings.Contains(text, "Dapr-Caller-Namespace: default") || !strings.Contains(text, "Dapr-Callee-App-Id: shop\r") {
		t.Errorf("%d %s", status, text)
	}
}

func TestHTTPEndpointsComeAndGoWithTheirFiles(t *testing.T) {
	t.Parallel()
	out, _ := told(t)
	p := newPlace(t)
	r := p.start("", config.Sidecar{AppID: "app", Profile: config.RunProfile()})
	r.awaitNotice("sidecar is up")
	door := p.entries()[0].HTTPPort
	file := filepath.Join(p.home.Resources(), "pay.yaml")
	endpoint := "apiVersion: dapr.io/v1alpha1\nkind: HTTPEndpoint\nmetadata:\n  name: pay\nspec:\n  baseUrl: " + out.URL + "\n  headers:\n  - name: X-Key\n"

	put(t, file, endpoint+"    value: k1\n")
	r.awaitSaid("resources read anew · HTTPEndpoint pay added")
	if status, text, _ := get(t, door, "/v1.0/invoke/pay/method/a"); status != 200 || !strings.Contains(text, "X-Key: k1") {
		t.Errorf("%d %s", status, text)
	}
	if _, text, _ := get(t, door, "/v1.0/metadata"); !strings.Contains(text, `"httpEndpoints":[{"name":"pay"}]`) || !strings.Contains(text, `"enabledFeatures":["HotReload"]`) {
		t.Errorf("metadata: %s", text)
	}
	put(t, file, endpoint+"    value: k2\n")
	r.awaitSaid("HTTPEndpoint pay changed")
	if status, text, _ := get(t, door, "/v1.0/invoke/pay/method/a"); status != 200 || !strings.Contains(text, "X-Key: k2") {
		t.Errorf("%d %s", status, text)
	}
	put(t, file, strings.Replace(endpoint, out.URL, "ftp://x", 1)+"    value: k3\n")
	r.awaitSaid("cause: " + file + ":1: HTTPEndpoint pay: spec.baseUrl")
	if status, text, _ := get(t, door, "/v1.0/invoke/pay/method/a"); status != 200 || !strings.Contains(text, "X-Key: k2") {
		t.Errorf("%d %s", status, text)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	r.awaitSaid("HTTPEndpoint pay removed")
	if status, _, head := get(t, door, "/v1.0/invoke/pay/method/a"); status != 500 || head.Get("Pillion-Error") != string(apperr.AppNotFound) {
		t.Errorf("%d %v", status, head)
	}
}

func TestSidecarsOfOneProcessShareAWatcher(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.files = sidecar.Files(nil)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.files.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	dir := t.TempDir()
	first := p.start("", config.Sidecar{AppID: "first", ResourcesPaths: []string{dir}})
	second := p.start("", config.Sidecar{AppID: "second", ResourcesPaths: []string{dir}})
	for _, r := range []*run{first, second} {
		r.awaitNotice("sidecar is up")
	}
	put(t, filepath.Join(dir, "a.yaml"), component("a", "state.in-memory"))
	for _, r := range []*run{first, second} {
		r.awaitSaid("component a added")
	}
	first.stop()
	first.end()
	said := len(first.notices())
	put(t, filepath.Join(dir, "b.yaml"), component("b", "state.in-memory"))
	second.awaitSaid("component b added")
	if got := first.notices()[said:]; len(got) > 0 {
		t.Errorf("one that has ended says %v", got)
	}
}

func component(name, kind string, more ...string) string {
	return "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata:\n  name: " + name + "\nspec:\n  type: " + kind + "\n  version: v1\n" + strings.Join(more, "")
}

// A Dapr user's folder holds more than we have: that is named and no error. A
// type that nobody knows is one where daprd is expected.
func TestComponentsThatCannotBeUsedAreNamedOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "a.yaml")
	put(t, file, component("pubsub", "pubsub.redis")+"---\n"+component("mine", "stat.redis"))
	p := newPlace(t)
	r := p.start("", config.Sidecar{ResourcesPaths: []string{dir}})
	r.awaitNotice("sidecar is up")
	for _, want := range []string{
		file + ":1: the component pubsub cannot be used: this version has no pubsub.redis: publishing to it answers ERR_PUBSUB_NOT_FOUND",
		file + ":9: the component mine cannot be used: no component is called stat.redis (did you mean state.redis?)",
	} {
		if said := r.awaitSaid(want); !strings.HasPrefix(said, "warning: ") {
			t.Errorf("it says %q", said)
		}
	}
	put(t, filepath.Join(dir, "b.yaml"), component("more", "state.in-memory"))
	r.awaitSaid("component more added")
	named := 0
	for _, n := range r.notices() {
		if strings.Contains(n.Text, "the component pubsub") {
			named++
		}
	}
	if named != 1 {
		t.Errorf("named %d times", named)
	}
	err := newPlace(t).start("", config.Sidecar{Profile: config.SidecarProfile(), ResourcesPaths: []string{dir}}).failed()
	if !apperr.Is(err, apperr.OwnConfig) || !strings.Contains(err.Error(), file+":9: the component mine: no component is called stat.redis") ||
		strings.Contains(err.Error(), "pubsub") {
		t.Errorf("%v", err)
	}
}

func TestMistakesInResourcesEndTheStartWithAllOfThem(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	put(t, filepath.Join(dir, "a.yaml"), component("a", "state.redis")+"---\n"+component("a", "state.sqlite"))
	put(t, filepath.Join(dir, "b.yaml"), "kind: Resiliency\nmetadata: {name: r}\nspec: 7\n")
	put(t, filepath.Join(dir, "c.yaml"), "kind: Component\n  x: [\n")
	configuration := filepath.Join(dir, "config")
	put(t, configuration, control("    - appId: a\n"))
	p := newPlace(t)
	err := p.start("", config.Sidecar{ResourcesPaths: []string{dir}, ConfigFiles: []string{configuration}}).failed()
	for _, want := range []string{
		"a.yaml:9: Component a: it is defined at " + filepath.Join(dir, "a.yaml") + ":1, too",
		"b.yaml:3: Resiliency r: ", "c.yaml:", configuration + ":9: the policy",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if len(p.entries()) > 0 {
		t.Error("it was there for others")
	}
}

// Dapr leaves out a handler without a component. One that may keep somebody out
// is not left out unseen.
func TestAHandlerThatMayRefuseRequestsIsNotLeftOutUnseen(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		kind, resource, says string
		refused              bool
	}{
		"no component":          {"middleware.http.bearer", "", "is left out: there is no such component", false},
		"a guard":               {"middleware.http.bearer", component("h", "middleware.http.bearer"), "may refuse requests", true},
		"a guard of one's own":  {"middleware.http.mine", component("h", "middleware.http.mine"), "may refuse requests", true},
		"a guard, with consent": {"middleware.http.bearer", component("h", "middleware.http.bearer", "  ignoreErrors: true\n"), "is left out: this version has no middleware", false},
		"a harmless one":        {"middleware.http.oauth2clientcredentials", component("h", "middleware.http.oauth2clientcredentials"), "is left out: this version has no middleware", false},
	} {
		for _, pipeline := range []string{"httpPipeline", "appHttpPipeline"} {
			t.Run(name+" in "+pipeline, func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				put(t, filepath.Join(dir, "a.yaml"), c.resource)
				configuration := filepath.Join(dir, "config")
				put(t, configuration, "kind: Configuration\nspec:\n  "+pipeline+":\n    handlers:\n    - {name: h, type: "+c.kind+"}\n")
				r := newPlace(t).start("", config.Sidecar{ResourcesPaths: []string{dir}, ConfigFiles: []string{configuration}})
				if !c.refused {
					r.awaitNotice("sidecar is up")
					if n := r.awaitNotice(c.says); n.Kind != sidecar.Warning || !strings.HasPrefix(n.Text, configuration+":5: ") {
						t.Errorf("it says %q", n)
					}
					return
				}
				if err := r.failed(); !apperr.Is(err, apperr.OwnConfig) || !strings.Contains(err.Error(), configuration+":5: ") || !strings.Contains(err.Error(), c.says) {
					t.Errorf("%v", err)
				}
			})
		}
	}
}

// The feature flag that turns reloading off in Dapr does so here.
func TestWithoutHotReloadTheFirstResourcesCount(t *testing.T) {
	t.Parallel()
	_, port := told(t)
	file := filepath.Join(t.TempDir(), "config.yaml")
	put(t, file, "kind: Configuration\nspec:\n  features:\n  - {name: HotReload, enabled: false}\n")
	p := newPlace(t)
	r := p.start("", config.Sidecar{AppID: "app", AppPort: port, ConfigFiles: []string{file}})
	r.awaitNotice("sidecar is up")
	door := p.entries()[0].HTTPPort
	if _, text, _ := get(t, door, "/v1.0/metadata"); strings.Contains(text, "HotReload") {
		t.Errorf("metadata: %s", text)
	}
	put(t, file, control(notifyOnly))
	// There is nothing to wait for. A second sidecar sees the change; by then the
	// first one would have.
	second := p.start("", config.Sidecar{AppID: "second", AppPort: port, ConfigFiles: []string{file}})
	second.awaitNotice("sidecar is up")
	put(t, file, "kind: Configuration\n")
	second.awaitSaid("access control changed")
	if _, changed := r.notice("resources read anew"); changed {
		t.Errorf("it was read anew: %v", r.notices())
	}
}

func TestAPIsThatAConfigurationDeniesAreNotOffered(t *testing.T) {
	t.Parallel()
	_, port := told(t)
	file := filepath.Join(t.TempDir(), "config.yaml")
	put(t, file, "kind: Configuration\nspec:\n  api:\n    denied:\n    - {name: metadata, version: v1, protocol: http}\n")
	p := newPlace(t)
	p.start("", config.Sidecar{AppID: "app", AppPort: port, ConfigFiles: []string{file}}).awaitNotice("sidecar is up")
	door := p.entries()[0].HTTPPort
	for late := time.Now().Add(patience); time.Now().Before(late); time.Sleep(time.Millisecond) { // it is up before the app was found
		if status, _, _ := get(t, door, "/v1.0/healthz"); status == 204 {
			break
		}
	}
	for path, want := range map[string]int{"/v1.0/metadata": 404, "/v1.0/healthz": 204, "/v1.0/invoke/app/method/x": 200} {
		if status, text, _ := get(t, door, path); status != want {
			t.Errorf("%s: %d %s, want %d", path, status, text, want)
		}
	}
}
