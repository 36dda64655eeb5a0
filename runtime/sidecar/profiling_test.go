//go:build unix

package sidecar_test

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/pillion-dev/pillion/runtime/config"
)

func TestProfilesAreServedToThisMachineIfAskedFor(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	r := p.start("", config.Sidecar{Profiling: true})
	said := r.awaitNotice("profiles are at ")
	r.awaitNotice("sidecar is up")
	_, url, _ := strings.Cut(said.Text, "profiles are at ")
	get := func(host string) (int, string) {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"goroutine?debug=1", nil)
		if err != nil {
			t.Fatal(err)
		}
		if host != "" {
			request.Host = host
		}
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		return answer.StatusCode, string(body)
	}
	if status, body := get(""); status != http.StatusOK || !strings.Contains(body, "goroutine profile:") {
		t.Errorf("a profile = %d %.80q, want one", status, body)
	}
	// A page of another name that leads here must not read them.
	if status, _ := get("evil.example:80"); status != http.StatusForbidden {
		t.Errorf("another host's name is answered %d, want 403", status)
	}
}

func TestNobodyIsProfiledUnasked(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	r := p.start("", config.Sidecar{})
	r.awaitNotice("sidecar is up")
	if n, said := r.notice("profiles are at"); said {
		t.Errorf("it says %q unasked", n)
	}
	answer, err := http.Get("http://127.0.0.1:" + strconv.Itoa(int(p.entries()[0].HTTPPort)) + "/debug/pprof/")
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	if answer.StatusCode == http.StatusOK {
		t.Error("the HTTP door answers with profiles")
	}
}
