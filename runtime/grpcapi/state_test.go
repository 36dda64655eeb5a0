package grpcapi_test

import (
	"context"
	"slices"
	"testing"

	commonv1 "github.com/dapr/dapr/pkg/proto/common/v1"
	runtimev1 "github.com/dapr/dapr/pkg/proto/runtime/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/pillion-dev/pillion/runtime/grpcapi"
	"github.com/pillion-dev/pillion/runtime/state"
	"github.com/pillion-dev/pillion/runtime/state/memory"
)

func withStore(t *testing.T) runtimev1.DaprClient {
	t.Helper()
	block := state.New(state.Config{App: "todo-api", Namespace: "default"})
	if err := block.Mount(state.Component{Name: "statestore", Type: "state.in-memory", Version: "v1", Store: memory.New(nil)}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := block.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return client(t, grpcapi.Config{State: block})
}

// Values, ETags, metadata and options go to the block and come back from it.
func TestState(t *testing.T) {
	t.Parallel()
	cl := withStore(t)
	save := func(items ...*commonv1.StateItem) error {
		_, err := cl.SaveState(patient(t), &runtimev1.SaveStateRequest{StoreName: "statestore", States: items})
		return err
	}
	get := func(key string) *runtimev1.GetStateResponse {
		t.Helper()
		out, err := cl.GetState(patient(t), &runtimev1.GetStateRequest{StoreName: "statestore", Key: key, Consistency: commonv1.StateOptions_CONSISTENCY_STRONG})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	if err := save(
		&commonv1.StateItem{Key: "a", Value: []byte("\x00one"), Metadata: map[string]string{"ttlInSeconds": "1000"}},
		&commonv1.StateItem{Key: "b", Value: []byte("two")},
	); err != nil {
		t.Fatal(err)
	}
	a := get("a")
	if string(a.GetData()) != "\x00one" || a.GetEtag() == "" || a.GetMetadata()["ttlExpireTime"] == "" {
		t.Errorf("got %v", a)
	}
	if none := get("none"); len(none.GetData()) > 0 || none.GetEtag() != "" {
		t.Errorf("of nothing: %v", none)
	}
	first := &commonv1.StateOptions{Concurrency: commonv1.StateOptions_CONCURRENCY_FIRST_WRITE}
	want(t, "a wrong etag", save(&commonv1.StateItem{Key: "a", Value: []byte("x"), Etag: &commonv1.Etag{Value: "77777"}, Options: first}), problem{codes.Aborted, "failed saving state in state store statestore: possible etag mismatch. error from state store*", "ERR_STATE_SAVE"})
	want(t, "first write of what is there", save(&commonv1.StateItem{Key: "a", Value: []byte("x"), Options: first}), problem{codes.Aborted, "failed saving state in state store statestore: possible etag mismatch. error from state store*", "ERR_STATE_SAVE"})
	if err := save(&commonv1.StateItem{Key: "a", Value: []byte("new"), Etag: &commonv1.Etag{Value: a.GetEtag()}, Options: first}); err != nil {
		t.Error(err)
	}
	bulk, err := cl.GetBulkState(patient(t), &runtimev1.GetBulkStateRequest{StoreName: "statestore", Keys: []string{"b", "none", "a"}, Parallelism: 2})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, item := range bulk.GetItems() {
		got = append(got, item.GetKey()+"="+string(item.GetData()))
	}
	if !slices.Equal(got, []string{"b=two", "none=", "a=new"}) {
		t.Errorf("bulk = %q", got)
	}
}

func TestStateTransactionsAndDeletes(t *testing.T) {
	t.Parallel()
	cl := withStore(t)
	step := func(operation, key, value string) *runtimev1.TransactionalStateOperation {
		return &runtimev1.TransactionalStateOperation{OperationType: operation, Request: &commonv1.StateItem{Key: key, Value: []byte(value)}}
	}
	transact := func(steps ...*runtimev1.TransactionalStateOperation) error {
		_, err := cl.ExecuteStateTransaction(patient(t), &runtimev1.ExecuteStateTransactionRequest{StoreName: "statestore", Operations: steps})
		return err
	}
	if err := transact(step("upsert", "a", "1"), step("upsert", "b", "2"), step("upsert", "c", "3"), step("delete", "c", "")); err != nil {
		t.Fatal(err)
	}
	want(t, "an unknown operation", transact(step("upsert", "a", "9"), step("move", "b", "")), problem{codes.Unimplemented, "operation type move not supported", "ERR_NOT_SUPPORTED_STATE_OPERATION"})
	if _, err := cl.DeleteState(patient(t), &runtimev1.DeleteStateRequest{StoreName: "statestore", Key: "a"}); err != nil {
		t.Error(err)
	}
	_, err := cl.DeleteState(patient(t), &runtimev1.DeleteStateRequest{
		StoreName: "statestore", Key: "b", Etag: &commonv1.Etag{Value: "77777"},
		Options: &commonv1.StateOptions{Concurrency: commonv1.StateOptions_CONCURRENCY_FIRST_WRITE},
	})
	want(t, "a wrong etag", err, problem{codes.Aborted, "failed deleting state with key b: possible etag mismatch. error from state store*", "ERR_STATE_DELETE"})
	if _, err := cl.DeleteBulkState(patient(t), &runtimev1.DeleteBulkStateRequest{
		StoreName: "statestore", States: []*commonv1.StateItem{{Key: "b"}, {Key: "none"}},
	}); err != nil {
		t.Error(err)
	}
	bulk, err := cl.GetBulkState(patient(t), &runtimev1.GetBulkStateRequest{StoreName: "statestore", Keys: []string{"a", "b", "c"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, item := range bulk.GetItems() {
		if item.GetEtag() != "" {
			t.Errorf("%s is still there: %v", item.GetKey(), item)
		}
	}
}

// What is wrong with a request is said with Dapr's code, text and details.
func TestStateErrors(t *testing.T) {
	t.Parallel()
	none := client(t, grpcapi.Config{})
	_, err := none.GetState(patient(t), &runtimev1.GetStateRequest{StoreName: "s", Key: "k"})
	want(t, "no store", err, problem{codes.FailedPrecondition, "state store s is not configured", "DAPR_STATE_NOT_CONFIGURED"})
	for what, call := range map[string]func() error{
		"GetBulkState": func() error {
			_, err := none.GetBulkState(patient(t), &runtimev1.GetBulkStateRequest{StoreName: "s"})
			return err
		},
		"SaveState": func() error {
			_, err := none.SaveState(patient(t), &runtimev1.SaveStateRequest{StoreName: "s"})
			return err
		},
		"DeleteState": func() error {
			_, err := none.DeleteState(patient(t), &runtimev1.DeleteStateRequest{StoreName: "s"})
			return err
		},
		"DeleteBulkState": func() error {
			_, err := none.DeleteBulkState(patient(t), &runtimev1.DeleteBulkStateRequest{StoreName: "s"})
			return err
		},
		"ExecuteStateTransaction": func() error {
			_, err := none.ExecuteStateTransaction(patient(t), &runtimev1.ExecuteStateTransactionRequest{StoreName: "s"})
			return err
		},
		"QueryStateAlpha1": func() error {
			_, err := none.QueryStateAlpha1(patient(t), &runtimev1.QueryStateRequest{StoreName: "s"})
			return err
		},
	} {
		want(t, what, call(), problem{codes.FailedPrecondition, "state store s is not configured", "DAPR_STATE_NOT_CONFIGURED"})
	}
	cl := withStore(t)
	_, err = cl.GetState(patient(t), &runtimev1.GetStateRequest{StoreName: "other", Key: "k"})
	want(t, "another store", err, problem{codes.InvalidArgument, "state store other is not found", "DAPR_STATE_NOT_FOUND"})
	_, err = cl.SaveState(patient(t), &runtimev1.SaveStateRequest{StoreName: "statestore", States: []*commonv1.StateItem{{Key: ""}}})
	want(t, "an empty key", err, problem{codes.InvalidArgument, "state key cannot be empty", "ERR_STATE_SAVE"})
	_, err = cl.QueryStateAlpha1(patient(t), &runtimev1.QueryStateRequest{StoreName: "statestore"})
	want(t, "a query", err, problem{codes.Internal, "state store does not support querying", "DAPR_STATE_QUERYING_NOT_SUPPORTED"})
	_, err = cl.GetState(patient(t), &runtimev1.GetStateRequest{StoreName: "statestore", Key: "a||b"})
	if got := status.Convert(err); got.Code() != codes.InvalidArgument || len(got.Details()) != 3 {
		t.Fatalf("an illegal key: %v %v", err, got.Details())
	}
	bad, _ := status.Convert(err).Details()[0].(*errdetails.BadRequest)
	resource, _ := status.Convert(err).Details()[1].(*errdetails.ResourceInfo)
	if len(bad.GetFieldViolations()) != 1 || bad.GetFieldViolations()[0].GetField() != "a||b" || resource.GetResourceName() != "statestore" {
		t.Errorf("an illegal key: %v", status.Convert(err).Details())
	}
}
