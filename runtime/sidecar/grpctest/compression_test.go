package grpctest_test

import (
	"io"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"
)

// mirror is a message encoding that no sidecar knows: bytes backwards.
type mirror struct{}

func (mirror) Name() string { return "mirror" }

func (mirror) Compress(w io.Writer) (io.WriteCloser, error) { return &mirrorWriter{w: w}, nil }

func (mirror) Decompress(r io.Reader) (io.Reader, error) {
	data, err := io.ReadAll(r)
	slices.Reverse(data)
	return strings.NewReader(string(data)), err
}

type mirrorWriter struct {
	w    io.Writer
	data []byte
}

func (m *mirrorWriter) Write(p []byte) (int, error) {
	m.data = append(m.data, p...)
	return len(p), nil
}

func (m *mirrorWriter) Close() error {
	slices.Reverse(m.data)
	_, err := m.w.Write(m.data)
	return err
}

// Messages cross as they were encoded, and both ends learn how.
func TestCompressionIsUntouched(t *testing.T) {
	encoding.RegisterCompressor(mirror{})
	everywhere(t, func(s *scene) {
		seen := make(chan metadata.MD, 1)
		name := s.method(func(stream grpc.ServerStream) error {
			md, _ := metadata.FromIncomingContext(stream.Context())
			seen <- md
			if err := grpc.SetSendCompressor(stream.Context(), strings.Join(md.Get("x-answer-in"), "")); err != nil {
				return err
			}
			return echo(stream)
		})
		for _, how := range []string{gzip.Name, "mirror"} {
			text := strings.Repeat("compress me ", 10_000)
			got, err := s.ask(s.ctx("x-answer-in", how), name, text, grpc.UseCompressor(how))
			if err != nil || got != text {
				s.t.Errorf("%s: %d bytes, %v", how, len(got), err)
			}
			if md := <-seen; len(md.Get("grpc-accept-encoding")) == 0 {
				s.t.Errorf("%s: the app is not told what the client takes: %q", how, md)
			}
		}
	})
}
