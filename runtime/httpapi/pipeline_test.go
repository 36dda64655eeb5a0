package httpapi_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/pillion-dev/pillion/runtime/httpapi"
)

// renamed is a pipeline that puts one target in the place of another, and
// refuses a third.
func renamed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.RequestURI {
		case "/alias":
			asked := *r.URL
			r = r.WithContext(r.Context())
			r.URL, r.RequestURI = &asked, "/v1.0/invoke/app/method//a%2Fb"
			r.URL.Path = "/v1.0/invoke/app/method//a/b"
		case "/state":
			asked := *r.URL
			r = r.WithContext(r.Context())
			r.URL, r.RequestURI = &asked, "/v1.0/state/store/k"
			r.URL.Path = r.RequestURI
		case "/refused":
			http.Error(w, "no", http.StatusTeapot)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func TestAPipelineChangesWhatIsAskedFor(t *testing.T) {
	t.Parallel()
	calls := make(chan httpapi.APICall, 10)
	addr := serve(t, httpapi.Config{
		Pipeline: renamed, State: newState(t), APIToken: "t", APILog: func(c httpapi.APICall) { calls <- c },
	})
	resp, body := ask(t, addr, "POST /alias HTTP/1.1\r\nHost: localhost\r\ndapr-api-token: t\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n"+
		chunk("body")+"0\r\nX-Sum: 4\r\n\r\n")
	got := reflected(t, body)
	if resp.StatusCode != 200 || got.App != "app" || got.Path != "/a%2Fb" || got.Body != "body" || got.Trailers.Get("X-Sum") != "4" {
		t.Errorf("a call: %d %+v", resp.StatusCode, got)
	}
	if status, err := overHTTP2(t, "GET", "http://"+addr+"/alias", "dapr-api-token", "t"); status != 200 || err != nil {
		t.Errorf("a call by HTTP/2: %d, %v", status, err)
	}
	if got := whole(t, addr, with("GET /state", "", "dapr-api-token: t")); got != empty {
		t.Errorf("state: %q", got)
	}
	if c := <-calls; c.Method != "GET /v1.0/state/store/k" || c.Route != "GetState" {
		t.Errorf("logged as %+v", c)
	}
	if got := whole(t, addr, with("GET /refused", "", "dapr-api-token: t")); !strings.HasPrefix(got, "HTTP/1.1 418 ") {
		t.Errorf("refused: %q", got)
	}
	if got := whole(t, addr, with("GET /refused", "")); !strings.HasPrefix(got, "HTTP/1.1 401 ") {
		t.Errorf("without a token: %q", got)
	}
	if len(calls) > 0 {
		t.Errorf("logged: %+v", <-calls)
	}
	if status := grpcOver(t, serve(t, httpapi.Config{Pipeline: renamed})); status != 200 {
		t.Errorf("gRPC: %d", status)
	}
}
