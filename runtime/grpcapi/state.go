package grpcapi

import (
	"context"

	commonv1 "github.com/dapr/dapr/pkg/proto/common/v1"
	runtimev1 "github.com/dapr/dapr/pkg/proto/runtime/v1"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/pillion-dev/pillion/runtime/state"
)

func (s *Server) getState(ctx context.Context, in *runtimev1.GetStateRequest) (*runtimev1.GetStateResponse, error) {
	item, err := s.cfg.State.Get(ctx, in.GetStoreName(), state.Get{
		Key: in.GetKey(), Consistency: consistency(in.GetConsistency()), Metadata: in.GetMetadata(),
	})
	if err != nil {
		return nil, failure(err)
	}
	return &runtimev1.GetStateResponse{Data: item.Value, Etag: item.ETag, Metadata: item.Metadata}, nil
}

func (s *Server) getBulkState(ctx context.Context, in *runtimev1.GetBulkStateRequest) (*runtimev1.GetBulkStateResponse, error) {
	items, err := s.cfg.State.BulkGet(ctx, in.GetStoreName(), state.BulkGet{Keys: in.GetKeys(), Metadata: in.GetMetadata()})
	if err != nil {
		return nil, failure(err)
	}
	out := &runtimev1.GetBulkStateResponse{}
	for _, item := range items {
		one := &runtimev1.BulkStateItem{Key: item.Key, Data: item.Value, Etag: item.ETag, Metadata: item.Metadata}
		if item.Err != nil {
			one.Error = item.Err.Error()
		}
		out.Items = append(out.Items, one)
	}
	return out, nil
}

func (s *Server) saveState(ctx context.Context, in *runtimev1.SaveStateRequest) (*emptypb.Empty, error) {
	items := make([]state.Set, 0, len(in.GetStates()))
	for _, item := range in.GetStates() {
		items = append(items, set(item))
	}
	return nothing(s.cfg.State.Save(ctx, in.GetStoreName(), items))
}

func (s *Server) deleteState(ctx context.Context, in *runtimev1.DeleteStateRequest) (*emptypb.Empty, error) {
	return nothing(s.cfg.State.Delete(ctx, in.GetStoreName(), state.Delete{
		Key: in.GetKey(), ETag: etag(in.GetEtag()), Metadata: in.GetMetadata(), Options: options(in.GetOptions()),
	}))
}

func (s *Server) deleteBulkState(ctx context.Context, in *runtimev1.DeleteBulkStateRequest) (*emptypb.Empty, error) {
	items := make([]state.Delete, 0, len(in.GetStates()))
	for _, item := range in.GetStates() {
		items = append(items, state.Delete{
			Key: item.GetKey(), ETag: etag(item.GetEtag()), Metadata: item.GetMetadata(), Options: options(item.GetOptions()),
		})
	}
	return nothing(s.cfg.State.DeleteBulk(ctx, in.GetStoreName(), items))
}

func (s *Server) transactState(ctx context.Context, in *runtimev1.ExecuteStateTransactionRequest) (*emptypb.Empty, error) {
	steps := make([]state.Step, 0, len(in.GetOperations()))
	for _, operation := range in.GetOperations() {
		steps = append(steps, state.Step{Operation: operation.GetOperationType(), Item: set(operation.GetRequest())})
	}
	return nothing(s.cfg.State.Transact(ctx, in.GetStoreName(), steps))
}

func (s *Server) queryState(ctx context.Context, in *runtimev1.QueryStateRequest) (*runtimev1.QueryStateResponse, error) {
	if err := s.cfg.State.Query(ctx, in.GetStoreName()); err != nil {
		return nil, failure(err)
	}
	return &runtimev1.QueryStateResponse{}, nil
}

func nothing(err error) (*emptypb.Empty, error) {
	if err != nil {
		return nil, failure(err)
	}
	return &emptypb.Empty{}, nil
}

func set(item *commonv1.StateItem) state.Set {
	return state.Set{
		Key: item.GetKey(), Value: item.GetValue(), ETag: etag(item.GetEtag()),
		Metadata: item.GetMetadata(), Options: options(item.GetOptions()),
	}
}

// etag tells an empty ETag from none.
func etag(given *commonv1.Etag) *string {
	if given == nil {
		return nil
	}
	value := given.GetValue()
	return &value
}

func options(given *commonv1.StateOptions) state.Options {
	o := state.Options{Consistency: consistency(given.GetConsistency())}
	switch given.GetConcurrency() {
	case commonv1.StateOptions_CONCURRENCY_FIRST_WRITE:
		o.Concurrency = state.FirstWrite
	case commonv1.StateOptions_CONCURRENCY_LAST_WRITE:
		o.Concurrency = state.LastWrite
	case commonv1.StateOptions_CONCURRENCY_UNSPECIFIED:
	}
	return o
}

func consistency(given commonv1.StateOptions_StateConsistency) state.Consistency {
	switch given {
	case commonv1.StateOptions_CONSISTENCY_EVENTUAL:
		return state.Eventual
	case commonv1.StateOptions_CONSISTENCY_STRONG:
		return state.Strong
	case commonv1.StateOptions_CONSISTENCY_UNSPECIFIED:
	}
	return ""
}
