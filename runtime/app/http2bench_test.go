package app_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"runtime"
	"testing"

	"golang.org/x/net/http2"

	"github.com/pillion-dev/pillion/internal/callctx"
	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/runtime/app"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

// grpcMessage is 54 bytes as they stand in a gRPC stream.
var grpcMessage = append([]byte{0, 0, 0, 0, byte(len(small))}, small...)

// frameOf is a frame without its stream.
func frameOf(kind http2.FrameType, flags http2.Flags, payload string) []byte {
	n := len(payload)
	return append([]byte{byte(n >> 16), byte(n >> 8), byte(n), byte(kind), byte(flags), 0, 0, 0, 0}, payload...)
}

// indexed is a line that goes into the compression table.
func indexed(name, value string) string {
	return "\x40" + string(rune(len(name))) + name + string(rune(len(value))) + value
}

// answeringGRPC answers every request with the same message. It allocates
// nothing for it, and like every server repeats lines by their number.
func answeringGRPC(t testing.TB) uint16 {
	const ends = http2.FlagHeadersEndHeaders | http2.FlagHeadersEndStream
	data := frameOf(http2.FrameData, 0, string(grpcMessage))
	later := [][]byte{
		frameOf(http2.FrameHeaders, http2.FlagHeadersEndHeaders, "\x88\xc0"), data,
		frameOf(http2.FrameHeaders, ends, "\xbf\xbe"),
	}
	return raw(t, func(c net.Conn) {
		answer := [][]byte{
			frameOf(http2.FrameHeaders, http2.FlagHeadersEndHeaders, "\x88"+indexed("content-type", "application/grpc")), data,
			frameOf(http2.FrameHeaders, ends, indexed("grpc-status", "0")+indexed("grpc-message", "")),
		}
		in := bufio.NewReaderSize(c, 64<<10)
		if _, err := in.Discard(len(http2.ClientPreface)); err != nil {
			return
		}
		out := frameOf(http2.FrameSettings, 0, "")
		header := make([]byte, 9)
		for {
			if _, err := io.ReadFull(in, header); err != nil {
				return
			}
			n := int(header[0])<<16 | int(header[1])<<8 | int(header[2])
			kind, flags := http2.FrameType(header[3]), http2.Flags(header[4])
			if _, err := in.Discard(n); err != nil {
				return
			}
			switch {
			case kind == http2.FrameSettings && flags&http2.FlagSettingsAck == 0:
				out = append(out, 0, 0, 0, byte(http2.FrameSettings), byte(http2.FlagSettingsAck), 0, 0, 0, 0)
			case kind == http2.FrameData && n > 0:
				// Both windows grow by what has come.
				out = append(out, 0, 0, 4, byte(http2.FrameWindowUpdate), 0, 0, 0, 0, 0, 0, 0, byte(n>>8), byte(n))
			}
			if (kind == http2.FrameData || kind == http2.FrameHeaders) && flags&http2.FlagDataEndStream != 0 {
				for _, frame := range answer {
					at := len(out)
					out = append(out, frame...)
					copy(out[at+5:], header[5:9])
				}
				answer = later
			}
			if in.Buffered() == 0 {
				if _, err := c.Write(out); err != nil {
					return
				}
				out = out[:0]
			}
		}
	})
}

// grpcCall is a unary call as the mesh hands it over.
func grpcCall() *invoke.Call {
	return &invoke.Call{
		Verb: "POST", Path: "/pillion.test.Service/Method", Only: true, Major: 2,
		Body: invoke.BytesBody(grpcMessage), Length: -1,
		Fields: invoke.Fields{
			{Name: "content-type", Value: "application/grpc"},
			{Name: "user-agent", Value: "grpc-go/1.85.0"},
			{Name: "grpc-accept-encoding", Value: "gzip"},
			{Name: "x-forwarded-for", Value: "127.0.0.1"},
			{Name: "dapr-caller-app-id", Value: "todo-api"},
		},
	}
}

func oneGRPC(t testing.TB, a *app.App, buf []byte) {
	ctx := callctx.New(t.Context(), noDeadline)
	ans, err := a.Serve(ctx, grpcCall())
	if err != nil {
		t.Fatal(err)
	}
	var trailers invoke.Fields
	if _, behind, whole := invoke.Complete(ans.Body); whole {
		trailers = behind
	} else {
		if _, err := io.CopyBuffer(io.Discard, readerFunc(ans.Body.Read), buf); err != nil {
			t.Error(err)
		}
		trailers = ans.Body.Trailers()
	}
	if trailers.Get("grpc-status") != "0" {
		t.Errorf("trailers = %v", trailers)
	}
	_ = ans.Body.Close()
	ctx.Cancel(nil)
}

// A unary call makes no more than the objects it consists of; the four that
// the test makes for it, the call and its context, are among them.
func TestGRPCCallAllocatesLittle(t *testing.T) {
	const budget = 12 + 4
	a, _ := runApp(t, app.Config{Port: answeringGRPC(t), Protocol: "grpc"})
	buf := make([]byte, 4<<10)
	oneGRPC(t, a, buf)
	got := testing.AllocsPerRun(500, func() { oneGRPC(t, a, buf) })
	if got > budget && !raceEnabled {
		t.Errorf("%v allocations a call, want at most %d", got, budget)
	}
	t.Logf("%v allocations a call", got)
}

func BenchmarkGRPC(b *testing.B) {
	for _, standard := range []bool{false, true} {
		for _, clients := range []int{1, 32} {
			b.Run(fmt.Sprintf("standard=%v/%d", standard, clients), func(b *testing.B) {
				a, _ := runApp(b, app.Config{Port: answeringGRPC(b), Protocol: "grpc", Standard: standard})
				within.Until(b, "ready", func() bool { return a.State() == "ready" })
				b.ReportAllocs()
				b.SetParallelism(max(1, clients/runtime.GOMAXPROCS(0)))
				if clients == 1 {
					buf := make([]byte, 4<<10)
					for b.Loop() {
						oneGRPC(b, a, buf)
					}
					return
				}
				b.RunParallel(func(pb *testing.PB) {
					buf := make([]byte, 4<<10)
					for pb.Next() {
						oneGRPC(b, a, buf)
					}
				})
			})
		}
	}
}
