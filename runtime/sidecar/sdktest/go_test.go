package sdktest_test

import (
	"context"
	"encoding/json"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	dapr "github.com/dapr/go-sdk/client"
	"github.com/dapr/go-sdk/service/common"
	daprgrpc "github.com/dapr/go-sdk/service/grpc"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/pillion-dev/pillion/internal/pilliontest"
)

// withClient runs f with a client of the official SDK for the scene's caller.
func withClient(t *testing.T, addr string) dapr.Client {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), pilliontest.Patience)
	defer cancel()
	client, err := dapr.NewClientWithAddressContext(ctx, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

func TestGoClient(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	client := withClient(t, s.caller.GRPC)
	ctx := t.Context()
	check(t, goClient, "start-up", func(t *testing.T) {
		if err := client.Wait(ctx, pilliontest.Patience); err != nil {
			t.Error(err)
		}
	})
	goInvokes(t, client)
	goProxies(t, client)
	goState(t, client)
	check(t, goClient, "metadata", func(t *testing.T) {
		if err := client.SetMetadata(ctx, "greeting", "hello"); err != nil {
			t.Fatal(err)
		}
		got, err := client.GetMetadata(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if got.ID != selfID || got.ExtendedMetadata["greeting"] != "hello" {
			t.Errorf("metadata = %+v", got)
		}
	})
	check(t, goClient, "another building block", func(t *testing.T) {
		err := client.PublishEvent(ctx, "pubsub", "topic", []byte("x"))
		if status.Code(unwrapped(err)) != codes.InvalidArgument || !strings.Contains(err.Error(), "pubsub") {
			t.Errorf("publish: %v", err)
		}
	})
	check(t, goClient, "shutdown", func(t *testing.T) {
		if err := client.Shutdown(ctx); err != nil {
			t.Fatal(err)
		}
		if exit := s.caller.Wait(t); exit != 0 {
			t.Errorf("the sidecar ended with %d", exit)
		}
	})
}

// unwrapped is the gRPC error inside what the SDK returns.
func unwrapped(err error) error {
	for e := err; e != nil; {
		if _, ok := e.(interface{ GRPCStatus() *status.Status }); ok {
			return e
		}
		u, ok := e.(interface{ Unwrap() error })
		if !ok {
			break
		}
		e = u.Unwrap()
	}
	return err
}

func goInvokes(t *testing.T, client dapr.Client) {
	t.Helper()
	ctx := t.Context()
	content := &dapr.DataContent{ContentType: "application/json", Data: []byte(`{"message":"hello"}`)}
	echo := func(t *testing.T, app, verb string) (got said) {
		t.Helper()
		out, err := client.InvokeMethodWithContent(ctx, app, "echo", verb, content)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(out, &got); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return got
	}
	check(t, goClient, "invoke: POST with a body", func(t *testing.T) {
		if got := echo(t, httpAppID, "post"); got != (said{"POST", "/echo", string(content.Data)}) {
			t.Errorf("echo = %+v", got)
		}
	})
	check(t, goClient, "invoke: GET", func(t *testing.T) {
		out, err := client.InvokeMethod(ctx, httpAppID, "echo?a=b%20c", "get")
		if err != nil || !strings.Contains(string(out), `"/echo?a=b%20c"`) {
			t.Errorf("echo = %s, %v", out, err)
		}
	})
	check(t, goClient, "invoke: PUT and DELETE", func(t *testing.T) {
		for _, verb := range []string{"PUT", "DELETE"} {
			if got := echo(t, httpAppID, verb); got.Verb != verb {
				t.Errorf("%s: echo = %+v", verb, got)
			}
		}
	})
	check(t, goClient, "invoke: the app's error", func(t *testing.T) {
		_, err := client.InvokeMethodWithContent(ctx, httpAppID, "status/404", "post", content)
		if status.Code(unwrapped(err)) != codes.NotFound {
			t.Errorf("status/404: %v", err)
		}
	})
	check(t, goClient, "invoke: an app that is not there", func(t *testing.T) {
		_, err := client.InvokeMethodWithContent(ctx, "nobody", "echo", "post", content)
		if status.Code(unwrapped(err)) != codes.Internal || !strings.Contains(err.Error(), "failed to invoke, id: nobody, err: couldn't find service: nobody") {
			t.Errorf("nobody: %v", err)
		}
	})
	check(t, goClient, "invoke: a gRPC app", func(t *testing.T) {
		if got := echo(t, grpcAppID, "post"); got != (said{Verb: "POST", Body: string(content.Data)}) {
			t.Errorf("echo = %+v", got)
		}
	})
}

// goProxies calls a service that is not Dapr's, over the SDK's connection.
func goProxies(t *testing.T, client dapr.Client) {
	t.Helper()
	check(t, goClient, "proxy: a gRPC service of one's own", func(t *testing.T) {
		ctx := metadata.AppendToOutgoingContext(t.Context(), "dapr-app-id", grpcAppID)
		got, err := healthv1.NewHealthClient(client.GrpcClientConn()).Check(ctx, &healthv1.HealthCheckRequest{})
		if err != nil || got.GetStatus() != healthv1.HealthCheckResponse_SERVING {
			t.Errorf("health = %v, %v", got, err)
		}
	})
}

func TestGoTokens(t *testing.T) {
	t.Parallel()
	w := pilliontest.New(t, pillion)
	check(t, goClient, "API token", func(t *testing.T) {
		client := withClient(t, w.With("DAPR_API_TOKEN=swordfish").Run("guarded").GRPC)
		if _, err := client.GetMetadata(t.Context()); status.Code(unwrapped(err)) != codes.Unauthenticated {
			t.Errorf("without the token: %v", err)
		}
		client.WithAuthToken("swordfish")
		if _, err := client.GetMetadata(t.Context()); err != nil {
			t.Errorf("with the token: %v", err)
		}
	})
	check(t, goClient, "app's token", func(t *testing.T) {
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		// The SDK's service refuses who does not send it what the app was told.
		w.With("APP_API_TOKEN=swordfish").Run("careful", "--app-port", "auto", "--", "env", serviceEnv+"=http", self)
		if out, exit := w.Pillion("invoke", "careful", "shout", "-d", "hello"); exit != 0 || !strings.Contains(out, "POST HELLO") {
			t.Errorf("exit %d, %s", exit, out)
		}
	})
}

func goState(t *testing.T, client dapr.Client) {
	t.Helper()
	ctx := t.Context()
	save := func(t *testing.T, key, value string) {
		t.Helper()
		if err := client.SaveState(ctx, storeName, key, []byte(value), nil); err != nil {
			t.Fatal(err)
		}
	}
	get := func(t *testing.T, key string) *dapr.StateItem {
		t.Helper()
		item, err := client.GetState(ctx, storeName, key, nil)
		if err != nil {
			t.Fatal(err)
		}
		return item
	}
	check(t, goClient, "state: save and get", func(t *testing.T) {
		save(t, "go-a", "\x00binary\xff")
		if item := get(t, "go-a"); string(item.Value) != "\x00binary\xff" || item.Etag == "" {
			t.Errorf("item = %+v", item)
		}
	})
	check(t, goClient, "state: a missing key", func(t *testing.T) {
		if item := get(t, "go-missing"); len(item.Value) != 0 {
			t.Errorf("item = %+v", item)
		}
	})
	check(t, goClient, "state: bulk get", func(t *testing.T) {
		items, err := client.GetBulkState(ctx, storeName, []string{"go-a", "go-missing"}, nil, 10)
		if err != nil || len(items) != 2 {
			t.Fatalf("items = %v, %v", items, err)
		}
		for _, item := range items {
			if item.Error != "" || (item.Key == "go-a") != (len(item.Value) > 0) {
				t.Errorf("item = %+v", item)
			}
		}
	})
	check(t, goClient, "state: ETag", func(t *testing.T) {
		save(t, "go-etag", "1")
		etag := get(t, "go-etag").Etag
		first := dapr.WithConcurrency(dapr.StateConcurrencyFirstWrite)
		if err := client.SaveStateWithETag(ctx, storeName, "go-etag", []byte("2"), etag, nil, first); err != nil {
			t.Fatal(err)
		}
		err := client.SaveStateWithETag(ctx, storeName, "go-etag", []byte("3"), etag, nil, first)
		if status.Code(unwrapped(err)) != codes.Aborted {
			t.Errorf("with an old ETag: %v", err)
		}
		err = client.DeleteStateWithETag(ctx, storeName, "go-etag", &dapr.ETag{Value: etag}, nil, nil)
		if status.Code(unwrapped(err)) != codes.Aborted {
			t.Errorf("delete with an old ETag: %v", err)
		}
	})
	check(t, goClient, "state: transaction", func(t *testing.T) {
		save(t, "go-gone", "1")
		err := client.ExecuteStateTransaction(ctx, storeName, nil, []*dapr.StateOperation{
			{Type: dapr.StateOperationTypeUpsert, Item: &dapr.SetStateItem{Key: "go-t", Value: []byte("in")}},
			{Type: dapr.StateOperationTypeDelete, Item: &dapr.SetStateItem{Key: "go-gone"}},
		})
		if err != nil {
			t.Fatal(err)
		}
		if in, gone := get(t, "go-t"), get(t, "go-gone"); string(in.Value) != "in" || len(gone.Value) != 0 {
			t.Errorf("in = %+v, gone = %+v", in, gone)
		}
	})
	check(t, goClient, "state: delete", func(t *testing.T) {
		if err := client.DeleteState(ctx, storeName, "go-a", nil); err != nil {
			t.Fatal(err)
		}
		if item := get(t, "go-a"); len(item.Value) != 0 {
			t.Errorf("item = %+v", item)
		}
	})
	check(t, goClient, "state: delete in bulk", func(t *testing.T) {
		save(t, "go-1", "1")
		save(t, "go-2", "2")
		if err := client.DeleteBulkState(ctx, storeName, []string{"go-1", "go-2"}, nil); err != nil {
			t.Fatal(err)
		}
		if a, b := get(t, "go-1"), get(t, "go-2"); len(a.Value)+len(b.Value) != 0 {
			t.Errorf("left: %+v, %+v", a, b)
		}
	})
	check(t, goClient, "state: time to live", func(t *testing.T) {
		err := client.SaveState(ctx, storeName, "go-ttl", []byte("1"), map[string]string{"ttlInSeconds": "1"})
		if err != nil {
			t.Fatal(err)
		}
		pilliontest.Until(t, "the value is gone", func() bool { return len(get(t, "go-ttl").Value) == 0 })
	})
	check(t, goClient, "state: a store that is not there", func(t *testing.T) {
		err := client.SaveState(ctx, "nostore", "k", []byte("v"), nil)
		if status.Code(unwrapped(err)) != codes.InvalidArgument || !strings.Contains(err.Error(), "nostore") {
			t.Errorf("nostore: %v", err)
		}
	})
}

// shout is what the apps made with the SDK answer.
func shout(_ context.Context, in *common.InvocationEvent) (*common.Content, error) {
	return &common.Content{ContentType: "text/plain", Data: []byte(in.Verb + " " + strings.ToUpper(string(in.Data)))}, nil
}

func TestGoServices(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	client := withClient(t, s.caller.GRPC)
	called := func(t *testing.T, app string) {
		t.Helper()
		content := &dapr.DataContent{ContentType: "text/plain", Data: []byte("hello")}
		out, err := client.InvokeMethodWithContent(t.Context(), app, "shout", "post", content)
		if err != nil || string(out) != "POST HELLO" {
			t.Errorf("by gRPC: %q, %v", out, err)
		}
		if out, exit := s.Pillion("invoke", app, "shout", "-d", "hello"); exit != 0 || !strings.Contains(out, "POST HELLO") {
			t.Errorf("by HTTP: exit %d, %s", exit, out)
		}
	}
	check(t, goClient, "service: an app made with the SDK, HTTP", func(t *testing.T) {
		// The SDK's service opens its port itself: it is a process that is told.
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		s.Run("go-http", "--app-port", "auto", "--", "env", serviceEnv+"=http", self)
		called(t, "go-http")
	})
	check(t, goClient, "service: an app made with the SDK, gRPC", func(t *testing.T) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		srv := daprgrpc.NewServiceWithListener(ln)
		if err := srv.AddServiceInvocationHandler("shout", shout); err != nil {
			t.Fatal(err)
		}
		serve(t, srv)
		s.Run("go-grpc", "--app-port", portOf(ln), "--app-protocol", "grpc")
		called(t, "go-grpc")
	})
}

// serve runs a service of the SDK until the test has ended.
func serve(t *testing.T, srv common.Service) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Start() }() // ends by Stop
	t.Cleanup(func() {
		_ = srv.Stop() // it may never have started
		select {
		case <-done:
		case <-time.After(pilliontest.Patience):
			t.Error("the service does not stop")
		}
	})
}
