package grpcapi

import (
	"context"

	runtimev1 "github.com/dapr/dapr/pkg/proto/runtime/v1"
)

func (s *Server) getSecret(_ context.Context, in *runtimev1.GetSecretRequest) (*runtimev1.GetSecretResponse, error) {
	values, err := s.cfg.Secrets.Get(in.GetStoreName(), in.GetKey())
	if err != nil {
		return nil, failure(err)
	}
	return &runtimev1.GetSecretResponse{Data: values}, nil
}

func (s *Server) getBulkSecret(_ context.Context, in *runtimev1.GetBulkSecretRequest) (*runtimev1.GetBulkSecretResponse, error) {
	all, err := s.cfg.Secrets.Bulk(in.GetStoreName())
	if err != nil {
		return nil, failure(err)
	}
	out := &runtimev1.GetBulkSecretResponse{Data: make(map[string]*runtimev1.SecretResponse, len(all))}
	for name, values := range all {
		out.Data[name] = &runtimev1.SecretResponse{Secrets: values}
	}
	return out, nil
}
