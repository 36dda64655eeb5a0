package httpapi_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/pillion-dev/pillion/runtime/httpapi"
	"github.com/pillion-dev/pillion/runtime/state"
	"github.com/pillion-dev/pillion/runtime/state/memory"
)

// What the door answers to requests of Dapr's API, to the byte: as daprd 1.18
// does, apart from the date and from who says an error (Pillion-Error,
// Pillion-Hop).

var date = regexp.MustCompile(`Date: [^\r]*\r\n`)

// whole sends one request on a connection of its own and returns everything
// that is answered but the date.
func whole(t *testing.T, addr, request string) string {
	t.Helper()
	w := dial(t, addr)
	w.send(t, request)
	data, err := io.ReadAll(w.r)
	if err != nil {
		t.Fatalf("%q: %v, after %q", request, err, data)
	}
	return sorted(date.ReplaceAllString(string(data), ""))
}

// sorted has the lines of an answer's head in an order of their own: it means
// nothing, and each engine has another one.
func sorted(answer string) string {
	head, body, _ := strings.Cut(answer, "\r\n\r\n")
	lines := strings.Split(head, "\r\n")
	slices.Sort(lines[1:])
	return strings.Join(lines, "\r\n") + "\r\n\r\n" + body
}

// with is a request on a connection that ends with it. A body has its length.
func with(line, body string, fields ...string) string {
	fields = append([]string{line + " HTTP/1.1", "Host: localhost", "Connection: close"}, fields...)
	if body != "" {
		fields = append(fields, "Content-Length: "+strconv.Itoa(len(body)))
	}
	return strings.Join(fields, "\r\n") + "\r\n\r\n" + body
}

// said is an answer as the door writes it; the connection ends with it.
func said(status int, body string, fields ...string) string {
	head := fmt.Sprintf("HTTP/1.1 %d %s\r\n", status, http.StatusText(status))
	for _, field := range fields {
		head += field + "\r\n"
	}
	return sorted(head + "Connection: close\r\n\r\n" + body)
}

// failed is an error of the API.
func failed(status int, body string) string {
	code, _, _ := strings.Cut(strings.TrimPrefix(body, `{"errorCode":"`), `"`)
	return said(status, body, "Content-Length: "+strconv.Itoa(len(body)), "Content-Type: application/json",
		"Pillion-Error: "+code, "Pillion-Hop: sidecar")
}

// basic is an error without details.
func basic(status int, code, message string) string {
	return failed(status, `{"errorCode":"`+code+`","message":"`+message+`"}`)
}

// rich is an error with Dapr's ErrorInfo.
func rich(status int, code, message, reason, metadata string) string {
	return failed(status, `{"errorCode":"`+code+`","message":"`+message+`","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo",`+
		`"domain":"dapr.io","metadata":`+metadata+`,"reason":"`+reason+`"}]}`)
}

var (
	empty       = said(204, "")
	noPlacement = basic(400, "ERR_ACTOR_NO_PLACEMENT", "placement service is not configured")
	noAppID     = func(t *testing.T, addr string) string { return whole(t, addr, with("GET /nowhere", "")) }
)

// absent are the endpoints of blocks that do not exist: every one of them.
var absent = []struct{ line, body, want string }{
	{"POST /v1.0/publish/pubsub/orders", "{}", rich(404, "ERR_PUBSUB_NOT_FOUND", "pubsub pubsub is not found", "DAPR_PUBSUB_NOT_FOUND", "{}")},
	{"PUT /v1.0/publish/pub%20sub/a/b?metadata.ttlInSeconds=1&x=2", "", rich(404, "ERR_PUBSUB_NOT_FOUND", "pubsub pub sub is not found", "DAPR_PUBSUB_NOT_FOUND", `{"ttlInSeconds":"1"}`)},
	{"POST /v1.0/publish/bulk/pubsub/orders", "[]", rich(404, "ERR_PUBSUB_NOT_FOUND", "pubsub pubsub is not found", "DAPR_PUBSUB_NOT_FOUND", "{}")},
	{"POST /v1.0/publish/bulk/orders", "[]", rich(404, "ERR_PUBSUB_NOT_FOUND", "pubsub bulk is not found", "DAPR_PUBSUB_NOT_FOUND", "{}")},
	{"POST /v1.0-alpha1/publish/bulk/pubsub/orders", "[]", rich(404, "ERR_PUBSUB_NOT_FOUND", "pubsub pubsub is not found", "DAPR_PUBSUB_NOT_FOUND", "{}")},

	{"POST /v1.0/bindings/b", "", basic(400, "ERR_MALFORMED_REQUEST", "failed deserializing HTTP body: EOF")},
	{"POST /v1.0/bindings/b", `{"operation":1}`, basic(400, "ERR_MALFORMED_REQUEST", "failed deserializing HTTP body: json: cannot unmarshal number into Go struct field OutputBindingRequest.operation of type string")},
	{"POST /v1.0/bindings/b", "{}", basic(500, "ERR_INVOKE_OUTPUT_BINDING", "error invoking output binding b: operation field is missing from request")},
	{"PUT /v1.0/bindings/b", `{"operation":"create"}`, basic(500, "ERR_INVOKE_OUTPUT_BINDING", "error invoking output binding b: couldn't find output binding b")},

	{"GET /v1.0/secrets/s/k", "", basic(500, "ERR_SECRET_STORES_NOT_CONFIGURED", "secret store is not configured")},
	{"GET /v1.0/secrets/s/bulk", "", basic(500, "ERR_SECRET_STORES_NOT_CONFIGURED", "secret store is not configured")},

	{"GET /v1.0/actors/t/1/method/m", "", noPlacement},
	{"POST /v1.0/actors/t/1/method/m", "{}", noPlacement},
	{"PUT /v1.0/actors/t/1/method/m", "{}", noPlacement},
	{"DELETE /v1.0/actors/t/1/method/m", "", noPlacement},
	{"POST /v1.0/actors/t/1/state", "[]", noPlacement},
	{"PUT /v1.0/actors/t/1/state", "", basic(400, "ERR_MALFORMED_REQUEST", "failed deserializing HTTP body: EOF")},
	{"POST /v1.0/actors/dapr.internal.x/1/state", "[]", basic(403, "ERR_ACTOR_TYPE_RESERVED", `actor type \"dapr.internal.x\" is reserved for the Dapr workflow runtime; direct actor API access is not permitted`)},
	{"GET /v1.0/actors/t/1/state/k", "", noPlacement},
	{"POST /v1.0/actors/t/1/reminders/r", "{}", noPlacement},
	{"PUT /v1.0/actors/t/1/reminders/r", "", basic(400, "ERR_MALFORMED_REQUEST", "failed deserializing HTTP body: EOF")},
	{"POST /v1.0/actors/t/1/reminders/a%2Fb", "{}", basic(400, "ERR_BAD_REQUEST", `invalid request: name contains forbidden character: \"a/b\"`)},
	{"GET /v1.0/actors/t/1/reminders/r", "", noPlacement},
	{"DELETE /v1.0/actors/t/1/reminders/r", "", noPlacement},
	{"POST /v1.0/actors/t/1/timers/r", "{}", noPlacement},
	{"DELETE /v1.0/actors/t/1/timers/r", "", noPlacement},

	{"GET /v1.0/configuration/c?key=a", "", basic(500, "ERR_CONFIGURATION_STORE_NOT_CONFIGURED", "configuration stores not configured")},
	{"GET /v1.0-alpha1/configuration/c/subscribe", "", basic(500, "ERR_CONFIGURATION_STORE_NOT_CONFIGURED", "configuration stores not configured")},
	{"GET /v1.0/configuration/c/id/unsubscribe", "", basic(500, "ERR_CONFIGURATION_STORE_NOT_CONFIGURED", "configuration stores not configured")},

	{"POST /v1.0-alpha1/lock/l", `{"resourceId":"r","lockOwner":"o","expiryInSeconds":60}`, basic(500, "ERR_LOCK_STORE_NOT_CONFIGURED", "lock store is not configured")},
	{"POST /v1.0-alpha1/lock/l", "{}", basic(400, "ERR_MALFORMED_REQUEST", "ExpiryInSeconds is not positive in lock store l")},
	{"POST /v1.0-alpha1/unlock/l", `{"resourceId":"r"}`, basic(500, "ERR_LOCK_STORE_NOT_CONFIGURED", "lock store is not configured")},

	{"PUT /v1.0-alpha1/crypto/c/encrypt", "x", basic(500, "ERR_CRYPTO_PROVIDERS_NOT_CONFIGURED", "crypto providers not configured")},
	{"PUT /v1.0-alpha1/crypto/c/decrypt", "x", basic(500, "ERR_CRYPTO_PROVIDERS_NOT_CONFIGURED", "crypto providers not configured")},
	{"POST /v1.0-alpha1/subtlecrypto/c/getkey", "{}", basic(501, "ERR_API_UNIMPLEMENTED", "this API is currently not implemented")},
	{"POST /v1.0-alpha1/subtlecrypto/c/verify", "", basic(501, "ERR_API_UNIMPLEMENTED", "this API is currently not implemented")},

	{"GET /v1.0/workflows/dapr/1", "", noPlacement},
	{"POST /v1.0-beta1/workflows/dapr/order/start?instanceID=1", "anything", noPlacement},
	{"POST /v1.0-alpha1/workflows/dapr/1/raiseEvent/paid", "anything", noPlacement},
	{"POST /v1.0/workflows/dapr/1/pause", "", noPlacement},
	{"POST /v1.0/workflows/dapr/1/resume", "", noPlacement},
	{"POST /v1.0/workflows/dapr/1/terminate", "", noPlacement},
	{"POST /v1.0/workflows/dapr/1/purge", "", noPlacement},

	{"POST /v1.0-alpha1/jobs/j", "{}", rich(400, "DAPR_SCHEDULER_SCHEDULE_EMPTY", "Schedule is empty", "DAPR_SCHEDULER_SCHEDULE_EMPTY", `{"appID":"todo-api","namespace":"default"}`)},
	{"POST /v1.0/jobs/j", `{"name":"j"}`, rich(400, "DAPR_SCHEDULER_JOB_NAME", "Set the job name in the url only", "DAPR_SCHEDULER_JOB_NAME", `{"appID":"todo-api"}`)},
	{"POST /v1.0/jobs/a%7Cb", "{}", rich(400, "DAPR_SCHEDULER_JOB_NAME_EMPTY", "Name is empty", "DAPR_SCHEDULER_JOB_NAME_EMPTY", `{"appID":"todo-api","namespace":"default"}`)},
	{"POST /v1.0/jobs/j", `{"schedule":"@daily"}`, rich(500, "DAPR_SCHEDULER_SCHEDULE_JOB", "failed to schedule job due to: scheduler clients are disabled", "DAPR_SCHEDULER_SCHEDULE_JOB", `{"appID":"todo-api","namespace":"default"}`)},
	{"GET /v1.0/jobs/j", "", rich(500, "DAPR_SCHEDULER_GET_JOB", "failed to get job due to: scheduler clients are disabled", "DAPR_SCHEDULER_GET_JOB", `{"appID":"todo-api","namespace":"default"}`)},
	{"DELETE /v1.0-alpha1/jobs/j", "", rich(500, "DAPR_SCHEDULER_DELETE_JOB", "failed to delete job due to: scheduler clients are disabled", "DAPR_SCHEDULER_DELETE_JOB", `{"appID":"todo-api","namespace":"default"}`)},

	{"POST /v1.0-alpha1/conversation/c/converse", "{}", basic(400, "ERR_CONVERSATION_NOT_FOUND", "failed finding conversation component c")},
	{"POST /v1.0-alpha2/conversation/c/converse", "{}", basic(400, "ERR_CONVERSATION_NOT_FOUND", "failed finding conversation component c")},

	{"GET /v1.0/state/s/k", "", rich(500, "ERR_STATE_STORE_NOT_CONFIGURED", "state store s is not configured", "DAPR_STATE_NOT_CONFIGURED", `{"appID":"todo-api"}`)},
	{"POST /v1.0/state/s", "no JSON", rich(500, "ERR_STATE_STORE_NOT_CONFIGURED", "state store s is not configured", "DAPR_STATE_NOT_CONFIGURED", `{"appID":"todo-api"}`)},
	{"POST /v1.0-alpha1/state/s/query", "{}", rich(500, "ERR_STATE_STORE_NOT_CONFIGURED", "state store s is not configured", "DAPR_STATE_NOT_CONFIGURED", `{"appID":"todo-api"}`)},
}

func TestBlocksThatDoNotExistAnswerAsDaprdWithoutThem(t *testing.T) {
	t.Parallel()
	addr := serve(t, httpapi.Config{})
	for _, c := range absent {
		if got := whole(t, addr, with(c.line, c.body)); got != c.want {
			t.Errorf("%s %s:\n got %q\nwant %q", c.line, c.body, got, c.want)
		}
	}
}

// A wrong verb, a wrong version and an unknown path are calls that name no app.
func TestWhatIsNoEndpointIsACall(t *testing.T) {
	t.Parallel()
	addr := serve(t, httpapi.Config{})
	want := noAppID(t, addr)
	if !strings.HasPrefix(want, "HTTP/1.1 404 Not Found\r\n") || !strings.Contains(want,
		`{"errorCode":"ERR_DIRECT_INVOKE","message":"failed getting app id either from the URL path or the header dapr-app-id`) {
		t.Fatalf("without an app id: %q", want)
	}
	for _, line := range []string{
		"GET /v1.0/publish/a/b", "POST /v1.0/publish/a", "POST /v1.0-alpha1/crypto/c/encrypt", "POST /v1.0/lock/l",
		"POST /v1.0/state/s/k", "GET /v1.0/state/s/a/b", "GET /v1.0/state/s", "GET /v2.0/state/s/k", "GET /v1.0-alpha9/state/s/k",
		"POST /v1.0/healthz", "GET /v1.0/shutdown", "DELETE /v1.0/metadata", "GET /v1.0", "GET /v1.0/", "GET /",
		"GET /v1.0/invoke/app", "GET /v1.0/invoke/app/method",
	} {
		if got := whole(t, addr, with(line, "")); got != want {
			t.Errorf("%s: %q", line, got)
		}
		got := whole(t, addr, with(line, "", "dapr-app-id: app"))
		if !strings.HasPrefix(got, "HTTP/1.1 200 OK\r\n") {
			t.Errorf("%s with dapr-app-id: %q", line, got)
		}
	}
}

// newState is a block with one store.
func newState(t *testing.T) *state.Block {
	t.Helper()
	b := state.New(state.Config{App: "todo-api", Namespace: "default"})
	if err := b.Mount(state.Component{Name: "store", Type: "state.in-memory", Store: memory.New(nil)}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close(context.WithoutCancel(t.Context())) })
	return b
}

// got is a value as GET answers.
func got(value, etag string) string {
	return said(200, value, "Content-Length: "+strconv.Itoa(len(value)), "Content-Type: application/json", "Etag: "+etag)
}

// list is an answer of bulk get.
func list(items string) string {
	return said(200, items+"\n", "Content-Length: "+strconv.Itoa(len(items)+1), "Content-Type: application/json")
}

// stateSteps are requests one after the other; ETags of the store count up from 1.
var stateSteps = []struct {
	line, body string
	fields     []string
	want       string
}{
	{"GET /v1.0/state/store/a", "", nil, empty},
	{"POST /v1.0/state/store", `[{"key":"a","value":{"n" : 1.0, "big":12345678901234567890, "html":"<b>"}}]`, nil, empty},
	{"GET /v1.0/state/store/a", "", nil, got(`{"n" : 1.0, "big":12345678901234567890, "html":"<b>"}`, "1")},
	{"PUT /v1.0/state/store", `[{"key":"a/b c+d","value":"text"},{"key":"null"}]`, nil, empty},
	{"GET /v1.0/state/store/a%2Fb%20c%2Bd?consistency=strong", "", nil, got(`"text"`, "2")},
	{"GET /v1.0/state/store/a%2Fb+c%2bd", "", nil, got(`"text"`, "2")},
	{"GET //v1.0//state/store/x/../null/", "", nil, got(`null`, "3")},
	{"POST /v1.0/state/store", `[]`, nil, empty},
	{"POST /v1.0/state/store", `[{"key":"a","value":2,"etag":"7"}]`, nil, basic(409, "ERR_STATE_SAVE", "failed saving state in state store store: possible etag mismatch. error from state store: key todo-api||a has etag 1, not 7")},
	{"POST /v1.0/state/store", `[{"key":"a","value":2,"etag":"1","options":{"concurrency":"first-write","consistency":"eventual"}}]`, nil, empty},
	{"POST /v1.0/state/store", `[{"key":"a","value":2,"options":{"concurrency":"wild"}}]`, nil, basic(500, "ERR_STATE_SAVE", "failed saving state in state store store: unrecognized concurrency model 'wild'")},
	{"POST /v1.0/state/store/bulk", `{"keys":["a","none"],"parallelism":2}`, nil, list(`[{"key":"a","data":2,"etag":"4"},{"key":"none"}]`)},
	{"POST /v1.0/state/store/bulk", `{"keys":[]}`, nil, list(`[]`)},
	{"PUT /v1.0/state/store/bulk", `{"keys":"a"}`, nil, basic(400, "ERR_MALFORMED_REQUEST", "failed deserializing HTTP body: json: cannot unmarshal string into Go struct field BulkGetRequest.keys of type []string")},
	{"DELETE /v1.0/state/store/a", "", []string{"If-Match: 1"}, basic(409, "ERR_STATE_DELETE", "failed deleting state with key a: possible etag mismatch. error from state store: key todo-api||a has etag 4, not 1")},
	{"DELETE /v1.0/state/store/a?concurrency=first-write&consistency=strong", "", []string{"If-Match: 4"}, empty},
	{"DELETE /v1.0/state/store/a", "", nil, empty},
	{"GET /v1.0/state/store/a", "", nil, empty},
	{"POST /v1.0/state/store/transaction", `{"operations":[{"operation":"upsert","request":{"key":"t1","value":{"b":1,"a":2}}},{"operation":"delete","request":{"key":"null"}}],"metadata":{"x":"y"}}`, nil, empty},
	{"GET /v1.0/state/store/t1", "", nil, got(`{"b":1,"a":2}`, "5")},
	{"GET /v1.0/state/store/null", "", nil, empty},
	{"POST /v1.0/state/store/transaction", `{"operations":[]}`, nil, empty},
	{"PUT /v1.0/state/store/transaction", `{"operations":[{"operation":"insert","request":{"key":"t1"}}]}`, nil, basic(400, "ERR_NOT_SUPPORTED_STATE_OPERATION", "operation type insert not supported")},
	{"POST /v1.0/state/store/transaction", `[]`, nil, basic(400, "ERR_MALFORMED_REQUEST", "failed deserializing HTTP body: json: cannot unmarshal array into Go value of type http.stateTransactionRequestBody")},
	{"POST /v1.0/state/store", "", nil, basic(400, "ERR_MALFORMED_REQUEST", "EOF")},
	{"POST /v1.0/state/store", "[", nil, basic(400, "ERR_MALFORMED_REQUEST", "unexpected EOF")},
	{"POST /v1.0/state/store", "<", nil, basic(400, "ERR_MALFORMED_REQUEST", `invalid character '\u003c' looking for beginning of value`)},
	{"POST /v1.0/state/store", "{}", nil, basic(400, "ERR_MALFORMED_REQUEST", "json: cannot unmarshal object into Go value of type []state.SetRequest")},
	{"POST /v1.0/state/store", `[{"value":1}]`, nil, basic(400, "ERR_MALFORMED_REQUEST", `\"key\" is a required field`)},
	{"POST /v1.0/state/store", `[{"key":"last","value":1}] and more`, nil, empty},
	{"GET /v1.0/state/store/a%7C%7Cb", "", nil, illegalKey},
	{"GET /v1.0/state/other/a", "", nil, rich(400, "ERR_STATE_STORE_NOT_FOUND", "state store other is not found", "DAPR_STATE_NOT_FOUND", `{"appID":"todo-api"}`)},
	{"POST /v1.0/state/other", "no JSON", nil, rich(400, "ERR_STATE_STORE_NOT_FOUND", "state store other is not found", "DAPR_STATE_NOT_FOUND", `{"appID":"todo-api"}`)},
	{"POST /v1.0-alpha1/state/store/query", "{}", nil, noQuery},
}

var illegalKey = failed(400, `{"errorCode":"ERR_MALFORMED_REQUEST","message":"api error: code = InvalidArgument desc = input key/keyPrefix 'a||b' can't contain '||'","details":[`+
	`{"@type":"type.googleapis.com/google.rpc.BadRequest","field_violations":[{"field":"a||b","description":"api error: code = InvalidArgument desc = input key/keyPrefix 'a||b' can't contain '||'"}]},`+
	`{"@type":"type.googleapis.com/google.rpc.ResourceInfo","description":"","owner":"","resource_name":"store","resource_type":"state"},`+
	`{"@type":"type.googleapis.com/google.rpc.ErrorInfo","domain":"dapr.io","metadata":null,"reason":"DAPR_STATE_ILLEGAL_KEY"}]}`)

var noQuery = failed(500, `{"errorCode":"ERR_STATE_STORE_NOT_SUPPORTED","message":"state store does not support querying","details":[`+
	`{"@type":"type.googleapis.com/google.rpc.ResourceInfo","description":"","owner":"","resource_name":"store","resource_type":"state"},`+
	`{"@type":"type.googleapis.com/google.rpc.ErrorInfo","domain":"dapr.io","metadata":null,"reason":"DAPR_STATE_QUERYING_NOT_SUPPORTED"}]}`)

func TestStateIsDaprsToTheByte(t *testing.T) {
	t.Parallel()
	addr := serve(t, httpapi.Config{State: newState(t)})
	for _, c := range stateSteps {
		if got := whole(t, addr, with(c.line, c.body, c.fields...)); got != c.want {
			t.Errorf("%s %s:\n got %q\nwant %q", c.line, c.body, got, c.want)
		}
	}
}

func TestTokensAndHeadsAreDaprsToTheByte(t *testing.T) {
	t.Parallel()
	addr := serve(t, httpapi.Config{APIToken: "s3cret", NotReady: func() []string { return []string{"runtime"} }})
	const token = "dapr-api-token: s3cret"
	denied := said(401, "invalid api token\n", "Content-Length: 18", "Content-Type: text/plain; charset=utf-8",
		"Pillion-Error: TOKEN_DENIED", "Pillion-Hop: sidecar", "X-Content-Type-Options: nosniff")
	notReady := basic(500, "ERR_HEALTH_NOT_READY", "dapr is not ready: [runtime]")
	for _, c := range []struct {
		line, field, want string
	}{
		{"GET /v1.0/metadata", "X: 1", denied},
		{"GET /v1.0/metadata", "dapr-api-token: s3cret2", denied},
		{"GET " + callX, "X: 1", denied},
		{"POST /v1.0/shutdown", "X: 1", denied},
		{"GET /nowhere", "X: 1", denied},
		{"POST /v1.0/healthz", "X: 1", denied},
		{"GET /v1.0/healthz/other", "X: 1", denied},
		{"GET /v1.0/invoke/app/method/v1.0/healthz", "X: 1", denied},
		{"GET /v1.0/healthz", "X: 1", notReady},
		{"GET //v1.0/healthz/", "X: 1", notReady},
		{"GET /v1.0/healthz/outbound", "X: 1", empty},
		{"POST /v1.0/shutdown", token, empty},
		{"GET /v1.0/healthz", token, notReady},
	} {
		if got := whole(t, addr, with(c.line, "", c.field)); got != c.want {
			t.Errorf("%s %s:\n got %q\nwant %q", c.line, c.field, got, c.want)
		}
	}
	tooLarge := whole(t, addr, with("GET "+callX, "", token, "X-Large: "+strings.Repeat("x", 80<<10)))
	if !strings.HasPrefix(tooLarge, "HTTP/1.1 431 Request Header Fields Too Large\r\n") ||
		!strings.Contains(tooLarge, "Content-Type: text/plain; charset=utf-8\r\n") || !strings.HasSuffix(tooLarge, "\r\n\r\n431 Request Header Fields Too Large") {
		t.Errorf("a head of 80 KiB: %q", tooLarge)
	}
}

// CORS as Dapr's --allowed-origins grants it.
func TestCORSIsDaprsToTheByte(t *testing.T) {
	t.Parallel()
	some := serve(t, httpapi.Config{AllowedOrigins: []string{"https://app.example,https://*.shop.example"}})
	all := serve(t, httpapi.Config{AllowedOrigins: []string{"*"}})
	const (
		vary      = "Vary: Origin"
		preVary   = "Vary: Origin\r\nVary: Access-Control-Request-Method\r\nVary: Access-Control-Request-Headers"
		asksPost  = "Access-Control-Request-Method: post"
		fromApp   = "Origin: https://app.example"
		fromOther = "Origin: https://other.example"
	)
	preflight := func(fields ...string) string {
		return said(200, "", append(fields, preVary, "Content-Length: 0")...)
	}
	for _, c := range []struct {
		about, addr, line string
		fields            []string
		want              string
	}{
		{"no origin", some, "GET /v1.0/healthz", nil, said(204, "", vary)},
		{"allowed", some, "GET /v1.0/healthz", []string{fromApp}, said(204, "", "Access-Control-Allow-Origin: https://app.example", vary)},
		{"allowed by a pattern", some, "GET /v1.0/healthz", []string{"Origin: https://a.shop.example"}, said(204, "", "Access-Control-Allow-Origin: https://a.shop.example", vary)},
		{"any", all, "GET /v1.0/healthz", []string{fromOther}, said(204, "", "Access-Control-Allow-Origin: *", vary)},
		{"preflight", some, "OPTIONS " + callX, []string{fromApp, asksPost, "Access-Control-Request-Headers: x-one,DAPR-app-id"}, preflight(
			"Access-Control-Allow-Headers: X-One, Dapr-App-Id", "Access-Control-Allow-Methods: POST", "Access-Control-Allow-Origin: https://app.example")},
		{"preflight for any", all, "OPTIONS " + callX, []string{fromOther, asksPost}, preflight("Access-Control-Allow-Methods: POST", "Access-Control-Allow-Origin: *")},
		{"preflight for a verb that is not granted", some, "OPTIONS " + callX, []string{fromApp, "Access-Control-Request-Method: PROPFIND"}, preflight()},
	} {
		if got := whole(t, c.addr, with(c.line, "", c.fields...)); got != c.want {
			t.Errorf("%s:\n got %q\nwant %q", c.about, got, c.want)
		}
	}
	if got := whole(t, some, with("TRACE "+callX, "", fromApp)); strings.Contains(got, "Access-Control") || !strings.Contains(got, vary) {
		t.Errorf("a verb that is not granted: %q", got)
	}
}
