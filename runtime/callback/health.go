package callback

import (
	"context"
	"fmt"
	"net/http"

	"github.com/pillion-dev/pillion/runtime/invoke"
	"github.com/pillion-dev/pillion/runtime/rpc"
)

// Health asks an app that speaks gRPC how it is, over app. It returns nil if it
// is well, and why not otherwise: an app that has no such method is not well,
// as with Dapr.
func Health(ctx context.Context, app invoke.Handler) error {
	request := rpc.Frame(nil)
	answer, err := app.Serve(ctx, &invoke.Call{
		Verb: http.MethodPost, Path: healthCheck, Major: 2, Only: true,
		Fields: invoke.Fields{{Name: "content-type", Value: "application/grpc"}},
		Body:   invoke.BytesBody(request), Length: int64(len(request)),
	})
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }() // it was read to its end, or is of no use
	if !rpc.IsGRPC(answer) {
		return fmt.Errorf("the answer is not gRPC: status %d", answer.Status)
	}
	const most = 64 << 10 // the message is empty
	if _, _, err := rpc.ReadMessage(answer.Body, most); err != nil {
		return err
	}
	if status := rpc.StatusOf(answer.Fields, answer.Body.Trailers()); status.Code != rpc.OK {
		return status
	}
	return nil
}
