package rpc_test

import (
	"encoding/hex"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pillion-dev/pillion/runtime/invoke"
	"github.com/pillion-dev/pillion/runtime/rpc"
)

func fields(pairs ...string) invoke.Fields {
	f := invoke.Fields{}
	for i := 0; i < len(pairs); i += 2 {
		f.Add(pairs[i], pairs[i+1])
	}
	return f
}

// Names and values on their way between HTTP and gRPC.
func TestMetadataAndHeaders(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct{ got, want invoke.Fields }{
		"HTTP to metadata": {
			rpc.ToMetadata(fields("X-One", "1", "x-one", "2", "ACCEPT", "*/*", "Cookie", "c", "Authorization", "a", "X-Raw-Bin", "b",
				"Grpc-Timeout", "1S", "Te", "trailers", "X!Odd", "v", "X-Odd", "ü", "Content-Length", "3", "Set-Cookie", "s", "Set-Cookie", "t")),
			fields("x-one", "1", "x-one", "2", "dapr-accept", "*/*", "dapr-cookie", "c", "authorization", "a", "x-raw-bin", "Yg==",
				"dapr-content-length", "3", "set-cookie", "s", "set-cookie", "t"),
		},
		"metadata as it is": {
			rpc.Metadata(fields("X-One", "1", "accept", "*/*", "x-raw-bin", "AA", "grpc-status", "0", "grpc-own", "g", "content-type", "c", "grpc-encoding", "e", "grpc-status-details-bin", "AA")),
			fields("x-one", "1", "accept", "*/*", "x-raw-bin", "AA", "grpc-own", "g"),
		},
		"metadata to HTTP": {
			rpc.ToHeader(fields("x-one", "1", "x-raw-bin", "AA", "grpc-own", "g", "content-type", "c", "content-length", "1", ":authority", "a", "etag", "e")),
			fields("X-One", "1", "Dapr-Grpc-Own", "g", "Dapr-Authority", "a", "Etag", "e"),
		},
	} {
		if diff := cmp.Diff(c.want, c.got); diff != "" {
			t.Errorf("%s (-want +got)\n%s", what, diff)
		}
	}
}

// A code has a status, and a status a code; they are not each other's mirror.
func TestCodes(t *testing.T) {
	t.Parallel()
	for code, status := range map[uint32]int{
		rpc.OK: 200, rpc.Canceled: 408, rpc.Unknown: 500, rpc.InvalidArgument: 400, rpc.DeadlineExceeded: 504, rpc.NotFound: 404,
		rpc.AlreadyExists: 409, rpc.PermissionDenied: 403, rpc.ResourceExhausted: 429, rpc.FailedPrecond: 400, rpc.Aborted: 409,
		rpc.OutOfRange: 400, rpc.Unimplemented: 501, rpc.Internal: 500, rpc.Unavailable: 503, rpc.DataLoss: 500, rpc.Unauthenticated: 401,
		17: 500, 1 << 31: 500,
	} {
		if got := rpc.HTTPStatus(code); got != status {
			t.Errorf("code %d: %d, want %d", code, got, status)
		}
	}
	for status := 100; status < 600; status++ {
		want := uint32(rpc.Unknown)
		switch status {
		case http.StatusBadRequest:
			want = rpc.Internal
		case http.StatusUnauthorized:
			want = rpc.Unauthenticated
		case http.StatusForbidden:
			want = rpc.PermissionDenied
		case http.StatusNotFound:
			want = rpc.NotFound
		case http.StatusRequestTimeout:
			want = rpc.Canceled
		case http.StatusConflict:
			want = rpc.AlreadyExists
		case http.StatusTooManyRequests:
			want = rpc.ResourceExhausted
		case http.StatusNotImplemented:
			want = rpc.Unimplemented
		case http.StatusServiceUnavailable:
			want = rpc.Unavailable
		case http.StatusGatewayTimeout:
			want = rpc.DeadlineExceeded
		}
		if status/100 == 2 {
			want = rpc.OK
		}
		if got := rpc.Code(status); got != want {
			t.Errorf("status %d: %d, want %d", status, got, want)
		}
	}
}

func TestTraceContexts(t *testing.T) {
	t.Parallel()
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	b := rpc.BinaryTrace(parent)
	if want := "00000af7651916cd43dd8448eb211c80319c01b7ad6b71692033310201"; hex.EncodeToString(b) != want {
		t.Errorf("%x, want %s", b, want)
	}
	if got := rpc.Traceparent(b); got != parent {
		t.Errorf("%q, want %q", got, parent)
	}
	for _, bad := range []string{"", "00", "00-zz-b7ad6b7169203331-01", parent[:len(parent)-1], "00-0af7651916cd43dd8448eb211c80319z-b7ad6b7169203331-01"} {
		if b := rpc.BinaryTrace(bad); b != nil {
			t.Errorf("%q: %x", bad, b)
		}
	}
	for _, bad := range [][]byte{nil, b[:28], append([]byte{1}, b[1:]...)} {
		if got := rpc.Traceparent(bad); got != "" {
			t.Errorf("%x: %q", bad, got)
		}
	}
}
