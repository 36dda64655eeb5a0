package soaktest_test

import (
	"errors"
	"io"
	"net"
	"os"
	"strconv"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// runService is the app that speaks gRPC: it echoes, says nothing at all, or
// tells how many calls it has.
func runService() error {
	ln, err := net.Listen("tcp", "127.0.0.1:"+os.Getenv("PORT"))
	if err != nil {
		return err
	}
	var active atomic.Int64
	return grpc.NewServer(grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
		active.Add(1)
		defer active.Add(-1)
		switch name, _ := grpc.MethodFromServerStream(stream); name {
		case "/soak.Soak/Echo":
			return echo(stream)
		case "/soak.Soak/Slow":
			<-stream.Context().Done()
			return stream.Context().Err()
		case "/soak.Soak/Active":
			return stream.SendMsg(wrapperspb.String(strconv.FormatInt(active.Load()-1, 10)))
		default:
			return status.Error(codes.Unimplemented, "the app has no "+name)
		}
	})).Serve(ln)
}

func echo(stream grpc.ServerStream) error {
	for {
		m := new(wrapperspb.StringValue)
		if err := stream.RecvMsg(m); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := stream.SendMsg(m); err != nil {
			return err
		}
	}
}
