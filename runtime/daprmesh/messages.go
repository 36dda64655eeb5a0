package daprmesh

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	commonv1 "github.com/dapr/dapr/pkg/proto/common/v1"
	internalsv1 "github.com/dapr/dapr/pkg/proto/internals/v1"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/pillion-dev/pillion/runtime/invoke"
	"github.com/pillion-dev/pillion/runtime/rpc"
)

// lists are header lines as the messages have them: values by name.
type lists = map[string]*internalsv1.ListStringValue

// dropped are the lines that do not cross: those of one hop, and what the
// messages say elsewhere.
func dropped(name string) bool {
	switch name {
	case "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "http2-settings", "te",
		"trailer", "proxy-authorization", "proxy-authenticate", "host":
		return true
	}
	return false
}

// toLists are lines as a message has them.
func toLists(fields invoke.Fields) lists {
	out := lists{}
	for _, f := range fields {
		name := strings.ToLower(f.Name)
		if dropped(name) {
			continue
		}
		if out[name] == nil {
			out[name] = &internalsv1.ListStringValue{}
		}
		out[name].Values = append(out[name].Values, f.Value)
	}
	return out
}

// fromLists are a message's lines, names in order and as HTTP writes them.
func fromLists(all lists) invoke.Fields {
	names := make([]string, 0, len(all))
	for name := range all {
		names = append(names, name)
	}
	slices.Sort(names)
	fields := make(invoke.Fields, 0, len(names)+8) // room for what the callee adds
	for _, name := range names {
		switch low := strings.ToLower(name); {
		case dropped(low), low == "content-length", rpc.IsBinary(low):
			continue
		case strings.HasPrefix(low, ":"):
			name = "dapr-" + low[1:]
		case strings.HasPrefix(low, "grpc-"):
			name = "dapr-" + low
		}
		for _, value := range all[name].GetValues() {
			fields.Add(http.CanonicalHeaderKey(name), value)
		}
	}
	return fields
}

// request is a call as the first message says it.
func request(c *invoke.Call) *internalsv1.InternalInvokeRequest {
	path, query, _ := strings.Cut(c.Path, "?")
	message := &commonv1.InvokeRequest{
		Method: methodOf(path), ContentType: c.Fields.Get("content-type"),
		Data: &anypb.Any{},
	}
	if c.RPC == nil || c.RPC.Extended {
		verb, ok := commonv1.HTTPExtension_Verb_value[c.Verb]
		if !ok {
			verb = int32(commonv1.HTTPExtension_POST) // what Dapr does with verbs it has no number for
		}
		message.HttpExtension = &commonv1.HTTPExtension{Verb: commonv1.HTTPExtension_Verb(verb), Querystring: query}
	}
	if c.RPC != nil {
		message.Data.TypeUrl = c.RPC.TypeURL
	}
	metadata := toLists(c.Fields)
	if c.Body != nil && c.Length >= 0 {
		metadata["content-length"] = &internalsv1.ListStringValue{Values: []string{strconv.FormatInt(c.Length, 10)}}
	}
	return &internalsv1.InternalInvokeRequest{Ver: version, Metadata: metadata, Message: message}
}

// call is what the first message says, without its body.
func call(in *internalsv1.InternalInvokeRequest) *invoke.Call {
	message := in.GetMessage()
	c := &invoke.Call{
		Verb: message.GetHttpExtension().GetVerb().String(), Path: pathOf(message), Major: 2, Length: -1,
		Fields: fromLists(in.GetMetadata()),
	}
	if message.GetHttpExtension() == nil || c.Verb == invoke.VerbNone || message.GetData().GetTypeUrl() != "" {
		c.RPC = &invoke.RPC{TypeURL: message.GetData().GetTypeUrl(), Extended: message.GetHttpExtension() != nil}
	}
	if length := in.GetMetadata()["content-length"].GetValues(); len(length) == 1 {
		if n, err := strconv.ParseInt(length[0], 10, 64); err == nil && n >= 0 {
			c.Length = n
		}
	}
	if kind := message.GetContentType(); kind != "" {
		c.Fields.Set("Content-Type", kind)
	}
	return c
}

// methodOf is a path as Dapr sends it, decoded, if pathOf makes the same of it
// again; what would become another path stays as it is.
func methodOf(path string) string {
	method := strings.TrimPrefix(path, "/")
	if !strings.Contains(method, "%") {
		return method
	}
	decoded, err := url.PathUnescape(method)
	if err == nil && pathOf(&commonv1.InvokeRequest{Method: decoded}) == path {
		return decoded
	}
	return method
}

// pathOf is the request target of a method. Dapr decodes a path before it sends
// it: what cannot stand in a target is written with a percent sign, what can
// stays as it came.
func pathOf(message *commonv1.InvokeRequest) string {
	method := strings.TrimLeft(message.GetMethod(), "/")
	path := "/" + method
	if _, err := url.ParseRequestURI(path); err != nil || strings.ContainsAny(method, " ?#") {
		path = "/" + (&url.URL{Path: method}).EscapedPath()
	}
	if query := message.GetHttpExtension().GetQuerystring(); query != "" {
		path += "?" + query
	}
	return path
}

// response is an app's answer as the first message says it.
func response(a *invoke.Answer, grpcCode int32) *internalsv1.InternalInvokeResponse {
	code := int32(a.Status) //nolint:gosec // three digits
	if grpcCode >= 0 {
		code = grpcCode
	}
	headers := toLists(a.Fields)
	if a.Length >= 0 && grpcCode < 0 {
		headers["content-length"] = &internalsv1.ListStringValue{Values: []string{strconv.FormatInt(a.Length, 10)}}
	}
	return &internalsv1.InternalInvokeResponse{
		Status:  &internalsv1.Status{Code: code},
		Headers: headers,
		Message: &commonv1.InvokeResponse{ContentType: a.Fields.Get("content-type"), Data: &anypb.Any{}},
	}
}
