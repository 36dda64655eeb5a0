package soaktest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/pillion-dev/pillion/internal/apperr"
)

var anyKind = &grpc.StreamDesc{StreamName: "any", ClientStreams: true, ServerStreams: true}

func (w *worker) addressed(c call, d time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(w.t.Context(), d)
	return metadata.AppendToOutgoingContext(ctx, "dapr-app-id", c.target.service, "x-id", c.id), cancel
}

// failure is the reason of an error that pillion made.
func (w *worker) failure(c call, err error, trailer metadata.MD) string {
	reasons := trailer.Get("pillion-error")
	if status.Code(err) == codes.Internal && status.Convert(err).Message() == io.ErrUnexpectedEOF.Error() && len(reasons) == 1 && !c.target.stays {
		return reasons[0] + " within a message" // whose status the client replaces by its own
	}
	if len(reasons) != 1 || uint32(status.Code(err)) != apperr.Reason(reasons[0]).GRPC() || reasons[0] == string(apperr.Internal) {
		w.wrong("%s %s to %s: %v, with the reason %q", c.kind, c.id, c.target.service, err, reasons)
		return "status " + status.Code(err).String()
	}
	return reasons[0]
}

func (w *worker) unary(c call) string {
	ctx, cancel := w.addressed(c, patience)
	defer cancel()
	sizes := []int{0, 100, 100, 10 << 10, 1 << 20}
	text := string(content(c.id, sizes[w.chance.IntN(len(sizes))]))
	var trailer metadata.MD
	in := new(wrapperspb.StringValue)
	if err := w.conn.Invoke(ctx, "/soak.Soak/Echo", wrapperspb.String(text), in, grpc.Trailer(&trailer)); err != nil {
		return w.failure(c, err, trailer)
	}
	if in.GetValue() != text {
		w.wrong("%s %s: %d bytes, %.100q", c.kind, c.id, len(in.GetValue()), in.GetValue())
		return mixedUp
	}
	return well
}

// deadline asks for an answer that never comes. The client's own clock may be
// the first to say that it is late.
func (w *worker) deadline(c call) string {
	ctx, cancel := w.addressed(c, time.Duration(20+w.chance.IntN(60))*time.Millisecond)
	defer cancel()
	var trailer metadata.MD
	err := w.conn.Invoke(ctx, "/soak.Soak/Slow", wrapperspb.String(c.id), new(wrapperspb.StringValue), grpc.Trailer(&trailer))
	if status.Code(err) == codes.DeadlineExceeded {
		return well
	}
	return w.failure(c, err, trailer)
}

func (w *worker) bidi(c call) string {
	ctx, cancel := w.addressed(c, patience)
	defer cancel()
	stream, outcome := w.exchange(ctx, c)
	if outcome != well {
		return outcome
	}
	_ = stream.CloseSend() // its error is RecvMsg's
	if err := stream.RecvMsg(new(wrapperspb.StringValue)); !errors.Is(err, io.EOF) {
		return w.failure(c, err, stream.Trailer())
	}
	return well
}

// bidiLeft cancels the call in the middle.
func (w *worker) bidiLeft(c call) string {
	ctx, cancel := w.addressed(c, patience)
	defer cancel()
	_, outcome := w.exchange(ctx, c)
	return outcome
}

// exchange has a few messages come back on one stream.
func (w *worker) exchange(ctx context.Context, c call) (grpc.ClientStream, string) {
	stream, err := w.conn.NewStream(ctx, anyKind, "/soak.Soak/Echo")
	if err != nil {
		return nil, w.failure(c, err, nil)
	}
	for i := range 1 + w.chance.IntN(10) {
		text, in := fmt.Sprintf("%s %d", c.id, i), new(wrapperspb.StringValue)
		_ = stream.SendMsg(wrapperspb.String(text)) // its error is RecvMsg's
		if err := stream.RecvMsg(in); err != nil {
			return nil, w.failure(c, err, stream.Trailer())
		}
		if in.GetValue() != text {
			w.wrong("%s %s: %q, want %q", c.kind, c.id, in.GetValue(), text)
			return nil, mixedUp
		}
	}
	return stream, well
}
