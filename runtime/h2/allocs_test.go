package h2_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"testing"

	"golang.org/x/net/http2"

	"github.com/pillion-dev/pillion/internal/callctx"
	"github.com/pillion-dev/pillion/runtime/h2"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

// What a small exchange may cost: lower these when you make it cheaper.
const (
	serverAllocs = 8
	clientAllocs = 8
)

// unary are the frames of a request as its client says it again and again.
func unary(r *raw) []byte {
	var b bytes.Buffer
	fr := http2.NewFramer(&b, nil)
	_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndHeaders: true, BlockFragment: r.block(
		":method", "POST", ":scheme", "http", ":authority", "localhost:50001", ":path", "/pkg.Service/Method",
		"content-type", "application/grpc", "user-agent", "grpc-go/1.80.0", "te", "trailers", "dapr-app-id", "callee",
	)})
	_ = fr.WriteData(1, true, make([]byte, 54))
	return b.Bytes()
}

// renumber makes b's frames those of another stream.
func renumber(b []byte, id uint32) {
	for len(b) > 0 {
		binary.BigEndian.PutUint32(b[5:], id)
		b = b[9+(int(b[0])<<16|int(b[1])<<8|int(b[2])):]
	}
}

func TestASmallRequestCostsTheServerLittle(t *testing.T) { //nolint:paralleltest // counts allocations
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	answer := []byte("an answer of fifty-four bytes, which is a usual length")
	fields := lines("content-type", "application/grpc")
	body := complete{string(answer), lines("grpc-status", "0")}
	st := serve(t, func(_ *callctx.Context, s *h2.Stream) {
		if rest, ok := invoke.Whole(s.Body()); !ok || len(rest) != 54 {
			t.Errorf("the body is not there: %d bytes, %v", len(rest), ok)
		}
		_ = s.Answer(&invoke.Answer{Status: 200, Fields: fields, Length: -1, Body: body}, nil)
	})
	r := rawClient(t, st.addr)
	id := uint32(1)
	send := func(b []byte) {
		renumber(b, id)
		_, _ = r.nc.Write(b)
		id += 2
	}
	readAnswer := answerReader(r.nc)
	send(unary(r))
	readAnswer(t)
	again := unary(r) // its lines are in the table now
	got := testing.AllocsPerRun(300, func() {
		send(again)
		readAnswer(t)
	})
	// The test's own: complete.Complete's copy and two interfaces.
	if got -= 2; got > serverAllocs {
		t.Errorf("%v allocations, the budget is %d", got, serverAllocs)
	} else {
		t.Logf("%v allocations of %d", got, serverAllocs)
	}
}

// answerReader reads frames up to the end of a stream, without allocating.
func answerReader(nc io.Reader) func(testing.TB) {
	buf := make([]byte, 32<<10)
	return func(t testing.TB) {
		for {
			if _, err := io.ReadFull(nc, buf[:9]); err != nil {
				t.Fatal(err)
			}
			n := int(buf[0])<<16 | int(buf[1])<<8 | int(buf[2])
			kind, flags, id := http2.FrameType(buf[3]), http2.Flags(buf[4]), binary.BigEndian.Uint32(buf[5:])
			if _, err := io.ReadFull(nc, buf[:n]); err != nil {
				t.Fatal(err)
			}
			if id != 0 && (kind == http2.FrameHeaders || kind == http2.FrameData) && flags.Has(http2.FlagDataEndStream) {
				return
			}
		}
	}
}

func TestASmallRequestCostsTheClientLittle(t *testing.T) { //nolint:paralleltest // counts allocations
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	ln := listen(t)
	cl := dial(t, ln.Addr().String())
	req := request()
	req.Extra = lines("dapr-api-token", "secret")
	c := post("fifty-four bytes of a body, which is a usual small one")
	c.Fields = lines("content-type", "application/grpc", "user-agent", "grpc-go/1.80.0", "dapr-caller-app-id", "caller")
	body := []byte("fifty-four bytes of a body, which is a usual small one")
	ctx := callctx.New(t.Context(), timeless)
	exchange := func() {
		if !cl.TryReserve() {
			t.Fatal("no place")
		}
		c.Body = invoke.BytesBody(body)
		a, err := cl.RoundTrip(ctx, c, req)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, ok := invoke.Complete(a.Body); !ok {
			_, _ = io.Copy(io.Discard, a.Body)
		}
		_ = a.Body.Close()
	}
	const runs = 300
	done := make(chan struct{})
	go func() {
		defer close(done)
		r := rawServer(t, ln)
		_ = r.fr.WriteSettings()
		var b bytes.Buffer
		fr := http2.NewFramer(&b, nil)
		answer := func() {
			b.Reset()
			_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndHeaders: true, BlockFragment: r.block(":status", "200", "content-type", "application/grpc")})
			_ = fr.WriteData(1, false, make([]byte, 54))
			_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndHeaders: true, EndStream: true, BlockFragment: r.block("grpc-status", "0")})
		}
		answer()
		first := bytes.Clone(b.Bytes())
		answer()
		read := answerReader(r.nc)
		for id := uint32(1); id <= 2*(runs+2)-1; id += 2 {
			read(t)
			if id > 1 {
				first = b.Bytes()
			}
			renumber(first, id)
			_, _ = r.nc.Write(first)
		}
	}()
	exchange()
	got := testing.AllocsPerRun(runs, exchange) // and once more to warm up
	<-done
	// The test's own: the body.
	if got--; got > clientAllocs {
		t.Errorf("%v allocations, the budget is %d", got, clientAllocs)
	} else {
		t.Logf("%v allocations of %d", got, clientAllocs)
	}
	cl.Close()
	_ = ln.Close()
}
