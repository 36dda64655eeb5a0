package httpapi

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/pillion-dev/pillion/runtime/config"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

// An APICall is one line of the API log: Dapr's fields, and the target. The
// lines of calls that an app has answered are made by who reads the tap.
type APICall struct {
	AppID string // whose door it was
	// Method is the verb and the decoded path, without the query; of a gRPC call
	// the full name of the method, and Code is gRPC's.
	Method string
	GRPC   bool
	// Route is what is said in place of Method where paths are hidden, such as
	// GetState or InvokeService/todo-api.
	Route string
	// Health is true for the health endpoints.
	Health    bool
	Code      int
	Duration  time.Duration
	Size      int64 // bytes of the answer's body
	UserAgent string
	Target    string // the app called, as it was given; empty for our own routes
}

// FilterLog returns log as the Configuration wants it: without lines about health
// checks, with the route in place of the path.
func FilterLog(conf config.APILogging, log func(APICall)) func(APICall) {
	return func(c APICall) {
		if c.Health && conf.OmitHealthChecks {
			return
		}
		if conf.ObfuscateURLs && !c.GRPC { // a method says nothing of anybody
			c.Method = c.Route
		}
		log(c)
	}
}

// CallRoute is the Route of a call to an app, as it was given.
func CallRoute(target string) string {
	if target == "" {
		return "InvokeService"
	}
	return "InvokeService/" + target
}

// String is the line behind its time and level, as Dapr writes it: fields in
// alphabetical order, values quoted where they must be.
func (c APICall) String() string {
	var b strings.Builder
	message, scope, method := `"HTTP API Called"`, "dapr.runtime.http-info", strconv.Quote(c.Method)
	if c.GRPC {
		message, scope, method = `"gRPC API Called"`, "dapr.runtime.grpc.api-info", quoted(c.Method)
	}
	b.WriteString("msg=" + message)
	if c.AppID != "" {
		b.WriteString(" app_id=" + quoted(c.AppID))
	}
	fmt.Fprintf(&b, " code=%d duration=%d method=%s", c.Code, c.Duration.Milliseconds(), method)
	b.WriteString(" scope=" + scope)
	if !c.GRPC {
		fmt.Fprintf(&b, " size=%d", c.Size)
	}
	if c.Target != "" {
		b.WriteString(" target=" + quoted(c.Target))
	}
	b.WriteString(" type=log")
	if c.UserAgent != "" {
		b.WriteString(" useragent=" + quoted(c.UserAgent))
	}
	return b.String()
}

// quoted is s, in quotes if it holds anything but plain characters.
func quoted(s string) string {
	for _, c := range s {
		if c <= ' ' || c > '~' || c == '"' || c == '=' {
			return strconv.Quote(s)
		}
	}
	return s
}

// logged counts what is answered.
type logged struct {
	http.ResponseWriter
	began  time.Time
	method string
	agent  string
	target string
	route  string
	health bool
	code   int
	size   int64
	grpc   bool
	// relayed is true if the answer is an app's: whoever reads the calls logs it.
	relayed bool
}

func newLogged(w http.ResponseWriter, r *http.Request, grpc bool) *logged {
	if grpc {
		return &logged{ResponseWriter: w, began: time.Now(), method: r.URL.Path, agent: r.UserAgent(), grpc: true}
	}
	path := r.URL.Path
	if path == "" {
		path = r.RequestURI
	}
	return &logged{ResponseWriter: w, began: time.Now(), method: r.Method + " " + path, agent: r.UserAgent()}
}

// PlainPath is the decoded path of a request target, without the query; as it
// came if it cannot be decoded.
func PlainPath(target string) string {
	path, _, _ := strings.Cut(originForm(target), "?")
	if plain, err := url.PathUnescape(path); err == nil {
		return plain
	}
	return path
}

// noteRoute tells the API log which endpoint a request is for.
func noteRoute(w http.ResponseWriter, r *apiRoute, values []string) {
	if l, ok := w.(*logged); ok {
		l.route, l.health = r.logName(values), r.group() == groupHealth
	}
}

// noteTarget tells the API log whom a request is for.
func noteTarget(w http.ResponseWriter, id string) {
	if l, ok := w.(*logged); ok {
		l.target = id
	}
}

// noteRelayed tells the API log that an app's answer follows.
func noteRelayed(w http.ResponseWriter) {
	if l, ok := w.(*logged); ok {
		l.relayed = true
	}
}

func (l *logged) call() APICall {
	code := l.code
	if code == 0 {
		code = http.StatusOK
	}
	route := l.route
	if route == "" {
		route = CallRoute(l.target)
	}
	if l.grpc {
		route = ""
		code = grpcCode(invoke.Fields{{Name: fieldGRPCStatus, Value: l.Header().Get(fieldGRPCStatus)}})
	}
	return APICall{
		Method: l.method, GRPC: l.grpc, Route: route, Health: l.health, Code: code, Duration: time.Since(l.began), Size: l.size,
		UserAgent: l.agent, Target: l.target,
	}
}

func (l *logged) WriteHeader(code int) {
	if code >= http.StatusOK {
		l.code = code
	}
	l.ResponseWriter.WriteHeader(code)
}

func (l *logged) Write(p []byte) (int, error) {
	n, err := l.ResponseWriter.Write(p)
	l.size += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController find the writer underneath.
func (l *logged) Unwrap() http.ResponseWriter { return l.ResponseWriter }
